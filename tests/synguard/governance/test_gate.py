"""The gate: the truth table, and what must hold whatever the figures are."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.governance.gate import SEVERITY, decide
from synguard.governance.limits import Limit
from synguard.governance.policy import Check, Policy
from synguard.results import ExitCode, Metric

NAMES = {
    "memorisation.near_copy_rate": ("share", "above"),
    "memorisation.verified_copies": ("images", "above"),
    "memorisation.planted_recall": ("share", "below"),
    "membership.black_box.auc": ("AUC", "above"),
    "run.quarantine_rate": ("share", "above"),
}
unit_floats = st.floats(0, 1, allow_nan=False)


@st.composite
def checks(draw, id_=None):
    name = draw(st.sampled_from(sorted(NAMES)))
    unit, side = NAMES[name]
    value = draw(st.integers(0, 5) if unit == "images" else unit_floats)
    levels = draw(st.lists(st.sampled_from(["fail", "warn", "invalid"]), min_size=1, unique=True))
    limits = {level: Limit(side=side, value=float(value), unit=unit) for level in levels}
    return Check(
        id=id_ or draw(st.sampled_from("abcdefghij")),
        title="t",
        metric=name,
        limits=limits,
        reason="r",
        source="s",
        when=draw(st.sampled_from(["always", "model released", "model held back"])),
        not_tested=draw(st.sampled_from(["insufficient", "warn"])),
        prove=draw(st.sampled_from(["compliance", "compliance", "breach"])),
    )


@st.composite
def metrics(draw, name=None):
    name = name or draw(st.sampled_from(sorted(NAMES)))
    unit, _ = NAMES[name]
    low, value, high = sorted(draw(st.lists(unit_floats, min_size=3, max_size=3)))
    if unit == "images":
        value = draw(st.integers(0, 9))
    spread = sorted(draw(st.lists(unit_floats, min_size=2, max_size=2)))
    return Metric(
        name=name,
        value=float(value),
        n=draw(st.integers(0, 500)),
        unit=unit,
        method="m",
        bounds=(low, high),
        attainable=draw(st.sampled_from([None, tuple(spread)])),
        state=draw(st.sampled_from(["measured"] * 4 + ["insufficient", "invalid", "not_tested", "error"])),
    )


releases = st.sampled_from([("images",), ("images", "model"), ("model",)])


def policy_of(found):
    return Policy(name="p", version="1.0.0", checks=tuple(found), releases=("images", "model"))


def test_truth_table(row, table):
    assert table(decide, (row,)) == []


def test_an_empty_policy_never_passes(clean_metrics):
    decision = decide(policy_of([]), list(clean_metrics().values()), released=["images"])
    assert (decision.status, decision.exit_code) == ("insufficient", 22)
    assert "no check that applies" in decision.reasons[0]


def test_a_policy_of_which_nothing_applies_never_passes(policy, clean_metrics):
    only = [check for check in policy.checks if check.when == "model released"]
    assert decide(policy_of(only), list(clean_metrics().values()), released=["images"]).exit_code == 22


def test_reasons_are_sentences_the_weightiest_first(policy, clean_metrics):
    found = clean_metrics(30)
    found["memorisation.verified_copies", "accepted"] = replace(found["memorisation.verified_copies", "accepted"], value=1)
    found["run.quarantine_rate", "labels"] = replace(found["run.quarantine_rate", "labels"], value=0.5)
    decision = decide(policy, list(found.values()), released=["images"])
    assert decision.reasons[0] == "memorisation.verified_copies (accepted): 1 of 30 images; fails above 0 images."
    assert decision.reasons[-1] == "run.quarantine_rate (labels): 15 of 30 images (50 %); warns above 20 %."
    assert all(reason.endswith(".") for reason in decision.reasons)


def test_a_pass_says_how_much_was_checked_and_nothing_of_safety(policy, clean_metrics):
    (reason,) = decide(policy, list(clean_metrics().values()), released=["images"]).reasons
    assert reason.startswith("All 34 checks of public-release 1.0.0 hold")
    assert "anonym" not in reason
    assert "safe" not in reason


def test_the_bound_that_decided_is_in_the_check(policy, clean_metrics):
    decision = decide(policy, list(clean_metrics().values()), released=["images"])
    check = next(check for check in decision.checks if check.id == "near-copy-rate")
    assert check.bound == pytest.approx(0.00299, abs=1e-5)
    assert (check.limit, check.n, check.value, check.unit) == ("above 1 %", 1000, 0.0, "share")


def test_the_bound_that_proves_a_breach_is_in_the_check(policy, clean_metrics):
    found = clean_metrics()
    lost = replace(found["labels.agreement_share", "dx=nevus"], value=0.5, bounds=(0.4, 0.6))
    found["labels.agreement_share", "dx=nevus"] = lost
    decision = decide(policy, list(found.values()), released=["images"])
    check = next(check for check in decision.checks if check.id == "label-agreement-each-class")
    assert (check.status, check.bound) == ("fail", 0.6)
    assert decision.reasons[0] == (
        "labels.agreement_share (dx=nevus): 50 % on 1,000 images, one-sided upper 95 % bound 60 %; fails below 80 %."
    )
    found["labels.agreement_share", "dx=nevus"] = replace(lost, bounds=(0.4, 0.9))
    check = next(c for c in decide(policy, list(found.values()), released=["images"]).checks if c.group == "dx=nevus")
    assert (check.status, check.bound) == ("warn", 0.4)


def test_what_was_not_held_has_no_bound(policy, clean_metrics):
    found = clean_metrics()
    white = ("membership.white_box.auc", None)
    found[white] = replace(found[white], state="not_tested")
    checks = {check.id: check for check in decide(policy, list(found.values()), released=["images"]).checks}
    assert checks["white-box-auc-model-held-back"].bound is None
    assert all(check.bound is not None for name, check in checks.items() if name != "white-box-auc-model-held-back")


def test_too_little_evidence_is_a_warning_where_a_breach_has_to_be_proven():
    limits = {"fail": Limit(side="above", value=0.5, unit="share")}
    check = Check(
        id="c", title="t", metric="memorisation.near_copy_rate", limits=limits, reason="r", source="s", prove="breach"
    )
    measured = Metric(name=check.metric, value=None, n=9, unit="share", method="m", state="insufficient")
    assert decide(policy_of([check]), [measured], released=["images"]).checks[0].status == "warn"
    assert decide(policy_of([check]), [], released=["images"]).checks[0].status == "insufficient"


def test_blockers_come_first_among_what_fails(policy, clean_metrics):
    found = clean_metrics()
    for key in (("memorisation.verified_copies", None), ("memorisation.verified_copies", "accepted")):
        found[key] = replace(found[key], value=5)
    decision = decide(policy, list(found.values()), released=["images"])
    order = [check.id for check in decision.checks if check.status == "fail"]
    assert order == ["verified-copies-accepted", "verified-copies-candidates"]
    turned = replace(policy, checks=policy.checks[::-1])
    assert "(accepted)" in decide(turned, list(found.values()), released=["images"]).reasons[0]


@pytest.mark.parametrize("state", ["measured", "invalid", "error"])
@pytest.mark.parametrize("name", ["memorisation.exact_copies", "memorisation.verified_copies"])
def test_no_policy_lets_a_copy_into_the_release(policy, clean_metrics, name, state):
    found = clean_metrics()
    found[name, "accepted"] = replace(found[name, "accepted"], value=1, state=state)
    blind = replace(policy, checks=tuple(c for c in policy.checks if c.metric != name))
    loose = {"fail": Limit(side="above", value=5, unit="images")}
    lenient = replace(policy, checks=tuple(replace(c, limits=loose) if c.metric == name else c for c in policy.checks))
    for chosen in (blind, lenient):
        decision = decide(chosen, list(found.values()), released=["images"])
        assert (decision.status, decision.exit_code) == ("fail", 20)
        assert decision.reasons[0] == (
            f"{name} (accepted): 1 of 1,000 images; a copy in what would be released fails under any policy."
        )
    strict = decide(policy, list(found.values()), released=["images"])
    assert [c.id for c in strict.checks if c.status == "fail" and c.group == "accepted"] != ["copies-in-release"]


def test_two_figures_of_one_name_are_both_held(policy, clean_metrics):
    found = list(clean_metrics().values())
    bad = [replace(metric, value=1) for metric in found if metric.name == "memorisation.exact_copies"]
    assert decide(policy, found + bad, released=["images"]).exit_code == 20
    assert decide(policy, bad + found, released=["images"]).exit_code == 20


def test_a_bound_so_near_the_limit_that_rounding_hides_it_is_shown_in_full(policy, clean_metrics):
    found = clean_metrics()
    key = ("memorisation.near_copy_rate", None)
    found[key] = replace(found[key], bounds=(0.0, 0.010001))
    decision = decide(policy, list(found.values()), released=["images"])
    assert "bound 1.0001 %; fails above 1 %" in decision.reasons[0]


STATE_OF = {
    "fail": {"value": 1.0, "bounds": (1.0, 1.0)},
    "insufficient": {"state": "insufficient"},
    "invalid": {"state": "invalid"},
    "error": {"state": "error"},
    "warn": {"state": "not_tested"},
    "pass": {"value": 0.0, "bounds": (0.0, 0.0)},
}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
def test_exit_codes_by_precedence_for_every_combination(size):
    """One check for each status, in every combination: 20 before 22 before 10 before 0."""
    names = {"fail": 20, "insufficient": 22, "invalid": 22, "error": 22, "warn": 0, "pass": 0}
    strict = {**names, "warn": 10}
    limit = {"fail": Limit(side="above", value=0.5, unit="share")}
    order = [int(code) for code in ExitCode.precedence()]
    for statuses in combinations(names, size):
        found = [
            Check(
                id=s,
                title=s,
                metric="memorisation.near_copy_rate",
                group=s,
                limits=limit,
                reason="r",
                source="s",
                not_tested="warn",
            )
            for s in statuses
        ]
        measured = [
            replace(
                Metric(name="memorisation.near_copy_rate", value=0.0, n=9, unit="share", method="m", group=s, bounds=(0, 0)),
                **STATE_OF[s],
            )
            for s in statuses
        ]
        for codes, fail_on_warn in ((names, False), (strict, True)):
            decision = decide(policy_of(found), measured, released=["images"], fail_on_warn=fail_on_warn)
            assert [check.status for check in decision.checks] == list(statuses)
            assert decision.exit_code == min((codes[s] for s in statuses), key=order.index)
            assert (decision.status == "pass") == (set(statuses) == {"pass"})


@given(st.lists(checks(), max_size=4), checks(), st.lists(metrics(), max_size=6), releases, st.booleans())
@settings(max_examples=60)
def test_adding_a_check_never_turns_a_non_pass_into_a_pass(found, more, measured, released, strict):
    before = decide(policy_of(found), measured, released=released, fail_on_warn=strict)
    after = decide(policy_of([*found, more]), measured, released=released, fail_on_warn=strict)
    applied = [check for check in before.checks if check.id != "no-check"]
    if not applied:  # an empty policy is no verdict to improve on, but only a check that holds can make one
        assert (after.exit_code != 0) or after.checks[-1].id == more.id
        return
    order = [int(code) for code in ExitCode.precedence()]
    assert order.index(after.exit_code) <= order.index(before.exit_code)


@given(checks(), st.data(), releases)
@settings(max_examples=50)
def test_a_worse_metric_never_improves_the_status(check, data, released):
    better = replace(data.draw(metrics(check.metric)), state="measured")
    sign = 1 if NAMES[check.metric][1] == "above" else -1
    by = data.draw(st.floats(0, 1)) if NAMES[check.metric][0] != "images" else data.draw(st.integers(0, 5))
    worse = replace(better, value=better.value + sign * by, bounds=tuple(b + sign * by for b in better.bounds))
    first, second = (decide(policy_of([check]), [m], released=released) for m in (better, worse))
    assert SEVERITY.index(second.checks[0].status) <= SEVERITY.index(first.checks[0].status)


@given(st.lists(checks(), min_size=1, max_size=4), st.lists(metrics(), max_size=6), releases)
@settings(max_examples=60)
def test_taking_evidence_away_never_makes_a_pass(found, measured, released):
    """Whatever is dropped, a policy whose every check asks for evidence passes only where all of it is there."""
    decision = decide(policy_of(found), measured, released=released)
    for i, gone in enumerate(measured):
        rest = measured[:i] + measured[i + 1 :]
        if any(metric.name == gone.name for metric in rest) or decision.status != "pass":
            continue
        used = any(check.metric == gone.name for check in decision.checks)
        assert (decide(policy_of(found), rest, released=released).exit_code == 22) == used


@given(st.lists(checks(), min_size=1, max_size=4), st.lists(metrics(), max_size=6), releases)
@settings(max_examples=50)
def test_a_pass_has_a_figure_behind_every_check(found, measured, released):
    decision = decide(policy_of(found), measured, released=released)
    if decision.status == "pass":
        assert decision.checks
        assert all(check.n > 0 and check.bound is not None for check in decision.checks)


@given(st.permutations(range(6)), st.lists(metrics(), min_size=6, max_size=6), st.lists(checks(), min_size=1, max_size=3))
@settings(max_examples=50)
def test_the_order_of_metrics_decides_nothing(order, measured, found):
    one = decide(policy_of(found), measured, released=["images"])
    two = decide(policy_of(found), [measured[i] for i in order], released=["images"])
    assert (one.status, one.exit_code) == (two.status, two.exit_code)
