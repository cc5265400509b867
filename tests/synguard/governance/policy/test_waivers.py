"""Waivers, review and attempts at the gate: what counts on which day, and what nothing excuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import ConfigError
from synguard.governance.gate import decide, holds_until
from synguard.governance.limits import Limit
from synguard.governance.policy import BUILT_IN, Check, Policy, Rule, Waiver, load_policy
from synguard.results import Metric
from tests.support.policies import WAIVER, extended, write

NEAR = "memorisation.near_copy_rate"
ISSUED, EXPIRES = date(2026, 11, 20), date(2027, 1, 31)
DAY = date(2026, 12, 1)
NEAR_CHECK = Check(
    id="near-copies",
    title="t",
    metric=NEAR,
    limits={"fail": Limit(side="above", value=0.01, unit="share")},
    reason="r",
    source="s",
)
EXCUSE = Waiver(
    id="w-1",
    check="near-copies",
    ceiling=Limit(side="above", value=0.015, unit="share"),
    reason="Fields look alike.",
    owner="p.ito",
    approver="a.osei",
    issued=ISSUED,
    expires=EXPIRES,
)
POLICY = Policy(name="p", version="1.0.0", checks=(NEAR_CHECK,), waivers=(EXCUSE,))


def near(bound, **more):
    given = {"value": 0.005, "n": 2000, "bounds": (0.001, bound), "attainable": (0.0, 0.0015), **more}
    return Metric(name=NEAR, unit="share", method="m", **given)


def judged(policy, metric, today=DAY):
    decision = decide(policy, [metric], released=["images"], today=today)
    return decision, decision.checks[0]


@pytest.mark.parametrize(
    ("bound", "today", "status", "code"),
    [
        (0.009, DAY, "pass", 0),
        (0.014, DAY, "waived", 0),
        (0.015, DAY, "waived", 0),
        (0.0151, DAY, "fail", 20),
        (0.014, ISSUED, "waived", 0),
        (0.014, EXPIRES, "waived", 0),
        (0.014, ISSUED - timedelta(days=1), "fail", 20),
        (0.014, EXPIRES + timedelta(days=1), "fail", 20),
    ],
)
def test_a_waiver_counts_up_to_its_ceiling_and_on_its_days(bound, today, status, code):
    decision, check = judged(POLICY, near(bound), today)
    assert (check.status, decision.exit_code) == (status, code)
    assert check.waiver == ("w-1" if status == "waived" else "")


def test_a_waived_check_is_a_warning_that_says_all():
    decision, check = judged(POLICY, near(0.014))
    assert decision.status == "warn"
    assert check.reason.endswith("fails above 1 %. Waived up to above 1.5 % and until 2027-01-31 (w-1): Fields look alike.")
    assert decide(POLICY, [near(0.014)], released=["images"], today=DAY, fail_on_warn=True).exit_code == 10
    assert "its ceiling is above 1.5 %" in judged(POLICY, near(0.02))[1].reason


def test_a_waiver_that_ran_out_is_said_even_where_it_is_not_needed():
    decision, _ = judged(POLICY, near(0.009), EXPIRES + timedelta(days=1))
    assert (decision.status, decision.exit_code) == ("warn", 0)
    assert decision.reasons == ("The waiver w-1 for near-copies ran out on 2027-01-31 and was not used.",)
    decision, _ = judged(POLICY, near(0.009), ISSUED - timedelta(days=1))
    assert decision.reasons == ("The waiver w-1 for near-copies does not count before 2026-11-20 and was not used.",)


def test_too_few_images_for_the_limit_may_be_enough_for_the_ceiling():
    few = near(0.014, value=0.0, n=213, bounds=(0.0, 0.014), attainable=(0.0, 0.014))
    assert judged(replace(POLICY, waivers=()), few)[1].status == "insufficient"
    assert judged(POLICY, few)[1].status == "waived"


@pytest.mark.parametrize("state", ["insufficient", "invalid", "not_tested", "error"])
def test_no_waiver_excuses_evidence_that_is_not_there(state):
    decision, check = judged(POLICY, near(0.014, state=state))
    assert check.status != "waived"
    assert decision.exit_code == 22


def test_no_waiver_excuses_an_absent_metric():
    assert decide(POLICY, [], released=["images"], today=DAY).exit_code == 22


def test_nothing_excuses_a_blocker():
    """Even where a policy comes about in another way than by its file, which is refused."""
    blocking = replace(POLICY, checks=(replace(NEAR_CHECK, blocker=True),))
    assert judged(blocking, near(0.014))[1].status == "fail"


def test_nothing_excuses_a_copy_in_the_release():
    name = "memorisation.verified_copies"
    check = replace(NEAR_CHECK, metric=name, group="accepted", limits={"fail": Limit(side="above", value=0, unit="images")})
    lax = replace(EXCUSE, group="accepted", ceiling=Limit(side="above", value=5, unit="images"))
    found = Metric(name=name, value=1.0, n=1000, unit="images", method="m", group="accepted")
    decision = decide(replace(POLICY, checks=(check,), waivers=(lax,)), [found], released=["images"], today=DAY)
    assert [c.status for c in decision.checks] == ["waived", "fail"]
    assert decision.exit_code == 20


def test_a_waiver_for_one_group_is_for_that_group():
    limit = {"fail": Limit(side="below", value=0.9, unit="share")}
    check = replace(NEAR_CHECK, metric="memorisation.planted_recall", groups=("a", "b"), limits=limit)
    lax = replace(EXCUSE, group="a", ceiling=Limit(side="below", value=0.8, unit="share"))
    found = [
        Metric(name=check.metric, value=0.88, n=900, unit="share", method="m", group=g, bounds=(0.85, 0.9)) for g in "ab"
    ]
    decision = decide(replace(POLICY, checks=(check,), waivers=(lax,)), found, released=["images"], today=DAY)
    assert [(c.group, c.status) for c in decision.checks] == [("a", "waived"), ("b", "fail")]


def test_a_waiver_lifts_what_was_tightened_as_well():
    rule = Rule(limits={"fail": Limit(side="above", value=0.005, unit="share")})
    assert judged(replace(POLICY, checks=(replace(NEAR_CHECK, rules=(rule,)),)), near(0.014))[1].status == "waived"
    spoilt = Rule(limits={"invalid": Limit(side="above", value=0.012, unit="share")})
    assert judged(replace(POLICY, checks=(replace(NEAR_CHECK, rules=(spoilt,)),)), near(0.014))[1].status == "fail"


def test_without_a_day_nothing_that_depends_on_it_passes():
    assert judged(POLICY, near(0.009), None)[0].exit_code == 22
    assert judged(replace(POLICY, waivers=(), review_by=EXPIRES), near(0.009), None)[0].exit_code == 22
    assert judged(replace(POLICY, waivers=()), near(0.009), None)[0].exit_code == 0


def test_a_policy_past_its_review_fails():
    dated = replace(POLICY, waivers=(), review_by=DAY)
    assert judged(dated, near(0.009), DAY)[0].exit_code == 0
    decision, _ = judged(dated, near(0.009), DAY + timedelta(days=1))
    assert (decision.status, decision.exit_code) == ("fail", 20)
    assert decision.reasons[0] == ("The policy p was to be reviewed by 2026-12-01; nobody has stood by its limits since.")


def test_until_when_a_decision_holds():
    for policy, bound, until in (
        (POLICY, 0.014, EXPIRES),
        (POLICY, 0.009, None),
        (replace(POLICY, review_by=date(2027, 6, 1)), 0.009, date(2027, 6, 1)),
        (replace(POLICY, review_by=date(2026, 12, 24)), 0.014, date(2026, 12, 24)),
    ):
        assert holds_until(policy, judged(policy, near(bound))[0]) == until


def test_a_waiver_is_not_inherited(tmp_path):
    waived = extended(tmp_path, waivers=[WAIVER])
    assert [w.id for w in waived.waivers] == ["w-1"]
    grandchild = tmp_path / "grandchild.yaml"
    grandchild.write_text(
        f"schema: synguard/policy/v1\nname: g\nversion: 1.0.0\nextends: {{policy: child.yaml, sha256: {waived.sha256}}}\n",
        encoding="utf-8",
    )
    assert load_policy(grandchild).waivers == ()


@pytest.mark.parametrize(
    ("name", "check", "group"),
    [
        *((name, "planted-copies-found", "identity") for name in BUILT_IN),
        *((name, "moved-copies-found", "blurred") for name in BUILT_IN[:2]),
    ],
)
def test_no_waiver_for_an_audit_that_does_not_see_copies(tmp_path, name, check, group):
    excuse = {**WAIVER, "check": check, "group": group, "ceiling": {"below": "1%"}}
    pinned = {"policy": name, "sha256": load_policy(name).sha256}
    with pytest.raises(ConfigError, match=f"found {check}, which is a blocker") as refused:
        load_policy(write(tmp_path, extends=pinned, waivers=[excuse]))
    assert refused.value.exit_code == 2


def test_the_cap_on_attempts():
    assert [load_policy(name).attempts for name in ("public-release", "controlled-access", "internal-research")] == [
        5,
        10,
        None,
    ]


@given(st.floats(0, 0.05), st.floats(0.0101, 0.05), st.dates(date(2026, 10, 1), date(2027, 3, 1)))
def test_a_waiver_never_lets_through_what_is_beyond_its_ceiling(bound, ceiling, today):
    lifted = replace(EXCUSE, ceiling=Limit(side="above", value=ceiling, unit="share"))
    decision, _ = judged(replace(POLICY, waivers=(lifted,)), near(bound, bounds=(0.0, bound)), today)
    allowed = bound <= 0.01 or (bound <= ceiling and ISSUED <= today <= EXPIRES)
    assert (decision.exit_code == 0) == allowed
