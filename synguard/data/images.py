"""An image set: decoded pixels with their names, digests, patients and metadata, row by row."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["ImageSet", "allocate"]

_MAP_FROM = 2**30  # bytes of pixels from which they are kept in a file


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Images of one role, all decoded at one size.

    `files` are paths relative to the set (or `split/row` inside a MedMNIST file) and unique. `sha256` is of the file's
    bytes, or of the pixels where there is no file of its own. `pixels` is uint8 (n, size, size, 3) and may be memory-mapped.
    `patients` holds one id an image; where the source has none, the image's own name, and `has_patient_ids` is False.
    `metadata` has a row per image, index 0 to n - 1, with the source's own columns. `boxes` (n, 4), float32, are around what
    is marked in an image, as left, top, right, bottom in its frame, which reaches from -1 to 1; NaN where nothing is.
    """

    name: str
    files: tuple[str, ...]
    sha256: tuple[str, ...]
    pixels: NDArray[np.uint8]
    patients: NDArray[np.str_]
    metadata: pd.DataFrame
    has_patient_ids: bool
    skipped: tuple[str, ...] = ()
    boxes: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.files), len(self.sha256), len(self.pixels), len(self.patients), len(self.metadata)}
        if len(lengths) != 1:
            raise ValueError(f"{self.name}: found columns of {sorted(lengths)} rows, expected one length")
        if self.boxes is not None and self.boxes.shape != (len(self), 4):
            raise ValueError(f"{self.name}: found boxes of shape {self.boxes.shape}, expected {(len(self), 4)}")

    def __len__(self) -> int:
        return len(self.files)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.pixels.shape[1])

    @property
    def digest(self) -> str:
        """sha256 over names, file digests and patients, independent of row order."""
        rows = sorted(zip(self.files, self.sha256, self.patients.tolist(), strict=True))
        text = "\n".join("\t".join(row) for row in rows)
        return hashlib.sha256(f"{self.size}\n{text}".encode()).hexdigest()

    @property
    def photographs(self) -> str:
        """sha256 over the digests of the files alone: which photographs these are, under whatever names and at what size."""
        return hashlib.sha256("\n".join(sorted(self.sha256)).encode()).hexdigest()

    def take(self, rows: Sequence[int] | NDArray[np.int64], name: str | None = None) -> ImageSet:
        """The given rows, in that order, as a set of their own."""
        index = np.asarray(rows, dtype=np.int64)
        return ImageSet(
            name=name or self.name,
            files=tuple(self.files[i] for i in index),
            sha256=tuple(self.sha256[i] for i in index),
            pixels=self.pixels[index],
            patients=self.patients[index],
            metadata=self.metadata.iloc[index].reset_index(drop=True),
            has_patient_ids=self.has_patient_ids,
            skipped=self.skipped,
            boxes=None if self.boxes is None else self.boxes[index],
        )

    def joined(self, other: ImageSet, name: str) -> ImageSet:
        """The rows of both sets; they must be of one size and share no file name."""
        boxes = None
        if self.boxes is not None or other.boxes is not None:
            boxes = np.concatenate([self._all_boxes, other._all_boxes])
        pixels = allocate(len(self) + len(other), self.size)
        pixels[: len(self)], pixels[len(self) :] = self.pixels, other.pixels
        return ImageSet(
            name=name,
            files=(*self.files, *other.files),
            sha256=(*self.sha256, *other.sha256),
            pixels=pixels,
            patients=np.concatenate([self.patients, other.patients]),
            metadata=pd.concat([self.metadata, other.metadata], ignore_index=True),
            has_patient_ids=self.has_patient_ids and other.has_patient_ids,
            skipped=(*self.skipped, *other.skipped),
            boxes=boxes,
        )

    @property
    def _all_boxes(self) -> NDArray[np.float32]:
        return np.full((len(self), 4), np.nan, np.float32) if self.boxes is None else self.boxes


def allocate(count: int, size: int) -> NDArray[np.uint8]:
    """Room for the pixels: memory, or from 1 GiB on a file that vanishes with the process and only its owner can read."""
    shape = (count, size, size, 3)
    if count * size * size * 3 < _MAP_FROM:
        return np.empty(shape, dtype=np.uint8)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
