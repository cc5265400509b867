"""Runs on disk: what `synguard runs list` shows, and whether a run has ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synguard.errors import InputError

__all__ = ["RunRow", "list_runs", "require_finished"]


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
