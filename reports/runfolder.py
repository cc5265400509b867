"""Reads a run folder as it lies on disk; whatever is absent is empty, and nothing else is opened.

The files come from other parts and from older versions, so reading is tolerant of what is missing and of what is new.
It is not tolerant of places: names in the evidence lead only to files inside the folder, never through links.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

import pandas as pd

from synguard.errors import InputError
from synguard.results import CheckResult, Decision, Metric, MetricState, Status

__all__ = [
    "RunFolder",
    "flag",
    "inside",
    "interval",
    "ledger_head",
    "mapping",
    "number",
    "numbers",
    "read_mapping",
    "read_run",
    "rows",
    "text",
    "whole",
]

Typed = TypeVar("Typed", CheckResult, Metric)
_DIGEST = re.compile("[0-9a-f]{64}")
_DECISIONS = ("pass", "warn", "fail", "insufficient", "error")


@dataclass(frozen=True, slots=True, eq=False)
class RunFolder:
    """All a report may know. `images` has a row a candidate; `results` is results.json for what is beside the decision."""

    path: Path
    run: Mapping[str, Any]
    decision: Decision
    metrics: tuple[Metric, ...]
    results: Mapping[str, Any]
    images: pd.DataFrame
    evidence: Mapping[str, Any]
    manifest: Mapping[str, Any]

    def metric(self, name: str) -> Metric | None:
        """The metric over all groups with this name, or None."""
        return next((m for m in self.metrics if m.name == name and m.group is None), None)


def read_run(path: Path) -> RunFolder:
    """The run folder at `path`. Raises InputError where results.json cannot be read: no verdict is known then."""
    results = read_mapping(path / "results.json")
    if not results:
        raise InputError.of(path / "results.json", "no results", "the results.json of a run")
    table = path / "images.parquet"
    return RunFolder(
        path=path,
        run=read_mapping(path / "run.json"),
        decision=_decision(results),
        metrics=tuple(_typed(Metric, row) for row in rows(results.get("metrics")) if text(row.get("name"))),
        results=results,
        images=pd.read_parquet(table) if table.is_file() else pd.DataFrame(),
        evidence=read_mapping(path / "evidence.json"),
        manifest=read_mapping(path / "manifest.json"),
    )


def ledger_head(run: RunFolder) -> str:
    """The ledger's head after the decision, as `runs ledger-verify --printed` takes it; "" where none is recorded."""
    head = mapping(run.run.get("ledger"))
    number, digest = whole(head.get("number")), text(head.get("hash"))
    return f"{number}:{digest[:32]}" if number and _DIGEST.fullmatch(digest) else ""


def inside(folder: Path, name: str) -> Path | None:
    """The plain file `name` under `folder`; None where it is absent, a link, or anywhere else."""
    try:
        path = folder / name
        resolved = path.resolve()
        found = resolved.is_file() and resolved == folder.resolve() / name
    except (OSError, ValueError):  # names too long, or with a NUL
        return None
    return path if found else None


def number(value: object) -> float | None:
    """A finite number or infinity; None for everything else, NaN and booleans included."""
    if isinstance(value, str) and value in {"inf", "Infinity"}:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value)


def whole(value: object) -> int | None:
    """A finite number as an integer."""
    found = number(value)
    return None if found is None or math.isinf(found) else round(found)


def numbers(value: object) -> tuple[float, ...]:
    """A list of numbers; empty where one of them is none, since a curve with holes misleads."""
    found = [number(x) for x in value] if isinstance(value, Sequence) and not isinstance(value, str) else []
    kept = [x for x in found if x is not None]
    return tuple(kept) if len(kept) == len(found) else ()


def interval(value: object) -> tuple[float, float] | None:
    """Two ordered numbers."""
    found = numbers(value)
    return (found[0], found[1]) if len(found) == 2 and found[0] <= found[1] else None


def flag(value: object) -> bool:
    """True for true alone."""
    return value is True


def text(value: object) -> str:
    """Text as text, numbers as they read, all else as nothing."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if number(value) is not None else ""


def mapping(value: object) -> Mapping[str, Any]:
    """The mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def rows(value: object) -> tuple[Mapping[str, Any], ...]:
    """The mappings of a list."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(row for row in value if isinstance(row, Mapping))


def read_mapping(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file, empty where there is none. InputError where it cannot be read."""
    if not path.is_file():
        return {}
    try:
        return mapping(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError.of(path, f"no readable JSON ({error})", "a JSON object") from error


def _decision(results: Mapping[str, Any]) -> Decision:
    said = mapping(results.get("decision"))
    status = text(said.get("status"))
    checks = rows(results.get("checks")) or rows(said.get("checks"))
    return Decision(
        # A verdict that is not understood is never shown as a pass.
        status=status if status in _DECISIONS else "error",  # type: ignore[arg-type] # one of the five by the test
        exit_code=whole(said.get("exit_code")) or 0,
        reasons=tuple(text(reason) for reason in said.get("reasons") or () if text(reason)),
        checks=tuple(_typed(CheckResult, row) for row in checks),
    )


def _typed(kind: type[Typed], row: Mapping[str, Any]) -> Typed:
    """A Metric or CheckResult from its JSON form: unknown keys are left out, missing ones empty, wrong types neutral."""
    read: dict[str, Any] = {}
    for item in fields(kind):
        value = row.get(item.name)
        if item.name in {"value", "bound", "baseline"}:
            read[item.name] = number(value)
        elif item.name in {"interval", "bounds", "attainable"}:
            read[item.name] = interval(value)
        elif item.name == "n":
            read[item.name] = whole(value) or 0
        elif item.name == "confidence":
            read[item.name] = number(value) or 0.95
        elif item.name == "blocker":
            read[item.name] = flag(value)
        elif item.name == "group":
            read[item.name] = text(value) or None
        elif item.name == "state":
            read[item.name] = text(value) if text(value) in get_args(MetricState) else "error"
        elif item.name == "status":
            read[item.name] = text(value) if text(value) in get_args(Status) else "error"
        else:
            read[item.name] = text(value)
    return kind(**read)
