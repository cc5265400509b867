from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from audits.memorisation.calibration import (
    LEAST_OF_CLASS,
    class_p_values,
    classes_of_their_own,
    conformal_p_values,
    review_list,
    tail_threshold,
)
from audits.memorisation.verdict import Calibration


def test_p_values_of_known_ranks():
    calibration = np.array([1.0, 2.0, 3.0])
    scores = np.array([0.0, 1.0, 2.5, 3.0, 9.0])
    assert conformal_p_values(scores, calibration).tolist() == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_p_values_of_the_same_population_are_not_too_small():
    rng = np.random.default_rng(1)
    shares = [(conformal_p_values(rng.normal(size=200), rng.normal(size=200)) <= 0.1).mean() for _ in range(200)]
    assert np.mean(shares) <= 0.1 + 0.01


def test_p_values_within_a_class_of_known_ranks():
    calibration = np.array([1.0, 2.0, 3.0, 11.0, 12.0])
    classes = np.array(["a", "a", "a", "b", "b"])
    scores, of = np.array([2.5, 2.5, 2.5, 2.5, 99.0]), np.array(["a", "b", "", "c", "a"])
    found = class_p_values(scores, of, calibration, classes, least=3)
    assert found.tolist() == [0.5, 4 / 6, 4 / 6, 4 / 6, 0.25]
    assert class_p_values(scores, of, calibration, classes, least=2).tolist() == [0.5, 1.0, 4 / 6, 4 / 6, 0.25]
    assert (class_p_values(scores, of, calibration, classes) == conformal_p_values(scores, calibration)).all()


def test_two_hundred_calibration_images_make_a_class_of_its_own():
    classes = np.repeat(["a", "b", ""], [LEAST_OF_CLASS, LEAST_OF_CLASS - 1, LEAST_OF_CLASS])
    assert LEAST_OF_CLASS == 200
    assert classes_of_their_own(classes) == ("a",)


def test_p_values_are_uniform_within_each_class_where_classes_differ():
    """Together they are valid too, but one class takes all the small ones."""
    rng = np.random.default_rng(5)
    shift = {"common": 0.0, "alike": 2.0}
    within: dict[str, list[float]] = {name: [] for name in shift}
    together: dict[str, list[float]] = {name: [] for name in shift}
    for _ in range(150):
        classes = np.where(rng.uniform(size=1000) < 0.7, "common", "alike")
        scores = rng.normal(size=1000) + np.array([shift[name] for name in classes])
        some, rest = slice(0, 800), slice(800, 1000)
        p_values = class_p_values(scores[rest], classes[rest], scores[some], classes[some])
        plain = conformal_p_values(scores[rest], scores[some])
        for name in shift:
            within[name] += p_values[classes[rest] == name].tolist()
            together[name] += plain[classes[rest] == name].tolist()
    for name in shift:
        for level in (0.02, 0.1, 0.5):
            assert np.mean(np.array(within[name]) <= level) == pytest.approx(level, rel=0.15)
    assert np.mean(np.array(together["alike"]) <= 0.1) > 0.2


def test_a_calibration_takes_the_class_of_the_private_image_that_is_matched():
    private = np.array(["a", "b", "", "c"])
    images = np.concatenate([np.zeros(200, np.int64), np.ones(50, np.int64), [2, -1]])
    scores = np.arange(252.0)
    made = Calibration(scores, 300.0, 400.0, (), "calibration", images, private)
    assert [(row.name, row.images, row.own) for row in made.by_class()] == [
        ("", 2, False),
        ("a", 200, True),
        ("b", 50, False),
        ("c", 0, False),
    ]
    of_a, of_all = 11 / 201, 63 / 253
    query = np.full(5, 190.0)
    assert made.p_values(query, np.array([0, 1, 2, 3, -1])) == pytest.approx([of_a, *[of_all] * 4])
    assert made.p_values(query) == pytest.approx([of_all] * 5)
    assert made.smallest_p_value == 1 / 253
    alone = Calibration(scores[:200], 300.0, 400.0, (), "calibration", images[:200], private[:1])
    assert alone.smallest_p_value == 1 / 201
    assert Calibration(scores, 300.0, 400.0, (), "calibration", images).by_class() == ()


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
