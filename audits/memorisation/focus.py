"""Blurry images agree with everything: what blur does to the scores of unrelated images, and how it is taken out.

Where fine detail is missing, a band of it holds little but outlines, and outlines of unrelated images agree far more often
than textures do. Generated images are often blurrier than photographs, so that thresholds drawn from photographs alone would
call some of them copies. The calibration images are therefore blurred in steps. Each step gives a line of the upper tail for
its sharpness, and a score is carried from the line of its image's sharpness to that of the photographs as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["STEPS", "Focus"]

Floats = NDArray[np.float64]

STEPS: tuple[float, ...] = (0.8, 1.2, 1.8, 2.6)
"""Blur of the calibration images in pixels of the working size, beside none."""


@dataclass(frozen=True, slots=True)
class Focus:
    """Upper tails of unrelated images by sharpness, sharpest first: centre and spread of each. Empty corrects nothing."""

    sharpness: tuple[float, ...] = ()
    centre: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()

    def correct(self, scores: Floats, sharpness: Floats) -> Floats:
        """Scores (n,) of images of that sharpness (n,), as if they were as sharp as photographs. Never raised."""
        if not self.sharpness:
            return scores
        rising = np.array(self.sharpness)[::-1]
        centre = np.interp(sharpness, rising, np.array(self.centre)[::-1])
        spread = np.interp(sharpness, rising, np.array(self.spread)[::-1])
        carried = self.centre[0] + self.spread[0] * (scores - centre) / spread
        return np.asarray(np.minimum(scores, carried), dtype=np.float64)
