"""The approximate index: inverted lists of compressed vectors, by FAISS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from audits.memorisation.rows import Rows
from synguard.errors import IntegrityError

__all__ = ["Lists", "build_lists"]

_TRAINED_ON = 40
"""Vectors per list that the lists are fitted on; FAISS asks for 39."""
_BLOCK = 2**22
"""Values of the bank that are added at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """A FAISS index of the rows of a bank, window by window, compressed to half a byte a dimension."""

    index: Any
    lists: int

    @property
    def stored(self) -> NDArray[np.uint8]:
        """As FAISS writes it: made anew each time, since it takes as much memory again."""
        stored: NDArray[np.uint8] = faiss.serialize_index(self.index)
        return stored

    @staticmethod
    def load(stored: NDArray[np.uint8], bank: Rows) -> Lists:
        """From what `build_lists` made of this bank. IntegrityError where it is something else."""
        try:
            index: Any = faiss.deserialize_index(stored)
            lists, shape = int(index.nlist), (int(index.ntotal), int(index.d))
        except (RuntimeError, AttributeError) as error:
            raise IntegrityError("lists: found what FAISS cannot read, expected the lists of this index") from error
        images, windows, dimension = bank.shape
        if shape != (images * windows, dimension):
            raise IntegrityError(
                f"lists: found {shape[0]} vectors of {shape[1]}, expected {images * windows} of {dimension}"
            )
        return Lists(index, lists)

    def search(self, queries: NDArray[np.float32], depth: int, probes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Approximate likeness and vector of what is nearest to each query (n, dimension): (n, depth); -1 where fewer."""
        parameters: Any = faiss.IVFSearchParameters()
        parameters.nprobe = min(probes, self.lists)
        likeness, vectors = self.index.search(np.ascontiguousarray(queries), depth, params=parameters)
        return likeness, vectors


def build_lists(bank: Rows, lists: int, seed: int) -> Lists:
    """Fits the lists on a sample of the bank (images, windows, dimension), and adds all its vectors block by block."""
    images, windows, dimension = bank.shape
    index: Any = faiss.index_factory(dimension, f"IVF{lists},PQ{dimension // 2}x4fs", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = index.pq.cp.seed = seed
    rng = np.random.default_rng([seed, 0x157])
    rows = np.sort(rng.permutation(images)[: max(-(-lists * _TRAINED_ON // windows), 1)])
    index.train(bank.take(rows).astype(np.float32).reshape(-1, dimension))
    step = max(1, _BLOCK // (windows * dimension))
    for start in range(0, images, step):
        index.add(bank.read(start, start + step).astype(np.float32).reshape(-1, dimension))
    return Lists(index, lists)
