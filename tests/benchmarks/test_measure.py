"""Known answers of the statistics of the planted-copies benchmark."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.copies.measure import Count, average_precision, expected_false, overlaps, reduced, threshold, total


@pytest.mark.parametrize(
    ("n", "rate", "expected"),
    [
        # 1..n: with k = floor(rate * (n + 1)) - 1 scores allowed at or above, the threshold is the (k + 1)th largest.
        (99, 0.01, 99.0),
        (199, 0.01, 198.0),
        (1500, 0.01, 1486.0),
        (1500, 0.001, 1500.0),
        (9, 0.5, 5.0),
    ],
)
def test_the_conformal_threshold(n: int, rate: float, expected: float):
    found = threshold(np.random.default_rng(0).permutation(np.arange(1.0, n + 1)), rate)
    assert (found.value, found.extrapolated) == (expected, False)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_a_score_passes_exactly_where_its_conformal_p_value_is_at_most_the_rate(rate: float):
    rng = np.random.default_rng(1)
    calibration = rng.integers(0, 40, 250).astype(float)
    scores = np.arange(-1.0, 42.0)
    p = (1 + (calibration[None] >= scores[:, None]).sum(1)) / (len(calibration) + 1)
    assert np.array_equal(scores > threshold(calibration, rate).value, p <= rate)


def test_a_rate_beyond_the_calibration_is_read_off_the_straight_tail():
    n = 400
    # Scores whose survival is exactly exp(-s): the line is the tail itself.
    scores = -np.log(np.arange(1, n + 1) / (n + 1))
    found = threshold(scores, 0.001)
    assert found.extrapolated
    assert found.value == pytest.approx(math.log(1000))


@pytest.mark.parametrize("scores", [np.zeros(50), np.array([1.0])])
def test_scores_without_a_tail_give_the_largest(scores: np.ndarray):
    assert threshold(scores, 0.001).value == scores.max()


def test_an_extrapolated_threshold_is_not_below_the_largest_score():
    scores = np.append(np.linspace(0, 1, 300), 50.0)
    assert threshold(scores, 0.001).value >= 50


def test_realised_rates_lie_in_the_expected_range_as_often_as_they_should():
    rng = np.random.default_rng(0)
    n, tests, rate, inside = 199, [300, 200], 0.05, []
    low, high = expected_false(n, rate, tests)
    for _ in range(1000):
        false = sum(int((rng.normal(size=m) > threshold(rng.normal(size=n), rate).value).sum()) for m in tests)
        inside.append(low <= false <= high)
    assert 0.94 < np.mean(inside) < 0.98


def test_the_expected_range_is_wider_than_the_binomial_one_and_unknown_where_extrapolated():
    low, high = expected_false(999, 0.01, [10_000])
    assert low < binom.ppf(0.025, 10_000, 0.01) < binom.ppf(0.975, 10_000, 0.01) < high
    assert expected_false(900, 0.001, [100]) is None


def test_a_threshold_needs_scores():
    with pytest.raises(ValueError, match="found no scores"):
        threshold(np.zeros(0), 0.01)


@pytest.mark.parametrize(
    ("scores", "right", "positives", "expected"),
    [
        ([3, 2, 1], [1, 1, 0], 2, 1.0),
        ([3, 2, 1], [0, 1, 1], 2, (1 / 2 + 2 / 3) / 2),
        # Two copies were planted, of which one was found.
        ([3, 2], [1, 0], 2, 0.5),
        # Ties: the false answers come first.
        ([1, 1, 1, 1], [1, 0, 1, 0], 2, (1 / 3 + 2 / 4) / 2),
        ([2, 1, 1], [1, 1, 0], 2, (1 + 2 / 3) / 2),
        ([2, 1], [0, 0], 3, 0.0),
    ],
)
def test_average_precision(scores: list[float], right: list[int], positives: int, expected: float):
    for order in (np.arange(len(scores)), np.arange(len(scores))[::-1]):
        found = average_precision(np.array(scores, float)[order], np.array(right, bool)[order], positives)
        assert found == pytest.approx(expected)


def test_masks_on_a_coarser_grid():
    masks = np.zeros((1, 8, 8), bool)
    masks[0, :4, :5] = True
    assert reduced(masks, 4).tolist() == [[[1, 1, 1, 0], [1, 1, 1, 0], [0] * 4, [0] * 4]]
    with pytest.raises(ValueError, match="expected a divisor of 8"):
        reduced(masks, 3)


def test_overlap():
    empty, full, half = np.zeros((4, 4), bool), np.ones((4, 4), bool), np.eye(4, dtype=bool)
    found = np.stack([full, half, full, empty, empty])
    truth = np.stack([full, full, empty, empty, full])
    assert overlaps(found, truth).tolist() == [1.0, 0.25, 0.0, 1.0, 0.0]


def test_counts_add_up():
    both = total([Count(3, 10), Count.of(np.array([True, False]))])
    assert both == Count(4, 12)
    assert both.share == pytest.approx(1 / 3)
    assert Count(0, 300).interval == (0.0, pytest.approx(0.01222, abs=1e-5))
    assert math.isnan(Count(0, 0).share)
