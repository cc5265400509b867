"""Checkpoints of models whose memory is planted: each figure sees what is there, and no more."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audits.checkpoints import TIMES, Yardstick
from synguard.config import AttributeConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import EvidenceError
from tests.support.membership import LeakyDenoiser, image_set, remember
from tests.support.textures import textures


def yardstick(private, holdout, *, images=300, confidence=0.95, schema=None) -> Yardstick:
    return Yardstick.of(private, holdout, schema or ConditionSchema(()), images=images, confidence=confidence, seed=0)


@pytest.fixture(scope="module")
def sets():
    """300 private and 120 holdout images of one source, and as many again that neither holds."""
    drawn = textures(540, 21, size=16)
    return image_set(drawn[:300], "private"), image_set(drawn[300:420], "holdout"), drawn[420:]


@pytest.fixture(scope="module")
def plain(sets):
    return yardstick(*sets[:2])


def test_a_model_that_remembers_nothing_shows_nothing(sets, plain):
    private, _, unseen = sets
    found = plain.measure(LeakyDenoiser(remember(private)), unseen)
    assert found.gap.low < 0 < found.gap.high
    assert found.nearer.low < 0.5 < found.nearer.high
    assert found.private_loss / found.holdout_loss == pytest.approx(1 - found.gap.value)


def test_a_model_that_errs_less_on_its_images_shows_a_gap(sets, plain):
    private, _, unseen = sets
    found = plain.measure(LeakyDenoiser(remember(private), {"ema": 0.3}), unseen)
    assert 0.25 < found.gap.value < 0.35
    assert found.gap.low > 0.2
    assert found.nearer.low < 0.5 < found.nearer.high


def test_generated_copies_are_nearer_to_private(sets, plain):
    private, _, unseen = sets
    clean = plain.measure(LeakyDenoiser(), unseen).nearer
    copies = np.concatenate([private.pixels[:80], unseen[:40]])
    found = plain.measure(LeakyDenoiser(), copies).nearer
    assert found.value > clean.value
    everything = plain.measure(LeakyDenoiser(), private.pixels).nearer
    assert everything.value > 0.6  # of 300 copies, those of the 120 private images that are held against
    mine = image_set(private.pixels[:120], "few")
    all_of_it = yardstick(mine, sets[1]).measure(LeakyDenoiser(), mine.pixels).nearer
    assert all_of_it.value == 1.0
    assert all_of_it.low > 0.9


def test_sides_are_equal_for_the_neighbours_and_whole_patients_for_the_loss():
    drawn = textures(200, 22, size=16)
    private, holdout = image_set(drawn[:120], "p", per_patient=4), image_set(drawn[120:], "h", per_patient=2)
    found = yardstick(private, holdout, images=50)
    assert found.neighbours == 80
    for part, per_patient in ((found.private, 4), (found.holdout, 2)):
        assert 50 - per_patient < len(part) <= 50
        assert set(np.unique(part.patients, return_counts=True)[1]) == {per_patient}


def test_every_checkpoint_meets_the_same_noise_and_times(sets, plain):
    private, _, unseen = sets
    first, second = LeakyDenoiser(remember(private)), LeakyDenoiser(remember(private), weights=("ema", "raw"))
    assert plain.measure(first, unseen) == plain.measure(second, unseen)
    assert first.calls == second.calls
    assert len({level for _, level, _, _ in first.calls}) == TIMES
    assert {weights for weights, *_ in first.calls} == {"ema"}
    assert {asked for _, _, asked, _ in first.calls} == {None}
    # The times are those of training: the quantiles of its logit-normal draws.
    drawn = 1 / (1 + np.exp(-np.random.default_rng(0).standard_normal(200_000)))
    levels = sorted({level for _, level, _, _ in first.calls})
    assert levels == pytest.approx(np.quantile(drawn, (np.arange(TIMES) + 0.5) / TIMES), abs=0.005)


def test_images_are_judged_under_their_own_conditions():
    schema = ConditionSchema((AttributeConfig(name="grade", kind="ordinal", levels=("0", "1")),))
    drawn = textures(100, 23, size=16)
    rng = np.random.default_rng(0)
    sets = [
        image_set(part, name, metadata=pd.DataFrame({"grade": rng.choice(["0", "1"], len(part))}))
        for name, part in (("private", drawn[:60]), ("holdout", drawn[60:]))
    ]
    denoiser = LeakyDenoiser()
    yardstick(*sets, schema=schema).measure(denoiser, drawn[:20])
    assert {asked for _, _, asked, _ in denoiser.calls} == {60, 40}


def test_more_looks_ask_for_wider_intervals(sets):
    private, holdout, unseen = sets
    one, many = (
        yardstick(private, holdout, confidence=confidence).measure(LeakyDenoiser(), unseen) for confidence in (0.95, 0.999)
    )
    for name in ("gap", "nearer"):
        narrow, wide = getattr(one, name), getattr(many, name)
        assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high


@pytest.mark.parametrize("few", ["private", "holdout"])
def test_too_few_patients_are_refused(few):
    sizes = {"private": 60, "holdout": 60} | {few: 19}
    with pytest.raises(EvidenceError, match=rf"{few}: found 19 patients, expected at least 20 .*generator\.curve"):
        yardstick(*(image_set(textures(n, 3, size=16), name) for name, n in sizes.items()))
