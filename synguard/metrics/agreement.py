"""Agreement between the labels asked of images and the labels read off them. Pure functions: numbers in, numbers out.

A confusion has a row for each asked level and a column for each read level, shape (..., levels, levels); leading axes are
resamples. Intervals come from the Bayesian bootstrap (Rubin, Annals of Statistics 9, 1981): each image, or each patient,
gets an exponential weight. With half a pseudo-image right and half a pseudo-image wrong on top, the draws of a plain share
are exactly Jeffreys' posterior, so 100 right of 100 does not look certain.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "as_if",
    "balanced_share",
    "bootstrap_weights",
    "confusions",
    "interval_and_bounds",
    "kappa",
    "recalls",
    "share",
    "smoothed",
]

Floats = NDArray[np.float64]


def bootstrap_weights(clusters: NDArray[np.int64], resamples: int, rng: np.random.Generator) -> Floats:
    """Weights (resamples, n), one exponential draw a cluster; `clusters` (n,) numbers the patient of each image from 0."""
    count = int(clusters.max()) + 1 if len(clusters) else 0
    return np.asarray(rng.standard_exponential((resamples, count))[:, clusters], dtype=np.float64)


def confusions(asked: Floats, read: Floats, levels: int, weights: Floats | None = None) -> Floats:
    """Weighted counts of asked level x read level; rows where either is NaN are left out.

    `asked` and `read` (n,) are level indices. Without `weights` the result is (levels, levels); with weights
    (resamples, n) it is (resamples, levels, levels).
    """
    known = ~(np.isnan(asked) | np.isnan(read))
    codes = asked[known].astype(np.int64) * levels + read[known].astype(np.int64)
    if weights is None:
        return np.bincount(codes, minlength=levels * levels).reshape(levels, levels).astype(np.float64)
    cells = np.zeros((len(codes), levels * levels))
    cells[np.arange(len(codes)), codes] = 1.0
    return np.asarray(weights[:, known] @ cells, dtype=np.float64).reshape(-1, levels, levels)


def share(confusion: Floats) -> Floats:
    """Share of images whose asked level was read, shape (...); NaN where there are no images."""
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def recalls(confusion: Floats) -> Floats:
    """Per asked level, the share that was read as asked, shape (..., levels); NaN for a level that was not asked."""
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1))


def balanced_share(confusion: Floats) -> Floats:
    """Mean recall over the levels that were asked, shape (...): a majority class counts once, however large."""
    found = recalls(confusion)
    known = np.isfinite(found)
    return _ratio(np.where(known, found, 0.0).sum(-1), known.sum(-1).astype(np.float64))


def smoothed(confusion: Floats, rng: np.random.Generator) -> Floats:
    """Weighted confusions (resamples, levels, levels) with Jeffreys' pseudo-image in each row that has images.

    Half of it, in expectation, is on the asked level and half is spread over the others.
    """
    levels = confusion.shape[-1]
    right, wrong = rng.gamma(0.5, size=(2, *confusion.shape[:-1]))
    right, wrong = np.where(confusion.sum(-1) > 0, (right, wrong), 0.0)
    spread = wrong[..., None] * (1.0 - np.eye(levels)) / max(1, levels - 1)
    return np.asarray(confusion + spread + right[..., None] * np.eye(levels), dtype=np.float64)


def as_if(reference: Floats, confusion: Floats) -> Floats:
    """The confusion that `reference`'s readings would give, had its levels been asked as often as those of `confusion`.

    Rows that `reference` has no images of are empty.
    """
    rows = reference.sum(-1, keepdims=True)
    rates = np.divide(reference, rows, out=np.zeros_like(reference), where=rows > 0)
    return np.asarray(rates * confusion.sum(-1, keepdims=True), dtype=np.float64)


def kappa(confusion: Floats, weighting: Literal["none", "quadratic"] = "none") -> Floats:
    """Cohen's kappa (1960), or with quadratic weights (1968), shape (...).

    NaN where chance agreement is already perfect, for instance where only one level was asked and read.
    """
    levels = confusion.shape[-1]
    index = np.arange(levels)
    apart = np.abs(index[:, None] - index[None, :]).astype(np.float64)
    cost = apart**2 if weighting == "quadratic" else (apart > 0).astype(np.float64)
    total = confusion.sum((-2, -1), keepdims=True)
    expected = confusion.sum(-1, keepdims=True) * confusion.sum(-2, keepdims=True) / np.where(total > 0, total, np.nan)
    disagreement = _ratio((cost * confusion).sum((-2, -1)), (cost * expected).sum((-2, -1)))
    return np.asarray(1.0 - disagreement, dtype=np.float64)


def interval_and_bounds(draws: Floats, confidence: float = 0.95) -> tuple[tuple[float, float], tuple[float, float]]:
    """The two-sided interval and the pair of one-sided bounds of `draws` (resamples,), NaN draws left out."""
    tail = 1 - confidence
    low, lower, upper, high = np.nanquantile(draws, (tail / 2, tail, 1 - tail, 1 - tail / 2)).tolist()
    return (low, high), (lower, upper)


def _ratio(part: Floats, whole: Floats) -> Floats:
    found = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=found, where=np.asarray(whole) > 0)
    return found
