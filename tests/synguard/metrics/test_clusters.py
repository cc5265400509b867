"""Clustered means against known answers, independent implementations and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from synguard.metrics.clusters import clustered_share, confidence_of_each, onset, relative_gap, resampled_gaps


def alone(n):
    return np.arange(n)


def test_the_gap_is_relative_to_the_others():
    found = relative_gap(np.full(40, 3.0), np.full(60, 4.0), alone(40), alone(60), seed=0)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_its_error_is_that_of_the_delta_method():
    """Var(m / o) = (m / o)^2 (var(m) / (n m^2) + var(o) / (n o^2)), Student's t with n - 1 degrees of freedom."""
    rng = np.random.default_rng(0)
    members, others = rng.lognormal(0, 0.5, 300), rng.lognormal(0.1, 0.5, 300)
    found = relative_gap(members, others, alone(300), alone(300), seed=1, resamples=20_000)
    ratio = members.mean() / others.mean()
    relative = [x.var(ddof=1) / 300 / x.mean() ** 2 for x in (members, others)]
    reach = t.ppf(0.975, 299) * ratio * math.sqrt(sum(relative))
    assert found.value == pytest.approx(1 - ratio)
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.04)
    assert (1 - found.low) * (1 - found.high) == pytest.approx(ratio**2)


def test_pictures_of_one_patient_are_one_piece_of_evidence():
    rng = np.random.default_rng(0)
    patients = rng.lognormal(0, 0.5, (2, 50))
    once = relative_gap(*patients, alone(50), alone(50), seed=0)
    pictures = np.repeat(patients, 10, axis=1)
    many = relative_gap(*pictures, np.repeat(alone(50), 10), np.repeat(alone(50), 10), seed=0)
    assert many.value == pytest.approx(once.value)
    assert many.high - many.low == pytest.approx(once.high - once.low)
    careless = relative_gap(*pictures, alone(500), alone(500), seed=0)
    assert careless.high - careless.low < 0.5 * (many.high - many.low)


@pytest.mark.parametrize("confidence", [0.95, 0.998])
def test_gaps_of_equal_sides_hold_zero_as_often_as_said(confidence):
    rng = np.random.default_rng(2)
    missed = 0
    for trial in range(600):
        members, others = rng.lognormal(0, 0.6, 40), rng.lognormal(0, 0.6, 40)
        found = relative_gap(members, others, alone(40), alone(40), confidence=confidence, resamples=300, seed=trial)
        missed += not found.low <= 0 <= found.high
    assert missed / 600 <= (1 - confidence) + 3 * math.sqrt(confidence * (1 - confidence) / 600)
    assert missed or confidence > 0.99, "an interval that never misses is too wide"


def test_resampled_gaps_spread_around_the_gap():
    rng = np.random.default_rng(3)
    members, others = rng.lognormal(0, 0.3, 200), rng.lognormal(0.2, 0.3, 300)
    gaps = resampled_gaps(members, others, alone(200), alone(300), resamples=1000, seed=0)
    assert gaps.shape == (1000,)
    assert gaps.mean() == pytest.approx(1 - members.mean() / others.mean(), abs=0.01)


def test_shares_of_independent_draws_are_binomial():
    values = np.repeat([1.0, 0.0], [130, 70])
    found = clustered_share(values, alone(200))
    reach = t.ppf(0.975, 199) * math.sqrt(0.65 * 0.35 / 199)
    assert found.value == 0.65
    assert (found.low, found.high) == pytest.approx((0.65 - reach, 0.65 + reach))


def test_a_share_of_one_is_not_certain():
    found = clustered_share(np.ones(100), alone(100))
    assert found.high == 1
    assert 0.97 < found.low < 1


@pytest.mark.parametrize("heavy", [1, 5, 30])
def test_shares_hold_a_half_where_a_few_hubs_draw_many(heavy):
    """Real images are labelled by coin; how many candidates lie nearest to each is uneven."""
    rng = np.random.default_rng([4, heavy])
    missed = 0
    for _ in range(400):
        sizes = np.concatenate([np.full(5, heavy), np.ones(40, int)])
        labels = rng.integers(0, 2, 45).astype(float)
        found = clustered_share(np.repeat(labels, sizes), np.repeat(alone(45), sizes), confidence=0.95)
        missed += not found.low <= 0.5 <= found.high
    assert missed / 400 <= 0.09


def test_one_cluster_says_nothing():
    found = clustered_share(np.ones(50), np.zeros(50, dtype=np.int64))
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_intervals_of_all_looks_share_the_error():
    assert confidence_of_each(1, 1) == pytest.approx(0.95)
    assert confidence_of_each(20, 2) == pytest.approx(1 - 0.05 / 40)
    assert confidence_of_each(0, 2) == confidence_of_each(1, 2)


@pytest.mark.parametrize(
    ("lows", "first"),
    [
        ([], None),
        ([-0.1, -0.2], None),
        ([-0.1, 0.1, 0.2], 1),
        ([0.1, 0.2, 0.3], 0),
        ([0.1, -0.1, 0.2], 2),
        ([0.1, 0.2, 0.0], None),
        ([0.1, math.nan, 0.2], 2),
    ],
)
def test_it_begins_where_it_never_falls_back(lows, first):
    assert onset(lows, 0.0) == first
