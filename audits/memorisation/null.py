"""What unrelated images show in one lane, by sharpness, and scores in these units.

Where fine detail is missing, a band of it holds little but outlines, and outlines of unrelated images agree far more often
than textures do; where there is noise, fine bands agree with nothing, not even with the original. So unseen images are
blurred and roughened in steps, each step gives centre and spread of every figure of the evidence, and a candidate is held
against unrelated images of its own sharpness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audits.memorisation.calibration import tail_line
from audits.memorisation.score import BANDS, FIGURES

__all__ = ["DEFAULT_NULLS", "STEPS", "Null", "Step"]

Floats = NDArray[np.float64]

_FEWEST = 20
_TAIL = (0.60, 0.92)
"""Quantiles that the upper tail is read off: even where one unseen image in twenty is a twin of a private one."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is done to unseen images: noise of that standard deviation (of 1), blur in pixels of the working size."""

    noise: float = 0.0
    blur: float = 0.0


STEPS: tuple[Step, ...] = (
    Step(noise=0.15),
    Step(noise=0.05),
    Step(),
    Step(blur=1.0),
    Step(blur=1.8),
    Step(blur=2.6),
)
"""From the roughest to the smoothest."""

_LEAST_SPREAD = np.array([0.01, 0.02, 0.03, 0.1, 0.02])


@dataclass(frozen=True, slots=True)
class Null:
    """Of one lane, by sharpness (falling, s steps): centre and spread of each figure (s, 5), and of each sum (s, 3).

    The figures are those of `score.Evidence` and, last, the likeness of the search. Three sums of standardised figures are
    formed: `detail`, the mean of the bands; `joint`, of detail, colour and likeness, since a copy that was made brighter has
    lost its colour, and one that was compressed its detail; `coarse`, of the coarsest band, colour and likeness, which bear
    noise. Their centres and spreads are those of the upper tail. The score is the largest sum.
    """

    sharpness: tuple[float, ...]
    centre: tuple[tuple[float, ...], ...]
    spread: tuple[tuple[float, ...], ...]
    sum_centre: tuple[tuple[float, ...], ...]
    sum_spread: tuple[tuple[float, ...], ...]

    def score(self, figures: Floats, sharpness: Floats) -> Floats:
        """The score (n,) of figures (n, 5) of images of that sharpness (n,): about standard normal in its upper tail."""
        sums = _sums((figures - self._at(self.centre, sharpness)) / self._at(self.spread, sharpness))
        tail = (sums - self._at(self.sum_centre, sharpness)) / self._at(self.sum_spread, sharpness)
        return np.asarray(tail.max(1), dtype=np.float64)

    def _at(self, values: tuple[tuple[float, ...], ...], sharpness: Floats) -> Floats:
        """Values (n, f) at that sharpness, between steps by interpolation."""
        rising = np.array(self.sharpness)[::-1]
        columns = np.array(values)[::-1].T
        return np.stack([np.interp(sharpness, rising, column) for column in columns], 1)

    @staticmethod
    def measure(steps: Sequence[tuple[float, Floats]], default: Null) -> Null:
        """From median sharpness and figures (n, 5) of unrelated images at each step; `default` where they are few."""
        kept = [(level, figures) for level, figures in steps if len(figures) >= _FEWEST]
        # Steps that are no less sharp than the one before them (images that were blurry already) say nothing new.
        kept = [step for i, step in enumerate(kept) if i == 0 or step[0] < min(level for level, _ in kept[:i])]
        if not kept:
            return default
        centre, spread, sum_centre, sum_spread = [], [], [], []
        for _, figures in kept:
            middle = np.median(figures, axis=0)
            width = np.maximum(1.4826 * np.median(np.abs(figures - middle), axis=0), _LEAST_SPREAD)
            lines = [tail_line(column, _TAIL) for column in _sums((figures - middle) / width).T]
            centre.append(tuple(middle.tolist()))
            spread.append(tuple(width.tolist()))
            sum_centre.append(tuple(line[0] for line in lines))
            sum_spread.append(tuple(max(line[1], 0.2) for line in lines))
        levels = tuple(level for level, _ in kept)
        return Null(levels, tuple(centre), tuple(spread), tuple(sum_centre), tuple(sum_spread))


def _sums(standard: Floats) -> Floats:
    """The three sums (n, 3) of standardised figures (n, 5)."""
    detail, coarsest = standard[:, : len(BANDS)].mean(1), standard[:, len(BANDS) - 1]
    others = standard[:, len(BANDS)] + standard[:, FIGURES]
    return np.stack([detail, (detail + others) / 3, (coarsest + others) / 3], 1)


def _default(centre: tuple[float, ...], spread: tuple[float, ...]) -> Null:
    return Null((0.0,), (centre,), (spread,), ((0.0, 0.0, 0.0),), ((0.85, 0.7, 0.7),))


_WHOLE = _default((0.04, 0.22, 0.6, 2.3, 0.3), (0.025, 0.085, 0.2, 0.4, 0.1))
_MOVED = _default((0.06, 0.3, 0.75, 2.1, 0.0), (0.04, 0.14, 0.3, 0.45, 0.05))
_PART = _default((0.1, 0.4, 0.9, 2.1, 0.01), (0.05, 0.2, 0.33, 0.5, 0.02))
DEFAULT_NULLS: tuple[Null, ...] = (_WHOLE, _MOVED, _PART, _PART, _PART)
"""One a lane, that of boxes the last; serve only to choose among candidates before the images at hand were measured."""
