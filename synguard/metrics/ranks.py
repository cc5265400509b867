"""How well a score tells members from non-members: AUC, rate at a small false positive rate, errors by patient.

Arrays in, numbers out. Higher scores mean "more like a member" everywhere. Images of one patient are never treated as
independent: errors and resamples go by the `groups` arrays, one label an image.

Sources: DeLong, DeLong and Clarke-Pearson 1988 (standard error of the AUC); Obuchowski 1997, "Nonparametric analysis of
clustered ROC curve data" (the same by cluster); Hanley and McNeil 1982 (AUC as a rank statistic).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from synguard.metrics.intervals import clopper_pearson, clopper_pearson_bounds

__all__ = [
    "Auc",
    "Resampled",
    "auc",
    "auc_columns",
    "clustered_auc",
    "minimum_detectable_auc",
    "null_bounds",
    "null_standard_error",
    "permutation_p",
    "resample",
    "roc",
    "tpr_at_fpr",
]

Floats = NDArray[np.float64]
_CHUNK = 64
"""Resamples held in memory at once."""


@dataclass(frozen=True, slots=True)
class Auc:
    """An AUC with its standard error by patient, and by how much patients inflate its variance."""

    value: float
    standard_error: float
    design_effect: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided normal interval, cut to (0, 1)."""
        return _around(self.value, float(norm.ppf((1 + confidence) / 2)) * self.standard_error)

    def bounds(self, confidence: float = 0.95) -> tuple[float, float]:
        """One-sided lower and upper bound, each at `confidence`."""
        return _around(self.value, float(norm.ppf(confidence)) * self.standard_error)


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """A bootstrap of both sides by patient: per resample the AUC (b,) and the ROC (b, f) at the rates `fpr` (f,)."""

    auc: Floats
    fpr: Floats
    tpr: Floats
    smallest_side: int
    """Patients on the smaller side."""

    def auc_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided percentile interval of the AUC."""
        return self._auc(1 - confidence, clopper_pearson(self.smallest_side, self.smallest_side, confidence)[0])

    def auc_bounds(self, confidence: float = 0.95) -> tuple[float, float]:
        """One-sided percentile bounds of the AUC, each at `confidence`."""
        return self._auc(2 * (1 - confidence), clopper_pearson_bounds(self.smallest_side, self.smallest_side, confidence)[0])

    def tpr_quantile(self, level: float) -> Floats:
        """Quantile of the ROC over the resamples, at each rate."""
        return np.asarray(np.quantile(self.tpr, level, axis=0), dtype=np.float64)

    def _auc(self, tails: float, separated: float) -> tuple[float, float]:
        low, high = (float(q) for q in np.quantile(self.auc, [tails / 2, 1 - tails / 2]))
        # Where every resample separates the two sides, the spread is 0 although the evidence is finite. Pairing the
        # patients off gives independent pairs that all fell the same way, which the exact interval for a share covers.
        if low >= 1:
            low = separated
        if high <= 0:
            high = 1 - separated
        return low, high


def auc(positive: Floats, negative: Floats) -> float:
    """Probability that a random positive scores above a random negative, ties counting half. NaN where a side is empty."""
    m, n = len(positive), len(negative)
    if m == 0 or n == 0:
        return math.nan
    ranks = rankdata(np.concatenate([positive, negative]))
    return float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))


def auc_columns(scores: Floats, positive: NDArray[np.bool_]) -> Floats:
    """The AUC of each column: scores (n, k) against labels (n, k). NaN where a column has one label only."""
    m = positive.sum(axis=0).astype(np.float64)
    n = len(scores) - m
    ranks = rankdata(scores, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((np.where(positive, ranks, 0).sum(axis=0) - m * (m + 1) / 2) / (m * n), dtype=np.float64)


def clustered_auc(
    positive: Floats,
    negative: Floats,
    positive_groups: NDArray[np.str_] | None = None,
    negative_groups: NDArray[np.str_] | None = None,
) -> Auc:
    """AUC with DeLong's standard error, by cluster after Obuchowski (1997); no cluster may lie on both sides.

    Without groups each image is a cluster of its own, and this is DeLong's variance. Raises ValueError where a side has
    fewer than two clusters.
    """
    m, n = len(positive), len(negative)
    members = _codes(positive_groups, m)
    others = _codes(negative_groups, n)
    if min(_count(members), _count(others)) < 2:
        raise ValueError(f"clusters: found {_count(members)} and {_count(others)}, expected at least 2 a side")
    ranks = rankdata(np.concatenate([positive, negative]))
    above_negatives = (ranks[:m] - rankdata(positive)) / n
    below_positives = 1 - (ranks[m:] - rankdata(negative)) / m
    value = float(above_negatives.mean())
    clustered = _component(above_negatives - value, members) + _component(below_positives - value, others)
    alone = _component(above_negatives - value, np.arange(m)) + _component(below_positives - value, np.arange(n))
    return Auc(value, math.sqrt(clustered), clustered / alone if alone > 0 else 1.0)


def roc(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """All attainable points (fpr, tpr), from (0, 0) to (1, 1), one a distinct score."""
    _both_sides(positive, negative)
    scores = np.concatenate([positive, negative])
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    is_positive = order < len(positive)
    tpr = np.cumsum(is_positive)[ends] / len(positive)
    fpr = np.cumsum(~is_positive)[ends] / len(negative)
    return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])


def tpr_at_fpr(positive: Floats, negative: Floats, target: float) -> float:
    """Largest true positive rate over the attainable points whose false positive rate is at most `target`.

    No interpolation: with n non-members the false positive rate used is floor(target n) / n or, with ties, less.
    """
    fpr, tpr = roc(positive, negative)
    return float(tpr[np.searchsorted(fpr, target + 1e-12, side="right") - 1])


def resample(
    positive: Floats,
    negative: Floats,
    positive_groups: NDArray[np.str_] | None = None,
    negative_groups: NDArray[np.str_] | None = None,
    *,
    fpr: Floats,
    resamples: int,
    seed: int,
) -> Resampled:
    """Bootstrap both sides by patient: AUC and `tpr_at_fpr` at each rate of `fpr`, for every resample.

    The threshold is taken anew in each resample, so the spread holds the error of the threshold (from the non-members)
    as well as that of the members' rate.
    """
    _both_sides(positive, negative)
    descending = np.argsort(-positive, kind="stable"), np.argsort(-negative, kind="stable")
    members = _codes(positive_groups, len(positive))[descending[0]]
    others = _codes(negative_groups, len(negative))[descending[1]]
    # How many members score above, and at least as high as, each non-member.
    ascending, thresholds = np.sort(positive), negative[descending[1]]
    above = len(positive) - np.searchsorted(ascending, thresholds, side="right")
    level = len(positive) - np.searchsorted(ascending, thresholds, side="left")
    rates = np.asarray(fpr, dtype=np.float64)
    rng = np.random.default_rng([seed, 0x5E5A])
    areas, curves = np.empty(resamples), np.empty((resamples, len(rates)))
    for start in range(0, resamples, _CHUNK):
        rows = range(start, min(start + _CHUNK, resamples))
        drawn, weights = _weights(rng, members, len(rows)), _weights(rng, others, len(rows))
        true = np.concatenate([np.zeros((len(rows), 1), dtype=np.int64), np.cumsum(drawn, axis=1)], axis=1)
        false = np.cumsum(weights, axis=1)
        areas[rows] = (weights * (true[:, above] + true[:, level])).sum(axis=1) / (2 * true[:, -1] * false[:, -1])
        for row, admitted, rejected in zip(rows, true, false, strict=True):
            # The first non-member that would break the rate is the threshold: only what lies strictly above it counts.
            breaks = np.searchsorted(rejected, rates * rejected[-1] + 1e-9, side="right")
            counts = admitted[np.append(above, len(positive))[breaks]]
            curves[row] = counts / admitted[-1]
    return Resampled(areas, rates, curves, min(_count(members), _count(others)))


def null_standard_error(members: int, nonmembers: int, design_effect: float = 1.0) -> float:
    """Standard error of the AUC of a score that knows nothing: sqrt((m + n + 1) / (12 m n)), widened for clusters."""
    if members == 0 or nonmembers == 0:
        return math.inf
    return math.sqrt(design_effect * (members + nonmembers + 1) / (12 * members * nonmembers))


def null_bounds(members: int, nonmembers: int, design_effect: float = 1.0, confidence: float = 0.95) -> tuple[float, float]:
    """One-sided bounds of a measured AUC of exactly 0.5 at these sizes: the best a clean release can hope for on average."""
    spread = float(norm.ppf(confidence)) * null_standard_error(members, nonmembers, design_effect)
    return _around(0.5, spread)


def minimum_detectable_auc(
    members: int, nonmembers: int, design_effect: float = 1.0, *, confidence: float = 0.95, power: float = 0.8
) -> float:
    """Smallest AUC whose one-sided lower bound would have been above 0.5 with probability `power`."""
    spread = float(norm.ppf(confidence) + norm.ppf(power)) * null_standard_error(members, nonmembers, design_effect)
    return min(1.0, 0.5 + spread)


def permutation_p(observed: float, permuted: Floats) -> float:
    """One-sided p-value (1 + #{permuted >= observed}) / (1 + permutations), which is never 0 (Phipson and Smyth 2010)."""
    return float((1 + np.count_nonzero(permuted >= observed)) / (1 + len(permuted)))


def _both_sides(positive: Floats, negative: Floats) -> None:
    if len(positive) == 0 or len(negative) == 0:
        raise ValueError(f"scores: found {len(positive)} members and {len(negative)} non-members, expected some of both")


def _codes(groups: NDArray[np.str_] | None, size: int) -> NDArray[np.int64]:
    if groups is None:
        return np.arange(size)
    if len(groups) != size:
        raise ValueError(f"groups: found {len(groups)}, expected {size}, one a score")
    return np.asarray(np.unique(groups, return_inverse=True)[1], dtype=np.int64)


def _count(codes: NDArray[np.int64]) -> int:
    return int(codes.max()) + 1 if len(codes) else 0


def _component(deviations: Floats, codes: NDArray[np.int64]) -> float:
    """Variance of a side's mean, from sums by cluster: I / (I - 1) sum (sum_i)^2 / m^2."""
    sums = np.bincount(codes, weights=deviations)
    return float(len(sums) / (len(sums) - 1) * np.square(sums).sum() / len(deviations) ** 2)


def _weights(rng: np.random.Generator, codes: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """How often each image is drawn when its patients are drawn with replacement, for `rows` resamples."""
    patients = _count(codes)
    drawn = rng.integers(0, patients, size=(rows, patients)) + patients * np.arange(rows)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=rows * patients).reshape(rows, patients)
    return np.asarray(counts[:, codes], dtype=np.int64)


def _around(centre: float, spread: float) -> tuple[float, float]:
    return max(0.0, centre - spread), min(1.0, centre + spread)
