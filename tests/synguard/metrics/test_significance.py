"""P-values and provable rates against other implementations, formulas and their own promises."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, mannwhitneyu
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from synguard.metrics.ranks import auc, permutation_p
from synguard.metrics.significance import best_of_each, holm, permutation_test, rate_p_value, smallest_provable_rate


def names(side, n, per_patient=1):
    return np.array([f"{side}{i // per_patient:05d}" for i in range(n)])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60)
def test_holm_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_permutation_p_of_single_images_is_near_that_of_mann_and_whitney(shift):
    rng = np.random.default_rng(3)
    a, b = rng.normal(shift, 1, 90), rng.normal(0, 1, 70)
    found = permutation_test(a, b, names("a", 90), names("b", 70), permutations=4999, seed=0)
    assert found == pytest.approx(mannwhitneyu(a, b, alternative="greater").pvalue, abs=0.02)


def test_permuted_areas_are_those_of_sklearn_with_whole_patients_on_each_side(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 7).round(1), rng.normal(0, 1, 9).round(1)
    groups = np.array(list("AABCCCD")), np.array(list("uvvvwwxyz"))
    seen = []

    def keep(observed, permuted):
        seen.append((observed, permuted))
        return permutation_p(observed, permuted)

    monkeypatch.setattr("synguard.metrics.significance.permutation_p", keep)
    permutation_test(a, b, *groups, permutations=300, seed=1)
    observed, permuted = seen[0]
    assert observed == pytest.approx(roc_auc_score(np.r_[np.ones(7), np.zeros(9)], np.r_[a, b]), abs=1e-8)
    # Every permuted area is one of the areas of the 210 ways to take four of ten patients.
    pooled, codes = np.r_[a, b], np.unique(np.r_[groups], return_inverse=True)[1]
    possible = []
    for chosen in combinations(range(10), 4):
        inside = np.isin(codes.ravel(), chosen)
        possible.append(auc(pooled[inside], pooled[~inside]))
    assert np.isclose(permuted[:, None], np.array(possible)[None], atol=1e-9).any(axis=1).all()


def test_row_order_changes_no_p_value():
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.1, 1, 60), rng.normal(0, 1, 80)
    ga, gb = names("a", 60, 2), names("b", 80, 4)
    mixed = rng.permutation(60)
    first = permutation_test(a, b, ga, gb, permutations=500, seed=2)
    assert permutation_test(a[mixed], b, ga[mixed], gb, permutations=500, seed=2) == first


def test_p_values_of_patients_with_nothing_to_find_are_uniform():
    """Images of one patient share a score; as single images they would reject far too often."""
    rng = np.random.default_rng(11)
    p_values, rates = [], []
    for seed in range(300):
        a, b = (np.repeat(rng.normal(0, 1, n), 5) + rng.normal(0, 0.1, 5 * n) for n in (40, 60))
        p_values.append(permutation_test(a, b, names("a", 200, 5), names("b", 300, 5), permutations=199, seed=seed))
        rates.append(rate_p_value(rng.normal(size=150), rng.normal(size=200), 0.05))
    for found in (p_values, rates):
        for level in (0.05, 0.2):
            below = int((np.array(found) <= level).sum())
            # The p-value of a rate takes few values, so that it may only be too large.
            side = "two-sided" if found is p_values else "greater"
            assert binomtest(below, 300, level, alternative=side).pvalue > 0.001


def test_the_best_score_of_each_patient():
    found = best_of_each(np.array([3.0, -1.0, 2.0, 5.0]), np.array(["b", "a", "b", "c"]))
    assert found.tolist() == [-1.0, 3.0, 5.0]


def test_a_rate_that_cannot_be_measured_proves_nothing():
    scores = np.arange(50.0)
    assert rate_p_value(scores + 100, scores, 0.01) == 1.0  # 50 non-members hold no 1 %
    assert rate_p_value(scores + 100, np.arange(200.0) - 300, 0.01) < 1e-6
    assert smallest_provable_rate(50, 99, 0.01) is None
    assert smallest_provable_rate(1, 100, 0.1) is None  # one member lies above a tenth of the others by chance


@pytest.mark.parametrize(("n", "fpr", "expected"), [(300, 0.01, 0.040), (1000, 0.01, 0.0225), (10_000, 0.001, 0.0023)])
def test_the_smallest_provable_rate(n, fpr, expected):
    found = smallest_provable_rate(n, n, fpr)
    assert found == pytest.approx(expected, rel=0.12)
    # It pays for the threshold, which the plain binomial test takes as known.
    critical = binom.isf(0.05, n, fpr) + 1
    assert binom.sf(critical - 1, n, found) > 0.8


def test_a_provable_rate_is_proven_four_times_in_five():
    n, fpr = 400, 0.01
    rate = smallest_provable_rate(n, n, fpr)
    rng = np.random.default_rng(8)
    proven = 0
    for _ in range(300):
        others = rng.uniform(size=n)
        members = np.where(rng.uniform(size=n) < rate, 2.0, 0.0)
        proven += rate_p_value(members, others, fpr) <= 0.05
    assert binomtest(proven, 300, 0.8).pvalue > 0.001
