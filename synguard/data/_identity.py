"""Which images are the same one: digests of decoded pixels, and groups of images that belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from synguard.protocols import Images

__all__ = ["groups", "pixel_digests"]


def pixel_digests(pixels: Images) -> list[str]:
    """sha256 of each image's decoded pixels: equal for one picture saved as two files."""
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]


def groups(keys: Iterable[Sequence[Hashable]], count: int) -> NDArray[np.int64]:
    """Group numbers (count,) of rows that share a key, directly or through others (union-find).

    Each element of `keys` is one column of `count` keys. Groups are numbered by their first row.
    """
    parent = list(range(count))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in keys:
        first: dict[Hashable, int] = {}
        for row, key in enumerate(column):
            a, b = root(row), root(first.setdefault(key, row))
            parent[max(a, b)] = min(a, b)
    return np.unique([root(row) for row in range(count)], return_inverse=True)[1].astype(np.int64)
