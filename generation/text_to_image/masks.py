"""Where an image is redrawn: an ellipse around what is marked in it, or around its middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ellipse"]

_MASK = 32
"""What the random numbers of an image are for, beside its words and its source."""
_AROUND = 1.25
"""Axes of the ellipse in sides of the box: the corners of a box lie outside the ellipse in it, by a factor of 1.41."""
_LEAST = 0.2


def ellipse(side: int, seed: int, box: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Mask (side, side), 1 inside and 0 outside; the same for the same seed and box.

    `box` is left, top, right, bottom in a frame from -1 to 1. Without one, or where it is NaN, centre and axes are drawn:
    the ellipse covers 10 to 28 % of the image, and its centre lies in the middle fifth of both sides.
    """
    if box is None or np.isnan(box).any():
        rng = np.random.default_rng([seed, _MASK])
        x, y = rng.uniform(-0.2, 0.2, 2)
        width, height = rng.uniform(0.36, 0.6, 2)
    else:
        left, top, right, bottom = (float(value) for value in box)
        x, y = (left + right) / 2, (top + bottom) / 2
        width, height = (max(_LEAST, _AROUND * half) for half in ((right - left) / 2, (bottom - top) / 2))
    places = (np.arange(side) + 0.5) / side * 2 - 1
    inside = np.hypot((places[None, :] - x) / width, (places[:, None] - y) / height) <= 1
    mask: NDArray[np.float32] = inside.astype(np.float32)
    return mask
