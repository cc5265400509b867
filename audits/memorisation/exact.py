"""Exact copies: the same file, or the same decoded pixels, also mirrored or turned by quarters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExactLookup", "canonical_digest"]


def canonical_digest(image: NDArray[np.uint8]) -> bytes:
    """One digest for the eight dihedral views of an image (size, size, 3): that of the least of their bytes."""
    views = [np.rot90(base, turns).tobytes() for base in (image, image[:, ::-1]) for turns in range(4)]
    return hashlib.blake2b(min(views), digest_size=16).digest()


class ExactLookup:
    """Which image of a set, private or holdout, a candidate is an exact copy of."""

    def __init__(self, sha256: Sequence[str], pixels: NDArray[np.uint8]) -> None:
        views = [canonical_digest(image) for image in pixels]
        # The first image of a group of duplicates stands for all.
        self._files = {digest: row for row, digest in reversed(list(enumerate(sha256)))}
        self._pixels = {digest: row for row, digest in reversed(list(enumerate(views)))}
        self.groups = [views[self._files[digest]] for digest in sha256]
        """The same for all that show one picture: duplicates, and several squares of one file."""

    def find(self, sha256: Sequence[str], pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Row of the image that each candidate is an exact copy of, or -1."""
        rows = []
        for digest, image in zip(sha256, pixels, strict=True):
            row = self._files.get(digest)
            rows.append(self._pixels.get(canonical_digest(image), -1) if row is None else row)
        return np.array(rows, dtype=np.int64)
