"""How many images a clean release needs before a limit can be satisfied at all. Pure functions: numbers in, numbers out.

"Clean" means: no near copy at all, every planted copy found, every comparison a fair coin, every ROC curve the diagonal.
Where even such a release breaks a limit, its sample is too small to decide, and nothing is said against the release.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

__all__ = ["FAMILIES", "Family", "auc_standard_error", "clean_bound", "smallest_n"]

Family = Literal["census", "rate", "recall", "share_half", "auc", "tpr", "agreement", "estimate"]
"""What kind of figure a metric is, as far as its chance error goes.

census: counted over everything there is, no chance error. rate: a share that is 0 where all is well. recall: a share that
is 1 where all is well. share_half: a share that is a half where nothing leaks. auc: an area of a half where nothing leaks.
tpr: a true positive rate that equals its false positive rate where nothing leaks. agreement: a ratio of two shares that is 1
where all is well. estimate: none of these, so no sample size follows from a limit.
"""

FAMILIES: tuple[Family, ...] = ("census", "rate", "recall", "share_half", "auc", "tpr", "agreement", "estimate")
_CEILING = 0.5  # a modest diagnostic model; a better one needs fewer images
_LARGEST = 10**9


def auc_standard_error(n: int, m: int) -> float:
    """Standard error of the AUC of n against m unrelated scores: sqrt((n + m + 1) / (12 n m)) (Mann and Whitney 1947)."""
    return math.sqrt((n + m + 1) / (12 * n * m))


def clean_bound(family: Family, n: int, confidence: float = 0.95, *, fpr: float = 0.01) -> float | None:
    """The one-sided bound that a clean release shows with n images (n a side for an AUC); None where none follows.

    An upper bound for figures that should be small, a lower bound for recall and agreement.
    """
    # Here, since every command knows the catalogue of metrics, and few need what takes a second to import.
    from scipy.stats import beta, norm

    z = float(norm.ppf(confidence))
    if family == "rate":
        return -math.expm1(math.log(1 - confidence) / n)
    if family == "recall":
        return math.exp(math.log(1 - confidence) / n)
    if family == "share_half":
        return float(beta.ppf(confidence, n / 2 + 1, n / 2))
    if family == "tpr":
        return float(beta.ppf(confidence, fpr * n + 1, n - fpr * n))
    if family == "auc":
        return 0.5 + z * auc_standard_error(n, n)
    if family == "agreement":
        return 1 - z * math.sqrt((1 - _CEILING) / (_CEILING * n))
    return None


def smallest_n(family: Family, limit: float, confidence: float = 0.95, *, fpr: float = 0.01) -> int | None:
    """Fewest images (a side for an AUC) with which a clean release satisfies `limit`: 299 for a rate of 1 %.

    None where the family has no chance error or no known one, and where no number of images would do.
    """
    higher = family in ("recall", "agreement")
    ideal = {"rate": 0.0, "share_half": 0.5, "auc": 0.5, "tpr": fpr, "recall": 1.0, "agreement": 1.0}.get(family)
    if ideal is None or (limit >= ideal if higher else limit <= ideal):
        return None

    def enough(n: int) -> bool:
        bound = clean_bound(family, n, confidence, fpr=fpr)
        return bound is not None and (bound >= limit if higher else bound <= limit)

    return _search(enough)


def _search(enough: Callable[[int], bool]) -> int | None:
    """Smallest n for which `enough` holds; it must stay true once true."""
    high = 1
    while not enough(high):
        high *= 2
        if high > _LARGEST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
