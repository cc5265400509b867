"""Features of whole sets: each set is embedded once, however many probes look at it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synguard.protocols import Embedder, Images

__all__ = ["Remembered", "embed_all"]

Floats = NDArray[np.float64]
_BLOCK = 1000
"""Images a call. Fixed, so that no batch size of the audit changes a figure."""


class Remembered:
    """An embedder that keeps the features of the sets it has seen."""

    def __init__(self, space: Embedder) -> None:
        self._space = space
        self._seen: list[tuple[Images, NDArray[np.float32]]] = []
        self.name, self.digest, self.dimension = space.name, space.digest, space.dimension

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Features (n, dimension)."""
        for known, features in self._seen:
            if known is images:
                return features
        features = _in_blocks(self._space, images)
        self._seen.append((images, features))
        return features


def embed_all(space: Embedder, images: Images) -> Floats:
    """Features (n, dimension) of a whole set, in float64."""
    found = space.embed(images) if isinstance(space, Remembered) else _in_blocks(space, images)
    return found.astype(np.float64)


def _in_blocks(space: Embedder, images: Images) -> NDArray[np.float32]:
    return np.concatenate([space.embed(images[start : start + _BLOCK]) for start in range(0, len(images), _BLOCK)])
