"""What `synguard runs list` and `runs show` print: runs on disk, and runs in the ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synguard.errors import InputError
from synguard.governance.ledger import Entry, Ledger
from synguard.governance.record import read_run

__all__ = [
    "RecordedRun",
    "RunRow",
    "ShownRun",
    "find_run",
    "list_runs",
    "recorded_runs",
    "require_finished",
    "show_run",
]


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run, as listed."""

    path: str
    name: str
    started: str
    state: str
    decision: str
    images: int | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def line(self) -> str:
        """As a line of text."""
        images = "-" if self.images is None else str(self.images)
        return f"{self.started:25}  {self.state:9}  {self.decision:12}  {images:>7} images  {self.name}  {self.path}"


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run as the ledger knows it. `state` is "no end recorded" for one that goes on or was killed."""

    id: str
    name: str
    started: str
    state: str
    decision: str
    attempted: bool
    batches: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def line(self) -> str:
        """As a line of text."""
        attempt = "attempt" if self.attempted else "-"
        return f"{self.started[:19]}  {self.state:15}  {self.decision:12}  {attempt:7}  {self.id[:12]}  {self.name}"


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run with all its entries. `attempts` counts those at the gate up to its own, on images that it shares."""

    run: RecordedRun
    attempts: int | None
    entries: tuple[Entry, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        entries = [{**asdict(entry), "payload": dict(entry.payload)} for entry in self.entries]
        return {**self.run.as_dict(), "attempts": self.attempts, "entries": entries}

    def lines(self) -> list[str]:
        """As lines of text."""
        told = [f"{self.run.name} ({self.run.id}): {self.run.state}, decision {self.run.decision}"]
        if self.attempts is not None:
            told.append(f"gate attempts on these images by then: {self.attempts}")
        for entry in self.entries:
            rest = {key: value for key, value in entry.payload.items() if key != "run"}
            told.append(f"  {entry.number:>6}  {entry.at[:19]}  {entry.kind:10}  {json.dumps(rest, sort_keys=True)}")
        return told


def recorded_runs(ledger: Ledger) -> list[RecordedRun]:
    """All runs that the ledger knows, oldest first."""
    by_run: dict[str, list[Entry]] = {}
    for entry in ledger.entries():
        if entry.run:
            by_run.setdefault(entry.run, []).append(entry)
    return [_recorded(run, entries) for run, entries in by_run.items()]


def find_run(ledger: Ledger, named: str) -> str:
    """The id of the run in a folder, or the one that begins so. InputError where it is none, or more than one."""
    if (Path(named) / "run.json").is_file():
        return read_run(Path(named)).id
    found = sorted({entry.run for entry in ledger.entries("run") if entry.run.startswith(named)})
    if len(found) != 1:
        raise InputError.of(named, f"{len(found) or 'no'} runs whose id begins so", "a run folder, or the id of one run")
    return found[0]


def show_run(ledger: Ledger, run: str) -> ShownRun:
    """What the ledger holds about a run. InputError where that is nothing."""
    entries = ledger.entries(run=run)
    if not entries:
        raise InputError.of(run, f"no entry in {ledger.place}", "a run that this ledger has recorded")
    tried = next((entry for entry in entries if entry.kind == "attempt"), None)
    return ShownRun(_recorded(run, entries), None if tried is None else ledger.attempts_of(tried), entries)


def list_runs(folder: Path) -> list[RunRow]:
    """All runs under `folder`, at any depth, oldest first. A folder that is missing is an InputError."""
    if not folder.is_dir():
        raise InputError.of(folder, "nothing" if not folder.exists() else "a file", "a folder")
    rows = [_row(path) for path in folder.rglob("run.json") if path.is_file()]
    return sorted(rows, key=lambda row: (row.started, row.path))


def require_finished(run: Path) -> None:
    """InputError unless `run` is a run folder whose results were written."""
    for name in ("run.json", "results.json"):
        if not (run / name).is_file():
            raise InputError.of(run, f"no {name}", "the folder of a finished run")


def _recorded(run: str, entries: Sequence[Entry]) -> RecordedRun:
    def last(kind: str, key: str, otherwise: str) -> str:
        return next((str(entry.payload.get(key)) for entry in reversed(entries) if entry.kind == kind), otherwise)

    state = last("state", "state", "")
    return RecordedRun(
        id=run,
        name=last("run", "name", "?"),
        started=entries[0].at,
        state="no end recorded" if state in ("", "resumed") else state,
        decision=last("decision", "status", "-"),
        attempted=any(entry.kind == "attempt" for entry in entries),
        batches=sum(entry.kind == "batch" for entry in entries),
    )


def _row(path: Path) -> RunRow:
    record = _read(path)
    results = path.parent / "results.json"
    decision = _read(results).get("decision", {}).get("status", "-") if results.is_file() else "-"
    return RunRow(
        path=str(path.parent),
        name=str(record.get("config", {}).get("name", "?")),
        started=str(record.get("started", "?")),
        state=str(record.get("state", "?")),
        decision=str(decision),
        images=record.get("data", {}).get("accepted_images"),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise InputError.of(path, f"no JSON ({error})", "a file that synguard wrote") from error
    return value if isinstance(value, dict) else {}
