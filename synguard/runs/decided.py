"""Runs that have been decided on: a decision that was interrupted is completed, and held against the ledger."""

from __future__ import annotations

from pathlib import Path

from synguard.errors import IntegrityError
from synguard.governance.files import sha256_of
from synguard.governance.ledger import Ledger
from synguard.governance.ledger.heads import head_of_run
from synguard.governance.ledger.place import Where
from synguard.governance.record import read_run, verify_results
from synguard.runs.listing import require_finished

__all__ = ["PENDING", "REPORT", "book_of", "complete"]

PENDING = "decision.new"
"""A decision that was written whole, and not yet moved into the run whole."""
REPORT = "report/public.html"
"""Written last: where it is missing, a decision was interrupted after it was made."""


def book_of(run: Path, ledger: Where = None) -> Ledger:
    """The ledger of a finished run, verified, which has the very decision that the run shows.

    Raises InputError where the run has not ended, IntegrityError where run and ledger do not fit.
    """
    require_finished(run)
    complete(run)
    verify_results(run)
    book = Ledger.open_whole(ledger, [head_of_run(run)])
    decisions = book.entries("decision", read_run(run).id)
    if not decisions:
        raise IntegrityError(f"{run}: found no decision on it in {book.place}, expected the ledger that it was recorded in")
    known = {entry.payload["files"]["results.json"] for entry in decisions}
    # The last one, unless `decide_again` was interrupted between the folder and the ledger.
    if decisions[-1].payload["files"]["results.json"] != sha256_of(run / "results.json") and known & _digests(run) != known:
        raise IntegrityError(f"{run}: found results that the ledger has no decision on, expected those of its last one")
    return book


def complete(run: Path) -> None:
    """Moves a decision that was written whole into the run, file by file; what was moved already is no longer there."""
    pending = run / PENDING
    if pending.is_dir():
        (run / REPORT).unlink(missing_ok=True)
        for path in sorted(pending.iterdir()):
            path.replace(run / path.name)
        pending.rmdir()


def _digests(run: Path) -> set[str]:
    """Digests of the results that the run has had."""
    return {sha256_of(path) for path in (run / "results.json", *run.glob("results.*[0-9].json"))}
