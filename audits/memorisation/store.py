"""The private set's working pictures, of which only the rows that are asked for are in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audits.memorisation.pictures import WORKING_SIDE, Pictures, working_pictures
from audits.memorisation.rows import Rows, RowWriter

__all__ = ["Joined", "PictureStore", "grey_rows"]

_IN_MEMORY = 2**28
"""Bytes of working pictures that are simply kept."""
_CHUNK = 256


class PictureStore:
    """The same floats as `working_pictures(pixels)` has, for pixels (n, size, size, 3) that may be mapped.

    A small set is kept in memory. Of a large one, pictures that are small as they are made anew from the pixels each time;
    larger pictures, which take long to average down, are reduced once, into owner-only files without a name.
    """

    def __init__(self, pixels: NDArray[np.uint8], in_memory: int | None = None) -> None:
        self._pixels = pixels
        self.side = min(pixels.shape[1], WORKING_SIDE)
        """The working side s."""
        self._kept: Pictures | None = None
        self._reduced: tuple[Rows, Rows] | None = None
        if len(pixels) * (self.side**2 + 3 * (self.side // 2) ** 2) * 4 <= (_IN_MEMORY if in_memory is None else in_memory):
            self._kept = working_pictures(pixels)
        elif pixels.shape[1] > 2 * WORKING_SIDE:
            self._reduced = self._reduce()

    def __len__(self) -> int:
        return len(self._pixels)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """What the pictures are made from, (n, size, size, 3)."""
        return self._pixels

    def take(self, rows: NDArray[np.int64] | Tensor | slice) -> Pictures:
        """Some of the pictures, in that order; each different one is made or read once."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        wanted = np.asarray(rows, np.int64)
        if self._kept is not None:
            return self._kept.take(torch.from_numpy(wanted))
        if self._reduced is not None:
            grey, colour = (torch.from_numpy(part.take(wanted)) for part in self._reduced)
            return Pictures(grey, colour)
        different, where = np.unique(wanted, return_inverse=True)
        return working_pictures(self._pixels[different]).take(torch.from_numpy(where))

    def chunks(self, size: int = _CHUNK) -> Iterator[Pictures]:
        """All pictures in order, so many at a time."""
        return (self.take(slice(start, start + size)) for start in range(0, len(self), size))

    def _reduce(self) -> tuple[Rows, Rows]:
        n, side = len(self), self.side
        writers = [RowWriter.unnamed((n, c, s, s), np.float32) for c, s in ((1, side), (3, side // 2))]
        for start in range(0, n, _CHUNK):
            made = working_pictures(self._pixels[start : start + _CHUNK])
            for writer, part in zip(writers, (made.grey, made.colour), strict=True):
                writer.append(part.numpy())
        grey, colour = (writer.finish() for writer in writers)
        return grey, colour


class Joined:
    """Several stores of one size, one after the other."""

    def __init__(self, stores: Sequence[PictureStore]) -> None:
        self._stores = stores
        self._ends = np.cumsum([len(store) for store in stores])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, rows: NDArray[np.int64]) -> Pictures:
        """Some of the pictures, in that order."""
        which = np.searchsorted(self._ends, rows, side="right")
        order = np.argsort(which, kind="stable")
        parts = []
        for number, store in enumerate(self._stores):
            mine = rows[which == number]
            parts.append(store.take(mine - self._ends[number] + len(store)))
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        return Pictures(torch.cat([part.grey for part in parts]), torch.cat([part.colour for part in parts])).take(back)


def grey_rows(images: Joined | PictureStore | Tensor, rows: NDArray[np.int64]) -> Tensor:
    """Some grey images (n, 1, s, s) of a store, or of those that are in memory."""
    return images[torch.from_numpy(rows)] if isinstance(images, Tensor) else images.take(rows).grey
