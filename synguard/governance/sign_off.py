"""Signing a run off: what is there to sign, and the statements that lie beside it in `attestations/`."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from synguard.errors import InputError, IntegrityError
from synguard.governance import attestations, envelope, manifest
from synguard.governance.approvals import Occasion, Standing, check_required, standing
from synguard.governance.attestations import OPERATOR, Attestation, Claim, Required, Verdict, Waived
from synguard.governance.content import accepted_images, content_digest
from synguard.governance.files import private_folder, sha256_of, write_private
from synguard.governance.keys.public import Signer, key_id
from synguard.governance.keys.trust import Trust
from synguard.governance.manifest import Manifest
from synguard.governance.policy import Policy, Waiver, read_resolved
from synguard.governance.record import read_run, verify_results

__all__ = ["FOLDER", "POLICY", "Book", "Signable", "read_attestations", "sign_off", "signable", "standing_of"]

FOLDER = "attestations"
POLICY = "policy.json"
"""The resolved policy in a run folder; its digest is what approvals are bound to."""
_SUFFIX = ".dsse.json"
_SHORTEST_REASON = 10


class Row(Protocol):
    """A record of the ledger."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """What was recorded."""


class Book(Protocol):
    """The ledger, as far as signing off and releasing need it."""

    def append(self, kind: str, payload: Mapping[str, Any]) -> object:
        """Adds a record."""

    def entries(self, kind: str | None = None, run: str | None = None) -> Iterable[Row]:
        """Records of a kind and run, oldest first."""

    def successor(self, run: str) -> str:
        """The id of a later run that takes this one's place, or ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signable:
    """A whole run with a decision: everything that a statement about it is bound to."""

    folder: Path
    run: str
    name: str
    accepted: Manifest
    subjects: Mapping[str, str]
    results: Mapping[str, Any]
    required: tuple[Required, ...]
    waivers: tuple[Waived, ...]
    askers: Mapping[str, str]
    """Who asked for a waiver that the decision rests on, and so may not approve; and why."""
    review_by: date | None

    @property
    def exit_code(self) -> int:
        """What the decision ended with."""
        return int(self.results["decision"]["exit_code"])

    def lines(self) -> list[str]:
        """What is signed, in words."""
        decision, policy = self.results["decision"], self.results["policy"]
        asked = ", ".join(f"{need.count} x {need.role}" for need in self.required)
        lines = [
            f"run {self.name} ({self.run})",
            f"decision: {decision['status'].upper()} (exit {decision['exit_code']})",
            *(f"  - {reason}" for reason in decision["reasons"]),
            f"covers: {', '.join(self.results['released'])}; accepted files: {len(self.accepted.files):,}",
            f"policy: {policy['name']} {policy['version']}; asks for {asked}",
            *(f"waiver {waiver.id}, until {waiver.last}" for waiver in self.waivers),
            *([f"to be reviewed by {self.review_by}, and not released later"] if self.review_by else []),
        ]
        return lines + [f"sha256 of {name}: {digest}" for name, digest in sorted(self.subjects.items())]


def signable(folder: Path) -> Signable:
    """What there is to sign in a run folder.

    Raises InputError where the run has not ended or has no public report, IntegrityError where anything in it was changed,
    and ApprovalError where its policy asks nobody to sign.
    """
    for name in ("run.json", "results.json", "manifest.json", POLICY, "report/public.html"):
        if not (folder / name).is_file():
            raise InputError.of(folder, f"no {name}", "the folder of a finished run with its public report")
    results = verify_results(folder)
    accepted = manifest.read(folder / "manifest.json")
    manifest.verify(folder / "accepted", accepted)
    record = read_run(folder)
    policy = _policy(folder, results)
    used = _waivers(policy, results)
    return Signable(
        folder=folder,
        run=record.id,
        name=str(record.config.get("name", folder.name)),
        accepted=accepted,
        subjects={
            "content": content_digest(accepted_images(folder / "accepted", accepted)),
            "manifest.json": sha256_of(folder / "manifest.json"),
            "policy": policy.digest,
            "report/public.html": sha256_of(folder / "report" / "public.html"),
            "results.json": sha256_of(folder / "results.json"),
        },
        results=results,
        required=check_required([Required(need.role, need.count) for need in policy.approvals], folder / POLICY),
        waivers=tuple(Waived(waiver.id, waiver.expires) for waiver in used),
        askers={waiver.owner: f"asked for waiver {waiver.id}" for waiver in used},
        review_by=policy.review_by,
    )


def _policy(folder: Path, results: Mapping[str, Any]) -> Policy:
    """The policy as it was resolved for the run. Raises IntegrityError where it is not the one that the results name.

    That their signature covers the file is not enough: who signs anew could put another policy under the same results.
    """
    data = (folder / POLICY).read_bytes()
    found, decided_by = hashlib.sha256(data).hexdigest(), str(results["policy"].get("digest"))
    if found != decided_by:
        raise IntegrityError(f"{folder / POLICY}: found the policy {found[:16]}, expected {decided_by[:16]} of the results")
    return read_resolved(data, str(folder / POLICY))


def _waivers(policy: Policy, results: Mapping[str, Any]) -> tuple[Waiver, ...]:
    """The waivers that the decision rests on."""
    used = {check.get("waiver") for check in results["checks"]}
    return tuple(waiver for waiver in policy.waivers if waiver.id in used)


def sign_off(
    run: Signable,
    trust: Trust,
    key: Signer,
    *,
    role: str,
    verdict: Verdict = "approve",
    reason: str = "",
    now: datetime,
    days: int = 30,
    book: Book | None = None,
) -> Attestation:
    """Writes a statement about the run, which counts for so many days, and records it in the ledger.

    Raises InputError where it could not count from the start: a key that is not in the trust file or not valid today, a role
    that its owner does not have, an operator or the owner of a waiver who approves, a decision that is no pass, a refusal
    without a reason.
    """
    person = _check_signer(trust, key, role, now)
    if verdict == "refuse" and len(reason) < _SHORTEST_REASON:
        raise InputError.of("reason", repr(reason), f"why not, in {_SHORTEST_REASON} characters or more")
    if verdict == "refuse" and role == OPERATOR:
        raise InputError.of("role", OPERATOR, "a role that decides; the operator only says who ran the generator")
    if verdict == "approve" and role != OPERATOR and run.exit_code != 0:
        raise InputError.of(run.folder, f"a decision that ended with {run.exit_code}", "a pass; a No can be signed")
    if role != OPERATOR and role not in {need.role for need in run.required}:
        raise InputError.of("role", role, f"one that the policy asks for: {', '.join(need.role for need in run.required)}")
    if role != OPERATOR and person in run.askers:
        raise InputError.of("role", f"{role}, for {person}, who {run.askers[person]}", "somebody else")
    with _locked(private_folder(run.folder / FOLDER)) as place:
        before = read_attestations(run.folder, trust)
        _check_separate(before, trust, person, role, run.run)
        if book is not None and (newer := _look_up(run, before, trust, book).superseded_by):
            raise InputError.of(run.folder, f"a run that was superseded by {newer}", "the newest of its name")
        claim = Claim(
            run=run.run,
            role=role,
            verdict=verdict,
            reason=reason,
            signed=now,
            last=now.astimezone(UTC).date() + timedelta(days=days),
            exit_code=run.exit_code,
            required=run.required,
            waivers=run.waivers,
            earlier=tuple(found.sha256 for found in before),
        )
        data = attestations.attest(claim, run.subjects, key)
        file = f"{len(before) + 1:04d}-{role}{_SUFFIX}"
        write_private(place / file, data)
    found = attestations.read(data, file, trust)
    if book is not None:
        bound = {"role": role, "verdict": verdict, "key": key.key_id, "sha256": found.sha256, "subjects": dict(run.subjects)}
        bound["trust"] = {"root": key_id(trust.root), "number": trust.serial}
        book.append("approval", {"run": run.run, **bound})
    return found


def read_attestations(folder: Path, trust: Trust) -> tuple[Attestation, ...]:
    """All statements beside a run, in the order of their signing.

    Raises IntegrityError where one was dropped, added or changed, ApprovalError where one is by nobody in the trust file.
    """
    place = folder / FOLDER
    names = sorted(path.name for path in place.iterdir() if not path.name.startswith(".")) if place.is_dir() else []
    found = []
    for number, name in enumerate(names, start=1):
        if not (name.startswith(f"{number:04d}-") and name.endswith(_SUFFIX)):
            raise IntegrityError(f"{place / name}: found a statement out of its order, expected number {number}")
        found.append(attestations.read(_read(place / name), name, trust))
    attestations.check_chain(found)
    return tuple(found)


def standing_of(run: Signable, trust: Trust, today: date, book: Book | None = None) -> Standing:
    """How far the run's approvals have come.

    Raises as `read_attestations`, and IntegrityError where the ledger knows a statement that is not there, or does not know
    the run's decision, or knows it of other files.
    """
    found = read_attestations(run.folder, trust)
    known = _Known() if book is None else _look_up(run, found, trust, book)
    occasion = Occasion(
        run=run.run,
        subjects=run.subjects,
        required=run.required,
        today=today,
        review_by=run.review_by,
        superseded_by=known.superseded_by,
        recorded=known.statements,
        barred=run.askers,
    )
    return standing(found, trust, occasion)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the ledger says of a run: digests of its statements, None without a ledger, and what took its place, or ""."""

    statements: frozenset[str] | None = None
    superseded_by: str = ""


def _look_up(run: Signable, found: tuple[Attestation, ...], trust: Trust, book: Book) -> _Known:
    """Raises IntegrityError where the ledger knows of more than lies here, or of another decision."""
    approvals = [row.payload for row in book.entries("approval")]
    _check_newest(trust, approvals)
    statements = frozenset(payload["sha256"] for payload in approvals if payload["run"] == run.run)
    gone = sorted(statements - {item.sha256 for item in found})
    if gone:
        raise IntegrityError(f"{run.folder / FOLDER}: found no statement {gone[0][:16]}, expected it: the ledger has it")
    return _Known(statements, _successor(run, book))


def _check_newest(trust: Trust, approvals: Iterable[Mapping[str, Any]]) -> None:
    """Raises IntegrityError where somebody signed under a later trust file: this one may not know of a revocation."""
    root = key_id(trust.root)
    seen = [payload.get("trust", {}) for payload in approvals]
    newest = max((int(each["number"]) for each in seen if each.get("root") == root), default=0)
    if trust.serial < newest:
        raise IntegrityError(f"trust file: found number {trust.serial}, expected {newest} or later, as at a sign-off before")


def _successor(run: Signable, book: Book) -> str:
    """What the ledger has in the place of this decision by now, or ""."""
    decisions = [row.payload["files"] for row in book.entries("decision", run.run)]
    if not decisions:
        raise IntegrityError(f"{run.folder}: found no decision on run {run.run[:16]} in the ledger, expected it there")
    changed = [_changed(run.folder, files) for files in decisions]
    if all(changed):
        raise IntegrityError(f"{run.folder / changed[-1]}: found another file than the ledger has the decision on")
    if changed[-1]:
        return f"the decision on results {decisions[-1]['results.json'][:16]}"
    successor = book.successor(run.run)
    return f"run {successor[:16]} of the same name" if successor else ""


def _changed(folder: Path, files: Mapping[str, str]) -> str:
    """The first of the files that has another digest by now, or ""."""
    there = {name: sha256_of(folder / name) for name in files if (folder / name).is_file()}
    return next((name for name, digest in files.items() if there.get(name) != digest), "")


def _check_signer(trust: Trust, key: Signer, role: str, now: datetime) -> str:
    """The person whose key it is."""
    holder = trust.holder(key.key_id)
    if holder is None:
        raise InputError.of("key", f"{key.key_id[:16]}, of nobody in the trust file", "a key of a person in it")
    person, held = holder
    today = now.astimezone(UTC).date()
    if held.revoked is not None or not held.first <= today <= held.last:
        what = "revoked" if held.revoked else f"valid from {held.first} to {held.last}"
        raise InputError.of("key", f"{key.key_id[:16]}, {what}", f"one that is valid on {today}")
    if role not in person.roles:
        raise InputError.of("role", role, f"one that {person.name} has: {', '.join(person.roles)}")
    return person.name


def _check_separate(before: tuple[Attestation, ...], trust: Trust, person: str, role: str, run: str) -> None:
    """Whoever ran the generator approves nothing."""
    for found in before:
        holder = trust.holder(found.key)
        if holder is None or holder[0].name != person or found.claim.run != run:
            continue
        if (found.claim.role == OPERATOR) != (role == OPERATOR):
            raise InputError.of(
                "role", f"{role}, after {person} signed as {found.claim.role}", "operator and approver apart"
            )


def _read(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > envelope.LARGEST:
        raise IntegrityError(f"{path}: found no plain file of a statement's size, expected a signed statement")
    return path.read_bytes()


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """The folder, for one process at a time: two who sign at once must not take the same number."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(handle)
