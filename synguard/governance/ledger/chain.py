"""The chain: entries that are each bound to the one before by a hash, and what a broken one looks like. Pure.

hash = SHA-256 of the entry's number, kind, run, time, payload and the hash before it, as canonical JSON. Whoever can rewrite
all entries can make a new chain that fits in itself: heads kept elsewhere show that, in reports and with a second party.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synguard.errors import IntegrityError
from synguard.governance.files import canonical

__all__ = ["ORIGIN", "Entry", "Fault", "Head", "Row", "broken_links", "entry_hash", "entry_of", "unlike_heads"]

ORIGIN = "0" * 64
"""What stands for the hash before the first entry."""


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as it lies in the database, believed to be nothing yet."""

    number: Any
    kind: Any
    run: Any
    at: Any
    payload: Any
    previous: Any
    hash: Any
    images: Any = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `at` is ISO 8601 in UTC, `run` the id of the run that it is about, or ""."""

    number: int
    kind: str
    run: str
    at: str
    payload: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a ledger at some time. `ledger` is the hash of its first entry, which names the ledger."""

    ledger: str
    number: int
    hash: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"ledger": self.ledger, "number": self.number, "hash": self.hash}

    @classmethod
    def of_dict(cls, value: Any, where: str) -> Head:
        """What `as_dict` gave. Raises IntegrityError for anything else; `where` names it."""
        try:
            head = cls(str(value["ledger"]), int(value["number"]), str(value["hash"]))
        except (KeyError, TypeError, ValueError):
            head = None
        if head is None or head.number < 1 or {len(head.ledger), len(head.hash)} != {64}:
            raise IntegrityError(f"{where}: found no head of a ledger, expected its ledger, number and hash")
        return head

    def __str__(self) -> str:
        """For people; 64 bits of each hash."""
        return f"entry {self.number} {self.hash[:16]} of ledger {self.ledger[:16]}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is not as it was written. `number` is that of the entry, None where it is about no single one."""

    what: Literal["altered", "dropped", "reordered", "truncated", "replaced", "unprotected", "damaged"]
    message: str
    number: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"what": self.what, "message": self.message, "number": self.number}

    def __str__(self) -> str:
        return f"{self.what}: {self.message}"


def entry_hash(number: int, kind: str, run: str, at: str, payload: str, previous: str) -> str:
    """The hash of an entry; `payload` is its canonical JSON as text."""
    fields = {"number": number, "kind": kind, "run": run, "at": at, "payload": payload, "previous": previous}
    return hashlib.sha256(canonical(fields)).hexdigest()


def entry_of(row: Row) -> Entry:
    """The entry in a row. Raises IntegrityError where it holds none."""
    try:
        payload = json.loads(row.payload)
        found = Entry(int(row.number), str(row.kind), str(row.run), str(row.at), payload, str(row.previous), str(row.hash))
    except (TypeError, ValueError, RecursionError) as error:
        raise IntegrityError(f"ledger entry {row.number}: found no entry, expected what was written") from error
    if not isinstance(payload, dict):
        raise IntegrityError(f"ledger entry {row.number}: found {type(payload).__name__}, expected a JSON object")
    return found


def broken_links(rows: Iterable[Row]) -> Iterator[Fault]:
    """What is wrong with rows that come in the order of their numbers, from the first."""
    number, previous, sound = 0, ORIGIN, True
    for row in rows:
        if not isinstance(row.number, int) or row.number < 1:
            yield Fault("altered", f"an entry has the number {row.number!r}")
            continue
        gone = row.number - number - 1
        if gone > 0:
            which = f"entry {number + 1} is" if gone == 1 else f"entries {number + 1} to {row.number - 1} are"
            yield Fault("dropped", f"{which} missing")
        fits = _fits(row, row.number)
        if not fits:
            # An entry that was moved still has the hash of its own place, right behind the entry that it names.
            moved = _place(row)
            said = f"holds what was written as entry {moved}" if moved else "is not what was written"
            yield Fault("reordered" if moved else "altered", f"entry {row.number} {said}", row.number)
        elif row.previous != previous and sound and gone == 0:
            said = f"entry {row.number} does not follow from entry {number}: one of them was rewritten"
            yield Fault("altered", said, row.number)
        else:
            yield from _inside(row)
        number, previous, sound = row.number, row.hash, fits


def unlike_heads(heads: Iterable[tuple[str, Head]], found: Head | None, hash_at: Mapping[int, str]) -> Iterator[Fault]:
    """Where this is not the ledger that a head was taken from, or no longer as long. Heads come with who kept them."""
    for kept_by, head in heads:
        # What a report prints is the beginning of a hash, and no ledger.
        if found is None or not found.ledger.startswith(head.ledger):
            other = "an empty one" if found is None else found.ledger[:16]
            yield Fault("replaced", f"{kept_by} is of ledger {head.ledger[:16]}, this is {other}")
        elif head.number > found.number:
            yield Fault("truncated", f"{kept_by} is of entry {head.number}, the ledger ends with entry {found.number}")
        elif not hash_at.get(head.number, "").startswith(head.hash):
            yield Fault("altered", f"entry {head.number} is not the one that {kept_by} was taken from", head.number)


def _fits(row: Row, number: int) -> bool:
    texts = (row.kind, row.run, row.at, row.payload, row.previous)
    try:
        return all(isinstance(text, str) for text in texts) and row.hash == entry_hash(number, *texts)
    except UnicodeEncodeError:
        return False


def _place(row: Row, reach: int = 1000) -> int | None:
    """The number that a row was written under, if it is near."""
    near = range(max(1, row.number - reach), row.number + reach)
    return next((number for number in near if _fits(row, number)), None)


def _inside(row: Row) -> Iterator[Fault]:
    """What the hash cannot see: the fingerprints, which the payload knows by their digest, and the run."""
    try:
        entry = entry_of(row)
    except IntegrityError as error:
        yield Fault("altered", str(error), row.number)
        return
    if entry.run != entry.payload.get("run", ""):
        yield Fault("altered", f"entry {row.number} stands under another run than its own", row.number)
    expected = entry.payload.get("sha256") if entry.kind == "images" else None
    kept = None if row.images is None else hashlib.sha256(bytes(row.images)).hexdigest()
    if kept != expected:
        yield Fault("altered", f"entry {row.number} has other fingerprints than were written", row.number)
