"""Features of whole sets: each set is embedded once, however many probes look at it."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from synguard.protocols import Embedder, Images

__all__ = ["Remembered", "embed_all"]

Floats = NDArray[np.float64]
_BLOCK = 1000
"""Images a call. Fixed, so that no batch size of the audit changes a figure."""


class Remembered:
    """An embedder that keeps the features of the sets it has seen; a set is known again by its pixels."""

    def __init__(self, space: Embedder) -> None:
        self._space = space
        self._seen: dict[tuple[tuple[int, ...], bytes], NDArray[np.float32]] = {}
        self.name, self.digest, self.dimension = space.name, space.digest, space.dimension

    @classmethod
    def of(cls, space: Embedder) -> Remembered:
        """The embedder itself where it remembers already."""
        return space if isinstance(space, cls) else cls(space)

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Features (n, dimension)."""
        key = images.shape, hashlib.blake2b(np.ascontiguousarray(images).data).digest()
        if key not in self._seen:
            self._seen[key] = _in_blocks(self._space, images)
        return self._seen[key]


def embed_all(space: Embedder, images: Images) -> Floats:
    """Features (n, dimension) of a whole set, in float64."""
    found = space.embed(images) if isinstance(space, Remembered) else _in_blocks(space, images)
    return found.astype(np.float64)


def _in_blocks(space: Embedder, images: Images) -> NDArray[np.float32]:
    return np.concatenate([space.embed(images[start : start + _BLOCK]) for start in range(0, len(images), _BLOCK)])
