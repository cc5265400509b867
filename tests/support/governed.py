"""A tiny run with a signed decision, and the people who sign it off. The images are noise, every figure is invented."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import numpy as np

from synguard.governance import envelope, manifest
from synguard.governance.attestations import OPERATOR, PUBLISHER, Required, Waived
from synguard.governance.files import sha256_of
from synguard.governance.keys.software import SoftwareKey, new_key
from synguard.governance.keys.trust import Grant, Trust, grant, write_trust
from synguard.governance.ledger import Ledger
from synguard.governance.limits import Limit
from synguard.governance.policy import Approval, Policy, Waiver, load_policy
from synguard.governance.record import PREDICATE_TYPE, ResultsContext, RunRecord, read_run, write_results, write_run
from synguard.governance.sign_off import sign_off, signable
from synguard.release.documents import Details
from synguard.release.statement import MANIFEST, STATEMENT, publish, read_published
from synguard.release.verify import covered
from synguard.results import CheckResult, Decision, Metric
from tests.support.runs import png

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TODAY = NOW.date()
FIRST, LAST = date(2026, 1, 1), date(2027, 12, 31)
PEOPLE = {
    "a.osei": ("privacy-officer",),
    "b.lund": ("clinical-reviewer",),
    "c.ito": ("clinical-reviewer", "board"),
    "d.ruiz": ("board",),
    "e.moss": (OPERATOR, PUBLISHER, "board"),
}
REQUIRED = (Required("board", 1), Required("clinical-reviewer", 1), Required("privacy-officer", 1))
APPROVERS = (("a.osei", "privacy-officer"), ("b.lund", "clinical-reviewer"), ("d.ruiz", "board"))


@cache
def key(name: str) -> SoftwareKey:
    """The key of a person, the same in all tests."""
    return new_key()


ROOT = key("root")
DETAILS = Details(title="Tiny fundus", publisher="Hospital X", contact="privacy@hospital-x.example", licence="cc-by-4.0")


def trust(people: Mapping[str, Sequence[str]] = PEOPLE, **changes: date) -> Trust:
    """Everybody with one key; `changes` are other last days, by the first letter of the name."""
    found = Trust(ROOT.public, 0, ())
    for name, roles in people.items():
        found = grant(found, name, roles, Grant(key(name).public, FIRST, changes.get(name[0], LAST)))
    return found


def trust_file(path: Path, found: Trust | None = None) -> Path:
    """Written and signed by the root key."""
    write_trust(path, found or trust(), ROOT)
    return path


def governed_run(
    folder: Path,
    *,
    images: int = 3,
    exit_code: int = 0,
    required: Sequence[Required] = REQUIRED,
    waivers: Sequence[Waived] = (),
    seed: int = 0,
    private: str = "",
) -> Path:
    """A finished run: accepted images, manifest, signed results, public report."""
    examined_run(folder, images=images, seed=seed)
    status = {0: "pass", 20: "fail", 22: "insufficient"}[exit_code]
    public = decide(folder, status, exit_code, required, waivers, private=private)
    config = {"name": "tiny", "seed": 314159, "private": {"path": "private", "patient": "patient"}}
    write_run(folder, RunRecord(id=f"{seed:032x}", state="complete", config=config, results_key=public))
    return folder


def examined_run(folder: Path, *, images: int = 3, seed: int = 0) -> Path:
    """A run before its decision: accepted images, manifest, what the audits wrote, reports."""
    rng = np.random.default_rng(seed)
    accepted = folder / "accepted"
    (accepted / "images").mkdir(parents=True)
    rows = []
    for i in range(images):
        (accepted / "images" / f"{i:06d}.png").write_bytes(png(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)))
        row = {"file_name": f"images/{i:06d}.png", "grade": "mild", "age": 40.5 + i, "drusen": i % 2}
        rows.append({**row, "annotation.grade": "none" if i else None, "annotation.drusen": 1})
    (accepted / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest.write(manifest.build(accepted), folder / "manifest.json")
    (folder / "report").mkdir()
    (folder / "report" / "public.html").write_text("<p>no copies found at this power</p>")
    (folder / "report" / "internal.html").write_text("<p>private</p>")
    (folder / "evidence.json").write_text("{}")
    (folder / "images.parquet").write_bytes(b"")
    return folder


def decide(
    folder: Path,
    status: str = "pass",
    exit_code: int = 0,
    required: Sequence[Required] = REQUIRED,
    waivers: Sequence[Waived] = (),
    reason: str = "all checks",
    private: str = "",
) -> str:
    """Writes the resolved policy and the signed results; returns the public key of these."""
    checks = [CheckResult(id=w.id, metric="labels.kappa", status="waived", reason=w.id, waiver=w.id) for w in waivers]
    decision = Decision(status=status, exit_code=exit_code, reasons=(reason,), checks=tuple(checks))  # type: ignore[arg-type]
    data = {"private": {"sha256": private}} if private else {}
    return write_decision(
        folder, decision, ResultsContext(policy=asking(required, waivers), released=("images",), data=data)
    )


def write_decision(folder: Path, decision: Decision, context: ResultsContext, metrics: Sequence[Metric] = ()) -> str:
    """As a run does: the resolved policy, and results that are signed with all they rest on. The public key of these."""
    (folder / "policy.json").write_bytes(context.policy.to_bytes())
    rest = ("manifest.json", "images.parquet", "evidence.json", "policy.json")
    return write_results(folder, decision, metrics, context, sign_too=rest)


def asking(required: Sequence[Required], waivers: Sequence[Waived] = ()) -> Policy:
    """A policy that asks these people to sign, with these waivers and one that ran out unused."""
    found = tuple(
        Waiver(
            id=waiver.id,
            check="near-copy-rate",
            ceiling=Limit(side="above", value=0.02, unit="share"),
            reason="Fields look alike.",
            owner="p.ito",
            approver="q.ray",
            issued=FIRST,
            expires=waiver.last,
        )
        for waiver in (*waivers, Waived("W-unused", FIRST))
    )
    people = tuple(Approval(role=need.role, count=need.count) for need in required)
    return replace(_public_release(), approvals=people, waivers=found)


@cache
def _public_release() -> Policy:
    return load_policy("public-release")


def recorded(folder: Path, ledger: Ledger, *, sets: Sequence[str] = ()) -> Path:
    """The run as if the ledger had seen it: begun, tried on these sets of images, decided."""
    run = read_run(folder)
    ledger.append("run", {"run": run.id, "name": run.config["name"]})
    ledger.append("attempt", {"run": run.id, "sets": list(sets)})
    names = ("results.json", "manifest.json", "images.parquet", "evidence.json")
    ledger.append("decision", {"run": run.id, "files": {name: sha256_of(folder / name) for name in names}})
    write_run(folder, replace(run, ledger=ledger.head().as_dict()))
    return folder


def sign(folder: Path, name: str, role: str, *, found: Trust | None = None, now: datetime = NOW, **more: object) -> None:
    """One person signs."""
    sign_off(signable(folder), found or trust(), key(name), role=role, now=now, **more)  # type: ignore[arg-type]


def approved_run(folder: Path, ledger: Ledger | None = None, **more: object) -> Path:
    """A run that the operator and all whom the policy asks have signed, recorded in a ledger if there is one."""
    governed_run(folder, **more)  # type: ignore[arg-type]
    if ledger is not None:
        recorded(folder, ledger)
    for name, role in (("e.moss", OPERATOR), *APPROVERS):
        sign(folder, name, role, book=ledger)
    return folder


def signed_anew(folder: Path) -> Path:
    """What anybody can do who writes to a run folder: whatever lies there, signed with a new key that run.json names."""
    made = new_key()
    names = ("results.json", "manifest.json", "images.parquet", "evidence.json", "policy.json")
    found = envelope.statement({name: sha256_of(folder / name) for name in names}, PREDICATE_TYPE, {})
    (folder / "results.dsse.json").write_bytes(envelope.sign(found, made))
    write_run(folder, replace(read_run(folder), results_key=made.public))
    return folder


def alias(found: Trust, name: str, other: str) -> tuple[Trust, SoftwareKey]:
    """The trust with a second key for a person, with the roles of another."""
    second = key(f"{name} again")
    return grant(found, name, PEOPLE[other], Grant(second.public, FIRST, LAST)), second


def at(day: date) -> datetime:
    """Noon of a day."""
    return datetime.combine(day, NOW.timetz())


def resigned(folder: Path, person: str = "e.moss", **changes: object) -> Path:
    """What a dishonest publisher can do: any files, a manifest of them, a statement with their own good key."""
    published, _ = read_published((folder / STATEMENT).read_bytes(), "r", trust())
    listed = covered(folder)
    (folder / MANIFEST).write_bytes(listed.to_bytes())
    changed = replace(published, manifest=listed.digest, **changes)  # type: ignore[arg-type]
    (folder / STATEMENT).write_bytes(publish(changed, key(person)))
    return folder
