"""Means of figures that come in clusters: several images of a patient, many candidates near one private image.

Arrays in, numbers out. A cluster is drawn as a whole, so that fifty pictures of one eye count as one piece of evidence.

Sources: Field and Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x (bootstrap of whole clusters); Kish 1965, "Survey
Sampling", section 8.2 (effective number of clusters of unequal size); Dunn 1961, doi:10.1080/01621459.1961.10482090
(Bonferroni's intervals for several looks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

__all__ = ["Estimate", "clustered_share", "confidence_of_each", "onset", "relative_gap", "resampled_gaps"]

Floats = NDArray[np.float64]
Labels = NDArray[np.str_] | NDArray[np.int64]
_CHUNK = 256
"""Resamples held in memory at once."""
_FARTHEST = 30.0
"""Of a log ratio: an interval that says nothing ends at numbers that can be written down."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the two ends of its interval."""

    value: float
    low: float
    high: float


def resampled_gaps(
    members: Floats, others: Floats, member_groups: Labels, other_groups: Labels, *, resamples: int, seed: int
) -> Floats:
    """`1 - mean(members) / mean(others)` (b,) with the patients of either side drawn anew, for each resample."""
    rng = np.random.default_rng([seed, 0x6A9])
    return 1 - _means(members, member_groups, resamples, rng) / _means(others, other_groups, resamples, rng)


def relative_gap(
    members: Floats,
    others: Floats,
    member_groups: Labels,
    other_groups: Labels,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int,
) -> Estimate:
    """How much lower the mean of `members` (m,) is than that of `others` (n,), as a share of the latter: 0 where equal.

    All values must be positive. Two-sided interval, symmetric for the log of the ratio: standard error by bootstrap of
    patients, Student's t with as many degrees of freedom as the side with fewer effective patients has, less one. It holds
    at confidences where quantiles of a bootstrap run out of resamples.
    """
    gaps = resampled_gaps(members, others, member_groups, other_groups, resamples=resamples, seed=seed)
    clusters = min(_effective(member_groups), _effective(other_groups))
    ratio = float(members.mean() / others.mean())
    reach = min(_quantile(confidence, clusters) * float(np.log1p(-gaps).std(ddof=1)), _FARTHEST)
    return Estimate(1 - ratio, 1 - ratio * math.exp(reach), 1 - ratio * math.exp(-reach))


def clustered_share(values: Floats, groups: Labels, *, confidence: float = 0.95) -> Estimate:
    """Mean of `values` (n,) in [0, 1] with a two-sided interval cut to [0, 1], errors by cluster.

    Linearised standard error of a ratio of cluster sums, never below that of n independent draws with one of them the
    other way; Student's t with the effective number of clusters less one, which is small where a few clusters hold most.
    """
    n, value = len(values), float(values.mean())
    _, codes = np.unique(groups, return_inverse=True)
    residuals = np.bincount(codes, weights=values - value)
    effective = _effective(groups)
    inflation = len(residuals) / max(len(residuals) - 1, 1)
    clustered = math.sqrt(inflation * float(np.square(residuals).sum())) / n
    binomial = math.sqrt(max(value * (1 - value), (1 - 1 / n) / n) / n)
    reach = _quantile(confidence, effective) * max(clustered, binomial)
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach))


def confidence_of_each(looks: int, figures: int, confidence: float = 0.95) -> float:
    """The confidence that each of `looks` x `figures` intervals needs so that all hold together with `confidence`."""
    return 1 - (1 - confidence) / (max(looks, 1) * max(figures, 1))


def onset(lows: Sequence[float], null: float) -> int | None:
    """Position of the first lower end from which on all are above `null`; None where the last one is not."""
    found = None
    for position in range(len(lows) - 1, -1, -1):
        if not lows[position] > null:
            break
        found = position
    return found


def _means(values: Floats, groups: Labels, resamples: int, rng: np.random.Generator) -> Floats:
    """The mean (b,) of each resample of whole clusters."""
    _, codes = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(codes, weights=values), np.bincount(codes).astype(np.float64)
    share = np.full(len(sums), 1 / len(sums))
    parts = []
    for start in range(0, resamples, _CHUNK):
        drawn = rng.multinomial(len(sums), share, size=min(_CHUNK, resamples - start)).astype(np.float64)
        parts.append((drawn @ sums) / (drawn @ counts))
    return np.concatenate(parts)


def _effective(groups: Labels) -> float:
    """Kish's effective number of clusters: all of them where they are of one size, about one where one holds everything."""
    counts = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return float(counts.sum() ** 2 / np.square(counts).sum())


def _quantile(confidence: float, clusters: float) -> float:
    """Student's t for a two-sided interval; with fewer than two clusters no interval says anything."""
    return float(t.ppf((1 + confidence) / 2, clusters - 1)) if clusters >= 2 else math.inf
