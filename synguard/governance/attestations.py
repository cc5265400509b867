"""Sign-offs: what a person states about a run, as an in-toto statement in an envelope that only their key could have signed.

A statement binds a role and a verdict to the digests of all that was decided on (`SUBJECTS`). It names no person: who a key
belongs to is for the trust file to say. It names the approvals that the policy asks for and the digests of all statements
before it, so that neither can be dropped afterwards without its being seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from synguard.errors import ApprovalError, IntegrityError
from synguard.governance import envelope
from synguard.governance.keys.public import Signer
from synguard.governance.keys.trust import Trust

__all__ = ["OPERATOR", "PUBLISHER", "SUBJECTS", "Attestation", "Claim", "Required", "Verdict", "Waived", "attest", "read"]

PREDICATE_TYPE = "urn:synguard:sign-off:v1"
SUBJECTS = ("content", "manifest.json", "policy", "report/public.html", "results.json")
"""What every statement is bound to: pixels and labels, accepted files, resolved policy, public report, results."""
OPERATOR = "operator"
"""Role of the person who ran the generator: states so, and can approve nothing."""
PUBLISHER = "publisher"
"""Role of the person who signs the release itself."""
Verdict = Literal["approve", "refuse"]


@dataclass(frozen=True, slots=True)
class Required:
    """So many people in this role must approve."""

    role: str
    count: int


@dataclass(frozen=True, slots=True)
class Waived:
    """A waiver that the decision rests on, and its last day."""

    id: str
    last: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is stated. Times are UTC; the statement counts until `last`, included."""

    run: str
    role: str
    verdict: Verdict
    reason: str
    signed: datetime
    last: date
    exit_code: int
    required: tuple[Required, ...]
    waivers: tuple[Waived, ...] = ()
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attestation:
    """A statement whose signature was held against a key of the trust file. `sha256` is of the envelope's bytes."""

    file: str
    sha256: str
    key: str
    subjects: Mapping[str, str]
    claim: Claim


def attest(claim: Claim, subjects: Mapping[str, str], key: Signer) -> bytes:
    """The signed envelope. `subjects` are the sha256 digests of exactly `SUBJECTS`."""
    if set(subjects) != set(SUBJECTS):
        raise ValueError(f"found digests of {sorted(subjects)}, expected {SUBJECTS}")
    return envelope.sign(envelope.statement(subjects, PREDICATE_TYPE, _predicate(claim)), key)


def read(data: bytes, file: str, trust: Trust) -> Attestation:
    """The statement in an envelope, which is called `file` in messages.

    Raises ApprovalError where nobody in the trust file has the key, and IntegrityError where anything else is not as
    `attest` wrote it.
    """
    key = envelope.signed_by(data, file)
    holder = trust.holder(key)
    if holder is None:
        raise ApprovalError(f"{file}: found a signature by key {key[:16]}, expected one of a person in the trust file")
    stated = envelope.verify(data, holder[1].public, file)
    try:
        subjects = {row["name"]: row["digest"]["sha256"] for row in stated["subject"]}
        claim = _claim(stated["predicate"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{file}: found a statement in another form, expected a sign-off") from error
    if set(subjects) != set(SUBJECTS) or envelope.statement(subjects, PREDICATE_TYPE, _predicate(claim)) != stated:
        raise IntegrityError(f"{file}: found a statement about something else, expected a sign-off")
    return Attestation(file, hashlib.sha256(data).hexdigest(), key, subjects, claim)


def check_chain(attestations: Sequence[Attestation]) -> None:
    """Raises IntegrityError where a statement does not name exactly those before it: one was dropped, added or moved."""
    for place, found in enumerate(attestations):
        before = tuple(earlier.sha256 for earlier in attestations[:place])
        if found.claim.earlier != before:
            raise IntegrityError(
                f"{found.file}: found {place} statements before it, expected exactly the {len(found.claim.earlier)} "
                "that it names: one was dropped, added or changed"
            )


def _predicate(claim: Claim) -> dict[str, Any]:
    return {
        "run": claim.run,
        "role": claim.role,
        "verdict": claim.verdict,
        "reason": claim.reason,
        "signed": claim.signed.astimezone(UTC).isoformat(timespec="seconds"),
        "last": claim.last.isoformat(),
        "exit_code": claim.exit_code,
        "required": [{"role": need.role, "count": need.count} for need in claim.required],
        "waivers": [{"id": waiver.id, "last": waiver.last.isoformat()} for waiver in claim.waivers],
        "earlier": list(claim.earlier),
    }


def _claim(found: Mapping[str, Any]) -> Claim:
    if found["verdict"] not in ("approve", "refuse"):
        raise ValueError(found["verdict"])
    return Claim(
        run=found["run"],
        role=found["role"],
        verdict=found["verdict"],
        reason=found["reason"],
        signed=datetime.fromisoformat(found["signed"]),
        last=date.fromisoformat(found["last"]),
        exit_code=found["exit_code"],
        required=tuple(Required(row["role"], row["count"]) for row in found["required"]),
        waivers=tuple(Waived(row["id"], date.fromisoformat(row["last"])) for row in found["waivers"]),
        earlier=tuple(found["earlier"]),
    )
