"""The release zoo: twenty releases whose end is known, each a whole way from metrics to a verified copy.

Beside each case stands the part of the gate that it is about, broken on purpose. A broken gate lets through what has to be
refused, and refuses what has to pass: so that no case is right for another reason than its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from synguard.governance import approvals, gate, sign_off
from synguard.governance.keys.trust import Trust
from synguard.governance.ledger import Ledger
from synguard.governance.ledger.fingerprints import Fingerprints
from synguard.governance.limits import Limit
from synguard.governance.policy import Check, Waiver, people
from synguard.metrics.intervals import clopper_pearson_bounds
from synguard.results import ExitCode
from tests.support.policies import WAIVER, WHY
from tests.support.zoo import ALL_SIGN, Way, go

from .conftest import (
    BLACK,
    EXACT,
    LABELS,
    NEAR,
    SPLIT,
    VERIFIED,
    WHITE,
    auc,
    both,
    clean,
    drop,
    metric,
    put,
    share,
    state,
)

Patch = pytest.MonkeyPatch


# The gate, broken on purpose.


def limits_break_where_they_are_met(patch: Patch) -> None:
    patch.setattr(Limit, "breaks", lambda self, f: f >= self.value if self.side == "above" else f <= self.value)


def copies_are_held_on_their_lower_bound(patch: Patch) -> None:
    held = gate._held
    patch.setattr(gate, "_held", lambda m, s, x: clopper_pearson_bounds(int(m.value), m.n)[0] if x.of_n else held(m, s, x))


def only_the_policy_looks_for_copies(patch: Patch) -> None:
    patch.setattr(gate, "_copies_let_through", lambda *_: [])


def the_model_is_taken_as_held_back(patch: Patch) -> None:
    patch.setattr(Check, "applies", lambda check, released: check.when != "model released")


def invalid_evidence_passes(patch: Patch) -> None:
    patch.setitem(gate._EXIT, "invalid", ExitCode.PASS)


def points_are_held_instead_of_bounds(patch: Patch) -> None:
    patch.setattr(gate, "_held", lambda m, s, x: m.value / (m.n if x.of_n else 1))


def only_equal_sets_count_as_attempts(patch: Patch) -> None:
    patch.setattr(Fingerprints, "overlaps", lambda self, other: self.digest == other.digest)


def waivers_never_count(patch: Patch) -> None:
    patch.setattr(Waiver, "in_force", lambda *_: False)


def waivers_never_end(patch: Patch) -> None:
    patch.setattr(Waiver, "in_force", lambda *_: True)
    patch.setattr(sign_off, "_waivers", lambda *_: ())


def waivers_have_no_ceiling(patch: Patch) -> None:
    lifted = Check.lifted
    patch.setattr(Check, "lifted", lambda self, ceiling: lifted(self, replace(ceiling, value=1.0)))


def blockers_can_be_waived(patch: Patch) -> None:
    strictest = gate._strictest
    patch.setattr(people, "_may_be_waived", lambda *_: None)
    patch.setattr(gate, "_strictest", lambda check, m, w: strictest(replace(check, blocker=False), m, w))


def nobody_counts_the_approvals(patch: Patch) -> None:
    missing = approvals._missing
    patch.setattr(approvals, "_missing", lambda *a: tuple(line for line in missing(*a) if not line.endswith("approvals")))


def keys_are_counted_as_people(patch: Patch) -> None:
    holder = Trust.holder

    def by_key(self, key):
        person, held = holder(self, key)
        return replace(person, name=f"{person.name} {key[:8]}"), held

    patch.setattr(Trust, "holder", by_key)


def operators_are_not_barred(patch: Patch) -> None:
    patch.setattr(sign_off, "_check_separate", lambda *_: None)
    patch.setattr(approvals, "_barred", lambda *_: {})


def revocations_are_not_read(patch: Patch) -> None:
    holder = Trust.holder

    def unrevoked(self, key):
        person, held = holder(self, key)
        return person, replace(held, revoked=None)

    patch.setattr(Trust, "holder", unrevoked)


def no_run_takes_another_ones_place(patch: Patch) -> None:
    patch.setattr(Ledger, "successor", lambda *_: "")


def small_classes_are_judged(patch: Patch) -> None:
    patch.setattr(gate, "_not_judged", lambda *_: False)


def review_days_pass_unseen(patch: Patch) -> None:
    occasion = sign_off.Occasion
    patch.setattr(gate, "_days", lambda *_: [])
    patch.setattr(sign_off, "Occasion", lambda **given: occasion(**{**given, "review_by": None}))


def what_is_missing_passes(patch: Patch) -> None:
    missing = gate._missing
    patch.setattr(gate, "_missing", lambda *a: replace(missing(*a), status="pass"))


def what_errored_passes(patch: Patch) -> None:
    patch.setitem(gate._EXIT, "error", ExitCode.PASS)


# The zoo.


def waived(**more: object) -> dict[str, object]:
    return {"waivers": [{**WAIVER, "check": "near-copy-rate", **more}]}


A_FEW_NEAR = put(share(NEAR, 6, 1000, ideal=0))
"""0.6 %, upper bound 1.18 %: beyond the limit of 1 %, within a ceiling of 1.5 %."""
COPIES_ALLOWED = {
    "releases": ["images"],
    "approvals": [{"role": role, "count": "1 person"} for _, role in ALL_SIGN[1:]],
    "checks": [
        {
            "id": "some-copies",
            "title": "Not too many copies",
            "metric": VERIFIED,
            "group": "accepted",
            "fail": {"above": "20 images"},
            **WHY,
        }
    ],
}


@dataclass(frozen=True)
class Case:
    """A release, what it must end with, what must be said, and the break in the gate that would change the end."""

    name: str
    code: int
    says: str
    broken: Callable[[Patch], None]
    way: Way = field(default_factory=Way)


ZOO = (
    Case("clean", 0, "checks of public-release 1.0.0 hold", limits_break_where_they_are_met),
    Case(
        "one copy",
        20,
        "memorisation.verified_copies: 1 of 1,000 images; fails above 0.01 %",
        copies_are_held_on_their_lower_bound,
        Way(change=put(metric(VERIFIED, 1, 1000), metric(EXACT, 1, 1000))),
    ),
    Case(
        "15 copies",
        20,
        "(accepted): 15 of 1,000 images; a copy in what would be released fails under any policy",
        only_the_policy_looks_for_copies,
        Way(policy=COPIES_ALLOWED, instead=True, change=put(metric(VERIFIED, 15, 1000, "accepted"))),
    ),
    Case(
        "leaky model",
        20,
        "membership.white_box.auc: 0.65 on 1,000 images a side",
        the_model_is_taken_as_held_back,
        Way(released=("images", "model"), change=put(auc(WHITE, 0.65, 1000))),
    ),
    Case(
        "split invalid",
        22,
        "told apart at 0.59",
        invalid_evidence_passes,
        Way(
            change=both(
                put(replace(auc(SPLIT, 0.59, 1000), state="invalid", note="told apart at 0.59")),
                state((BLACK, None), "invalid", "told apart at 0.59"),
            )
        ),
    ),
    Case(
        "underpowered",
        22,
        "even a clean release needs at least",
        points_are_held_instead_of_bounds,
        Way(n=30),
    ),
    Case(
        "over the attempt cap",
        20,
        "run.attempts: 6 attempts; fails above 5 attempts",
        only_equal_sets_count_as_attempts,
        Way(attempts=6),
    ),
    Case(
        "waiver valid",
        0,
        "Waived up to above 1.5 % and until 2027-01-31 (w-1)",
        waivers_never_count,
        Way(policy=waived(), change=A_FEW_NEAR),
    ),
    Case(
        "waiver expired",
        20,
        "The waiver w-1 for near-copy-rate ran out on 2026-11-19",
        waivers_never_end,
        Way(policy=waived(issued="2026-09-01", expires="2026-11-19"), change=A_FEW_NEAR),
    ),
    Case(
        "waiver over its ceiling",
        20,
        "The waiver w-1 does not excuse it: its ceiling is above 1.5 %",
        waivers_have_no_ceiling,
        Way(policy=waived(), change=put(share(NEAR, 12, 1000, ideal=0))),
    ),
    Case(
        "waiver on a blocker",
        2,
        "attempts, which is a blocker",
        blockers_can_be_waived,
        Way(policy=waived(check="attempts", ceiling={"above": "10 attempts"}), attempts=6),
    ),
    Case(
        "approval missing",
        21,
        "clinical-reviewer: found 0 of 1 approvals",
        nobody_counts_the_approvals,
        Way(signers=[one for one in ALL_SIGN if one[0] != "b.lund"]),
    ),
    Case(
        "duplicate person",
        21,
        "d.ruiz counts already as governance-board",
        keys_are_counted_as_people,
        Way(signers=[*ALL_SIGN[:2], ALL_SIGN[3], ("d.ruiz again", "clinical-reviewer")]),
    ),
    Case(
        "operator approving",
        21,
        "after e.moss signed as operator",
        operators_are_not_barred,
        Way(signers=[*ALL_SIGN[:3], ("e.moss", "governance-board")]),
    ),
    Case(
        "key revoked",
        21,
        "its key was revoked on 2026-11-20: laptop was stolen",
        revocations_are_not_read,
        Way(revoked="b.lund"),
    ),
    Case(
        "run superseded",
        21,
        "superseded by run ffffffffffffffff of the same name",
        no_run_takes_another_ones_place,
        Way(superseded=True),
    ),
    Case(
        "class too small",
        0,
        "not judged by themselves: with fewer than 100 images dx=melanoma (20)",
        small_classes_are_judged,
        Way(change=put(metric(LABELS, 0.5, 20, "dx=melanoma", bounds=(0.3, 0.7), attainable=(0.8, 1)))),
    ),
    Case(
        "policy past review",
        20,
        "was to be reviewed by 2026-11-19",
        review_days_pass_unseen,
        Way(policy={"review_by": "2026-11-19"}),
    ),
    Case(
        "missing stage",
        22,
        "membership.white_box.auc: the results do not have it",
        what_is_missing_passes,
        Way(change=drop((WHITE, None))),
    ),
    Case(
        "errored stage",
        22,
        "memorisation.near_copy_rate: the audit ended with an error: out of memory",
        what_errored_passes,
        Way(change=state((NEAR, None), "error", "out of memory")),
    ),
)
every_case = pytest.mark.parametrize("case", ZOO, ids=[case.name for case in ZOO])


@every_case
def test_zoo(case: Case, tmp_path):
    outcome = go(case.way, clean, tmp_path / "way")
    assert outcome.code == case.code, outcome.said
    assert case.says in outcome.said


@every_case
def test_zoo_case_goes_red_where_its_part_of_the_gate_is_broken(case: Case, tmp_path, monkeypatch):
    case.broken(monkeypatch)
    outcome = go(case.way, clean, tmp_path / "way")
    assert outcome.code == (20 if case.code == 0 else 0), outcome.said


SECOND_GUARDS = {
    "waiver expired": (Waiver, "in_force", lambda *_: True, 21, "waiver w-1 ran out on 2026-11-19"),
    "waiver on a blocker": (people, "_may_be_waived", lambda *_: None, 20, "run.attempts: 6 attempts"),
    "operator approving": (sign_off, "_check_separate", lambda *_: None, 21, "e.moss ran the generator"),
    "policy past review": (gate, "_days", lambda *_: [], 21, "was to be reviewed by 2026-11-19"),
}


@pytest.mark.parametrize("name", SECOND_GUARDS)
def test_a_second_guard_holds_where_the_first_is_broken(name: str, tmp_path, monkeypatch):
    module, guard, broken, code, says = SECOND_GUARDS[name]
    monkeypatch.setattr(module, guard, broken)
    outcome = go(next(case.way for case in ZOO if case.name == name), clean, tmp_path / "way")
    assert (outcome.code, says in outcome.said) == (code, True), outcome.said


@pytest.mark.parametrize(
    ("way", "code", "says"),
    [
        (Way(policy={"review_by": "2026-11-22"}, days=2), 0, "hold"),
        (Way(policy={"review_by": "2026-11-22"}, days=3), 21, "the policy was to be reviewed by 2026-11-22"),
        (Way(policy=waived(expires="2026-11-22"), change=A_FEW_NEAR, days=2), 0, "until 2026-11-22 (w-1)"),
        (Way(policy=waived(expires="2026-11-22"), change=A_FEW_NEAR, days=3), 21, "waiver w-1 ran out on 2026-11-22"),
    ],
)
def test_days_that_pass_between_sign_off_and_release(way: Way, code, says, tmp_path):
    outcome = go(way, clean, tmp_path / "way")
    assert (outcome.code, says in outcome.said) == (code, True), outcome.said


def test_zoo_is_whole():
    assert len({case.name for case in ZOO}) == len({case.broken for case in ZOO}) == 20
