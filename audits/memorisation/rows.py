"""Arrays that are larger than the memory may be: written and read by rows, in files or in memory."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from audits.memorisation.private_files import Reader, Writer, create, create_unnamed, open_private
from audits.memorisation.sealing import Key
from synguard.errors import IntegrityError

__all__ = ["MakeRows", "MemoryRows", "RowWriter", "Rows", "as_rows", "open_rows", "unnamed_rows"]

_HEADER = 4096
"""More than any header of a `.npy` file that we write."""
_GAP = 2**14
"""Bytes between wanted rows that are read as well, since a further call would cost more."""
_SPAN = 2**22
"""Bytes that are read at once, at most, unless one row is longer."""


class Rows(Protocol):
    """An array (n, ...) of which only the rows that are asked for are in memory. Threads may share it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the whole array."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        ...

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows from `start` up to `stop`; fewer at the end."""
        ...

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The given rows, in that order; each different one is read once."""
        ...


def as_rows(values: NDArray[Any] | Rows) -> Rows:
    """An array counts as rows, too."""
    return MemoryRows(values) if isinstance(values, np.ndarray) else values


def open_rows(folder: Path, name: str, key: Key | None) -> Rows:
    """The array of a `.npy` file that `RowWriter` wrote; without pickle. IntegrityError where it is something else."""
    reader = open_private(folder, f"{name}.npy", key)
    head = bytearray(min(_HEADER, reader.length))
    reader.read_into(0, memoryview(head))
    stream = io.BytesIO(head)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("another version of the format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if fortran or dtype.hasobject or reader.length != stream.tell() + math.prod(shape) * dtype.itemsize:
            raise ValueError("another layout or length")
    except ValueError as error:
        raise IntegrityError(f"{folder / name}.npy: found {error}, expected an array as the index writes it") from error
    return _FileRows(reader, shape, dtype, stream.tell())


class MemoryRows:
    """An array in memory, or mapped."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the array."""
        return self._values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._values.dtype

    def __len__(self) -> int:
        return len(self._values)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows from `start` up to `stop`."""
        found = self._values[start:stop]
        return found if found.flags.writeable else found.copy()  # torch warns of arrays that it may not write to

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The given rows."""
        return self._values[rows]


class _FileRows:
    def __init__(self, reader: Reader, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> None:
        self._reader = reader
        self._offset = offset
        self.shape = shape
        self.dtype = dtype

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> NDArray[Any]:
        stop = min(stop, len(self))
        found = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
        self._fill(start, found)
        return found

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        different, where = np.unique(rows, return_inverse=True)
        if len(different) and not 0 <= different[0] <= different[-1] < len(self):
            raise IndexError(f"rows from {different[0]} to {different[-1]} of {len(self)}")
        found = np.empty((len(different), *self.shape[1:]), self.dtype)
        size = max(found.dtype.itemsize * math.prod(self.shape[1:]), 1)
        for first, stop in _runs(different, 1 + _GAP // size, max(_SPAN // size, 1)):
            start, end = int(different[first]), int(different[stop - 1]) + 1
            if end - start == stop - first:
                self._fill(start, found[first:stop])
            else:
                found[first:stop] = self.read(start, end)[different[first:stop] - start]
        return found[where.reshape(rows.shape)]

    def _fill(self, start: int, out: NDArray[Any]) -> None:
        if out.size:
            size = out.dtype.itemsize * math.prod(self.shape[1:])
            self._reader.read_into(self._offset + start * size, out.reshape(-1).view(np.uint8).data)


class RowWriter:
    """Writes an array of a known shape block by block; never holds more than a block."""

    def __init__(self, writer: Writer, reopen: Callable[[], Reader], shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.shape = shape
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.digest = ""
        """sha256 of the file, once it is finished."""
        self._written = 0
        self._writer = writer
        self._reopen = reopen
        header = io.BytesIO()
        fields = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, fields)
        self._offset = header.tell()
        writer.write(header.getvalue())

    @staticmethod
    def named(folder: Path, name: str, shape: tuple[int, ...], dtype: DTypeLike, key: Key | None) -> RowWriter:
        """Into `name.npy` of a folder, sealed where there is a key."""
        file = f"{name}.npy"
        return RowWriter(create(folder, file, key), lambda: open_private(folder, file, key), shape, dtype)

    @staticmethod
    def unnamed(shape: tuple[int, ...], dtype: DTypeLike) -> RowWriter:
        """Into an owner-only file without a name, which vanishes with the process."""
        writer, reader = create_unnamed()
        return RowWriter(writer, lambda: reader, shape, dtype)

    def append(self, block: NDArray[Any]) -> None:
        """The next rows, (m, ...)."""
        if block.shape[1:] != self.shape[1:] or self._written + len(block) > self.shape[0]:
            raise ValueError(f"found rows {block.shape} after {self._written}, expected {self.shape} in all")
        values = np.ascontiguousarray(block, dtype=self.dtype)
        if values.size:
            self._writer.write(values.reshape(-1).view(np.uint8).data)
        self._written += len(block)

    def finish(self) -> Rows:
        """Ends the file and opens it for reading. ValueError where rows are missing."""
        self.digest = self._writer.close()
        if self._written != self.shape[0]:
            raise ValueError(f"found {self._written} rows, expected {self.shape[0]}")
        return _FileRows(self._reopen(), self.shape, self.dtype, self._offset)


MakeRows = Callable[[str, tuple[int, ...], DTypeLike], RowWriter]
"""Starts an array of that name, shape and type: `IndexWriter.rows`, or `unnamed_rows` where nothing is to be kept."""


def unnamed_rows(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> RowWriter:
    """As `RowWriter.unnamed`."""
    return RowWriter.unnamed(shape, dtype)


def _runs(rows: NDArray[np.int64], gap: int, span: int) -> Iterator[tuple[int, int]]:
    """Start and end of each run of ascending rows that follow one another within `gap`, over `span` rows at most."""
    ends = np.flatnonzero(np.diff(rows) > gap) + 1
    for first, stop in itertools.pairwise([0, *ends.tolist(), len(rows)]):
        while first < stop:
            cut = min(int(np.searchsorted(rows, rows[first] + span)), stop)
            yield first, cut
            first = cut
