"""Runs that have been decided on: what the folder says is held against the ledger, an interrupted decision is completed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from synguard.errors import IntegrityError
from synguard.governance.files import read_json, sha256_of
from synguard.governance.ledger import Entry, Ledger
from synguard.governance.ledger.heads import head_of_run
from synguard.governance.ledger.place import Where
from synguard.governance.policy import Policy, read_resolved
from synguard.governance.policy.diff import Change, diff
from synguard.governance.record import read_run, verify_results
from synguard.runs.listing import require_finished

__all__ = ["PENDING", "REPORT", "book_of", "complete", "looser"]

PENDING = "decision.new"
"""A decision that was written whole, and not yet moved into the run whole."""
REPORT = "report/public.html"
"""Written last: where it is missing, a decision was interrupted after it was made."""
_PENDING_FILES = re.compile(r"(results|policy)(\.\d+)?\.json|results(\.\d+)?\.dsse\.json|(review|run)\.json")
_NEVER_CHANGED = ("manifest.json", "images.parquet", "evidence.json")
"""What every decision on a run rests on."""
_NEWLY_DECIDED = frozenset({"policy", "decision", "checks"})
"""What a further decision may change of results.json, besides the metrics of reviews."""


def book_of(run: Path, ledger: Where = None) -> Ledger:
    """The ledger of a finished run, verified, which has the decision that the run shows, or the one before it where `gate`
    was interrupted; that is completed.

    Raises InputError where the run has not ended, IntegrityError where run and ledger do not fit.
    """
    require_finished(run)
    pending = run / PENDING
    _check_pending(pending)
    document = verify_results(run, newer=pending)
    book = Ledger.open_whole(ledger, [head_of_run(run)])
    decisions = book.entries("decision", read_run(run).id)
    if not decisions:
        raise IntegrityError(f"{run}: found no decision on it in {book.place}, expected the ledger that it was recorded in")
    try:
        _check_decided(run, document, decisions[-1])
    except (KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{run}: found results of another form, expected those of a decision") from error
    complete(run)
    return book


def complete(run: Path) -> None:
    """Moves a decision that was written whole into the run, file by file; what was moved already is no longer there."""
    pending = run / PENDING
    if pending.is_dir():
        (run / REPORT).unlink(missing_ok=True)
        for path in sorted(pending.iterdir()):
            path.replace(run / path.name)
        pending.rmdir()


def looser(own: Policy, other: Policy) -> tuple[Change, ...]:
    """What the other policy asks less of; a new waiver is nothing of that: it has an owner, an approver and an end."""
    # Compared without waivers, and not by names: a waiver may have that of a check.
    return diff(own, replace(other, waivers=own.waivers)).looser


def _check_pending(pending: Path) -> None:
    """IntegrityError where anything waits to be moved into the run that no decision consists of."""
    if pending.is_symlink() or (pending.exists() and not pending.is_dir()):
        raise IntegrityError(f"{pending}: found no folder, expected a decision that was interrupted")
    for path in sorted(pending.iterdir()) if pending.is_dir() else ():
        if path.is_symlink() or not path.is_file() or not _PENDING_FILES.fullmatch(path.name):
            raise IntegrityError(f"{path}: found what no decision consists of, expected its results, policy and record")


def _check_decided(run: Path, document: Mapping[str, Any], last: Entry) -> None:
    """The run, with what waits to be moved into it, against the last decision that the ledger has on it.

    The signature on the results proves nothing here: its key is in run.json, and whoever writes to the folder can make one.
    """
    decided: Mapping[str, str] = last.payload["files"]
    for name in _NEVER_CHANGED:
        _check_digest(run / name, decided[name], f"of ledger entry {last.number}")
    results, policy = _newest(run, "results.json"), _newest(run, "policy.json")
    _check_digest(policy, document["policy"]["digest"], f"of {results.name}")
    if sha256_of(results) == decided["results.json"]:
        return
    # Deciding again may have been interrupted between folder and ledger: what it cannot change is what was decided on.
    before = _kept(run, "results", decided["results.json"])
    if before is None:
        raise IntegrityError(f"{run}: found results that the ledger has no decision on, expected those of its last one")
    known = read_json(before)
    if _lasting(document) != _lasting(known):
        raise IntegrityError(f"{results}: found other figures than in {before.name}, expected those of entry {last.number}")
    _check_stricter(run, policy, known["policy"]["digest"])


def _check_stricter(run: Path, policy: Path, before: str) -> None:
    """IntegrityError where the policy of an interrupted decision asks less than the one before it, known by its digest."""
    own = _kept(run, "policy", before)
    if own is None:
        raise IntegrityError(
            f"{run}: found no policy {before[:16]}, expected the one of the decision before beside the new one"
        )
    less = looser(_read_policy(own), _read_policy(policy))
    if less:
        raise IntegrityError(f"{policy}: found a looser policy ({less[0]}), expected one that asks as much as before")


def _check_digest(path: Path, digest: str, of: str) -> None:
    found = sha256_of(path) if path.is_file() else "no such file"
    if found != digest:
        raise IntegrityError(f"{path}: found {found[:16]}, expected sha256 {digest[:16]} {of}")


def _lasting(document: Mapping[str, Any]) -> dict[str, Any]:
    """What deciding again leaves as it is."""
    metrics = [row for row in document["metrics"] if not row["name"].startswith("review.")]
    return {**{key: value for key, value in document.items() if key not in _NEWLY_DECIDED}, "metrics": metrics}


def _kept(run: Path, name: str, digest: str) -> Path | None:
    """The file `name`.json or `name`.N.json of this digest; None for none."""
    files = [path for folder in (run, run / PENDING) for path in folder.glob(f"{name}*.json")]
    return next((path for path in files if sha256_of(path) == digest), None)


def _newest(run: Path, name: str) -> Path:
    path = run / PENDING / name
    return path if path.is_file() else run / name


def _read_policy(path: Path) -> Policy:
    return read_resolved(path.read_bytes(), str(path))
