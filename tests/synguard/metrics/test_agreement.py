from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, confusion_matrix

from synguard.metrics.agreement import (
    as_if,
    balanced_share,
    bootstrap_weights,
    confusions,
    interval_and_bounds,
    kappa,
    recalls,
    share,
    smoothed,
)


def drawn(seed: int, n: int = 200, levels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    asked = rng.integers(levels, size=n)
    read = np.where(rng.random(n) < 0.6, asked, rng.integers(levels, size=n))
    return asked.astype(float), read.astype(float)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_against_scikit_learn(seed: int) -> None:
    asked, read = drawn(seed)
    found = confusions(asked, read, 4)
    np.testing.assert_array_equal(found, confusion_matrix(asked, read, labels=range(4)))
    assert share(found) == pytest.approx((asked == read).mean())
    assert balanced_share(found) == pytest.approx(balanced_accuracy_score(asked, read))
    assert kappa(found) == pytest.approx(cohen_kappa_score(asked, read))
    assert kappa(found, "quadratic") == pytest.approx(cohen_kappa_score(asked, read, weights="quadratic"))


def test_missing_labels_are_left_out() -> None:
    asked, read = np.array([0.0, np.nan, 1.0, 1.0]), np.array([0.0, 1.0, np.nan, 0.0])
    np.testing.assert_array_equal(confusions(asked, read, 2), [[1, 0], [1, 0]])


def test_whole_weights_repeat_images() -> None:
    asked, read = drawn(1, n=30)
    weights = np.random.default_rng(0).integers(0, 4, (5, 30)).astype(float)
    found = confusions(asked, read, 4, weights)
    for row, counts in zip(weights.astype(int), found, strict=True):
        np.testing.assert_allclose(counts, confusions(np.repeat(asked, row), np.repeat(read, row), 4))


def test_figures_of_resamples_are_those_of_each() -> None:
    stack = np.stack([confusions(*drawn(seed), 4) for seed in range(3)])
    for figure in (share, balanced_share, kappa, recalls):
        np.testing.assert_allclose(figure(stack), [figure(one) for one in stack])


def test_a_majority_does_not_move_the_balanced_share() -> None:
    always_first = np.array([[980.0, 0.0], [20.0, 0.0]])
    assert share(always_first) == pytest.approx(0.98)
    assert balanced_share(always_first) == pytest.approx(0.5)
    assert kappa(always_first) == pytest.approx(0.0)


def test_undefined_figures_are_nan() -> None:
    one_level = np.array([[5.0, 0.0], [0.0, 0.0]])
    assert np.isnan(kappa(one_level))
    assert np.isnan(recalls(one_level)[1])
    assert np.isnan(share(np.zeros((2, 2))))


def test_as_if_keeps_the_readings_and_takes_over_how_often_levels_were_asked() -> None:
    ceiling, candidates = np.array([[8.0, 2.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]), np.diag([10.0, 100.0, 7.0])
    expected = as_if(ceiling, candidates)
    np.testing.assert_allclose(expected, [[8, 2, 0], [25, 75, 0], [0, 0, 0]])


def test_smoothed_draws_of_a_share_are_jeffreys_posterior() -> None:
    rng = np.random.default_rng(0)
    right, n = 27, 30
    asked = np.zeros(n)
    read = (np.arange(n) >= right).astype(float)
    weights = bootstrap_weights(np.arange(n), 20_000, rng)
    draws = recalls(smoothed(confusions(asked, read, 2, weights), rng))[:, 0]
    (low, high), (lower, upper) = interval_and_bounds(draws)
    posterior = beta(right + 0.5, n - right + 0.5)
    np.testing.assert_allclose((low, lower, upper, high), posterior.ppf((0.025, 0.05, 0.95, 0.975)), atol=0.006)


def test_all_right_is_not_certain() -> None:
    rng = np.random.default_rng(0)
    draws = share(smoothed(confusions(np.zeros(100), np.zeros(100), 2, bootstrap_weights(np.arange(100), 4000, rng)), rng))
    assert 0.95 < np.quantile(draws, 0.05) < 0.99


def test_images_of_one_patient_weigh_alike() -> None:
    clusters = np.array([0, 0, 1, 2, 2])
    weights = bootstrap_weights(clusters, 50, np.random.default_rng(0))
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 4])
    assert not np.array_equal(weights[:, 0], weights[:, 2])
