"""Rank statistics against independent implementations, and the coverage of their intervals."""

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu, norm
from sklearn.metrics import roc_auc_score, roc_curve

from synguard.metrics.ranks import (
    auc,
    auc_columns,
    clustered_auc,
    minimum_detectable_auc,
    null_bounds,
    null_standard_error,
    permutation_p,
    resample,
    roc,
    tpr_at_fpr,
)

RATES = np.array([0.01])


def draw(m, n, shift=0.0, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    scores = rng.normal(shift, 1, m), rng.normal(0, 1, n)
    return scores if decimals is None else tuple(np.round(s, decimals) for s in scores)


def sklearn_inputs(positive, negative):
    return np.r_[np.ones(len(positive)), np.zeros(len(negative))], np.r_[positive, negative]


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("seed", range(3))
def test_auc_is_sklearns(seed, decimals):
    positive, negative = draw(37, 80, 0.3, seed, decimals)
    assert auc(positive, negative) == pytest.approx(roc_auc_score(*sklearn_inputs(positive, negative)), abs=1e-12)
    assert auc(negative, positive) == pytest.approx(1 - auc(positive, negative), abs=1e-12)


def test_auc_columns_is_auc_of_each_column():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(50, 4)).round(1)
    labels = rng.random((50, 4)) < 0.4
    expected = [auc(scores[labels[:, i], i], scores[~labels[:, i], i]) for i in range(4)]
    assert auc_columns(scores, labels) == pytest.approx(expected, abs=1e-12)


def test_an_empty_side_has_no_auc():
    assert np.isnan(auc(np.array([1.0]), np.array([])))


@pytest.mark.parametrize("decimals", [None, 1])
def test_rate_is_the_largest_attainable_one_of_sklearns_curve(decimals):
    positive, negative = draw(300, 250, 1.0, 3, decimals)
    fpr, tpr, _ = roc_curve(*sklearn_inputs(positive, negative), drop_intermediate=False)
    for target in (0.0, 0.004, 0.01, 0.1, 1.0):
        assert tpr_at_fpr(positive, negative, target) == pytest.approx(tpr[fpr <= target].max(), abs=1e-12)
    ours = roc(positive, negative)
    assert np.allclose(ours[0], fpr)
    assert np.allclose(ours[1], tpr)


def test_rate_never_exceeds_its_false_positive_target_by_rounding_up():
    # 150 non-members: 1 % allows one false positive, not 1.5 and not 2.
    negative, positive = np.arange(150.0), np.array([148.5, 147.5, 10.0])
    assert tpr_at_fpr(positive, negative, 0.01) == pytest.approx(1 / 3)


def delong_by_hand(positive, negative):
    """DeLong's structural components, pair by pair."""
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return np.sqrt(wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative))


def test_standard_error_without_groups_is_delongs():
    positive, negative = draw(60, 45, 0.5, 4, 1)
    found = clustered_auc(positive, negative)
    assert found.standard_error == pytest.approx(delong_by_hand(positive, negative), rel=1e-9)
    assert found.design_effect == pytest.approx(1.0)


def test_a_second_copy_of_every_image_adds_no_evidence():
    positive, negative = draw(60, 45, 0.5, 5)
    groups = np.repeat(np.arange(60), 2).astype(str), np.repeat(np.arange(45), 2).astype(str)
    doubled = clustered_auc(np.repeat(positive, 2), np.repeat(negative, 2), *groups)
    alone = clustered_auc(positive, negative)
    assert doubled.value == pytest.approx(alone.value)
    assert doubled.standard_error == pytest.approx(alone.standard_error, rel=1e-9)
    assert doubled.design_effect == pytest.approx(2.0, rel=0.05)


def test_null_standard_error_is_that_of_the_rank_sum_test():
    m, n = 30, 50
    positive, negative = draw(m, n, seed=6)
    p = mannwhitneyu(positive, negative, alternative="greater", method="asymptotic", use_continuity=False).pvalue
    assert norm.sf((auc(positive, negative) - 0.5) / null_standard_error(m, n)) == pytest.approx(p, abs=1e-9)


def test_detectable_effect_and_attainable_bounds():
    assert minimum_detectable_auc(100, 100) == pytest.approx(0.602, abs=0.002)
    assert minimum_detectable_auc(1000, 1000) == pytest.approx(0.532, abs=0.002)
    assert minimum_detectable_auc(0, 5) == 1.0
    low, high = null_bounds(3000, 667)
    assert high == pytest.approx(0.5203, abs=1e-4)
    assert low + high == pytest.approx(1.0)
    assert null_bounds(3000, 667, design_effect=2.0)[1] > high


def test_permutation_p_is_never_zero():
    assert permutation_p(1.0, np.zeros(99)) == pytest.approx(0.01)
    assert permutation_p(0.0, np.zeros(99)) == pytest.approx(1.0)


def coverage(hits, n, nominal=0.95):
    """A binomial test that would reject an interval whose true coverage is off by much."""
    return binomtest(hits, n, nominal).pvalue > 0.001


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_intervals_of_the_auc_cover_with_two_images_a_patient(shift):
    truth, hits, analytic, bounds = norm.cdf(shift / np.sqrt(2)), 0, 0, 0
    groups = np.repeat(np.arange(150), 2).astype(str), np.repeat(np.arange(80), 2).astype(str)
    for seed in range(200):
        rng = np.random.default_rng([seed, 7])
        arms = []
        for patients, mean in ((150, shift), (80, 0.0)):
            own = np.repeat(rng.normal(0, np.sqrt(0.7), patients), 2)
            arms.append(own + rng.normal(mean, np.sqrt(0.3), 2 * patients))
        drawn = resample(*arms, *groups, fpr=RATES, resamples=300, seed=seed)
        low, high = drawn.auc_interval()
        hits += low <= truth <= high
        bounds += truth <= drawn.auc_bounds()[1]
        low, high = clustered_auc(*arms, *groups).interval()
        analytic += low <= truth <= high
    assert coverage(hits, 200)
    assert coverage(analytic, 200)
    assert coverage(bounds, 200)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_upper_bound_of_the_rate_covers_and_a_clean_release_stays_below_three_percent(shift):
    truth = norm.cdf(norm.ppf(0.01) + shift)
    uppers = []
    for seed in range(100):
        drawn = resample(*draw(3000, 667, shift, [seed, 8]), fpr=RATES, resamples=200, seed=seed)
        uppers.append(drawn.tpr_quantile(0.95)[0])
    covered = int((np.array(uppers) >= truth).sum())
    assert binomtest(covered, 100, 0.95, alternative="less").pvalue > 0.001
    if shift == 0.0:
        assert np.mean(np.array(uppers) <= 0.03) > 0.9


def test_resamples_do_not_depend_on_the_order_of_rows():
    positive, negative = draw(40, 30, 0.2, 9)
    groups = np.array([f"p{i // 2}" for i in range(40)]), np.array([f"q{i}" for i in range(30)])
    shuffle = np.random.default_rng(0).permutation(40)
    first = resample(positive, negative, *groups, fpr=RATES, resamples=50, seed=1)
    second = resample(positive[shuffle], negative, groups[0][shuffle], groups[1], fpr=RATES, resamples=50, seed=1)
    assert np.allclose(first.auc, second.auc)
    assert not np.allclose(first.auc, resample(positive, negative, *groups, fpr=RATES, resamples=50, seed=2).auc)


def test_a_resample_is_the_statistic_of_the_drawn_patients():
    """With one resample of two lone images a side, every draw can be listed."""
    values = set(resample(np.array([2.0, 1.0]), np.array([1.0, 0.0]), fpr=RATES, resamples=400, seed=3).auc.round(6))
    # members {2,2}, {2,1}, {1,1} against non-members {1,1}, {1,0}, {0,0}
    assert values == {0.5, 0.75, 0.875, 1.0}


def test_perfect_separation_keeps_an_honest_lower_bound():
    drawn = resample(np.arange(50.0) + 100, np.arange(30.0), fpr=RATES, resamples=100, seed=0)
    assert drawn.auc_bounds()[0] == pytest.approx(0.05 ** (1 / 30))
    assert drawn.auc_interval()[1] == 1.0
    mirrored = resample(np.arange(30.0), np.arange(50.0) + 100, fpr=RATES, resamples=100, seed=0)
    assert mirrored.auc_bounds()[1] == pytest.approx(1 - 0.05 ** (1 / 30))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="groups"):
        clustered_auc(np.zeros(3), np.zeros(3), np.array(["a"]))
    with pytest.raises(ValueError, match="clusters"):
        clustered_auc(np.zeros(3), np.zeros(3), np.array(["a"] * 3), np.array(["b", "c", "d"]))
    with pytest.raises(ValueError, match="members"):
        resample(np.array([]), np.zeros(3), fpr=RATES, resamples=5, seed=0)
