"""What got looser, in plain words; and that nothing that got looser is missed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.governance.gate import decide
from synguard.governance.limits import Limit
from synguard.governance.policy import BUILT_IN, Approval, Check, Policy, Rule, Waiver, load_policy
from synguard.governance.policy.diff import diff
from synguard.metrics.catalogue import CATALOGUE
from synguard.results import Metric

NEAR, LABELS = "memorisation.near_copy_rate", "labels.agreement_share"


def share(side, value):
    return Limit(side=side, value=value, unit="share")


NEAR_CHECK = Check(
    id="near", title="t", metric=NEAR, limits={"fail": share("above", 0.01)}, reason="r", source="s", blocker=True
)
EACH = Check(
    id="each",
    title="t",
    metric=LABELS,
    limits={"fail": share("below", 0.8)},
    reason="r",
    source="s",
    each_group=True,
    smallest_group=100,
    rules=(Rule(limits={"fail": share("below", 0.9)}, groups=("dx=*",)),),
)
TWO = Check(
    id="two",
    title="t",
    metric="memorisation.planted_recall",
    limits={"fail": share("below", 0.9)},
    reason="r",
    source="s",
    groups=("a", "b"),
)
WAIVER = Waiver(
    id="w-1",
    check="two",
    group="a",
    ceiling=share("below", 0.7),
    reason="r",
    owner="o",
    approver="a",
    issued=date(2026, 1, 1),
    expires=date(2026, 3, 1),
)
OLD = Policy(
    name="p",
    version="1.0.0",
    checks=(NEAR_CHECK, EACH, TWO),
    releases=("images",),
    review_by=date(2027, 1, 1),
    approvals=(Approval(role="board", count=2),),
    waivers=(WAIVER,),
)


def with_check(check, **more):
    checks = tuple(replace(c, **more) if c is check else c for c in OLD.checks)
    return replace(OLD, checks=checks)


LOOSER = {
    "limit": (
        with_check(NEAR_CHECK, limits={"fail": share("above", 0.02)}),
        "near: the fail limit was above 1 %, is now above 2 %",
    ),
    "limit gone": (
        with_check(NEAR_CHECK, limits={"warn": share("above", 0.01)}),
        "near: the fail limit was above 1 %, is now none",
    ),
    "check gone": (replace(OLD, checks=(EACH, TWO)), "near: the check was there (fail above 1 %), is now gone"),
    "blocker": (with_check(NEAR_CHECK, blocker=False), "near: that nothing may excuse it was true, is now false"),
    "when": (with_check(NEAR_CHECK, when="model released"), "near: when it applies was always, is now model released"),
    "prove": (with_check(NEAR_CHECK, prove="breach"), "near: what has to be proven was compliance, is now breach"),
    "not tested": (
        with_check(NEAR_CHECK, not_tested="warn"),
        "near: what an audit that could not run means was insufficient, is now warn",
    ),
    "metric": (
        with_check(NEAR_CHECK, metric="memorisation.train_holdout_share"),
        f"near: what it looks at was {NEAR}, is now memorisation.train_holdout_share",
    ),
    "group": (with_check(NEAR_CHECK, group="copies"), f"near: what it looks at was {NEAR}, is now {NEAR} (copies)"),
    "fewer groups": (
        with_check(TWO, groups=("a",)),
        "two: what it looks at was memorisation.planted_recall (a, b), is now memorisation.planted_recall (a)",
    ),
    "both groups": (
        with_check(TWO, limits={"fail": share("below", 0.8)}),
        "two: the fail limit was below 90 %, is now below 80 %",
    ),
    "smallest group": (
        with_check(EACH, smallest_group=1000),
        "each: the smallest group judged was 100 images, is now 1,000 images",
    ),
    "rule gone": (with_check(EACH, rules=()), "each: the fail limit for dx=* was below 90 %, is now below 80 %"),
    "rule narrower": (
        with_check(EACH, rules=(Rule(limits={"fail": share("below", 0.9)}, groups=("dx=nevus",)),)),
        "each: the fail limit for dx=* was below 90 %, is now below 80 %",
    ),
    "confidence": (replace(OLD, confidence=0.9), "policy: the confidence was 95 %, is now 90 %"),
    "releases": (replace(OLD, releases=("images", "model")), "policy: what it decides on was images, is now images, model"),
    "review": (replace(OLD, review_by=date(2028, 1, 1)), "policy: the day of review was 2027-01-01, is now 2028-01-01"),
    "no review": (replace(OLD, review_by=None), "policy: the day of review was 2027-01-01, is now none"),
    "approval": (
        replace(OLD, approvals=(Approval(role="board", count=1),)),
        "policy: the number of approvals as board was 2, is now 1",
    ),
    "no approval": (replace(OLD, approvals=()), "policy: the number of approvals as board was 2, is now 0"),
    "new waiver": (
        replace(OLD, waivers=(WAIVER, replace(WAIVER, id="w-2", group="b"))),
        "w-2: the waiver of two was none, is now up to below 70 % for b from 2026-01-01 to 2026-03-01",
    ),
    "longer waiver": (
        replace(OLD, waivers=(replace(WAIVER, expires=date(2026, 3, 2)),)),
        "w-1: the waiver of two was up to below 70 % for a from 2026-01-01 to 2026-03-01, "
        "is now up to below 70 % for a from 2026-01-01 to 2026-03-02",
    ),
    "further waiver": (
        replace(OLD, waivers=(replace(WAIVER, ceiling=share("below", 0.6)),)),
        "w-1: the waiver of two was up to below 70 % for a from 2026-01-01 to 2026-03-01, "
        "is now up to below 60 % for a from 2026-01-01 to 2026-03-01",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOSER)
def test_whatever_got_looser_is_said(name):
    new, text = LOOSER[name]
    found = diff(OLD, new)
    assert [str(change) for change in found.looser] == [text]
    back = diff(new, OLD)
    assert [replace_words(change) for change in back.stricter] == [text]


def replace_words(change):
    return str(replace(change, before=change.after, after=change.before))


def test_nothing_changed():
    found = diff(OLD, replace(OLD, name="q", version="2.0.0", title="Another title"))
    assert (found.looser, found.stricter) == ((), ())


def test_count_and_share_of_the_images_cannot_be_compared():
    count = {"fail": Limit(side="above", value=0, unit="images")}
    part = {"fail": Limit(side="above", value=0.0001, unit="share", of_n=True)}
    one, two = (
        replace(OLD, checks=(replace(NEAR_CHECK, metric="memorisation.verified_copies", limits=x),)) for x in (count, part)
    )
    for old, new in ((one, two), (two, one)):
        assert len(diff(old, new).looser) == 1


def test_a_first_check_lets_through_what_nothing_was_asked_of():
    """Without a check that applies the gate passes nothing."""
    model_only = replace(OLD, checks=(replace(NEAR_CHECK, when="model released"),))
    always = replace(OLD, checks=(NEAR_CHECK,))
    assert [str(change) for change in diff(model_only, always).looser] == [
        f"policy: what a release of images is asked was nothing, so that it never passes, is now {NEAR_CHECK.id}"
    ]


def test_a_rule_for_all_groups_may_replace_one_for_some():
    wider = with_check(EACH, rules=(Rule(limits={"fail": share("below", 0.9)}),))
    assert diff(OLD, wider).looser == ()
    assert [str(c) for c in diff(OLD, wider).stricter] == ["each: the fail limit was below 80 %, is now below 90 %"]


def test_a_fail_limit_may_replace_a_warning():
    warns = with_check(TWO, limits={"warn": share("below", 0.9)})
    assert diff(warns, OLD).looser == ()
    assert diff(OLD, warns).looser != ()


@pytest.mark.parametrize(("strict", "loose"), [BUILT_IN[:2], BUILT_IN[1:]])
def test_the_built_in_policies_are_a_ladder(strict, loose):
    """Whatever `controlled-access` stops, `public-release` stops; likewise down to `internal-research`."""
    one, two = load_policy(strict), load_policy(loose)
    assert diff(two, one).looser == ()
    assert len(diff(one, two).looser) > 10


# A property: where nothing is said to have got looser, nothing passes that was stopped.

NAMES = {NEAR: "above", LABELS: "below"}


@st.composite
def rules(draw, side, groups=True):
    limits = {level: share(side, draw(st.sampled_from([0.2, 0.5, 0.8]))) for level in draw(st.sets(st.sampled_from(LEVELS)))}
    names = draw(st.sampled_from([(), ("dx=a",), ("dx=*",), ("dx=a", "dx=b*")])) if groups else ()
    proof = draw(st.sampled_from([None, "compliance"]))
    return Rule(limits=limits, groups=names, prove=proof, not_tested=draw(st.sampled_from([None, "insufficient"])),
                confidence=draw(st.sampled_from([0.0, 0.99])))  # fmt: skip


LEVELS = ["fail", "warn", "invalid"]


@st.composite
def policies(draw):
    checks = []
    for name, side in NAMES.items():
        if not draw(st.integers(0, 5)):
            continue
        each = name == LABELS
        levels = draw(st.lists(st.sampled_from(LEVELS), min_size=1, unique=True))
        checks.append(
            Check(
                id=name.split(".")[0],
                title="t",
                metric=name,
                limits={level: share(side, draw(st.sampled_from([0.2, 0.5, 0.8]))) for level in levels},
                reason="r",
                source="s",
                each_group=each,
                smallest_group=draw(st.sampled_from([0, 100])) if each else 0,
                when=draw(st.sampled_from(["always", "always", "model released"])),
                prove=draw(st.sampled_from(["compliance", "breach"])),
                not_tested=draw(st.sampled_from(["insufficient", "warn"])),
                rules=tuple(draw(st.lists(rules(side, each), max_size=2))),
            )
        )
    return Policy(
        name="p",
        version="1.0.0",
        checks=tuple(checks),
        releases=draw(st.sampled_from([("images",), ("images", "model")])),
        confidence=draw(st.sampled_from([0.9, 0.95])),
        review_by=draw(st.sampled_from([None, date(2027, 1, 1), date(2028, 1, 1)])),
    )


@st.composite
def evidence(draw):
    found = []
    for name, group in ((NEAR, None), (LABELS, "dx=a"), (LABELS, "dx=bb"), (LABELS, "eye=left")):
        if not draw(st.integers(0, 7)):
            continue
        low, value, high = sorted(draw(st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.6, 0.9, 1.0]), min_size=3, max_size=3)))
        found.append(
            Metric(
                name=name,
                group=group,
                value=value,
                n=draw(st.sampled_from([0, 50, 500])),
                unit=CATALOGUE[name].unit,
                method="m",
                bounds=(low, high),
                attainable=draw(st.sampled_from([None, (0.1, 0.9)])),
                confidence=draw(st.sampled_from([0.9, 0.95, 0.99])),
                state=draw(st.sampled_from(["measured"] * 6 + ["insufficient", "not_tested"])),
            )
        )
    return found


@given(policies(), policies(), st.lists(evidence(), min_size=8, max_size=8), st.data())
@settings(max_examples=150)
def test_nothing_that_got_looser_is_missed(old, new, found, data):
    if data.draw(st.booleans()):  # near one another, or nearly all pairs would have got looser
        new = replace(
            old, checks=tuple(data.draw(st.sampled_from([a, *new.checks[i : i + 1]])) for i, a in enumerate(old.checks))
        )
    said = diff(old, new).looser
    for metrics in found:
        for released in (["images"], ["images", "model"]):
            for today in (None, date(2027, 6, 1)):
                stopped = decide(old, metrics, released=released, today=today).exit_code != 0
                passed = decide(new, metrics, released=released, today=today).exit_code == 0
                assert said or not (stopped and passed)
