"""Exact search for the nearest images, where an image is many vectors: on the CPU by numpy, on the GPU by torch.

The likeness of a query and an image is the largest inner product over the query's views and the image's windows. Engines
read the bank in blocks of images, so that it need not fit into memory, and keep the best images met so far. What they return
is a short list: the index scores it again from the stored vectors, so that no figure depends on how the work was cut up.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audits.memorisation.rows import Rows
from audits.memorisation.threads import in_threads, one_blas_thread

__all__ = ["CpuEngine", "Engine", "GpuEngine", "Scored", "make_engine"]

Scored = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]
"""Likeness, query view and bank window of each pair of a query and an image: three arrays (n, images)."""

NOTHING = np.float32(-2.0)
"""Likeness of what is not there or barred."""

_BLOCK, _IMAGES = 2**23, 4096
"""Values and images of the bank that are in memory at once, for each thread."""
_ROWS, _COLUMNS = 256, 1024
"""Products are made in panels of about this size: large enough for the BLAS, small enough for the processor's cache."""
_SPAN = 64
"""Blocks between two merges of what the threads have found."""
_RESCORED = 2**22
"""Values of the bank that are scored again at once."""
_ON_GPU = 0.6
"""Share of the GPU's free memory that the bank may stay in."""
_GPU_PANEL = 2**29
_GROUP = 64


class Engine(Protocol):
    """Searches one bank (images, windows, dimension). Queries are float32 (n, views, dimension)."""

    device: str

    def nearest(
        self, queries: NDArray[np.float32], count: int, barred: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Likeness and rows of the `count` nearest images that are not barred (n, images), in no order; -1 where fewer."""
        ...

    def score(self, queries: NDArray[np.float32], images: NDArray[np.int64]) -> Scored:
        """The best view and window of the given images (n, m), from the stored vectors."""
        ...


def make_engine(bank: Rows, device: str) -> Engine:
    """The engine for `device`: "cpu", "gpu", or "auto" for the GPU where there is one."""
    if device == "auto":
        device = "gpu" if torch.cuda.is_available() else "cpu"
    return GpuEngine(bank, torch.device("cuda")) if device == "gpu" else CpuEngine(bank)


class CpuEngine:
    """Products by numpy's BLAS, a panel a thread and a thread a panel, so that no thread waits for another."""

    device = "cpu"

    def __init__(self, bank: Rows, block: int | None = None) -> None:
        self._bank = bank
        wanted = block or min(max(_BLOCK // (bank.shape[1] * bank.shape[2]), 1), _IMAGES)
        self._block = min(wanted, max(len(bank), 1))

    def nearest(
        self, queries: NDArray[np.float32], count: int, barred: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `Engine`."""
        best = (np.full((len(queries), count), NOTHING), np.full((len(queries), count), -1))
        views, dimension = queries.shape[1:]
        flat = np.ascontiguousarray(queries).reshape(-1, dimension)

        def search(start: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            likeness = self._block_likeness(flat, views, start)
            if barred is not None:
                likeness[barred[:, start : start + likeness.shape[1]]] = NOTHING
            places = _top_places(likeness, count)
            return np.take_along_axis(likeness, places, 1), places + start

        with one_blas_thread:
            for starts in _spans(len(self._bank), self._block):
                parts = [best, *in_threads(search, starts)]
                likeness, images = (np.concatenate(side, 1) for side in zip(*parts, strict=True))
                places = _top_places(likeness, count)
                best = np.take_along_axis(likeness, places, 1), np.take_along_axis(images, places, 1)
        likeness, images = best
        return likeness, np.where(likeness > NOTHING, images, -1)

    def score(self, queries: NDArray[np.float32], images: NDArray[np.int64]) -> Scored:
        """See `Engine`."""
        _, windows, dimension = self._bank.shape
        step = max(1, _RESCORED // max(images.shape[1] * windows * dimension, 1))
        parts = []
        with one_blas_thread:
            for start in range(0, len(queries), step):
                part = images[start : start + step].clip(0)
                vectors = _float32(self._bank.take(part)).reshape(len(part), -1, dimension)
                parts.append(_best_pair(queries[start : start + step] @ vectors.transpose(0, 2, 1), windows))
        return _joined(parts, images)

    def _block_likeness(self, flat: NDArray[np.float32], views: int, start: int) -> NDArray[np.float32]:
        """Likeness (n, images of the block) of queries (n * views, dimension)."""
        stored = torch.from_numpy(self._bank.read(start, start + self._block))
        likeness = np.full((len(flat) // views, len(stored)), NOTHING)
        for first in range(0, len(stored), _COLUMNS):
            # Windows before images: the largest of each image is then a maximum of whole rows.
            part = stored[first : first + _COLUMNS].transpose(0, 1).to(torch.float32).contiguous().numpy()
            _raise_to_products(likeness[:, first : first + _COLUMNS], flat, views, part)
        return likeness


class GpuEngine:
    """Products by torch in float32. The bank stays on the GPU as far as it fits, and is streamed through it beyond.

    Threads take turns: one search fills the GPU, and two would fill its memory.
    """

    device = "gpu"

    def __init__(self, bank: Rows, device: torch.device, kept: int | None = None) -> None:
        self._bank = bank
        self._device = device
        row = max(bank.dtype.itemsize * bank.shape[1] * bank.shape[2], 1)
        free = kept if kept is not None else int(_ON_GPU * torch.cuda.mem_get_info(device)[0])
        self._kept = self._load(0, min(free // row, len(bank)))
        self._turn = Lock()

    def nearest(
        self, queries: NDArray[np.float32], count: int, barred: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `Engine`."""
        with self._turn:
            return self._nearest(queries, count, barred)

    def score(self, queries: NDArray[np.float32], images: NDArray[np.int64]) -> Scored:
        """See `Engine`."""
        with self._turn:
            return self._score(queries, images)

    def _nearest(
        self, queries: NDArray[np.float32], count: int, barred: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        n, views, dimension = queries.shape
        shape = (n, count)
        best = (torch.full(shape, float(NOTHING), device=self._device), torch.full(shape, -1, device=self._device))
        asked = torch.from_numpy(np.ascontiguousarray(queries)).to(self._device).reshape(-1, dimension)
        for start, block in self._blocks():
            width = views * block.shape[1] * len(block)
            step = max(1, min(n, _GPU_PANEL // width))
            columns = block.reshape(-1, dimension).T
            for first in range(0, n, step):
                rows = slice(first, min(first + step, n))
                product = asked[first * views : rows.stop * views] @ columns
                likeness = product.reshape(-1, views, len(block), block.shape[1])
                likeness = likeness.amax((1, 3)) if views * block.shape[1] > 1 else likeness[:, 0, :, 0]
                if barred is not None:
                    mask = torch.from_numpy(np.ascontiguousarray(barred[rows, start : start + len(block)]))
                    likeness.masked_fill_(mask.to(self._device), float(NOTHING))
                found, places = _grouped_top(likeness, count)
                together = torch.cat([best[0][rows], found], 1), torch.cat([best[1][rows], places + start], 1)
                chosen = together[0].topk(count, 1)
                best[0][rows], best[1][rows] = chosen.values, together[1].gather(1, chosen.indices)
        images = torch.where(best[0] > float(NOTHING), best[1], -1)
        return best[0].cpu().numpy(), images.cpu().numpy()

    def _score(self, queries: NDArray[np.float32], images: NDArray[np.int64]) -> Scored:
        _, windows, dimension = self._bank.shape
        step = max(1, (_GPU_PANEL // 4) // max(images.shape[1] * windows * dimension, 1))
        parts = []
        for start in range(0, len(queries), step):
            part = images[start : start + step].clip(0)
            vectors = self._take(part).reshape(len(part), -1, dimension)
            asked = torch.from_numpy(np.ascontiguousarray(queries[start : start + step])).to(self._device)
            product = (asked @ vectors.transpose(1, 2)).reshape(len(part), queries.shape[1], -1, windows)
            flat = product.permute(0, 2, 1, 3).flatten(2)
            value, place = flat.max(2)
            parts.append((value.cpu().numpy(), (place // windows).cpu().numpy(), (place % windows).cpu().numpy()))
        return _joined(parts, images)

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """First image and float32 vectors (images, windows, dimension) of each block."""
        _, windows, dimension = self._bank.shape
        size = max(1, _GPU_PANEL // (8 * windows * dimension))
        for start in range(0, len(self._bank), size):
            kept = self._kept[start : start + size]
            whole = len(kept) == min(size, len(self._bank) - start)
            yield start, (kept if whole else self._load(start, start + size)).to(torch.float32)

    def _take(self, images: NDArray[np.int64]) -> Tensor:
        if len(self._kept) == len(self._bank):
            return self._kept[torch.from_numpy(images).to(self._device)].to(torch.float32)
        return torch.from_numpy(self._bank.take(images)).to(self._device).to(torch.float32)

    def _load(self, start: int, stop: int) -> Tensor:
        """Rows of the bank on the GPU, in the type they are stored in."""
        stop = min(stop, len(self._bank))
        stored = torch.from_numpy(np.empty((0, *self._bank.shape[1:]), self._bank.dtype))
        loaded = torch.empty((max(stop - start, 0), *self._bank.shape[1:]), dtype=stored.dtype, device=self._device)
        step = max(1, 2**28 // max(self._bank.dtype.itemsize * self._bank.shape[1] * self._bank.shape[2], 1))
        for first in range(start, stop, step):
            values = self._bank.read(first, min(first + step, stop))
            loaded[first - start : first - start + len(values)] = torch.from_numpy(values).to(self._device)
        return loaded


def _raise_to_products(
    likeness: NDArray[np.float32], flat: NDArray[np.float32], views: int, bank: NDArray[np.float32]
) -> None:
    """Raises `likeness` (n, images) to the largest product of queries (n * views, d) and a bank (windows, images, d)."""
    windows, images, dimension = bank.shape
    n = len(likeness)
    step = max(1, -(-n // max(1, round(n * views / _ROWS))))
    for some in np.array_split(bank, min(-(-windows * images // _COLUMNS), windows)):
        columns = some.reshape(-1, dimension).T
        panel = np.empty((step * views, columns.shape[1]), np.float32)
        for first in range(0, n, step):
            rows = flat[first * views : (first + step) * views]
            product = np.dot(rows, columns, out=panel[: len(rows)]).reshape(-1, views * len(some), images)
            part = likeness[first : first + step]
            np.maximum(part, np.maximum.reduce(product, axis=1), out=part)


def _spans(images: int, block: int) -> Iterator[range]:
    """Starts of blocks, some at a time."""
    for start in range(0, images, block * _SPAN):
        yield range(start, min(start + block * _SPAN, images), block)


def _top_places(likeness: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Where the largest `count` of each row of (n, images) are, in no order."""
    if likeness.shape[1] <= count:
        return np.broadcast_to(np.arange(likeness.shape[1]), likeness.shape)
    return np.argpartition(likeness, -count, axis=1)[:, -count:]


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """By torch: numpy takes ten times as long to widen float16."""
    widened: NDArray[np.float32] = torch.from_numpy(values).to(torch.float32).numpy()
    return widened


def _best_pair(product: NDArray[np.float32], windows: int) -> Scored:
    """From products (n, views, images * windows)."""
    n, views, _ = product.shape
    within = product.reshape(n, views, -1, windows).transpose(0, 2, 1, 3).reshape(n, -1, views * windows)
    place = within.argmax(2)
    return np.take_along_axis(within, place[:, :, None], 2)[:, :, 0], place // windows, place % windows


def _joined(parts: list[Scored], images: NDArray[np.int64]) -> Scored:
    if not parts:
        return np.empty(images.shape, np.float32), np.zeros(images.shape, np.int64), np.zeros(images.shape, np.int64)
    likeness, view, window = (np.concatenate(side) for side in zip(*parts, strict=True))
    return np.where(images >= 0, likeness, NOTHING), view, window


def _grouped_top(likeness: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest `count` of each row of (n, images), and their places.

    By groups first: the largest values lie in the groups with the largest maxima, and there are few of those to look into.
    """
    images = likeness.shape[1]
    count = min(count, images)
    groups = images // _GROUP
    if groups <= 2 * count:
        top = likeness.topk(count, 1)
        return top.values, top.indices
    whole = likeness[:, : groups * _GROUP].reshape(-1, groups, _GROUP)
    chosen = whole.amax(2).topk(count, 1).indices
    inside = whole.gather(1, chosen[:, :, None].expand(-1, -1, _GROUP)).flatten(1)
    places = (chosen[:, :, None] * _GROUP + torch.arange(_GROUP, device=likeness.device)).flatten(1)
    rest = torch.arange(groups * _GROUP, images, device=likeness.device).expand(len(likeness), -1)
    values, places = torch.cat([inside, likeness[:, groups * _GROUP :]], 1), torch.cat([places, rest], 1)
    top = values.topk(count, 1)
    return top.values, places.gather(1, top.indices)
