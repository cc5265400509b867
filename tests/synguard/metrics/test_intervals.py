"""The exact intervals, held against independent implementations."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from statsmodels.stats.proportion import proportion_confint

from synguard.metrics.intervals import (
    clopper_pearson,
    clopper_pearson_bounds,
    minimum_detectable_copies,
    smallest_n_for_rate,
    smallest_n_for_recall,
)

CASES = [(0, 1), (1, 1), (0, 300), (3, 300), (98, 100), (100, 100), (5000, 10000)]


@pytest.mark.parametrize(("successes", "n"), CASES)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_two_sided_interval_is_statsmodels_exact_one(successes, n, confidence):
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="beta")
    assert clopper_pearson(successes, n, confidence) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), CASES)
def test_one_sided_bounds_are_those_of_scipys_binomial_test(successes, n):
    low, high = clopper_pearson_bounds(successes, n)
    below = binomtest(successes, n, alternative="greater").proportion_ci(0.95, "exact")
    above = binomtest(successes, n, alternative="less").proportion_ci(0.95, "exact")
    assert (low, high) == pytest.approx((below.low, above.high), abs=1e-9)


def test_known_answers():
    assert clopper_pearson_bounds(0, 300)[1] == pytest.approx(0.009936, abs=1e-6)
    assert clopper_pearson_bounds(98, 100)[0] == pytest.approx(0.9384, abs=1e-4)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("n", [10, 37, 200])
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.97])
def test_coverage_is_never_below_nominal(n, rate):
    counts = np.arange(n + 1)
    covered = [clopper_pearson(int(k), n)[0] <= rate <= clopper_pearson(int(k), n)[1] for k in counts]
    assert binom.pmf(counts, n, rate)[covered].sum() >= 0.95


@pytest.mark.parametrize("wrong", [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(wrong):
    with pytest.raises(ValueError, match="successes"):
        clopper_pearson(*wrong)


@pytest.mark.parametrize("limit", [0.0001, 0.001, 0.01, 0.03, 0.2])
def test_smallest_n_for_rate_is_the_first_that_can_pass(limit):
    n = smallest_n_for_rate(limit)
    assert clopper_pearson_bounds(0, n)[1] <= limit < clopper_pearson_bounds(0, n - 1)[1]


@pytest.mark.parametrize("limit", [0.5, 0.9, 0.99])
def test_smallest_n_for_recall_is_the_first_that_can_pass(limit):
    n = smallest_n_for_recall(limit)
    assert clopper_pearson_bounds(n, n)[0] >= limit > clopper_pearson_bounds(n - 1, n - 1)[0]


def test_minimum_detectable_copies():
    assert minimum_detectable_copies(0.0) == math.inf
    assert minimum_detectable_copies(1.0) == 1
    copies = minimum_detectable_copies(0.6)
    assert 1 - 0.4**copies >= 0.95 > 1 - 0.4 ** (copies - 1)
