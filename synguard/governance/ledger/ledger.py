"""The ledger: runs, batches, gate attempts, decisions, reviews and approvals, each an entry that nothing may change."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from synguard.errors import InputError, IntegrityError
from synguard.governance.files import canonical
from synguard.governance.ledger.chain import (
    ORIGIN,
    Entry,
    Fault,
    Head,
    Row,
    broken_links,
    entry_hash,
    entry_of,
    unlike_heads,
)
from synguard.governance.ledger.database import ENTRIES, REVISION, Database
from synguard.governance.ledger.fingerprints import BlindingKey, Fingerprints
from synguard.governance.ledger.memory import Kept, recall, remember
from synguard.governance.ledger.place import Place, Where, find_place
from synguard.governance.ledger.protection import missing_protection

__all__ = ["Ledger"]

_KIND = re.compile("[a-z][a-z-]{0,39}")
_COLUMNS = [column for column in ENTRIES.columns if column.name != "images"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """An open ledger. Any number of processes may append at the same time."""

    place: Place
    _database: Database

    @classmethod
    def open(cls, where: Where = None, *, create: bool = True, check: bool = True) -> Ledger:
        """The ledger at a file, URL or place, by default that of `find_place`; with `create` a new one where there is none.

        Raises InputError where it cannot be had. With `check`, IntegrityError where another ledger stands in the place of
        one that this user has seen, or where entries are gone that were there.
        """
        place = find_place(where)
        kept = recall(place.heads)  # before the ledger is read, or an entry appended meanwhile would look like a lost one
        database = Database(place)
        if not database.exists:
            if check:
                _refuse(place, kept, None, {})
            if not create:
                raise InputError.of(place, "nothing", "a ledger (it is made by the first run)")
            database.make_file()
        ledger = cls(place, database)
        with database.reading() as connection:
            ready = database.revision(connection) == REVISION and _last(connection) is not None
        if not ready:
            ledger._make(kept if check else (), create=create)
        elif check:
            with database.reading() as connection:
                head = _head(connection)
                _refuse(place, kept, head, _hashes(connection, [each.head.number for each in kept]))
        return ledger

    @classmethod
    def open_whole(cls, where: Where = None, heads: Iterable[tuple[str, Head]] = ()) -> Ledger:
        """The ledger that is there, after all of it was verified, also against these heads. IntegrityError for any fault."""
        ledger = cls.open(where, create=False)
        for fault in ledger.verify(heads):
            raise IntegrityError(f"{ledger.place}: found {fault}; expected the ledger as it was written")
        return ledger

    @property
    def id(self) -> str:
        """The hash of the first entry, which holds random bytes: no two ledgers share it."""
        return self.head().ledger

    def key(self) -> BlindingKey:
        """The key of the fingerprints. Raises InputError where the file holds another than the ledger was made with."""
        found = BlindingKey.read(self.place.key_file)
        (origin,) = self.entries("ledger")
        if found.id != origin.payload.get("key"):
            expected = f"key {origin.payload.get('key')}, which the ledger was made with: copy it from where it was made"
            raise InputError.of(self.place.key_file, f"key {found.id}", expected)
        return found

    def append(self, kind: str, payload: Mapping[str, Any]) -> Entry:
        """A new entry at the end. `payload` holds JSON values; under "run" the id of the run that it is about, if any."""
        return self._append(kind, payload, once=False)

    def append_once(self, kind: str, payload: Mapping[str, Any], images: Fingerprints | None = None) -> Entry:
        """The entry of this kind with this very payload; a new one where there is none: a resumed run adds nothing twice."""
        return self._append(kind, payload, once=True, images=images)

    def append_images(self, images: Fingerprints) -> Entry:
        """The entry that holds a set's fingerprints; its payload's `sha256` is what attempts name the set by."""
        return self.append_once("images", {"images": len(images), "sha256": images.digest}, images)

    def entries(self, kind: str | None = None, run: str | None = None) -> tuple[Entry, ...]:
        """Entries in their order, of one kind or run if asked. Raises IntegrityError for a row that holds none."""
        with self._database.reading() as connection:
            return _entries(connection, kind, run)

    def head(self) -> Head:
        """The ledger as it stands."""
        with self._database.reading() as connection:
            head = _head(connection)
        if head is None:
            raise IntegrityError(f"{self.place}: found no entry, expected a ledger")
        return head

    def attempts(self, images: Sequence[Fingerprints], *, until: int | None = None) -> int:
        """Gate attempts on any set that overlaps with one of these, up to and including entry `until`."""
        with self._database.reading() as connection:
            tried = _entries(connection, "attempt", None)
            overlapping = _overlapping(connection, images)
        counted = (entry for entry in tried if until is None or entry.number <= until)
        return len({entry.run for entry in counted if overlapping & set(entry.payload.get("sets", ()))})

    def attempts_of(self, attempt: Entry) -> int:
        """As `attempts`, on the sets of an attempt that the ledger holds, up to that one."""
        with self._database.reading() as connection:
            sets = [images for images in _image_sets(connection) if images.digest in attempt.payload["sets"]]
        return self.attempts(sets, until=attempt.number)

    def successor(self, run: str) -> str:
        """The last run of the same name, on sets that overlap with its own, that was decided on after it; "" for none."""
        with self._database.reading() as connection:
            names = {entry.run: entry.payload.get("name") for entry in _entries(connection, "run", None)}
            sets = {entry.run: set(entry.payload.get("sets", ())) for entry in _entries(connection, "attempt", None)}
            decided = [entry.run for entry in _entries(connection, "decision", None)]
            later = decided[decided.index(run) + 1 :] if run in decided else []
            of_the_name = [other for other in later if other != run and names.get(other) == names.get(run)]
            if not of_the_name:
                return ""
            own = [images for images in _image_sets(connection) if images.digest in sets.get(run, ())]
            overlapping = _overlapping(connection, own)
        return next((other for other in reversed(of_the_name) if sets.get(other, set()) & overlapping), "")

    def verify(self, heads: Iterable[tuple[str, Head]] = ()) -> tuple[Fault, ...]:
        """Everything that is not as it was written; `heads` are known from elsewhere, each with a name of where."""
        kept = recall(self.place.heads)
        try:
            with self._database.reading() as connection:
                if self._database.revision(connection) is None:
                    return (Fault("replaced", f"{self.place} holds no ledger"),)
                faults = [*missing_protection(connection), *self._damage(connection)]
                seen: list[tuple[int, str]] = []
                faults += broken_links(_noted(_rows(connection), seen))
        except IntegrityError as error:
            return (Fault("damaged", str(error)),)
        head = Head(seen[0][1], *seen[-1]) if seen else None
        known = [*heads, *((each.said, each.head) for each in _ours(kept, self.place, head))]
        return (*faults, *unlike_heads(known, head, dict(seen)))

    def _damage(self, connection: Connection) -> Iterator[Fault]:
        """What SQLite itself finds wrong with its file."""
        if connection.dialect.name == "sqlite":
            for (said,) in connection.exec_driver_sql("PRAGMA integrity_check(10)"):
                if said != "ok":
                    yield Fault("damaged", f"{self.place}: {said}")

    def _make(self, kept: Sequence[Kept], *, create: bool) -> None:
        """Bring the database to its newest form, and write the first entry where there is none."""
        with self._database.writing() as connection:
            if self._database.revision(connection) is None:
                _refuse(self.place, kept, None, {})
                if not create:
                    raise InputError.of(self.place, "no ledger", "a ledger (it is made by the first run)")
            self._database.migrate(connection)
            if _last(connection) is not None:
                return
            _refuse(self.place, kept, None, {})
            if not create:
                raise IntegrityError(f"{self.place}: found no entry, expected those of a ledger")
            key = BlindingKey.create(self.place.key_file)
            first = {"schema": "synguard/ledger/v1", "nonce": secrets.token_hex(16), "key": key.id}
            entry = _insert(connection, "ledger", first, None)
        remember(self.place, Head(entry.hash, entry.number, entry.hash))

    def _append(self, kind: str, payload: Mapping[str, Any], *, once: bool, images: Fingerprints | None = None) -> Entry:
        if not _KIND.fullmatch(kind):
            raise ValueError(f"found the kind {kind!r}, expected lower-case words joined by hyphens")
        with self._database.writing() as connection:
            if once and (there := _same(connection, kind, payload)) is not None:
                return there
            entry = _insert(connection, kind, payload, images)
            head = _head(connection)
        if head is not None:
            remember(self.place, head)
        return entry


def _insert(connection: Connection, kind: str, payload: Mapping[str, Any], images: Fingerprints | None) -> Entry:
    last = _last(connection)
    number, previous = (1, ORIGIN) if last is None else (last.number + 1, last.hash)
    text, run = canonical(payload).decode(), str(payload.get("run", ""))
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    row = Row(number, kind, run, at, text, previous, entry_hash(number, kind, run, at, text, previous))
    data = None if images is None else images.to_bytes()
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    connection.execute(ENTRIES.insert().values(**values, images=data))
    return entry_of(row)


def _same(connection: Connection, kind: str, payload: Mapping[str, Any]) -> Entry | None:
    text = canonical(payload).decode()
    run = str(payload.get("run", ""))
    query = select(*_COLUMNS).where(ENTRIES.c.run == run, ENTRIES.c.kind == kind, ENTRIES.c.payload == text)
    row = connection.execute(query.order_by(ENTRIES.c.number).limit(1)).first()
    return None if row is None else entry_of(Row(*row))


def _entries(connection: Connection, kind: str | None, run: str | None) -> tuple[Entry, ...]:
    wanted: list[ColumnElement[bool]] = []
    if kind is not None:
        wanted.append(ENTRIES.c.kind == kind)
    if run is not None:
        wanted.append(ENTRIES.c.run == run)
    query = select(*_COLUMNS).where(*wanted).order_by(ENTRIES.c.number)
    return tuple(entry_of(Row(*row)) for row in connection.execute(query))


def _rows(connection: Connection) -> Iterator[Row]:
    """All rows with their fingerprints, a few at a time."""
    query = select(*_COLUMNS, ENTRIES.c.images).order_by(ENTRIES.c.number)
    for row in connection.execution_options(yield_per=50).execute(query):
        yield Row(**row._mapping)


def _noted(rows: Iterable[Row], seen: list[tuple[int, str]]) -> Iterator[Row]:
    for row in rows:
        seen.append((row.number, row.hash))
        yield row


def _last(connection: Connection) -> Row | None:
    row = connection.execute(select(*_COLUMNS).order_by(ENTRIES.c.number.desc()).limit(1)).first()
    return None if row is None else Row(*row)


def _head(connection: Connection) -> Head | None:
    first = connection.execute(select(ENTRIES.c.hash).order_by(ENTRIES.c.number).limit(1)).scalar()
    last = _last(connection)
    return None if first is None or last is None else Head(first, last.number, last.hash)


def _hashes(connection: Connection, numbers: Sequence[int]) -> dict[int, str]:
    query = select(ENTRIES.c.number, ENTRIES.c.hash).where(ENTRIES.c.number.in_(numbers))
    return {row.number: row.hash for row in connection.execute(query)}


def _image_sets(connection: Connection) -> Iterator[Fingerprints]:
    """All sets, one at a time: they may be large."""
    query = select(ENTRIES.c.number, ENTRIES.c.images).where(ENTRIES.c.kind == "images").order_by(ENTRIES.c.number)
    for number, data in connection.execution_options(yield_per=1).execute(query):
        try:
            yield Fingerprints.of_bytes(data or b"")
        except ValueError as error:
            expected = "the fingerprints of a set"
            raise IntegrityError(f"ledger entry {number}: found other bytes, expected {expected}") from error


def _overlapping(connection: Connection, images: Sequence[Fingerprints]) -> set[str]:
    """Digests of all sets that share images with one of these."""
    return {other.digest for other in _image_sets(connection) if any(one.overlaps(other) for one in images)}


def _ours(kept: Iterable[Kept], place: Place, head: Head | None) -> Iterator[Kept]:
    """Heads of this ledger, and of whatever ledger was at this place."""
    return (each for each in kept if each.place == str(place) or (head is not None and each.head.ledger == head.ledger))


def _refuse(place: Place, kept: Iterable[Kept], head: Head | None, hashes: Mapping[int, str]) -> None:
    """IntegrityError where the ledger is not what this user has seen it to be."""
    for each in _ours(kept, place, head):
        for fault in unlike_heads([(each.said, each.head)], head, hashes):
            raise IntegrityError(
                f"{place}: found that {fault.message}; expected the ledger as it was (if this is meant, remove {each.path})"
            )
