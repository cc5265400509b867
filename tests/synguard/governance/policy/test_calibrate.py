"""Limits from real against real: known answers, coverage by simulation, and audits that are no such thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import InputError, IntegrityError
from synguard.governance.gate import decide
from synguard.governance.policy import load_policy
from synguard.governance.policy.calibrate import as_tightening, calibrate, prediction_limit, read_audits
from synguard.governance.record import ResultsContext, RunRecord, write_results, write_run
from synguard.metrics.intervals import clopper_pearson_bounds
from synguard.results import Metric

NEAR, RECALL, FRECHET = "memorisation.near_copy_rate", "memorisation.planted_recall", "fidelity.frechet_distance"


@pytest.fixture
def audit(tmp_path, policy, clean_metrics):
    """Writes the run folder of an audit of real images, of which `near` of 1,000 look near."""

    def write(name, near, **changes):
        found = clean_metrics()
        found[NEAR, None] = replace(found[NEAR, None], value=near / 1000, bounds=clopper_pearson_bounds(near, 1000))
        found[FRECHET, None] = Metric(
            name=FRECHET, value=near, n=1000, unit="distance", method="m", bounds=(near - 0.5, near + 0.5)
        )
        for (metric, group), change in changes.get("change", {}).items():
            found[metric, group] = replace(found[metric, group], **change)
        metrics = list(found.values())
        folder = tmp_path / name
        folder.mkdir()
        decision = decide(policy, metrics, released=["images"])
        key = write_results(folder, decision, metrics, ResultsContext(policy=policy, released=("images",), data={"n": name}))
        write_run(folder, RunRecord(id=name, state="complete", config={}, results_key=key))
        return folder

    return write


def proposals(policy, folders):
    return {(p.metric, p.group): p for p in calibrate(policy, read_audits(folders))}


@pytest.mark.parametrize(
    ("figures", "high", "expected"),
    [
        ([1, 2, 3], True, 2 + 2.91999 * (4 / 3) ** 0.5),  # t(0.95, 2) = 2.91999 (Student's table)
        ([1, 2, 3], False, 2 - 2.91999 * (4 / 3) ** 0.5),
        ([5, 5, 5, 5], True, 5),
        (list(range(1, 20)), True, 19),  # 19 of 20 is the last
        (list(range(1, 40)), True, 38),  # 38 of 40
        (list(range(1, 40)), False, 2),
    ],
)
def test_known_answers(figures, high, expected):
    assert prediction_limit(figures, high=high) == pytest.approx(expected, abs=1e-4)


def test_two_figures_are_too_few():
    with pytest.raises(ValueError, match="at least 3"):
        prediction_limit([1, 2], high=True)


@pytest.mark.parametrize(("k", "draw"), [(5, "normal"), (18, "normal"), (19, "exponential"), (60, "exponential")])
def test_a_further_figure_keeps_the_limit_19_times_of_20(k, draw):
    rng = np.random.default_rng(11)
    kept = []
    for _ in range(3000):
        figures = getattr(rng, draw)(size=k + 1)
        kept.append(figures[k] <= prediction_limit(list(figures[:k]), high=True))
    assert 0.935 <= np.mean(kept) <= 0.98


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=18), st.booleans())
def test_no_proposal_from_few_audits_is_stricter_than_what_was_seen(figures, high):
    limit = prediction_limit(figures, high=high)
    assert limit >= max(figures) if high else limit <= min(figures)


def test_limits_are_proposed_for_what_all_audits_measured(policy, audit):
    found = proposals(policy, [audit(f"r{i}", near) for i, near in enumerate((0, 0, 1))])
    near = found[NEAR, None]
    assert near.figures == pytest.approx([clopper_pearson_bounds(k, 1000)[1] for k in (0, 0, 1)])
    assert (str(near.limit), near.n) == ("above 0.7 %", (1000, 1000))
    assert near.limit.value >= prediction_limit(near.figures, high=True)
    assert [(name, str(limit)) for name, limit in near.current] == [("near-copy-rate", "above 1 %")]
    assert found[RECALL, "identity"].limit.side == "below"
    assert found[FRECHET, None].current == ()
    assert (FRECHET, None) in found
    assert "3 audits of unseen real images, n = 1,000, by the normal prediction limit" in near.method


def test_no_limit_is_proposed_for_what_nothing_excuses(policy, audit):
    found = proposals(policy, [audit(f"r{i}", 0) for i in range(3)])
    assert ("memorisation.exact_copies", "accepted") not in found
    assert ("run.attempts", None) not in found
    assert ("memorisation.verified_copies", None) in found


def test_a_limit_that_clean_releases_miss_is_named(policy, audit):
    found = proposals(policy, [audit(f"r{i}", near) for i, near in enumerate((4, 6, 9))])
    assert found[NEAR, None].unreachable == ("near-copy-rate",)


def test_stricter_limits_become_a_policy_that_extends(policy, audit, tmp_path):
    folders = [audit(f"r{i}", near) for i, near in enumerate((0, 0, 1))]
    path = tmp_path / "mine.yaml"
    path.write_text(as_tightening(policy, "public-release", calibrate(policy, read_audits(folders))), "utf-8")
    mine = load_policy(path)
    form = next(check for check in mine.checks if check.id == "near-copy-rate").forms(None)[-1]
    assert str(form.limits["fail"]) == "above 0.7 %"
    assert "3 audits" in form.source
    recall = next(check for check in mine.checks if check.id == "planted-copies-found")
    assert {rule.groups for rule in recall.rules} == {(name,) for name in recall.groups}


def test_no_policy_where_nothing_is_stricter(policy):
    assert as_tightening(policy, "public-release", ()) == ""


def test_what_an_audit_could_not_measure_has_no_proposal(policy, audit):
    folders = [audit(f"r{i}", i, change={(NEAR, None): {"state": "invalid"}} if i == 2 else {}) for i in range(3)]
    assert (NEAR, None) not in proposals(policy, folders)


def test_audits_are_refused_that_are_too_few_the_same_or_of_seen_images(audit):
    one, two, three = (audit(f"r{i}", i) for i in range(3))
    with pytest.raises(InputError, match="found 2, expected at least 3"):
        read_audits([one, two])
    with pytest.raises(InputError, match="the same results as in"):
        read_audits([one, two, three, one / "results.json"])
    seen = audit("seen", 0, change={("memorisation.exact_copies", None): {"value": 3}})
    with pytest.raises(InputError, match="3 exact copies of private images, expected an audit of unseen images"):
        read_audits([one, two, seen])


def test_an_audit_that_was_edited_is_refused(audit):
    folders = [audit(f"r{i}", i) for i in range(3)]
    path = folders[1] / "results.json"
    path.write_bytes(path.read_bytes().replace(b"0.001", b"0.002"))
    with pytest.raises(IntegrityError):
        read_audits(folders)
