"""The figures of a reader study. Pure functions: arrays in, numbers out.

Sources: DeLong, DeLong and Clarke-Pearson 1988 (AUC of several readers of the same images, and its covariance); Schuirmann
1987 (two one-sided tests: equivalence at 5 % where the interval at 90 % lies within the margin); van Rijsbergen 1979 (F1);
Rubin 1981 (Bayesian bootstrap, here over images, so that readers of one image count as one piece of evidence).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from synguard.metrics.agreement import bootstrap_weights, confusions, interval_and_bounds, kappa, smoothed
from synguard.metrics.intervals import clopper_pearson, clopper_pearson_bounds
from synguard.metrics.ranks import Auc

__all__ = ["Spread", "Verdict", "cohens_kappa", "f1", "f1_of_level", "mean_auc", "verdict"]

Floats = NDArray[np.float64]
Verdict = Literal["equivalent", "not equivalent", "undecided"]
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure with its two-sided interval and its pair of one-sided bounds; None where there is no figure."""

    value: float | None
    interval: tuple[float, float] | None
    bounds: tuple[float, float] | None


def mean_auc(synthetic: Floats, real: Floats, confidence: float = 0.95) -> Spread:
    """Mean over readers of the AUC of ratings (readers, images), where higher means "more surely synthetic".

    Readers are taken as they are: the spread is over images, by DeLong's covariance, which for one reader is DeLong's
    variance. Where it is 0 the evidence is still finite: if all images were told apart, pairs of images that all fell the
    same way bound the AUC (Clopper and Pearson); if ratings do not differ, nothing is known. Needs two images a side.
    """
    (readers, m), n = synthetic.shape, real.shape[1]
    above, below = np.empty((readers, m)), np.empty((readers, n))
    for reader in range(readers):
        ranks = rankdata(np.concatenate([synthetic[reader], real[reader]]))
        above[reader] = (ranks[:m] - rankdata(synthetic[reader])) / n
        below[reader] = 1 - (ranks[m:] - rankdata(real[reader])) / m
    variance = above.mean(0).var(ddof=1) / m + below.mean(0).var(ddof=1) / n
    found = Auc(float(above.mean()), float(np.sqrt(variance)), 1.0)
    if variance > 0:
        return Spread(found.value, found.interval(confidence), found.bounds(confidence))
    pairs = min(m, n)
    ends = [exact(pairs, pairs, confidence)[0] for exact in (clopper_pearson, clopper_pearson_bounds)]
    if found.value == 1:
        return Spread(1.0, (ends[0], 1.0), (ends[1], 1.0))
    if found.value == 0:
        return Spread(0.0, (0.0, 1 - ends[0]), (0.0, 1 - ends[1]))
    return Spread(found.value, (0.0, 1.0), (0.0, 1.0))


def verdict(bounds: tuple[float, float], margin: float) -> Verdict:
    """Whether an AUC is within `margin` of 0.5, beyond it, or neither was shown; `bounds` are one-sided ones at 95 %."""
    lower, upper = bounds
    if 0.5 - margin <= lower and upper <= 0.5 + margin:
        return "equivalent"
    return "not equivalent" if lower > 0.5 + margin or upper < 0.5 - margin else "undecided"


def f1(confusion: Floats, level: int) -> Floats:
    """F1 of one level, shape (...): 2 TP / (2 TP + FP + FN), rows being true and columns said. NaN where all three are 0."""
    hits = confusion[..., level, level]
    whole = confusion[..., level, :].sum(-1) + confusion[..., :, level].sum(-1)
    found = np.full(np.shape(whole), np.nan)
    np.divide(2 * hits, whole, out=found, where=np.asarray(whole) > 0)
    return found


def f1_of_level(true: Floats, said: Floats, levels: int, level: int, images: NDArray[np.int64]) -> Spread:
    """F1 of `level` among answers (n,), where `true` and `said` are level indices and `images` says on which image each is.

    NaN in `said` is "cannot tell": a miss of the true level, and no false alarm for any. NaN in `true` is left out.
    """
    known = ~np.isnan(true)
    _, clusters = np.unique(images[known], return_inverse=True)
    # One more column, which is nobody's level, for what could not be told.
    told = np.where(np.isnan(said), float(levels), said)[known]
    value = float(f1(confusions(true[known], told, levels + 1), level)) if known.any() else np.nan
    if np.isnan(value):
        return Spread(None, None, None)
    rng = np.random.default_rng([len(told), level])
    weights = bootstrap_weights(clusters.astype(np.int64), _RESAMPLES, rng)
    draws = f1(smoothed(confusions(true[known], told, levels + 1, weights), rng), level)
    return _around(value, draws)


def cohens_kappa(first: Floats, second: Floats) -> Spread:
    """Cohen's kappa (1960) of two readers' answers (n,), 0 or 1; no figure where both gave one answer only."""
    value = float(kappa(confusions(first, second, 2)))
    if np.isnan(value):
        return Spread(None, None, None)
    rng = np.random.default_rng(len(first))
    weights = bootstrap_weights(np.arange(len(first)), _RESAMPLES, rng)
    return _around(value, kappa(smoothed(confusions(first, second, 2, weights), rng)))


def _around(value: float, draws: Floats) -> Spread:
    """The value with the ends of its draws; these are smoothed, so that a value of 1 may lie just above all of them."""
    (low, high), (lower, upper) = interval_and_bounds(draws)
    return Spread(value, (min(low, value), max(high, value)), (min(lower, value), max(upper, value)))
