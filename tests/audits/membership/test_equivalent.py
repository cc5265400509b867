"""The epsilon equivalent: the arithmetic of canaries where no coin decided, and what it says of itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audits.membership import run, validity
from audits.membership.equivalent import equivalent
from audits.membership.probe import Arm
from audits.membership.verdict import Outcome
from synguard.config import MembershipConfig
from synguard.metrics.one_run import lower_bound
from tests.support.membership import LeakyDenoiser, Pixels, remember, world

CONFIG = MembershipConfig(permutations=199, resamples=200, draws=1, noise_levels=(0.1, 0.3))
PROBES = ("loss (ema)", "loss (raw)", "ensemble (ema)")
NAME = "membership.epsilon_equivalent"


@pytest.fixture(scope="module")
def made():
    return world(3, members=400, each=240, per_patient=2)


@pytest.fixture(scope="module")
def split(made):
    return validity(made.private, made.roles, config=CONFIG, seed=1)


def audited(made, split, leak, delta=1e-5):
    denoiser = LeakyDenoiser(remember(made.private), {"ema": leak, "raw": leak}, weights=("ema", "raw"))
    given = {"conditions": None, "denoiser": denoiser, "embedder": Pixels(), "config": CONFIG, "seed": 1, "split": split}
    result = run(made.private, made.roles, made.synthetic, delta=delta, **given)
    return {metric.name: metric for metric in result.metrics}, result


def test_it_says_what_it_is(made, split):
    found, result = audited(made, split, 0.9)
    equal = found[NAME]
    assert equal.value > 1
    assert equal.state == "measured"
    assert equal.note == "not a bound: no coin decided who is in"
    assert equal.n == 2 * len(set(made.roles.evaluation.patients))
    assert equal.method.count("ema") == equal.method.count("ensemble") == 0
    assert result.evidence["equivalent"]["epsilon"] == equal.value
    assert "equivalent" in result.public


def test_nothing_leaked_and_it_is_small(made, split):
    assert audited(made, split, 0.0)[0][NAME].value < 0.6


def test_beside_coins_there_is_none(made, split):
    found, result = audited(made, split, 0.9, delta=None)
    assert NAME not in found
    assert "equivalent" not in result.evidence


def test_a_split_that_can_be_told_apart_makes_it_invalid(made, split):
    told = replace(split, state="invalid", reason="told apart by the light")
    equal = audited(made, told, 0.5)[0][NAME]
    assert equal.state == "invalid"
    assert equal.value is not None
    assert "told apart by the light" in equal.note


def outcome(name, inside, outside):
    counts = {"n_members": len(inside), "n_nonmembers": len(outside), "member_patients": 1, "nonmember_patients": 1}
    scores = (np.asarray(inside, float), np.asarray(outside, float))
    return Outcome(
        name=name, access="white box", method="", state="measured", tpr_state="measured", note="", scores=scores, **counts
    )


def test_scores_are_means_over_images_and_weights(made, split):
    """Two images a patient, two sets of weights: by hand, it is the bound of the means, and the ensemble has no part."""
    members, nonmembers = (Arm(images, None, np.zeros((len(images), 1))) for images in (made.private, made.roles.evaluation))
    rng = np.random.default_rng(5)
    drawn = [(rng.normal(1, 1, len(members)), rng.normal(0, 1, len(nonmembers))) for _ in range(3)]
    outcomes = [outcome(name, *scores) for name, scores in zip(PROBES, drawn, strict=True)]
    metric, _ = equivalent(outcomes, members, nonmembers, split, 1e-5, 7)
    means = []
    for side, arm in enumerate((members, nonmembers)):
        values = (drawn[0][side] + drawn[1][side]) / 2
        names = np.unique(arm.images.patients)
        means.append(np.array([values[arm.images.patients == name].mean() for name in names]))
    generator = np.random.default_rng([7, 0xE951])
    count = min(map(len, means))
    chosen = [np.sort(generator.choice(len(side), count, replace=False)) for side in means]
    scores = np.concatenate([side[rows] for side, rows in zip(means, chosen, strict=True)])
    expected = lower_bound(scores[None], np.arange(2 * count) < count, delta=1e-5, seed=7)
    assert metric.value == expected.epsilon
    assert metric.value > 0


def test_a_probe_without_scores_spoils_it(made, split):
    members, nonmembers = (Arm(images, None, np.zeros((len(images), 1))) for images in (made.private, made.roles.evaluation))
    broken = replace(outcome("loss (ema)", [0.0], [1.0]), scores=None, note="probe loss: found 3 scores not finite")
    metric, told = equivalent([broken], members, nonmembers, split, 1e-5, 7)
    assert (metric.state, metric.value, metric.note) == ("error", None, "probe loss: found 3 scores not finite")
    assert told == {"reason": metric.note}
