"""The residual risk against statsmodels, scipy, Giomi's formula and its promised coverage."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact
from statsmodels.stats.proportion import confint_proportions_2indep

from synguard.metrics.risk import ratio_interval, residual_risk

COUNTS = [(80, 100, 90, 110), (299, 300, 297, 300), (3, 50, 20, 40), (500, 1000, 480, 900), (37, 41, 11, 12)]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_ratio_interval_is_the_score_interval_of_statsmodels(counts, confidence):
    expected = confint_proportions_2indep(*counts, compare="ratio", method="score", alpha=1 - confidence, correction=False)
    assert ratio_interval(*counts, confidence) == pytest.approx(expected, rel=1e-5)


def test_ratios_at_the_ends():
    assert ratio_interval(0, 50, 20, 40, 0.95)[0] == 0
    assert ratio_interval(20, 40, 0, 50, 0.95)[1] == math.inf
    low, high = ratio_interval(50, 50, 40, 40, 0.95)
    assert 0.9 < low < 1 < high < 1.11


def test_the_residual_risk_is_giomis():
    found = residual_risk(60, 100, 20, 100)
    assert found.risk == pytest.approx((0.6 - 0.2) / (1 - 0.2))
    assert found.interval[0] < found.bounds[0] < found.risk < found.bounds[1] < found.interval[1]
    assert found.p_value == pytest.approx(fisher_exact([[60, 40], [20, 80]], alternative="greater")[1])


def test_an_attack_that_gains_nothing_has_no_risk_and_the_bounds_it_could_attain():
    found = residual_risk(10, 200, 10, 200)
    assert found.risk == 0
    assert found.bounds == found.attainable
    assert found.p_value > 0.5
    worse = residual_risk(0, 200, 10, 200)
    assert worse.risk == 0
    assert worse.bounds[1] < found.bounds[1]


def test_no_success_at_all_does_not_show_that_there_is_no_risk():
    few, many = residual_risk(0, 30, 0, 30), residual_risk(0, 3000, 0, 3000)
    assert few.interval[0] == 0
    assert few.bounds[1] > 0.05 > 0.005 > many.bounds[1]


def test_a_perfect_leak_is_a_risk_of_one():
    found = residual_risk(300, 300, 0, 300)
    assert found.risk == 1
    assert found.interval[1] == 1
    assert found.interval[0] > 0.98


def test_a_control_that_always_succeeds_leaves_nothing_to_gain():
    assert residual_risk(50, 50, 40, 40) is None
    with pytest.raises(ValueError, match="found 0 attacked"):
        residual_risk(0, 0, 1, 2)


@pytest.mark.parametrize(("control", "risk"), [(0.02, 0.0), (0.02, 0.05), (0.5, 0.0), (0.5, 0.3)])
def test_intervals_cover_the_truth(control, risk):
    attack = control + risk * (1 - control)
    rng = np.random.default_rng([3, int(1000 * attack)])
    covered = 0
    for _ in range(300):
        found = residual_risk(rng.binomial(250, attack), 250, rng.binomial(200, control), 200)
        covered += found.interval[0] <= risk <= found.interval[1]
    assert binomtest(covered, 300, 0.95, alternative="less").pvalue > 0.001


def test_the_smallest_risk_in_sight_is_seen_four_times_in_five():
    sight = residual_risk(8, 400, 8, 400).minimum_detectable
    rate = 0.02 + sight * 0.98
    rng = np.random.default_rng(4)
    seen = sum(residual_risk(rng.binomial(400, rate), 400, 8, 400).p_value <= 0.05 for _ in range(300))
    assert binomtest(seen, 300, 0.8).pvalue > 0.001
    assert residual_risk(0, 2, 1, 2).minimum_detectable == 1.0
