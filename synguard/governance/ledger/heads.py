"""Heads kept elsewhere: signed by a second party, or recorded in run folders. What a ledger is held against."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synguard.errors import InputError, IntegrityError
from synguard.governance import envelope
from synguard.governance.files import read_json
from synguard.governance.ledger.chain import Head

__all__ = ["PREDICATE_TYPE", "head_of_run", "head_statement", "heads_of_runs", "printed_head", "signed_head"]

_PRINTED = re.compile("(?P<number>[1-9][0-9]{0,17}):(?P<hash>[0-9a-f]{32,64})")
PREDICATE_TYPE = "urn:synguard:ledger-head:v1"


def head_statement(head: Head) -> dict[str, Any]:
    """The in-toto statement that a second party signs: this is how far the ledger had come when I looked."""
    seen = datetime.now(UTC).isoformat(timespec="seconds")
    return envelope.statement({"ledger": head.hash}, PREDICATE_TYPE, {**head.as_dict(), "seen": seen})


def signed_head(path: Path, public: str) -> tuple[str, Head]:
    """The head in an envelope that this key signed, and what to call it. Raises IntegrityError for any other file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError.of(path, error.strerror, "a head that `synguard runs ledger-head --sign` wrote") from error
    stated = envelope.verify(data, public, str(path))
    predicate = stated.get("predicate")
    if stated.get("predicateType") != PREDICATE_TYPE or not isinstance(predicate, Mapping):
        raise IntegrityError(f"{path}: found a statement about something else, expected one about a ledger's head")
    return f"the signed head {path}", Head.of_dict(predicate, str(path))


def printed_head(printed: str) -> tuple[str, Head]:
    """The head as reports print it, NUMBER:HASH with the beginning of the hash. Raises InputError for anything else."""
    found = _PRINTED.fullmatch(printed)
    if found is None:
        raise InputError.of("--printed", printed, "NUMBER:HASH as in the report, with 32 digits of the hash or more")
    return f"the printed head {printed}", Head("", int(found["number"]), found["hash"])


def head_of_run(folder: Path) -> tuple[str, Head]:
    """The head that a run recorded at its end, and what to call it. Raises InputError and IntegrityError."""
    path = folder / "run.json"
    if not path.is_file():
        raise InputError.of(folder, "no run.json", "the folder of a run")
    return _recorded(path, read_json(path))


def heads_of_runs(folder: Path) -> Iterator[tuple[str, Head]]:
    """The heads that runs below a folder recorded, and what to call them. Raises IntegrityError for a damaged run.json."""
    if not folder.is_dir():
        raise InputError.of(folder, "no folder", "a folder with runs")
    for path in sorted(folder.rglob("run.json")):
        record = read_json(path)
        if record.get("ledger"):
            yield _recorded(path, record)


def _recorded(path: Path, record: Mapping[str, Any]) -> tuple[str, Head]:
    return f"the head in {path}", Head.of_dict(record.get("ledger"), str(path))
