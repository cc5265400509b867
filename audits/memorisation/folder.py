"""The index folder: owner-only arrays, and a record of what they were made from and with.

Private data: it holds reduced copies of the private images. Arrays are `.npy` without pickle, each under its sha256. With a
key, all that tells of images or thresholds is sealed (`.enc`); `meta.json` then names digests only, and carries the key's
mark. A folder appears under its name when it is whole, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import DTypeLike, NDArray

from audits.memorisation.private_files import create, open_private, stored_name
from audits.memorisation.rows import Rows, RowWriter, open_rows
from audits.memorisation.sealing import Key
from synguard.errors import InputError, IntegrityError

__all__ = [
    "HOLDOUT_NOTE",
    "IndexWriter",
    "StoredIndex",
    "check_key",
    "differences",
    "faults",
    "is_index",
    "load_index",
    "open_index",
    "read_meta",
    "read_note",
    "read_record",
    "save_index",
    "write_note",
]

_META = "meta.json"
_RECORD = "record.json"
_FORMAT = 2

HOLDOUT_NOTE = "holdout_near_copies.json"
"""Left beside the index once it is there, by `write_note`."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredIndex:
    """A whole, checked index: its arrays by name, read by rows as they are needed, and its record."""

    arrays: Mapping[str, Rows]
    record: Any

    def array(self, name: str) -> NDArray[Any]:
        """A whole array in memory."""
        return self.arrays[name].read(0, len(self.arrays[name]))


class IndexWriter:
    """Fills a new index in a hidden folder beside `folder`, and moves it there when the block ends without an error.

    with IndexWriter(folder, identity, key) as made:
        bank = made.rows("bank", (n, windows, dimension), np.float16)
        ...
        made.record = {...}
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], key: Key | None = None) -> None:
        self.record: Any = None
        self._folder = folder
        self._identity = dict(identity)
        self._key = key
        self._partial = folder
        self._arrays: dict[str, RowWriter] = {}

    def rows(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> RowWriter:
        """An array to be written block by block, and finished before the index is."""
        self._arrays[name] = RowWriter.named(self._partial, name, shape, dtype, self._key)
        return self._arrays[name]

    def add(self, name: str, array: NDArray[Any]) -> None:
        """A whole array."""
        rows = self.rows(name, array.shape, array.dtype)
        rows.append(array)
        rows.finish()

    def __enter__(self) -> IndexWriter:
        parent = self._folder.parent
        parent.mkdir(parents=True, exist_ok=True)
        for stale in parent.glob(f".{self._folder.name}.partial-*"):  # of a build that was killed: private data
            shutil.rmtree(stale)
        self._partial = Path(tempfile.mkdtemp(dir=parent, prefix=f".{self._folder.name}.partial-"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _finish(self) -> None:
        if unfinished := [name for name, rows in self._arrays.items() if not rows.digest]:
            raise ValueError(f"found the arrays {unfinished} unfinished, expected all to be whole")
        files = {stored_name(f"{name}.npy", self._key): rows.digest for name, rows in self._arrays.items()}
        meta: dict[str, Any] = {"format": _FORMAT, "made": datetime.now(UTC).isoformat(timespec="seconds")}
        meta |= {"identity": self._identity, "arrays": list(self._arrays)}
        if self._key is None:
            meta |= {"encrypted": None, "files": files, "record": self.record}
        else:
            files[stored_name(_RECORD, self._key)] = _write(self._partial, _RECORD, _json(self.record), self._key)
            meta |= {"encrypted": {"cipher": "AES-256-GCM", "key": self._key.fingerprint}, "files": files}
            meta["mark"] = self._key.mark(_json(meta))
        _write(self._partial, _META, _json(meta), None)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()
        self._partial.rename(self._folder)


def is_index(folder: Path) -> bool:
    """Whether `folder` holds an index."""
    return (folder / _META).is_file()


def open_index(folder: Path, identity: Mapping[str, Any], key: Key | None = None) -> StoredIndex:
    """An index that was made from and with exactly `identity`, and under `key`.

    Raises `IntegrityError` for an index of something else, and where a file does not match its digest.
    """
    meta = read_meta(folder)
    check_key(folder, meta, key)
    if found := differences(folder, meta, identity):
        raise IntegrityError(found[0])
    for name, digest in meta["files"].items():
        if fault := _altered(folder / name, digest):
            raise IntegrityError(fault)
    arrays = {name: open_rows(folder, name, key) for name in meta["arrays"]}
    return StoredIndex(arrays, read_record(folder, meta, key))


def read_meta(folder: Path) -> dict[str, Any]:
    """The open part of an index's record, unchecked. IntegrityError where it is none."""
    try:
        meta: dict[str, Any] = json.loads((folder / _META).read_bytes())
        meta["identity"].items()
        if any(Path(name).name != name for name in (*meta["files"], *meta["arrays"])):
            raise ValueError("names that lead elsewhere")
        sealed = meta["encrypted"]
        if meta["format"] != _FORMAT or (sealed is None) != ("record" in meta):
            raise ValueError(f"format {meta['format']}")
        if sealed is not None:
            str(sealed["key"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{folder / _META}: found no readable record, expected the record of an index") from error
    return meta


def read_record(folder: Path, meta: Mapping[str, Any], key: Key | None) -> Any:
    """What was recorded beside the arrays."""
    return meta["record"] if key is None else json.loads(_read(folder, _RECORD, key))


def check_key(folder: Path, meta: Mapping[str, Any], key: Key | None) -> None:
    """InputError where an encrypted index comes without a key, IntegrityError where this key did not write its record."""
    fingerprint = None if meta["encrypted"] is None else meta["encrypted"]["key"]
    if key is None:
        if fingerprint is not None:
            raise InputError.of(folder, "an encrypted index", f"its key {fingerprint} (--key-file FILE)")
        return
    if fingerprint != key.fingerprint:
        found = "an index that is not encrypted" if fingerprint is None else f"an index under the key {fingerprint}"
        raise IntegrityError(f"{folder}: found {found}, expected one under the given key {key.fingerprint}")
    unmarked = {name: value for name, value in meta.items() if name != "mark"}
    if meta.get("mark") != key.mark(_json(unmarked)):
        raise IntegrityError(
            f"{folder / _META}: found a record that was altered, expected it as it was written under this key"
        )


def differences(folder: Path, meta: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """What tells the recorded identity from the expected one, a sentence each."""
    found = []
    for name, expected in identity.items():
        recorded = meta["identity"].get(name)
        if recorded != json.loads(json.dumps(expected)):
            found.append(f"{folder}: found an index with another {name} ({_short(recorded)}), expected {_short(expected)}")
    return found


def faults(folder: Path, meta: Mapping[str, Any], key: Key | None) -> list[str]:
    """Altered and unknown files, and rights that let others in, a sentence each."""
    found = [fault for name, digest in meta["files"].items() if (fault := _altered(folder / name, digest))]
    known = {_META, *meta["files"], *(stored_name(name, key) for name in (HOLDOUT_NOTE,))}
    for path in (folder, *sorted(folder.iterdir())):
        state = path.lstat()
        wanted = 0o700 if path == folder else 0o600
        if state.st_mode & 0o7777 != wanted or state.st_uid != os.geteuid() or path.is_symlink():
            mode = f"{state.st_mode & 0o7777:o} of user {state.st_uid}"
            found.append(f"{path}: found the rights {mode}, expected {wanted:o}, yours: it is private data")
        if path != folder and path.name not in known:
            found.append(f"{path}: found a file that is no part of the index, expected none")
    return found


def write_note(folder: Path, name: str, value: Any, key: Key | None) -> None:
    """Leaves a value beside an index, sealed where it is."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.partial-") as scratch:
        _write(Path(scratch), name, _json(value), key)
        (Path(scratch) / stored_name(name, key)).replace(folder / stored_name(name, key))


def read_note(folder: Path, name: str, key: Key | None) -> Any:
    """What `write_note` left, or None."""
    if not (folder / stored_name(name, key)).exists():
        return None
    try:
        return json.loads(_read(folder, name, key))
    except ValueError as error:
        raise IntegrityError(f"{folder / name}: found {error}, expected what synguard wrote") from error


def save_index(
    folder: Path, identity: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], record: Any, key: Key | None = None
) -> None:
    """Writes an index whose arrays are in memory."""
    with IndexWriter(folder, identity, key) as made:
        for name, array in arrays.items():
            made.add(name, array)
        made.record = record


def load_index(folder: Path, identity: Mapping[str, Any], key: Key | None = None) -> tuple[dict[str, NDArray[Any]], Any]:
    """All arrays in memory, and the record; see `open_index`."""
    stored = open_index(folder, identity, key)
    return {name: stored.array(name) for name in stored.arrays}, stored.record


def _altered(path: Path, digest: str) -> str | None:
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                return None
    except OSError as error:
        return f"{path}: found {error.strerror}, expected sha256 {digest[:12]}"
    return f"{path}: found another content than was written, expected sha256 {digest[:12]}"


def _write(folder: Path, name: str, data: bytes, key: Key | None) -> str:
    writer = create(folder, name, key)
    writer.write(data)
    return writer.close()


def _read(folder: Path, name: str, key: Key | None) -> bytes:
    reader = open_private(folder, name, key)
    try:
        found = bytearray(reader.length)
        reader.read_into(0, memoryview(found))
        return bytes(found)
    finally:
        reader.close()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
