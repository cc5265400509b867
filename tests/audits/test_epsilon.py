"""The audit of epsilon: canaries with a planted leak and without one, the accountant's word, and what is no bound."""

import math

import numpy as np
import pytest

from audits import epsilon
from audits.epsilon import Drawn, Spent
from synguard.config import MembershipConfig
from synguard.data.canaries import Canaries
from synguard.governance.gate import decide
from synguard.governance.policy import parse_policy
from synguard.metrics.one_run import best_possible
from tests.support.membership import LeakyDenoiser, remember, world

CONFIG = MembershipConfig(permutations=199, resamples=200, draws=1, noise_levels=(0.1, 0.3))
SPENT = Spent(
    epsilon=2.0,
    delta=1e-4,
    unit="patient",
    patients=200,
    method="DP-SGD",
    covers="the denoiser",
    not_covered=("autoencoder", "tuning"),
)


def coins_for(images, count):
    """Canaries as `draw_canaries` makes them, the same in every test run."""
    rng = np.random.default_rng(17)
    names = rng.choice(np.unique(images.patients), count, replace=False).tolist()
    return Canaries(images.digest, tuple(names), tuple((rng.random(count) < 0.5).tolist()), "00" * 32)


@pytest.fixture(scope="module")
def scene():
    """400 images of 200 patients, of which 160 are canaries; and a holdout."""
    made = world(3, members=400, each=100, per_patient=2)
    coins = coins_for(made.private, 160)
    drawn = Drawn(coins.put_in(made.private), coins.left_out(made.private), coins.commitment)
    trained = coins.trained_on(made.private)
    return made, trained, drawn


def audited(scene, leak, *, drawn=None, spent="the model was trained without differential privacy", **more):
    made, trained, coins = scene
    denoiser = LeakyDenoiser(remember(trained), {"ema": leak, "raw": leak}, weights=("ema", "raw"))
    given = {
        "drawn": coins if drawn is None else drawn,
        "spent": spent,
        "conditions": None,
        "denoiser": denoiser,
        "closed": "",
        "config": CONFIG,
        "seed": 1,
    }
    result = epsilon.run(trained, made.roles, **given | more)
    return {(metric.name, metric.group): metric for metric in result.metrics}, result


LOWER, UPPER = ("membership.epsilon_lower_bound", None), ("training.epsilon_upper_bound", None)
GAUSSIAN = ("membership.epsilon_lower_bound", "gaussian")
STEINKE = ("membership.epsilon_lower_bound", "steinke")


def test_canaries_prove_a_planted_leak(scene):
    found, result = audited(scene, 0.9)
    lower = found[LOWER]
    assert lower.state == "measured"
    assert lower.n == 160
    assert 1.5 < lower.value <= best_possible(160, delta=1e-5)
    assert lower.interval == lower.bounds == (lower.value, math.inf)
    assert found[GAUSSIAN].value >= lower.value >= found[STEINKE].value > 0
    for words in ("Steinke", "160 patients", "at delta", "can show at most"):
        assert words in lower.method
    assert result.evidence["lower"]["commitment"] == scene[2].commitment
    assert result.evidence["lower"]["included"] == len(set(scene[2].put_in.patients))


def test_no_leak_proves_hardly_anything(scene):
    assert audited(scene, 0.0)[0][LOWER].value < 0.6


def test_a_stronger_leak_proves_more(scene):
    weak, strong = (audited(scene, leak)[0][LOWER].value for leak in (0.03, 0.9))
    assert weak < strong


def test_figures_do_not_depend_on_the_order_of_the_canaries(scene):
    drawn = scene[2]
    turned = Drawn(
        drawn.put_in.take(np.arange(len(drawn.put_in))[::-1]),
        drawn.left_out.take(np.arange(len(drawn.left_out))[::-1]),
        drawn.commitment,
    )
    assert audited(scene, 0.4)[0][LOWER].value == audited(scene, 0.4, drawn=turned)[0][LOWER].value


def test_without_coins_there_is_no_bound_and_the_reason(scene):
    found, result = audited(scene, 0.9, drawn="the training drew no canaries")
    assert (found[LOWER].state, found[LOWER].note) == ("not_tested", "the training drew no canaries")
    assert set(result.evidence) == {"delta", "upper"}


def test_few_canaries_are_too_little_evidence(scene):
    made = scene[0]
    coins = coins_for(made.private, 40)
    few = Drawn(coins.put_in(made.private), coins.left_out(made.private), coins.commitment)
    found, _ = audited(scene, 0.0, drawn=few)
    assert found[LOWER].state == "insufficient"
    assert found[LOWER].note == "found 40 canaries, expected at least 100"


def test_scores_that_are_not_finite_are_an_error(scene):
    spoilt = LeakyDenoiser(remember(scene[1]), {}, spoil="ema")
    found, _ = audited(scene, 0.0, denoiser=spoilt)
    assert found[LOWER].state == "error"
    assert found[LOWER].value is None
    assert "not finite" in found[LOWER].note


def test_without_a_model_nothing_is_tested(scene):
    found, _ = audited(scene, 0.0, denoiser=None, closed="no model was given")
    assert {key: metric.state for key, metric in found.items()} == {UPPER: "not_tested", LOWER: "not_tested"}
    assert found[LOWER].note == "no model was given"


def test_the_accountants_bound_stands_with_what_it_leaves_out(scene):
    found, result = audited(scene, 0.0, spent=SPENT)
    upper = found[UPPER]
    assert (upper.value, upper.state, upper.n) == (2.0, "measured", 200)
    assert upper.note == "not covered: autoencoder, tuning"
    assert "at delta 0.0001, for each patient" in upper.method
    assert "at delta 0.0001" in found[LOWER].method
    assert result.evidence["upper"]["not_covered"] == ["autoencoder", "tuning"]


def test_a_bound_below_what_the_canaries_prove_is_void(scene):
    small = Spent(**{name: getattr(SPENT, name) for name in SPENT.__slots__} | {"epsilon": 0.3})
    found, _ = audited(scene, 0.9, spent=small)
    assert found[LOWER].value > 0.3
    assert found[UPPER].state == "invalid"
    assert "canaries prove an epsilon of at least" in found[UPPER].note


POLICY = b"""\
schema: synguard/policy/v1
name: private
version: 1.0.0
releases: [images, model]
checks:
  - id: budget
    title: The training kept to its budget
    metric: training.epsilon_upper_bound
    fail: {above: 3}
    reason: What the board allowed to be spent on each patient.
    source: decision of the board
  - id: proven
    title: Canaries prove no more
    metric: membership.epsilon_lower_bound
    fail: {above: 1}
    reason: An attack that proves more refutes the claim of privacy.
    source: decision of the board
"""


@pytest.mark.parametrize(
    ("leak", "spent", "statuses"),
    [
        (0.0, SPENT, ["pass", "pass"]),
        (0.9, SPENT, ["invalid", "fail"]),
        (0.0, "the model was trained without differential privacy", ["insufficient", "pass"]),
    ],
)
def test_a_policy_can_gate_on_both(scene, leak, spent, statuses):
    policy = parse_policy(POLICY, "policy.yaml")
    _, result = audited(scene, leak, spent=spent)
    checks = decide(policy, result.metrics, released=("images",)).checks
    assert [check.status for check in checks] == statuses
