"""Owner-only files that are written once, front to back, and read in parts; sealed where there is a key."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, Protocol

from audits.memorisation.sealing import Key, SealedReader, SealedWriter
from synguard.errors import IntegrityError

__all__ = ["PlainReader", "PlainWriter", "Reader", "Writer", "create", "create_unnamed", "open_private", "stored_name"]


class Writer(Protocol):
    """Takes the content of a file in order."""

    def write(self, data: bytes | memoryview) -> None:
        """Appends bytes."""
        ...

    def close(self) -> str:
        """Ends the file; returns the sha256 of what lies on disk."""
        ...


class Reader(Protocol):
    """Gives any part of a file's content. Threads may share it."""

    @property
    def length(self) -> int:
        """Bytes of content."""
        ...

    def read_into(self, start: int, out: memoryview) -> None:
        """Fills `out` with the content from byte `start` on; IntegrityError where that cannot be had."""
        ...

    def close(self) -> None:
        """Closes the file."""
        ...


def stored_name(name: str, key: Key | None) -> str:
    """The name that a file has on disk."""
    return name if key is None else f"{name}.enc"


def create(folder: Path, name: str, key: Key | None) -> Writer:
    """A new owner-only file `name` (`name.enc` where there is a key)."""
    path = folder / stored_name(name, key)
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")
    return PlainWriter(file) if key is None else SealedWriter(file, key, name)


def create_unnamed() -> tuple[PlainWriter, PlainReader]:
    """A file without a name, which vanishes with the process. Give the reader its use after the writer has ended."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as its reader
    return PlainWriter(file, keep_open=True), PlainReader(file, "temporary file")


def open_private(folder: Path, name: str, key: Key | None) -> Reader:
    """Opens what `create` wrote. IntegrityError where it is not there or of another form."""
    path = folder / stored_name(name, key)
    try:
        return PlainReader(path.open("rb", buffering=0), str(path)) if key is None else SealedReader(path, key, name)
    except OSError as error:
        raise IntegrityError(f"{path}: found {error.strerror}, expected a file of the index") from error


class PlainWriter:
    """Writes the content as it is."""

    def __init__(self, file: BinaryIO, *, keep_open: bool = False) -> None:
        self._file = file
        self._keep_open = keep_open
        self._digest = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        """Appends bytes."""
        self._file.write(data)
        self._digest.update(data)

    def close(self) -> str:
        """Ends the file; returns the sha256 of it."""
        self._file.flush()
        if not self._keep_open:
            os.fsync(self._file.fileno())
            self._file.close()
        return self._digest.hexdigest()


class PlainReader:
    """Reads a file as it is. By `pread`, not by a map: what was read does not stay in the process's memory."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file = file
        self._where = where

    @property
    def length(self) -> int:
        """Bytes of content."""
        return os.fstat(self._file.fileno()).st_size

    def read_into(self, start: int, out: memoryview) -> None:
        """Fills `out` with the content from byte `start` on."""
        done = 0
        while done < len(out):
            count = os.preadv(self._file.fileno(), [out[done:]], start + done)
            if count == 0:
                raise IntegrityError(f"{self._where}: found the end of the file, expected more; it was cut short")
            done += count

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
