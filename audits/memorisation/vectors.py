"""The nearest stored vectors, one by one: keypoints vote by them. Exact; by inverted lists where there are very many."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from audits.memorisation.lists import build_lists
from audits.memorisation.rows import as_rows

__all__ = ["EXACT_UP_TO", "NearestVectors"]

EXACT_UP_TO = 1_000_000
"""Stored vectors up to which every one is compared."""

_LISTS = 4096
_SAMPLE = 400
_NOISE = 0.5
"""Length of the noise on sampled vectors of length 1: a likeness of 0.9 to where they come from."""
_RECALL = 0.95
_PROBES = (16, 32, 64, 128)
_LISTED = 4
"""Vectors taken from the lists for one that is asked for, to be compared exactly."""


class NearestVectors:
    """Search by inner product over unit vectors (n, d), on the GPU where there is one and they are compared exactly."""

    def __init__(self, vectors: NDArray[np.float32], *, above: int = EXACT_UP_TO, seed: int = 0) -> None:
        self.vectors = vectors
        self.probes, self.recall = 0, 1.0
        if len(vectors) <= above:
            self._flat = _flat(vectors)
            return
        self._lists = build_lists(as_rows(vectors[:, None]), min(_LISTS, max(len(vectors) // 64, 1)), seed)
        for self.probes in _PROBES:
            self.recall = self._recall_of_copies(seed)
            if self.recall >= _RECALL:
                return
        self.probes = 0
        self._flat = _flat(vectors)

    def describe(self) -> str:
        """How it searches, in one sentence."""
        if self.probes == 0:
            return f"exact search of {len(self.vectors):,} keypoints"
        return (
            f"search of {len(self.vectors):,} keypoints in {self.probes} of {self._lists.lists:,} lists, with exact "
            f"re-ranking; it found {100 * self.recall:.0f} % of {_SAMPLE} altered ones"
        )

    def search(self, queries: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Likeness and row of the nearest vectors of each query (m, d), largest first: (m, depth); row -1 where fewer."""
        if len(queries) == 0 or len(self.vectors) == 0:
            return np.full((len(queries), depth), -2, np.float32), np.full((len(queries), depth), -1, np.int64)
        if self.probes == 0:
            likeness, rows = self._flat.search(np.ascontiguousarray(queries), depth)
            return likeness, rows
        _, listed = self._lists.search(queries, _LISTED * depth, self.probes)
        exact = np.einsum("md,mkd->mk", queries, self.vectors[listed.clip(0)], optimize=True)
        likeness = np.where(listed >= 0, exact, np.float32(-2))
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :depth]
        return np.take_along_axis(likeness, order, 1), np.take_along_axis(listed, order, 1)

    def _recall_of_copies(self, seed: int) -> float:
        rng = np.random.default_rng([seed, 0x5EC])
        rows = rng.permutation(len(self.vectors))[:_SAMPLE]
        noise = rng.standard_normal((len(rows), self.vectors.shape[1])).astype(np.float32)
        noise *= _NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
        altered = self.vectors[rows] + noise
        altered /= np.linalg.norm(altered, axis=1, keepdims=True)
        return float((self.search(altered, 1)[1][:, 0] == rows).mean())


def _flat(vectors: NDArray[np.float32]) -> Any:
    flat: Any = faiss.IndexFlatIP(vectors.shape[1])
    if faiss.get_num_gpus() > 0:
        flat = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, flat)
    flat.add(np.ascontiguousarray(vectors))
    return flat
