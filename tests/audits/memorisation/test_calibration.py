from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from audits.memorisation.calibration import conformal_p_values, review_list, tail_threshold


def test_p_values_of_known_ranks():
    calibration = np.array([1.0, 2.0, 3.0])
    scores = np.array([0.0, 1.0, 2.5, 3.0, 9.0])
    assert conformal_p_values(scores, calibration).tolist() == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_p_values_of_the_same_population_are_not_too_small():
    rng = np.random.default_rng(1)
    shares = [(conformal_p_values(rng.normal(size=200), rng.normal(size=200)) <= 0.1).mean() for _ in range(200)]
    assert np.mean(shares) <= 0.1 + 0.01


def test_the_review_list_is_benjamini_and_hochbergs():
    rng = np.random.default_rng(2)
    p_values = np.concatenate([rng.uniform(size=300), rng.uniform(size=30) * 1e-4])
    assert review_list(p_values, 0.05).tolist() == multipletests(p_values, 0.05, "fdr_bh")[0].tolist()
    assert review_list(np.array([0.9, 0.8])).sum() == 0
    assert len(review_list(np.zeros(0))) == 0


def test_the_review_list_cannot_name_a_single_image_with_few_calibration_images():
    p_values = np.full(1000, 0.5)
    p_values[:15] = 1 / 301
    assert review_list(p_values).sum() == 0


@pytest.mark.parametrize("rate", [1e-4, 3e-6])
def test_the_tail_threshold_is_on_the_safe_side_of_a_normal_tail(rate):
    from scipy.stats import norm

    rng = np.random.default_rng(3)
    found = [tail_threshold(rng.normal(size=667), rate) for _ in range(60)]
    assert norm.ppf(1 - rate) <= np.mean(found) <= norm.ppf(1 - rate) * 1.15


def test_a_few_twins_do_not_move_the_threshold():
    scores = np.random.default_rng(4).normal(size=667)
    twins = scores.copy()
    twins[:5] = 40
    assert tail_threshold(twins, 1e-5) == pytest.approx(tail_threshold(scores, 1e-5), rel=0.1)


def test_too_few_scores_give_no_threshold():
    assert tail_threshold(np.array([1.0]), 1e-4) == np.inf
