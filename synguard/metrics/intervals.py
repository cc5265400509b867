"""Intervals for shares and counts. Pure functions: numbers in, numbers out."""

from __future__ import annotations

import math

from scipy.stats import beta

__all__ = [
    "clopper_pearson",
    "clopper_pearson_bounds",
    "minimum_detectable_copies",
    "smallest_n_for_rate",
    "smallest_n_for_recall",
]


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided exact interval for a share of `successes` in `n` (Clopper and Pearson 1934). `n` of 0 gives (0, 1)."""
    return _limits(successes, n, (1 - confidence) / 2)


def clopper_pearson_bounds(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """One-sided exact lower and upper bound, each at `confidence`: 0 of 300 gives an upper bound of 0.99 %."""
    return _limits(successes, n, 1 - confidence)


def smallest_n_for_rate(limit: float, confidence: float = 0.95) -> int:
    """Smallest n for which 0 of n has an upper one-sided bound not above `limit`: 299 for 1 %."""
    if limit >= 1:
        return 1
    return math.ceil(math.log(1 - confidence) / math.log(1 - limit)) if limit > 0 else 0


def smallest_n_for_recall(limit: float, confidence: float = 0.95) -> int:
    """Smallest n for which n of n has a lower one-sided bound not below `limit`: 29 for 90 %."""
    return math.ceil(math.log(1 - confidence) / math.log(limit)) if 0 < limit < 1 else 1


def minimum_detectable_copies(recall_lower_bound: float, confidence: float = 0.95) -> float:
    """Smallest number of copies of which at least one would have been seen with `confidence`.

    ln(1 - confidence) / ln(1 - recall), rounded up; infinite where the recall's lower bound is 0.
    """
    if recall_lower_bound <= 0:
        return math.inf
    if recall_lower_bound >= 1:
        return 1
    return math.ceil(math.log(1 - confidence) / math.log(1 - recall_lower_bound))


def _limits(successes: int, n: int, tail: float) -> tuple[float, float]:
    if not 0 <= successes <= n:
        raise ValueError(f"successes: found {successes}, expected 0 to {n}")
    if n == 0:
        return 0.0, 1.0
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return low, high
