"""Which sign-offs count, and whether they are enough. Pure: statements, the trust file and a date in, sentences out.

A statement is stale as soon as anything that it rests on has moved: a digest, the key, the role, a waiver, its own last day.
People are counted, not keys, each once and in one role, the first that they signed in. Whoever ran the generator approves
nothing. A refusal stands until the same person approves in the same role; no passing of days takes it away.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date

from synguard.errors import ApprovalError
from synguard.governance.attestations import OPERATOR, SUBJECTS, Attestation, Required
from synguard.governance.keys.trust import Grant, Person, Trust

__all__ = ["Counted", "Occasion", "Standing", "check_required", "require_approved", "standing"]

_NAMES = {"content": "the images or their labels", "policy": "the policy", "manifest.json": "the set of accepted files"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What the statements are to hold for.

    `review_by` is the policy's, `recorded` the digests of statements that the ledger has, None where there is no ledger to
    ask; `barred` are people who may not approve, and why.
    """

    run: str
    subjects: Mapping[str, str]
    required: tuple[Required, ...]
    today: date
    review_by: date | None = None
    superseded_by: str = ""
    recorded: Container[str] | None = None
    barred: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counted:
    """A statement that counts, and whose it is."""

    attestation: Attestation
    person: str

    @property
    def role(self) -> str:
        """The role that it counts for."""
        return self.attestation.claim.role


@dataclass(frozen=True, slots=True)
class Standing:
    """What the statements come to. `idle` says why others do not count, `missing` what stands in the way of a release."""

    operators: tuple[Counted, ...]
    approvals: tuple[Counted, ...]
    idle: tuple[str, ...]
    missing: tuple[str, ...]


def standing(attestations: Sequence[Attestation], trust: Trust, occasion: Occasion) -> Standing:
    """Holds statements, in the order of their signing, against the occasion."""
    idle: list[str] = []
    live: list[Counted] = []
    barred = _barred(attestations, trust, occasion)
    for found in attestations:
        holder = trust.holder(found.key)
        if holder is None:
            idle.append(f"{found.file}: key {found.key[:16]} is of nobody in the trust file")
            continue
        person, key = holder
        why = _why_stale(found, occasion) or _why_not_theirs(found, person, key, occasion.today)
        if why:
            idle.append(f"{found.file}: {why}")
        else:
            live.append(Counted(found, person.name))
    operators = tuple(item for item in live if item.role == OPERATOR)
    last = {(item.person, item.role): item for item in live if item.role != OPERATOR}
    refusals = [item for item in last.values() if item.attestation.claim.verdict == "refuse"]
    approvals: dict[str, Counted] = {}
    for item in last.values():
        if item in refusals:
            continue
        if item.person in barred:
            idle.append(f"{item.attestation.file}: {item.person} {barred[item.person]} and cannot approve")
        elif item.person in approvals:
            idle.append(f"{item.attestation.file}: {item.person} counts already as {approvals[item.person].role}")
        else:
            approvals[item.person] = item
    return Standing(
        operators=operators,
        approvals=tuple(approvals.values()),
        idle=tuple(idle),
        missing=_missing(occasion, operators, tuple(approvals.values()), refusals),
    )


def require_approved(found: Standing, where: object) -> None:
    """Raises ApprovalError with what is missing, and why statements that are there do not count."""
    if found.missing:
        because = f" ({'; '.join(found.idle)})" if found.idle else ""
        raise ApprovalError(f"{where}: {'; '.join(found.missing)}{because}")


def check_required(required: Sequence[Required], where: object) -> tuple[Required, ...]:
    """The approvals that are asked for, sorted by role. Raises ApprovalError where nobody is asked."""
    if sum(need.count for need in required) < 1 or any(need.role == OPERATOR or need.count < 0 for need in required):
        raise ApprovalError(f"{where}: found a policy that asks for no approval, expected one person at least")
    return tuple(sorted(required, key=lambda need: need.role))


def _barred(attestations: Sequence[Attestation], trust: Trust, occasion: Occasion) -> dict[str, str]:
    """Who may not approve, and why. Who said to have run the generator cannot take it back by letting it go stale."""
    barred = dict(occasion.barred)
    for found in attestations:
        holder = trust.holder(found.key)
        if holder is not None and found.claim.role == OPERATOR and found.claim.run == occasion.run:
            barred[holder[0].name] = "ran the generator"
    return barred


def _missing(
    occasion: Occasion, operators: tuple[Counted, ...], approvals: tuple[Counted, ...], refusals: list[Counted]
) -> tuple[str, ...]:
    missing = [f"{item.person} refused as {item.role}: {item.attestation.claim.reason}" for item in refusals]
    if occasion.superseded_by:
        missing.append(f"the run was superseded by {occasion.superseded_by}")
    if occasion.review_by is not None and occasion.today > occasion.review_by:
        missing.append(f"the policy was to be reviewed by {occasion.review_by}")
    if not operators:
        missing.append(f"nobody signed as {OPERATOR}, to say who ran the generator")
    for need in check_required(occasion.required, "policy"):
        people = sorted(item.person for item in approvals if item.role == need.role)
        if len(people) < need.count:
            missing.append(f"{need.role}: found {len(people)} of {need.count} approvals")
    return tuple(missing)


def _why_stale(found: Attestation, occasion: Occasion) -> str:
    """Why a statement does not count for this occasion, or "" where it does."""
    claim, today = found.claim, occasion.today
    for name in SUBJECTS:
        if found.subjects[name] != occasion.subjects[name]:
            return f"stale, since {_NAMES.get(name, name)} changed or it was signed for another run"
    if claim.run != occasion.run:
        return f"stale, since it was signed for run {claim.run}"
    if claim.required != check_required(occasion.required, "policy"):
        return "stale, since the policy asks for other approvals"
    if claim.verdict == "refuse":
        return ""
    if occasion.recorded is not None and found.sha256 not in occasion.recorded:
        return "the ledger does not have it"
    if claim.exit_code != 0:
        return f"it approves a decision that ended with {claim.exit_code}, expected 0"
    if claim.last < today:
        return f"stale, since it counted until {claim.last}"
    for waiver in claim.waivers:
        if waiver.last < today:
            return f"stale, since waiver {waiver.id} ran out on {waiver.last}"
    return ""


def _why_not_theirs(found: Attestation, person: Person, key: Grant, today: date) -> str:
    """Why a person could not sign that with that key, or "" where they could."""
    signed = found.claim.signed.astimezone(UTC).date()
    if found.claim.role not in person.roles:
        return f"{person.name} has no role {found.claim.role} in the trust file"
    if key.revoked is not None:
        return f"its key was revoked on {key.revoked.on}: {key.revoked.reason}"
    if signed > today:
        return f"signed on {signed}, which is in the future"
    if not key.first <= signed <= key.last:
        return f"signed on {signed}, when its key was not valid ({key.first} to {key.last})"
    return f"its key expired on {key.last}" if key.last < today and found.claim.verdict == "approve" else ""
