"""Deleting what a run need not keep: index, quarantine, internal report, and whatever else shows or rebuilds private images.

What the decision and the signatures rest on stays: the run can still be verified. That it was purged is written down before
anything is deleted, so that an interrupted purge is seen and can be given again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from synguard.errors import InputError
from synguard.governance.files import canonical, write_private
from synguard.governance.record import read_run
from synguard.governance.sign_off import Book

__all__ = ["PARTS", "RECORD", "Removed", "purge"]

PARTS = (
    "index",
    "quarantine",
    "batches",
    "pairs",
    "study/pictures",
    "probes",
    "diagnostic",
    "reference",
    "report/internal.html",
)
"""Candidates that were refused lie in the batches too; diagnostic and reference model learned from private images."""
RECORD = "purged.json"


@dataclass(frozen=True, slots=True)
class Removed:
    """A part of the run folder that was deleted."""

    part: str
    files: int
    bytes: int


def purge(folder: Path, *, now: datetime, book: Book | None = None) -> tuple[Removed, ...]:
    """Deletes `PARTS` of a run that has ended and records it in the run and the ledger. Returns what there was.

    Raises InputError where the run has not ended: it could not be resumed.
    """
    if not (folder / "run.json").is_file():
        raise InputError.of(folder, "no run.json", "the folder of a run")
    record = read_run(folder)
    if record.state not in ("complete", "stopped", "failed"):
        raise InputError.of(folder, f"a run that is {record.state}", "one that has ended")
    removed = tuple(_measured(folder, part) for part in PARTS if (folder / part).exists() or (folder / part).is_symlink())
    _write(folder, record.id, now, removed, done=False)
    for item in removed:
        path = folder / item.part
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    _write(folder, record.id, now, removed, done=True)
    if book is not None:
        book.append("purge", {"run": record.id, "parts": [item.part for item in removed]})
    return removed


def _measured(folder: Path, part: str) -> Removed:
    path = folder / part
    if path.is_symlink() or path.is_file():
        return Removed(part, 1, path.lstat().st_size)
    files = [found for found in path.rglob("*") if not found.is_dir()]
    return Removed(part, len(files), sum(found.lstat().st_size for found in files))


def _write(folder: Path, run: str, now: datetime, removed: tuple[Removed, ...], *, done: bool) -> None:
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    write_private(folder / RECORD, canonical({"schema_version": 1, "run": run, "at": at, "removed": removed, "done": done}))
