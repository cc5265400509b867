"""Statistics of the benchmark: thresholds, shares, average precision, overlap. Pure functions, arrays in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from synguard.metrics.intervals import clopper_pearson

__all__ = ["Count", "Threshold", "average_precision", "expected_false", "overlaps", "reduced", "threshold", "total"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_TAIL = 0.1
"""Share of the largest calibration scores that the straight line is drawn through."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores above `value` are called copies. `extrapolated`: beyond what so few calibration images can vouch for."""

    value: float
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class Count:
    """`hits` out of `n`."""

    hits: int
    n: int

    @staticmethod
    def of(flags: Bools) -> Count:
        """How many of the flags are set."""
        return Count(int(flags.sum()), len(flags))

    @property
    def share(self) -> float:
        """The share of hits; NaN where n is 0."""
        return self.hits / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Its exact two-sided 95 % interval (Clopper and Pearson 1934)."""
        return clopper_pearson(self.hits, self.n)


def total(counts: Iterable[Count]) -> Count:
    """All of them as one.

    Over groups of one size, its share is the mean of theirs, and its interval is rather too wide than too narrow, since
    the variance between the groups' true shares is counted in.
    """
    several = list(counts)
    return Count(sum(count.hits for count in several), sum(count.n for count in several))


def threshold(calibration: Floats, rate: float) -> Threshold:
    """The lowest threshold that an unseen image passes with a chance of at most `rate`, from scores (n,) of unseen images.

    Conformal (Vovk et al. 2005): a score s passes where (1 + number of calibration scores >= s) / (n + 1) <= rate. Where
    (n + 1) * rate < 1 no score could; then the line through the logarithm of the empirical survival of the largest tenth
    of the scores is extended to `rate`, never below the largest score. Raises ValueError without scores.
    """
    n = len(calibration)
    if n == 0:
        raise ValueError("calibration: found no scores, expected at least 1")
    ranked = np.sort(calibration)[::-1]
    allowed = _allowed(n, rate)
    if allowed >= 0:
        return Threshold(float(ranked[allowed]) if allowed < n else -math.inf, False)
    tail = ranked[: max(2, math.ceil(_TAIL * n))]
    survival = np.log(np.arange(1, len(tail) + 1) / (n + 1))
    spread = float(((tail - tail.mean()) ** 2).sum())
    if not spread > 0:
        return Threshold(float(ranked[0]), True)
    slope = float(((tail - tail.mean()) * (survival - survival.mean())).sum()) / spread
    reached = float(tail.mean()) + (math.log(rate) - float(survival.mean())) / slope
    return Threshold(max(reached, float(ranked[0])), True)


def expected_false(calibration: int, rate: float, tests: Sequence[int], confidence: float = 0.95) -> tuple[int, int] | None:
    """From how many to how many of `tests` unseen images, one number a seed, pass a conformal threshold by chance alone.

    The chance of the calibration is counted in: the true rate of a threshold that lies at the (k + 1)th largest of n scores
    is Beta(k + 1, n - k) distributed (Vovk 2012, arXiv 1209.2673), so the count of a seed is beta-binomial. Seeds count as
    independent, scores as free of ties. None where the threshold is extrapolated.
    """
    allowed = _allowed(calibration, rate)
    if allowed < 0:
        return None
    chances = np.ones(1)
    for n in tests:
        chances = np.convolve(chances, betabinom.pmf(np.arange(n + 1), n, allowed + 1, calibration - allowed))
    below = np.cumsum(chances)
    low, high = (int(np.searchsorted(below, level)) for level in ((1 - confidence) / 2, (1 + confidence) / 2))
    return low, high


def _allowed(n: int, rate: float) -> int:
    """How many of n calibration scores may be at least as large as one that passes; negative where none can pass."""
    # 1e-9, since 0.01 * 100 need not be 1 in floating point.
    return math.floor(rate * (n + 1) - 1 + 1e-9)


def average_precision(scores: Floats, right: Bools, positives: int) -> float:
    """Micro average precision of one answer a query, all queries pooled, in [0, 1].

    `right` marks the copies whose source was named. Everything else counts as a false answer: unseen images, and copies
    with a wrong source. The mean over `positives` copies of the precision at their score, 0 for those not right; ties are
    broken against the method (as in Douze et al. 2021, arXiv 2106.09672).
    """
    order = np.lexsort((right, -scores))
    hit = right[order]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(precision[hit].sum() / positives) if positives else math.nan


def reduced(masks: Bools, side: int) -> Bools:
    """Masks (n, size, size) on a grid of `side`: which cells are at least half covered. ValueError if it does not fit."""
    n, size, _ = masks.shape
    if size % side:
        raise ValueError(f"side: found {side}, expected a divisor of {size}")
    cells: Floats = masks.reshape(n, side, size // side, side, size // side).mean((2, 4))
    return cells >= 0.5


def overlaps(found: Bools, truth: Bools) -> Floats:
    """Intersection over union (n,) of masks (n, m, m); 1 where both are empty."""
    union = (found | truth).sum((1, 2))
    shared = (found & truth).sum((1, 2))
    result: Floats = np.where(union > 0, shared / np.maximum(union, 1), 1.0)
    return result
