"""MedMNIST files: an `.npz` with `train_images`, `train_labels` and so on, read row by row and never unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from synguard.errors import InputError

__all__ = ["Split", "read_split", "splits"]

_FORMAT = np.lib.format
_LARGEST_SIDE = 4096
_LARGEST_LABELS = 64 * 2**20


@dataclass(frozen=True)
class Split:
    """One split of the file: its images as an iterator of arrays (h, w) or (h, w, 3), and its labels as columns of text."""

    name: str
    rows: int
    images: Iterator[NDArray[np.uint8]]
    labels: dict[str, list[str]]


def splits(data: bytes, wanted: str, where: str) -> list[str]:
    """The names of the splits to read: those in `wanted`, separated by commas, or all of the file."""
    present = [name.removesuffix("_images.npy") for name in _archive(data, where).namelist() if name.endswith("_images.npy")]
    if not present:
        raise InputError.of(where, "no array `*_images`", "a MedMNIST file with `train_images`, `train_labels` and so on")
    names = [name.strip() for name in wanted.split(",")] if wanted else present
    for name in names:
        if name not in present or names.count(name) > 1:
            raise InputError.of(f"{where}#{wanted}", f"the split {name!r}", f"each once of {', '.join(present)}")
    return names


def read_split(data: bytes, name: str, where: str) -> Split:
    """One split. Raises InputError where its arrays are not those of MedMNIST."""
    archive = _archive(data, where)
    shape, file = _open(archive, f"{name}_images", where)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3) or max(shape[1:3]) > _LARGEST_SIDE or not min(shape):
        found = " x ".join(str(n) for n in shape)
        raise InputError.of(f"{where}#{name}", f"images of shape {found}", "n x h x w or n x h x w x 3")
    return Split(name, shape[0], _images(file, shape, f"{where}#{name}"), _labels(archive, name, shape[0], where))


def _images(file: IO[bytes], shape: tuple[int, ...], where: str) -> Iterator[NDArray[np.uint8]]:
    count = int(np.prod(shape[1:]))
    for row in range(shape[0]):
        try:
            data = file.read(count)
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise InputError.of(f"{where} row {row}", "damaged data", "an image") from error
        if len(data) != count:
            raise InputError.of(f"{where} row {row}", f"{len(data)} bytes", f"{count}")
        yield np.frombuffer(data, dtype=np.uint8).reshape(shape[1:])


def _labels(archive: zipfile.ZipFile, name: str, rows: int, where: str) -> dict[str, list[str]]:
    if f"{name}_labels.npy" not in archive.namelist():
        return {}
    key = f"{name}_labels.npy"
    if archive.getinfo(key).file_size > _LARGEST_LABELS:
        raise InputError.of(f"{where}#{name}", "a label array of unlikely size", "a label an image")
    try:
        labels = _FORMAT.read_array(io.BytesIO(archive.read(key)), allow_pickle=False)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise InputError.of(f"{where}#{name}", "labels that cannot be read without unpickling", "numbers") from error
    if labels.ndim not in (1, 2) or len(labels) != rows:
        found = " x ".join(str(n) for n in labels.shape)
        raise InputError.of(f"{where}#{name}", f"labels of shape {found}", f"{rows} rows")
    table = labels.reshape(rows, -1)
    names = ["label"] if table.shape[1] == 1 else [f"label_{i}" for i in range(table.shape[1])]
    return {column: [str(value) for value in table[:, i].tolist()] for i, column in enumerate(names)}


def _archive(data: bytes, where: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError.of(where, "no readable .npz file", "a MedMNIST .npz file") from error


def _open(archive: zipfile.ZipFile, key: str, where: str) -> tuple[tuple[int, ...], IO[bytes]]:
    try:
        file = archive.open(f"{key}.npy")
        version = _FORMAT.read_magic(file)
        read = _FORMAT.read_array_header_1_0 if version == (1, 0) else _FORMAT.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError.of(f"{where}:{key}", "no readable array", "an array of uint8") from error
    if dtype != np.uint8 or fortran:
        raise InputError.of(f"{where}:{key}", f"an array of {dtype}", "an array of uint8 in row order")
    expected, found = math.prod(int(n) for n in shape), archive.getinfo(f"{key}.npy").file_size - file.tell()
    if found != expected:  # before memory is set aside for what the header announces
        raise InputError.of(f"{where}:{key}", f"{found:,} bytes", f"{expected:,}")
    return tuple(int(n) for n in shape), file
