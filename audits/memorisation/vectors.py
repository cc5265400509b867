"""The nearest stored vectors, one by one: keypoints vote by them. Exact; by inverted lists where there are very many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from audits.memorisation.engines import Engine, make_engine
from audits.memorisation.lists import Lists, build_lists
from audits.memorisation.rows import Rows

__all__ = ["EXACT_UP_TO", "NearestVectors", "VectorNote"]

EXACT_UP_TO = 100_000
"""Stored vectors up to which every one is compared."""
IN_MEMORY_UP_TO = 1_000_000
"""Stored vectors that are held in memory where all are compared."""

_LISTS = 4096
_SAMPLE = 400
_NOISE = 0.5
"""Length of the noise on sampled vectors of length 1: a likeness of 0.9 to where they come from."""
_RECALL = 0.98
_DEPTH = 16
"""Vectors that are asked for in the trial: as many as a keypoint asks for."""
_SAME = 1e-3
"""Likenesses that differ by less are the same: stored vectors are rounded."""
_PROBES = (16, 32, 64, 128)
_LISTED = 4
"""Vectors taken from the lists for one that is asked for, to be compared exactly."""
_BLOCK = 2**22
"""Values of the bank that are read at once."""
_AT_ONCE = 1024
"""Queries of one search of the lists."""


@dataclass(frozen=True, slots=True)
class VectorNote:
    """How vectors are searched, for the record. `probes` 0 is the exact search; `recall` is that of the lists."""

    vectors: int
    probes: int = 0
    lists: int = 0
    recall: float = 1.0


class NearestVectors:
    """Search by inner product over unit vectors, rows (n, 1, d) in memory or on disk, float32 or float16.

    Up to `above` of them are compared exactly, on the GPU where there is one. Beyond, lists name what may be near and the
    stored vectors decide. Where lists lose too much, every one is compared after all: in memory up to `IN_MEMORY_UP_TO`,
    beyond by reading all for each search.
    """

    def __init__(
        self,
        vectors: Rows,
        *,
        lists: NDArray[np.uint8] | None = None,
        note: VectorNote | None = None,
        above: int | None = None,
        seed: int = 0,
    ) -> None:
        self.vectors = vectors
        self.note = note or VectorNote(len(vectors))
        self._lists = None if lists is None else Lists.load(lists, vectors)
        few = len(vectors) <= (EXACT_UP_TO if above is None else above)
        if not few and note is None:
            self._choose(seed)
        small = few or (self._lists is None and len(vectors) <= IN_MEMORY_UP_TO)
        self._flat = _flat(vectors) if small else None

    @property
    def lists(self) -> NDArray[np.uint8] | None:
        """What has to be kept beside the vectors; None for exact search."""
        return None if self._lists is None else self._lists.stored

    def describe(self) -> str:
        """How it searches, in one sentence."""
        note = self.note
        if note.probes:
            return (
                f"search of {note.vectors:,} keypoints in {note.probes} of {note.lists:,} lists, with exact "
                f"re-ranking; it found {100 * note.recall:.0f} % of {_SAMPLE} altered ones"
            )
        refused = f"; lists were refused, since they found only {100 * note.recall:.0f} %" if note.lists else ""
        return f"exact search of {note.vectors:,} keypoints{refused}"

    def search(self, queries: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Likeness and row of the nearest vectors of each query (m, d), largest first: (m, depth); row -1 where fewer."""
        nothing = np.full((len(queries), depth), -2, np.float32), np.full((len(queries), depth), -1, np.int64)
        if len(queries) == 0 or len(self.vectors) == 0:
            return nothing
        if self._flat is not None:
            likeness, rows = self._flat.search(np.ascontiguousarray(queries), depth)
            return likeness, rows
        find = self._all if self._lists is None else partial(self._listed, self._lists)
        parts = [find(queries[start : start + _AT_ONCE], depth) for start in range(0, len(queries), _AT_ONCE)]
        likeness, rows = (np.concatenate(side) for side in zip(*parts, strict=True))
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :depth]
        missing = depth - order.shape[1]
        found = np.take_along_axis(likeness, order, 1), np.take_along_axis(rows, order, 1)
        if missing:
            return np.concatenate([found[0], nothing[0][:, :missing]], 1), np.concatenate(
                [found[1], nothing[1][:, :missing]], 1
            )
        return found

    @cached_property
    def _engine(self) -> Engine:
        return make_engine(self.vectors, "auto")

    def _all(self, queries: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest of all, each read and compared, in no order."""
        return self._engine.nearest(queries[:, None], min(depth, len(self.vectors)), None)

    def _listed(
        self, lists: Lists, queries: NDArray[np.float32], depth: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """What may be nearest, with its exact likeness, in no order."""
        _, listed = lists.search(queries, _LISTED * depth, self.note.probes)
        stored = self.vectors.take(listed.clip(0))[:, :, 0].astype(np.float32)
        return np.where(listed >= 0, (stored @ queries[:, :, None])[:, :, 0], np.float32(-2)), listed

    def _choose(self, seed: int) -> None:
        """Lists, and as many probes as find what exact search finds for altered vectors; none where no number does."""
        count = len(self.vectors)
        lists = build_lists(self.vectors, min(_LISTS, max(count // 64, 1)), seed)
        altered = self._altered(seed)
        nearest = self._all(altered, 1)[0].max(1)
        for probes in _PROBES:
            self.note = VectorNote(count, probes, lists.lists)
            found = self._listed(lists, altered, _DEPTH)[0].max(1)
            self.note = replace(self.note, recall=float((found > nearest - _SAME).mean()))
            if self.note.recall >= _RECALL:
                self._lists = lists
                return
        self.note = replace(self.note, probes=0)

    def _altered(self, seed: int) -> NDArray[np.float32]:
        """Some of the vectors, with noise (m, d)."""
        rng = np.random.default_rng([seed, 0x5EC])
        known = self.vectors.take(rng.permutation(len(self.vectors))[:_SAMPLE])[:, 0].astype(np.float32)
        noise = rng.standard_normal(known.shape).astype(np.float32)
        noise *= _NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
        altered: NDArray[np.float32] = known + noise
        altered /= np.linalg.norm(altered, axis=1, keepdims=True)
        return altered


def _flat(vectors: Rows) -> Any:
    flat: Any = faiss.IndexFlatIP(vectors.shape[2])
    if faiss.get_num_gpus() > 0:
        flat = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, flat)
    for block in _blocks(vectors):
        flat.add(block)
    return flat


def _blocks(vectors: Rows) -> Iterator[NDArray[np.float32]]:
    step = _BLOCK // vectors.shape[2]
    for start in range(0, len(vectors), step):
        yield np.ascontiguousarray(vectors.read(start, start + step)[:, 0], dtype=np.float32)
