"""Distances between two sets of feature vectors. Pure functions: float arrays (n, dimension) in, numbers out, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

__all__ = [
    "Neighbourhoods",
    "as_array",
    "block_jackknife",
    "blocks_of",
    "discriminant_scores",
    "frechet_distance",
    "kernel_distance",
    "nearest",
    "neighbourhoods",
    "rank_auc",
    "squared_distances",
]

Floats = NDArray[np.float64]
_BLOCK = 1000


def frechet_distance(first: Floats, second: Floats) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets (Dowson and Landau 1982; Heusel et al. 2017).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2), with sample covariances and no shrinkage. Both sets need two rows.
    """
    _need(first, second, rows=2)
    first, second = first.astype(np.float64), second.astype(np.float64)
    shift = first.mean(0) - second.mean(0)
    cov1, cov2 = np.atleast_2d(np.cov(first, rowvar=False)), np.atleast_2d(np.cov(second, rowvar=False))
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ cov2 @ root)
    overlap = 2.0 * np.sqrt(np.clip(cross, 0.0, None)).sum()
    # Rounding can leave a tiny negative number for equal sets.
    return float(max(0.0, shift @ shift + np.trace(cov1) + np.trace(cov2) - overlap))


def kernel_distance(first: Floats, second: Floats) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / dimension + 1)^3 (Binkowski et al. 2018).

    The whole sets are used, not the mean over random subsets. Both sets need two rows. Can be slightly negative.
    """
    _need(first, second, rows=2)
    first, second = first.astype(np.float64), second.astype(np.float64)
    dimension = first.shape[1]
    within = 0.0
    for rows in (first, second):
        kernel = (rows @ rows.T / dimension + 1.0) ** 3
        n = len(rows)
        within += (kernel.sum() - np.trace(kernel)) / (n * (n - 1))
    return float(within - 2.0 * ((first @ second.T / dimension + 1.0) ** 3).mean())


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: Floats, generated: Floats, neighbours: int = 5) -> Neighbourhoods:
    """How two sets lie in the balls that reach from each point to its `neighbours`-th nearest point of the same set.

    Each set needs more than `neighbours` rows.
    """
    _need(real, generated, rows=neighbours + 1)
    across = squared_distances(real, generated)
    real_reach = _reach(real, neighbours)
    inside = across < real_reach[:, None]
    return Neighbourhoods(
        precision=float(inside.any(0).mean()),
        recall=float((across < _reach(generated, neighbours)[None, :]).any(1).mean()),
        density=float(inside.sum(0).mean() / neighbours),
        coverage=float((across.min(1) < real_reach).mean()),
    )


def discriminant_scores(
    real: Floats, generated: Floats, real_folds: NDArray[np.int64], generated_folds: NDArray[np.int64]
) -> Floats:
    """Out-of-fold scores (n_real + n_generated,) of a ridge discriminant, real rows first; high means generated.

    Features are standardised on the training folds; either side weighs 1 in total, beside a ridge of 0.01.
    """
    rows = np.concatenate((real, generated)).astype(np.float64)
    folds = np.concatenate((real_folds, generated_folds))
    is_generated = np.arange(len(rows)) >= len(real)
    scores = np.zeros(len(rows))
    for fold in np.unique(folds):
        train = folds != fold
        mean, spread = rows[train].mean(0), rows[train].std(0)
        scaled = (rows - mean) / np.where(spread > 1e-12, spread, 1.0)
        # Each side gets the same total weight, so that the larger one does not set the boundary.
        weight = np.where(
            is_generated[train], 1 / max(1, is_generated[train].sum()), 1 / max(1, (~is_generated[train]).sum())
        )
        target = np.where(is_generated[train], 1.0, -1.0)
        inputs = scaled[train]
        gram = inputs.T @ (inputs * weight[:, None]) + 0.01 * np.eye(rows.shape[1])
        scores[~train] = scaled[~train] @ np.linalg.solve(gram, inputs.T @ (weight * target))
    return scores


def rank_auc(negatives: Floats, positives: Floats) -> float:
    """Share of pairs in which the positive scores higher, ties counting half."""
    _need(negatives[:, None], positives[:, None], rows=1)
    ranks = rankdata(np.concatenate((negatives, positives)))[len(negatives) :]
    n = len(positives)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * len(negatives)))


def blocks_of(groups: NDArray[np.str_] | NDArray[np.int64], blocks: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A block number (n,) for each row, drawn so that rows of one group share a block and blocks are about equal."""
    _, group = np.unique(groups, return_inverse=True)
    order = rng.permutation(int(group.max()) + 1)
    return np.asarray(order[group] % blocks, dtype=np.int64)


def block_jackknife(
    statistic: Callable[[NDArray[np.bool_], NDArray[np.bool_]], Floats],
    first_blocks: NDArray[np.int64],
    second_blocks: NDArray[np.int64],
    confidence: float = 0.95,
) -> tuple[Floats, Floats, Floats]:
    """Value, lower and upper end of the interval of a vector of statistics, by leaving out one block at a time.

    `statistic` takes two masks, the rows kept of either set, and returns (k,). Block b leaves both sets at once
    (Kunsch 1989); the interval is the value plus and minus Student's t times the jackknife error.
    """
    whole = statistic(np.ones(len(first_blocks), bool), np.ones(len(second_blocks), bool))
    labels = np.unique(np.concatenate((first_blocks, second_blocks)))
    left = np.stack([statistic(first_blocks != label, second_blocks != label) for label in labels])
    count = len(labels)
    error = np.sqrt((count - 1) / count * ((left - left.mean(0)) ** 2).sum(0))
    reach = float(t.ppf((1 + confidence) / 2, count - 1)) * error
    return whole, whole - reach, whole + reach


def nearest(queries: Floats, targets: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Which target (n,) is nearest to each query, the first of several at one distance, and its Euclidean distance (n,).

    The distance is NaN where the query or any target is not finite; the place is then 0.
    """
    places, distances = np.zeros(len(queries), dtype=np.int64), np.full(len(queries), np.nan)
    if not np.isfinite(targets).all():
        return places, distances
    usable = np.flatnonzero(np.isfinite(queries).all(axis=1))
    for start in range(0, len(usable), _BLOCK):
        rows = usable[start : start + _BLOCK]
        least = np.full(len(rows), np.inf)
        for first in range(0, len(targets), 10 * _BLOCK):
            squares = squared_distances(queries[rows], targets[first : first + 10 * _BLOCK])
            found = squares.argmin(axis=1)
            nearer = squares[np.arange(len(rows)), found] < least
            places[rows[nearer]] = found[nearer] + first
            least = np.minimum(least, squares.min(axis=1))
        # Expanding the square cancels badly near zero, where copies are, so the winner is measured anew.
        distances[rows] = np.linalg.norm(queries[rows] - targets[places[rows]], axis=1)
    return places, distances


def squared_distances(first: Floats, second: Floats) -> Floats:
    """Squared Euclidean distances (n, m), never below 0."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    centre = second.mean(0)  # Distances do not change, and cancellation is milder near the origin.
    first, second = first - centre, second - centre
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None, :] - 2.0 * first @ second.T
    return np.asarray(np.maximum(squares, 0.0), dtype=np.float64)


def as_array(found: Neighbourhoods) -> Floats:
    """Precision, recall, density, coverage as an array (4,)."""
    return np.array(astuple(found), dtype=np.float64)


def _reach(rows: Floats, neighbours: int) -> Floats:
    distances = squared_distances(rows, rows)
    np.fill_diagonal(distances, 0.0)
    return np.asarray(np.partition(distances, neighbours, axis=1)[:, neighbours], dtype=np.float64)


def _need(first: Floats, second: Floats, rows: int) -> None:
    if first.shape[1:] != second.shape[1:] or min(len(first), len(second)) < rows:
        raise ValueError(
            f"features: found {first.shape} and {second.shape}, expected at least {rows} rows each and one dimension"
        )
