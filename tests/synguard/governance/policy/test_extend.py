"""`extends` and `tighten`: what is inherited is still asked, whatever a file says on top of it."""

from __future__ import annotations

import hashlib
import math
import tempfile
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.errors import ConfigError, IntegrityError
from synguard.governance.gate import decide
from synguard.governance.policy import BUILT_IN, load_policy, read_resolved
from synguard.governance.policy.diff import diff
from synguard.metrics.catalogue import CATALOGUE
from synguard.results import ExitCode, Metric
from tests.support.policies import BASES, WHY, extended, tighter, write

NEAR, LABELS, RECALL = "memorisation.near_copy_rate", "labels.agreement_share", "memorisation.planted_recall"
DAY = date(2026, 12, 1)


def check(policy, name):
    return next(check for check in policy.checks if check.id == name)


def limits(policy, name, group=None):
    return {level: str(limit) for level, limit in check(policy, name).forms(group)[-1].limits.items()}


def test_what_is_not_written_is_inherited(tmp_path):
    policy = extended(tmp_path)
    base = load_policy(BASES / "base.yaml")
    assert (policy.name, policy.releases, policy.confidence) == ("child", base.releases, base.confidence)
    assert (policy.review_by, policy.approvals) == (base.review_by, base.approvals)
    assert [c.id for c in policy.checks] == [c.id for c in base.checks]
    assert [(b.name, b.version, b.sha256) for b in policy.bases] == [("base", "1.0.0", base.sha256)]
    assert policy.sha256 != base.sha256


def test_every_key_can_be_tightened(tmp_path):
    policy = extended(
        tmp_path,
        confidence="99%",
        review_by="2027-01-01",
        approvals=[{"role": "privacy-officer", "count": "3 people"}, {"role": "board", "count": "1 person"}],
        checks=[{"id": "ours", "title": "Of ours", "metric": "labels.kappa", "fail": {"below": 0.5}, **WHY}],
        tighten=[
            tighter("near-copies", fail={"above": "0.2%"}, blocker=True),
            tighter("labels-each", groups=["dx=mel*"], fail={"below": "90%"}, prove="compliance", not_tested="insufficient"),
            tighter("labels-each", groups=["dx=melanoma"], fail={"below": "95%"}),
        ],
    )
    assert policy.confidence == 0.99
    assert policy.review_by == date(2027, 1, 1)
    assert [(a.role, a.count) for a in policy.approvals] == [("privacy-officer", 3), ("board", 1)]
    assert [c.id for c in policy.checks][-1] == "ours"
    assert check(policy, "near-copies").blocker
    assert limits(policy, "near-copies") == {"warn": "above 0.5 %", "fail": "above 0.2 %"}
    for group, limit in (("dx=nevus", "80"), ("dx=melanosis", "90"), ("dx=melanoma", "95")):
        assert limits(policy, "labels-each", group) == {"fail": f"below {limit} %"}
    form = check(policy, "labels-each").forms("dx=melanoma")[-1]
    assert (form.prove, form.not_tested) == ("compliance", "insufficient")


def test_own_checks_can_be_tightened_for_single_classes(tmp_path):
    """The per-class override of a policy that extends nothing: all that match hold, the strictest wins."""
    row = {"id": "a", "title": "Labels", "metric": LABELS, "each_group": True, "fail": {"below": "80%"}, **WHY}
    rules = [tighter("a", groups=["dx=*"], fail={"below": "85%"}), tighter("a", groups=["dx=nevus"], warn={"below": "99%"})]
    path = write(tmp_path, releases=["images"], checks=[row], tighten=rules)
    policy = load_policy(path)
    assert limits(policy, "a", "dx=nevus") == {"fail": "below 85 %", "warn": "below 99 %"}
    assert limits(policy, "a", "eye=left") == {"fail": "below 80 %"}
    found = [
        Metric(name=LABELS, value=0.9, n=500, unit="share", method="m", group=g, bounds=(0.82, 0.95), attainable=(0.9, 1))
        for g in ("dx=nevus", "eye=left")
    ]
    decision = decide(policy, found, released=["images"])
    assert {(c.group, c.status, c.limit) for c in decision.checks} == {
        ("dx=nevus", "fail", "below 85 %"),
        ("eye=left", "pass", "below 80 %"),
    }


def test_a_chain_of_bases(tmp_path):
    middle = write(tmp_path, "middle", base="base", tighten=[tighter("near-copies", fail={"above": "0.5%"})])
    policy = load_policy(write(tmp_path, "leaf", base=middle, tighten=[tighter("near-copies", fail={"above": "0.1%"})]))
    assert [base.name for base in policy.bases] == ["base", "middle"]
    assert limits(policy, "near-copies") == {"warn": "above 0.5 %", "fail": "above 0.1 %"}
    assert [rule.origin.file for rule in check(policy, "near-copies").rules] == ["middle.yaml", "leaf.yaml"]
    with pytest.raises(ConfigError, match=r"nothing looser than above 0\.5 %"):
        load_policy(write(tmp_path, "loose", base=middle, tighten=[tighter("near-copies", fail={"above": "0.8%"})]))


def test_a_chain_has_an_end(tmp_path):
    path = BASES / "base.yaml"
    for i in range(7):
        path = write(tmp_path, f"link-{i}", base=path)
    assert len(load_policy(path).bases) == 7
    with pytest.raises(ConfigError, match="more than 8 policies"):
        load_policy(write(tmp_path, "link-7", base=path))


def test_a_base_that_moved_is_noticed(tmp_path):
    path = write(tmp_path, base="base")
    (tmp_path / "base.yaml").write_bytes((tmp_path / "base.yaml").read_bytes().replace(b"above: 1%", b"above: 9%"))
    with pytest.raises(ConfigError, match=r"extends\.sha256: found"):
        load_policy(path)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_policies_can_be_extended(tmp_path, name):
    path = tmp_path / "mine.yaml"
    pin = load_policy(name).sha256
    path.write_text(
        f"schema: synguard/policy/v1\nname: mine\nversion: 1.0.0\nextends: {{policy: {name}, sha256: {pin}}}\n", "utf-8"
    )
    assert len(load_policy(path).checks) == len(load_policy(name).checks)


def test_all_problems_of_a_file_and_of_what_it_extends_come_at_once(tmp_path):
    path = write(
        tmp_path,
        base="base",
        confidence="90%",
        review_by="2031-01-01",
        tighten=[tighter("near-copies", fail={"above": "3%"}), tighter("no-such", fail={"above": "1%"})],
    )
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    keys = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert keys == ["confidence", "review_by", "tighten[0].fail", "tighten[1].check"]


def test_a_check_that_cannot_be_read_is_not_called_unknown_as_well(tmp_path):
    row = {"id": "a", "title": "Labels", "metric": LABELS, "fail": {"below": 80}, **WHY}
    path = write(tmp_path, releases=["images"], checks=[row], tighten=[tighter("a", fail={"below": "85%"})])
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["checks[0].fail.below"]


def test_the_digest_is_of_what_is_asked_and_of_nothing_else(tmp_path):
    path = write(tmp_path, base="base", tighten=[tighter("near-copies", fail={"above": "0.2%"})])
    first = load_policy(path)
    assert first.digest == hashlib.sha256(first.to_bytes()).hexdigest()
    path.write_text("# another comment\n\n" + path.read_text("utf-8"), "utf-8")
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "renamed.yaml"
    moved.write_bytes(path.read_bytes())
    (moved.parent / "base.yaml").write_bytes((BASES / "base.yaml").read_bytes())
    again = load_policy(moved)
    assert again.digest == first.digest
    assert again.sha256 != first.sha256
    assert str(tmp_path).encode() not in first.to_bytes()
    path.write_text(path.read_text("utf-8").replace("0.2%", "0.3%"), "utf-8")
    assert load_policy(path).digest != first.digest


def test_a_resolved_policy_is_read_back_as_it_was(tmp_path, clean_metrics):
    policy = extended(
        tmp_path,
        tighten=[tighter("labels-each", groups=["dx=*"], fail={"below": "90%"})],
        waivers=[
            {
                "id": "w-1",
                "check": "near-copies",
                "ceiling": {"above": "1.5%"},
                "reason": WHY["reason"],
                "owner": "p.ito",
                "approver": "a.osei",
                "issued": "2026-11-20",
                "expires": "2027-01-31",
            }
        ],
    )
    again = read_resolved(policy.to_bytes(), "policy.json")
    assert again.to_bytes() == policy.to_bytes()
    assert (again.digest, again.waivers[0].ceiling) == (policy.digest, policy.waivers[0].ceiling)
    found = list(clean_metrics().values())
    assert decide(again, found, released=["images"], today=DAY) == decide(policy, found, released=["images"], today=DAY)
    with pytest.raises(IntegrityError, match="no resolved policy"):
        read_resolved(b"{}", "policy.json")
    with pytest.raises(IntegrityError, match="another form"):
        read_resolved(policy.to_bytes() + b"\n", "policy.json")
    with pytest.raises(IntegrityError):
        read_resolved(policy.to_bytes().replace(b'"prove"', b'"proven"'), "policy.json")


def near(bounds, **more):
    return Metric(name=NEAR, value=sum(bounds) / 2, n=200, unit="share", method="m", bounds=bounds, **more)


def judged(policy, metric):
    only = replace(policy, checks=tuple(c for c in policy.checks if c.metric == metric.name), review_by=None)
    return decide(only, [metric], released=["images"]).exit_code


def test_what_fails_stays_a_fail_where_the_tighter_limit_could_not_be_decided(tmp_path):
    """A clean release of that size would break the tighter limit too, which is no excuse for breaking the looser one."""
    found = near((0.001, 0.02), attainable=(0.0, 0.008))
    policy = extended(tmp_path, tighten=[tighter("near-copies", fail={"above": "0.5%"})])
    assert judged(load_policy(BASES / "base.yaml"), found) == judged(policy, found) == 20
    assert judged(policy, near((0.0, 0.008), attainable=(0.0, 0.008))) == 22


def test_what_fails_stays_a_fail_where_more_confidence_is_asked_for(tmp_path):
    policy = extended(tmp_path, confidence="99%")
    found = near((0.001, 0.02), attainable=(0.0, 0.008))
    assert judged(load_policy(BASES / "base.yaml"), found) == judged(policy, found) == 20
    assert judged(policy, near((0.0, 0.004), attainable=(0.0, 0.004))) == 22
    assert judged(policy, near((0.0, 0.004), attainable=(0.0, 0.004), confidence=0.99)) == 0


def test_a_wider_rule_does_not_undo_a_narrower_one(tmp_path):
    rules = [
        tighter("labels-each", groups=["dx=melanoma"], fail={"below": "95%"}),
        tighter("labels-each", groups=["dx=*"], fail={"below": "90%"}),
    ]
    policy = extended(tmp_path, tighten=rules)
    assert limits(policy, "labels-each", "dx=melanoma") == {"fail": "below 95 %"}
    assert limits(policy, "labels-each", "dx=nevus") == {"fail": "below 90 %"}


# Properties: whatever a file says on top of a base, nothing passes that the base stops.

ORDER = [int(code) for code in ExitCode.precedence()]
PERCENT = st.integers(1, 999).map(lambda n: f"{n / 10:g}%")
GROUPS = st.sampled_from([None, ["dx=nevus"], ["dx=*"], ["*"], ["dx=melanoma", "dx=n*"]])


@st.composite
def tightenings(draw):
    name, side = draw(st.sampled_from([("near-copies", "above"), ("labels-each", "below"), ("planted", "below"),
                                       ("share", "above")]))  # fmt: skip
    found = {level: {side: draw(PERCENT)} for level in draw(st.sets(st.sampled_from(["fail", "warn", "invalid"])))}
    if name == "labels-each" and draw(st.booleans()):
        found["groups"] = draw(GROUPS.filter(bool))
    if draw(st.booleans()):
        found["prove"] = "compliance"
    if draw(st.booleans()):
        found["not_tested"] = "insufficient"
    if "groups" not in found and draw(st.booleans()):
        found["blocker"] = True
    return tighter(name, **found)


@st.composite
def children(draw):
    keys = {}
    if draw(st.booleans()):
        keys["confidence"] = draw(st.sampled_from(["80%", "90%", "95%", "99%"]))
    if draw(st.booleans()):
        keys["releases"] = draw(st.sampled_from([["images"], ["model"], ["images", "model"]]))
    if draw(st.booleans()):
        keys["review_by"] = draw(st.sampled_from(["2026-11-30", "2027-01-01", "2030-06-30", "2033-01-01"]))
    if draw(st.booleans()):
        keys["approvals"] = [{"role": "privacy-officer", "count": f"{draw(st.integers(1, 4))} people"}]
    return {**keys, "tighten": draw(st.lists(tightenings(), max_size=4))}


@st.composite
def measured(draw):
    def one(name, group=None):
        low, value, high = sorted(draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)))
        bounds = tuple(sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2))))
        return Metric(
            name=name,
            group=group,
            value=value if CATALOGUE[name].unit == "share" else float(round(9 * value)),
            n=draw(st.integers(0, 400)),
            unit=CATALOGUE[name].unit,
            method="m",
            bounds=(low, high),
            attainable=draw(st.sampled_from([None, bounds])),
            confidence=draw(st.sampled_from([0.9, 0.95, 0.99])),
            state=draw(st.sampled_from(["measured"] * 5 + ["insufficient", "invalid", "not_tested", "error"])),
        )

    names = [("memorisation.verified_copies", "accepted"), (NEAR, None), ("memorisation.train_holdout_share", None)]
    names += [(LABELS, "dx=nevus"), (LABELS, "dx=melanoma"), (RECALL, "identity"), (RECALL, "mirrored")]
    found = [one(*name) for name in names if draw(st.integers(0, 9))]
    if draw(st.booleans()):  # a good one: otherwise next to nothing ever passes
        found = [replace(m, state="measured", n=400, confidence=0.99, **_good(m)) for m in found]
    return found


def _good(metric):
    if CATALOGUE[metric.name].unit == "images":
        return {"value": 0.0}
    best = 0.0 if CATALOGUE[metric.name].direction == "lower" else 1.0
    near = best * 0.97 + (1 - best) * 0.003
    return {"value": best, "bounds": tuple(sorted((best, near))), "attainable": None}


def accepted(keys):
    with tempfile.TemporaryDirectory() as folder:
        try:
            return extended(Path(folder), **keys)
        except ConfigError:
            return None


@given(children(), st.data())
@settings(max_examples=120)
def test_extending_never_loosens(keys, data):
    """A child is refused, or its exit code weighs at least as much as the base's, on whatever evidence, on every day."""
    base, policy = load_policy(BASES / "base.yaml"), accepted(keys)
    if policy is None:
        return
    found = data.draw(measured())
    released = data.draw(st.sampled_from([["images"], ["model"], ["images", "model"]]))
    today = data.draw(st.sampled_from([None, DAY, date(2028, 1, 1), date(2031, 1, 1)]))
    one, two = (decide(p, found, released=released, today=today, fail_on_warn=True) for p in (base, policy))
    assert ORDER.index(two.exit_code) <= ORDER.index(one.exit_code)
    assert diff(base, policy).looser == ()
    needed = {a.role: a.count for a in policy.approvals}
    assert all(needed[a.role] >= a.count for a in base.approvals)


@given(PERCENT, PERCENT, st.sampled_from([("near-copies", "above"), ("labels-each", "below"), ("planted", "below")]))
@settings(max_examples=60)
def test_a_looser_limit_is_refused_and_a_stricter_one_taken(first, second, which):
    name, side = which
    keys = {"tighten": [tighter(name, fail={side: value}) for value in (first, second)]}
    inherited = {"near-copies": 1.0, "labels-each": 80.0, "planted": 90.0}[name]
    values = [inherited, *(float(value[:-1]) for value in (first, second))]
    falling = all(a >= b if side == "above" else a <= b for a, b in pairwise(values))
    assert (accepted(keys) is not None) == falling


@given(st.floats(0, 0.02), st.floats(0, 0.02))
@settings(max_examples=50)
def test_the_tightened_limit_is_the_one_that_decides(bound, limit):
    with tempfile.TemporaryDirectory() as folder:
        percent = f"{min(1.0, max(0.01, math.floor(limit * 10000) / 100)):g}%"
        policy = extended(Path(folder), tighten=[tighter("near-copies", fail={"above": percent})])
    only = replace(policy, checks=tuple(c for c in policy.checks if c.id == "near-copies"), review_by=None)
    found = Metric(name=NEAR, value=0.0, n=1000, unit="share", method="m", bounds=(0, bound), attainable=(0, 0))
    fails = bound > float(percent[:-1]) / 100
    assert (decide(only, [found], released=["images"]).exit_code == 20) == fails
