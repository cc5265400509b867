"""Whether a score tells members from others at all: p-values that hold at any sample size, and what could have been proven.

Arrays in, numbers out. Higher scores mean "more like a member". Exact under the one assumption that a comparison of members
with others needs anyway: that patients of both sides are exchangeable where nothing leaks.

Sources: Phipson and Smyth 2010, doi:10.2202/1544-6115.1585 (permutation p-values are never 0); Holm 1979 (step-down
correction); Wilks 1942, doi:10.1214/aoms/1177731537 (how many new draws exceed an order statistic: beta-binomial).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, betabinom, rankdata

from synguard.metrics.ranks import permutation_p

__all__ = ["best_of_each", "holm", "permutation_test", "rate_p_value", "smallest_provable_rate"]

Floats = NDArray[np.float64]
Labels = NDArray[np.str_]
_CHUNK = 256
"""Permutations held in memory at once."""


def permutation_test(
    positive: Floats, negative: Floats, positive_groups: Labels, negative_groups: Labels, *, permutations: int, seed: int
) -> float:
    """One-sided p-value of the AUC being above chance, with patients as a whole changing sides, whatever the row order.

    The scores must not have been fitted to these labels: a score from cross-validation needs its whole procedure permuted.
    """
    names, codes = np.unique(np.concatenate([positive_groups, negative_groups]), return_inverse=True)
    m = len(positive)
    inside = len(np.unique(codes[:m]))
    ranks = rankdata(np.concatenate([positive, negative]))
    sums: Floats = np.bincount(codes, weights=ranks, minlength=len(names)).astype(np.float64)
    counts = np.bincount(codes, minlength=len(names)).astype(np.float64)
    member = np.zeros(len(names), dtype=bool)
    member[codes[:m]] = True
    observed = _areas(member[None], sums, counts)[0]
    rng = np.random.default_rng([seed, 0x9E57])
    permuted = np.empty(permutations)
    for start in range(0, permutations, _CHUNK):
        rows = slice(start, min(start + _CHUNK, permutations))
        # The `inside` smallest of random numbers are a random set of patients of that size.
        drawn = rng.random((rows.stop - start, len(names)))
        chosen = drawn.argpartition(inside - 1, axis=1)[:, :inside]
        sides = np.zeros(drawn.shape, dtype=bool)
        np.put_along_axis(sides, chosen, True, axis=1)
        permuted[rows] = _areas(sides, sums, counts)
    # Sums of the same ranks in another order may differ in the last bit, and must count as equal.
    return permutation_p(float(observed) - 1e-9, permuted)


def best_of_each(scores: Floats, groups: Labels) -> Floats:
    """The highest score of each patient, in the order of their names."""
    names, codes = np.unique(groups, return_inverse=True)
    best = np.full(len(names), -np.inf)
    np.maximum.at(best, codes, scores)
    return best


def rate_p_value(positive: Floats, negative: Floats, fpr: float) -> float:
    """One-sided p-value of more than a share `fpr` of the positives being named; one score a patient. 1 where too few.

    The threshold is the first negative that breaks the rate. How many positives lie above it, if all are exchangeable, is
    beta-binomial, so that the threshold's own error is paid for.
    """
    m, n = len(positive), len(negative)
    allowed = math.floor(fpr * n + 1e-9)
    if allowed < 1 or m == 0:
        return 1.0
    threshold = np.sort(negative)[::-1][allowed]
    named = int(np.count_nonzero(positive > threshold))
    return float(betabinom.sf(named - 1, m, allowed + 1, n - allowed))


def smallest_provable_rate(
    positives: int, negatives: int, fpr: float, *, confidence: float = 0.95, power: float = 0.8
) -> float | None:
    """Smallest true positive rate at `fpr` that `rate_p_value` proves above chance with probability `power`.

    None where no rate could be proven, or where the negatives are too few to measure `fpr` at all.
    """
    allowed = math.floor(fpr * negatives + 1e-9)
    if allowed < 1:
        return None
    needed = int(betabinom.isf(1 - confidence, positives, allowed + 1, negatives - allowed)) + 1
    if needed > positives:
        return None
    return float(beta.ppf(power, needed, positives - needed + 1))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted so that with 5 % none of the true nulls falls below 0.05, in the given order (Holm 1979)."""
    order = np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable")
    factors = np.arange(len(order), 0, -1)
    stepped = np.minimum(np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors), 1.0)
    adjusted = np.empty(len(order))
    adjusted[order] = stepped
    return tuple(float(value) for value in adjusted)


def _areas(members: NDArray[np.bool_], sums: Floats, counts: Floats) -> Floats:
    """The AUC of each row of `members`, from rank sums and images by patient."""
    m = members @ counts
    n = counts.sum() - m
    return np.asarray((members @ sums - m * (m + 1) / 2) / (m * n), dtype=np.float64)
