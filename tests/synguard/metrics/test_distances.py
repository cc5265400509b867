from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.metrics import roc_auc_score
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from synguard.metrics.distances import (
    block_jackknife,
    blocks_of,
    discriminant_scores,
    frechet_distance,
    kernel_distance,
    nearest,
    neighbourhoods,
    rank_auc,
    squared_distances,
)


def sets(seed: int = 0, n: int = 60, m: int = 45, dimension: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((dimension, dimension))
    return rng.standard_normal((n, dimension)) @ mixing, rng.standard_normal((m, dimension)) * 1.3 + 0.4


class Pixels(torch.nn.Module):
    """Takes "images" (n, 3, 2, 2) apart into 12 features, so that torchmetrics' own formulas can be fed features."""

    num_features = 12

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).double()


def as_images(features: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(features).reshape(-1, 3, 2, 2)


def test_frechet_against_torchmetrics() -> None:
    first, second = sets()
    theirs = FrechetInceptionDistance(feature=Pixels(), normalize=False, input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    theirs.update(as_images(first), real=True)
    theirs.update(as_images(second), real=False)
    assert frechet_distance(first, second) == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_frechet_against_the_formula_with_a_matrix_square_root() -> None:
    first, second = sets(1)
    cov1, cov2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    shift = first.mean(0) - second.mean(0)
    expected = shift @ shift + np.trace(cov1 + cov2 - 2 * sqrtm(cov1 @ cov2).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)


def test_frechet_known_answers() -> None:
    first, _ = sets(2)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, first + 2) == pytest.approx(4 * first.shape[1])
    one = np.array([[0.0], [2.0]])
    assert frechet_distance(one, one * 3) == pytest.approx((3 - 1) ** 2 + 2 * (3 - 1) ** 2)


def test_frechet_with_fewer_rows_than_columns() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((10, 40)), rng.standard_normal((12, 40))
    centred = [(rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (first, second)]
    overlap = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    shift = first.mean(0) - second.mean(0)
    expected = shift @ shift + (centred[0] ** 2).sum() + (centred[1] ** 2).sum() - 2 * overlap
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
def test_kernel_against_torchmetrics() -> None:
    first, second = sets(4, n=50, m=50)
    theirs = KernelInceptionDistance(feature=Pixels(), subsets=1, subset_size=50).set_dtype(torch.float64)
    theirs.update(as_images(first), real=True)
    theirs.update(as_images(second), real=False)
    assert kernel_distance(first, second) == pytest.approx(float(theirs.compute()[0]), rel=1e-6)


def test_kernel_is_unbiased() -> None:
    rng = np.random.default_rng(5)
    found = [kernel_distance(*rng.standard_normal((2, 20, 4))) for _ in range(400)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 20
    assert min(found) < 0


def brute(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """The definitions of Kynkaanniemi et al. and Naeem et al., one pair at a time."""

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).sum()))

    reach_real = [sorted(distance(a, b) for b in real)[k] for a in real]
    reach_generated = [sorted(distance(a, b) for b in generated)[k] for a in generated]
    precision = np.mean([any(distance(r, g) < reach for r, reach in zip(real, reach_real, strict=True)) for g in generated])
    recall = np.mean(
        [any(distance(r, g) < reach for g, reach in zip(generated, reach_generated, strict=True)) for r in real]
    )
    inside = [[distance(r, g) < reach for g in generated] for r, reach in zip(real, reach_real, strict=True)]
    return (
        float(precision),
        float(recall),
        float(np.sum(inside) / (k * len(generated))),
        float(np.mean([any(i) for i in inside])),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbourhoods_against_brute_force(k: int) -> None:
    first, second = sets(6, n=30, m=25, dimension=3)
    found = neighbourhoods(first, second * 0.7, k)
    expected = brute(first, second * 0.7, k)
    np.testing.assert_allclose((found.precision, found.recall, found.density, found.coverage), expected)


def test_neighbourhoods_of_far_sets_are_empty() -> None:
    first, second = sets(7)
    found = neighbourhoods(first, second + 1000)
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_collapse_keeps_precision_and_loses_recall_and_coverage() -> None:
    rng = np.random.default_rng(8)
    real = rng.standard_normal((200, 2))
    found = neighbourhoods(real, rng.standard_normal((200, 2)) * 0.05)
    assert found.precision > 0.95
    assert found.recall < 0.1
    assert found.coverage < 0.3


@pytest.mark.parametrize("shapes", [((1, 3), (5, 3)), ((5, 3), (5, 4))])
def test_too_few_rows_or_different_columns_are_refused(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="features: found"):
        frechet_distance(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_rank_auc_against_scikit_learn() -> None:
    rng = np.random.default_rng(9)
    low, high = rng.integers(0, 8, 50).astype(float), rng.integers(2, 10, 70).astype(float)
    expected = roc_auc_score(np.repeat([0, 1], [50, 70]), np.concatenate((low, high)))
    assert rank_auc(low, high) == pytest.approx(expected)


def test_discriminant_tells_what_differs_and_not_what_does_not() -> None:
    rng = np.random.default_rng(10)
    real, same, moved = rng.standard_normal((3, 300, 30))
    moved[:, 4] += 1.5
    folds = np.arange(300) % 5
    for others, low, high in ((same, 0.4, 0.6), (moved, 0.8, 0.95)):
        scores = discriminant_scores(real, others, folds, folds)
        assert low < rank_auc(scores[:300], scores[300:]) < high


def test_discriminant_never_scores_a_row_it_learned_from() -> None:
    """A column that numbers the rows of each fold's own side would give an AUC of 1 if folds leaked."""
    rng = np.random.default_rng(11)
    rows = rng.standard_normal((40, 400))  # more columns than rows: anything learned is learned perfectly
    folds = np.arange(20) % 5
    scores = discriminant_scores(rows[:20], rows[20:], folds, folds)
    assert 0.2 < rank_auc(scores[:20], scores[20:]) < 0.8


def test_blocks_keep_groups_together() -> None:
    groups = np.repeat(np.array([f"p{i}" for i in range(40)]), 3)
    blocks = blocks_of(groups, 8, np.random.default_rng(0))
    assert all(len(np.unique(blocks[groups == group])) == 1 for group in np.unique(groups))
    assert set(np.bincount(blocks)) == {15}


def test_jackknife_interval_of_a_mean_covers() -> None:
    rng = np.random.default_rng(12)
    covered = []
    for _ in range(300):
        first, second = rng.normal(0, 1, 100), rng.normal(0.5, 2, 100)
        value, low, high = block_jackknife(
            lambda a, b, first=first, second=second: np.array([second[b].mean() - first[a].mean()]),
            np.arange(100) % 10,
            np.arange(100) % 10,
        )
        assert low[0] < value[0] < high[0]
        covered.append(low[0] <= 0.5 <= high[0])
    assert 0.9 < np.mean(covered) < 0.99


def test_nearest_is_exact_even_at_zero():
    rng = np.random.default_rng(0)
    targets, queries = rng.normal(1000, 1, (2300, 5)), rng.normal(1000, 1, (1100, 5))
    queries[7] = targets[2200]
    every = np.sqrt(((queries[:, None] - targets[None]) ** 2).sum(-1))
    places, found = nearest(queries, targets)
    assert np.allclose(found, every.min(1))
    assert (places == every.argmin(1)).all()
    assert found[7] == 0
    assert np.allclose(squared_distances(queries[:50], targets), every[:50] ** 2)


def test_nearest_searches_all_targets_and_takes_the_first_of_equals():
    # More targets than are looked at at a time, and the same one again behind them.
    targets = np.arange(25_000.0)[:, None]
    targets[24_000] = targets[3]
    places, found = nearest(np.array([[3.0], [23_999.2], [10_000.4]]), targets)
    assert places.tolist() == [3, 23_999, 10_000]
    assert found == pytest.approx([0.0, 0.2, 0.4])


def test_nearest_of_what_is_not_finite_is_not_a_number():
    queries, targets = np.array([[0.0], [np.inf], [2.0]]), np.array([[1.0], [2.5]])
    assert np.array_equal(nearest(queries, targets)[1], [1.0, np.nan, 0.5], equal_nan=True)
    targets[0, 0] = np.nan
    assert np.isnan(nearest(queries, targets)[1]).all()
