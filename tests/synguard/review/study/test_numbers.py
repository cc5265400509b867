"""The figures of a study, against scikit-learn, against textbooks and against chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from synguard.metrics.intervals import clopper_pearson
from synguard.metrics.ranks import clustered_auc
from synguard.review.study.numbers import cohens_kappa, f1_of_level, mean_auc, verdict

RNG = np.random.default_rng(3)


def ratings(m: int, n: int, shift: float, readers: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([m, n, readers])
    grades = np.array([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5])
    return tuple(  # type: ignore[return-value]
        grades[np.clip(np.round(rng.normal(4.5 + more, 2.5, (readers, k))), 0, 9).astype(int)].astype(float)
        for k, more in ((m, shift), (n, 0.0))
    )


@pytest.mark.parametrize("shift", [0.0, 1.0, 4.0])
def test_one_readers_auc_is_that_of_scikit_learn_with_delongs_interval(shift: float):
    synthetic, real = ratings(40, 50, shift)
    found, known = mean_auc(synthetic, real), clustered_auc(synthetic[0], real[0])
    expected = roc_auc_score([1] * 40 + [0] * 50, np.concatenate([synthetic[0], real[0]]))
    assert found.value == pytest.approx(expected)
    assert found.interval == pytest.approx(known.interval())
    assert found.bounds == pytest.approx(known.bounds())


def test_readers_who_answer_alike_are_one_piece_of_evidence():
    synthetic, real = ratings(30, 30, 0.8)
    one, three = mean_auc(synthetic, real), mean_auc(synthetic.repeat(3, 0), real.repeat(3, 0))
    assert three.value == pytest.approx(one.value)
    assert three.interval == pytest.approx(one.interval)


def test_the_mean_of_readers_against_a_bootstrap_of_images():
    synthetic, real = ratings(60, 60, 0.7, readers=4)
    found = mean_auc(synthetic, real)
    labels = [1] * 60 + [0] * 60
    draws = []
    for _ in range(600):
        a, b = RNG.integers(0, 60, 60), RNG.integers(0, 60, 60)
        areas = [roc_auc_score(labels, np.concatenate([s[a], r[b]])) for s, r in zip(synthetic, real, strict=True)]
        draws.append(np.mean(areas))
    assert found.interval == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.012)


def test_a_reader_who_never_varies_shows_nothing():
    found = mean_auc(np.ones((1, 20)), np.ones((1, 20)))
    assert (found.value, found.bounds) == (0.5, (0.0, 1.0))
    assert verdict(found.bounds, 0.2) == "undecided"


def test_perfect_separation_is_not_certain():
    found = mean_auc(np.full((1, 20), 5.0), np.full((1, 20), -5.0))
    assert found.interval == (clopper_pearson(20, 20)[0], 1.0)
    turned = mean_auc(np.full((1, 20), -5.0), np.full((1, 20), 5.0))
    assert turned.interval == pytest.approx((0.0, 1 - clopper_pearson(20, 20)[0]))
    assert verdict(turned.bounds, 0.1) == "not equivalent", "sure of the opposite is a difference seen"


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0.41, 0.59), "equivalent"),
        ((0.4, 0.6), "equivalent"),
        ((0.39, 0.59), "undecided"),
        ((0.41, 0.61), "undecided"),
        ((0.3, 0.9), "undecided"),
        ((0.55, 0.7), "undecided"),
        ((0.61, 0.7), "not equivalent"),
        ((0.2, 0.39), "not equivalent"),
    ],
)
def test_verdicts(bounds: tuple[float, float], expected: str):
    assert verdict(bounds, 0.1) == expected


def test_a_study_at_the_margin_is_called_equivalent_in_one_of_twenty():
    """Schuirmann's test holds its level: 800 studies of a reader whose AUC is 0.5 + margin."""
    rng = np.random.default_rng(8)
    shift = 0.36  # of normal scores: AUC = Phi(0.36 / sqrt(2)) = 0.60
    scores = [(rng.normal(shift, 1, (1, 300)), rng.normal(0, 1, (1, 300))) for _ in range(800)]
    called = sum(verdict(mean_auc(a, b).bounds, 0.1) == "equivalent" for a, b in scores)
    assert 0.03 < called / 800 < 0.085


LEVELS = st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(0, 2))), min_size=4, max_size=40)


@settings(max_examples=60)
@given(LEVELS, st.integers(0, 2))
def test_f1_is_that_of_scikit_learn(rows: list[tuple[int, int | None]], level: int):
    true = np.array([float(t) for t, _ in rows])
    said = np.array([np.nan if s is None else float(s) for _, s in rows])
    found = f1_of_level(true, said, 3, level, np.arange(len(rows)))
    if level not in true and level not in said:
        assert found.value is None
        return
    expected = f1_score(true == level, said == level, zero_division=0)
    assert found.value == pytest.approx(expected)
    assert found.interval[0] <= found.value <= found.interval[1]


def test_f1_of_few_images_is_not_certain():
    true = np.array([0.0] * 8 + [1.0] * 8)
    found = f1_of_level(true, true, 2, 1, np.arange(16))
    assert found.value == 1
    assert found.interval[0] < 0.93


def test_readers_of_one_image_do_not_narrow_f1():
    true, images = RNG.integers(0, 2, 40).astype(float), np.arange(40)
    said = np.where(RNG.random(40) < 0.7, true, 1 - true)
    one, four = (
        f1_of_level(true, said, 2, 1, images),
        f1_of_level(np.tile(true, 4), np.tile(said, 4), 2, 1, np.tile(images, 4)),
    )
    assert four.value == pytest.approx(one.value)
    widths = [found.interval[1] - found.interval[0] for found in (one, four)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_kappa_is_that_of_scikit_learn():
    first, second = RNG.integers(0, 2, 60).astype(float), RNG.integers(0, 2, 60).astype(float)
    found = cohens_kappa(first, second)
    assert found.value == pytest.approx(cohen_kappa_score(first, second))
    assert found.interval[0] < found.value < found.interval[1]
    assert cohens_kappa(np.ones(5), np.ones(5)).value is None
