"""The embedding index: the only module that knows FAISS."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

__all__ = ["EmbeddingIndex"]

_BLOCK = 4096
_DEPTH = 8
_DEPTH_BARRED = 32


class EmbeddingIndex:
    """Exact inner-product search over a bank of descriptors (images, windows, dimension), on the GPU where there is one."""

    def __init__(self, bank: NDArray[np.float32]) -> None:
        self.images, self.windows, self.dimension = bank.shape
        flat: Any = faiss.IndexFlatIP(self.dimension)
        self.device = "cpu"
        if faiss.get_num_gpus() > 0:
            self._resources = faiss.StandardGpuResources()
            flat = faiss.index_cpu_to_gpu(self._resources, 0, flat)
            self.device = "gpu"
        flat.add(np.ascontiguousarray(bank.reshape(-1, self.dimension)))
        self._index = flat

    def search(self, queries: NDArray[np.float32], depth: int = _DEPTH) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Likeness and row of the nearest bank windows for each query view: two arrays (n, views, depth)."""
        n, views, dimension = queries.shape
        flat = np.ascontiguousarray(queries.reshape(-1, dimension))
        depth = min(depth, self.images * self.windows)
        likeness = np.empty((len(flat), depth), np.float32)
        rows = np.empty((len(flat), depth), np.int64)
        for start in range(0, len(flat), _BLOCK):
            stop = min(start + _BLOCK, len(flat))
            likeness[start:stop], rows[start:stop] = self._index.search(flat[start:stop], depth)
        return likeness.reshape(n, views, depth), rows.reshape(n, views, depth)

    def candidates(
        self, queries: NDArray[np.float32], count: int, barred: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The `count` nearest different images of each query: image, query view, bank window and likeness, each (n, count).

        `barred[i, j]` keeps image j out of the answer for query i. Image -1 where there are fewer than `count`.
        """
        # An image that is barred fills many places with its own windows.
        likeness, rows = self.search(queries, _DEPTH if barred is None else _DEPTH_BARRED)
        n, views, _ = likeness.shape
        view = np.broadcast_to(np.arange(views)[None, :, None], likeness.shape).reshape(n, -1)
        likeness, rows = likeness.reshape(n, -1), rows.reshape(n, -1)
        image = rows // self.windows
        if barred is not None:
            likeness = np.where(barred[np.arange(n)[:, None], image], -2.0, likeness)
        image = np.where((rows >= 0) & (likeness > -2.0), image, -1)
        order = np.argsort(-likeness, axis=1, kind="stable")
        image, view, rows, likeness = (np.take_along_axis(part, order, 1) for part in (image, view, rows, likeness))
        shape = (n, count)
        found = (np.full(shape, -1), np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -2, np.float32))
        for i in range(n):
            _, first = np.unique(image[i], return_index=True)
            first = np.sort(first[image[i][first] >= 0])[:count]
            k = len(first)
            found[0][i, :k] = image[i, first]
            found[1][i, :k] = view[i, first]
            found[2][i, :k] = rows[i, first] % self.windows
            found[3][i, :k] = likeness[i, first]
        return found
