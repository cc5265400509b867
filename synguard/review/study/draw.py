"""The choice of images: as many real as synthetic ones, of each level of a condition the same number on both sides. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from synguard.errors import InputError

__all__ = ["Side", "draw"]


@dataclass(frozen=True, slots=True)
class Side:
    """All images of one side that could be shown. `keys` are columns with one entry an image, `levels` is what is balanced.

    Two images that share an entry in any column (a patient, a file's digest) are never both drawn, so that answers on
    different images are answers on different patients.
    """

    keys: tuple[Sequence[Hashable], ...]
    levels: Sequence[str]


def draw(real: Side, synthetic: Side, images: int, rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rows of `images` real and of `images` synthetic ones.

    Levels are shared out as evenly as the images allow, and always alike on both sides: else the level alone would tell the
    sides apart. Raises InputError where there are not enough.
    """
    sides = [_by_level(side, rng) for side in (real, synthetic)]
    there = Counter({level: min(len(side.get(level, ())) for side in sides) for level in sides[0]})
    if there.total() < images:
        found = f"{images:,}, where {there.total():,} can be matched, level by level, with one image a patient"
        raise InputError.of("--study-images", found, f"at most {there.total():,}")
    shares = _shared_out(there, images)
    chosen = [tuple(row for level, count in shares.items() for row in side.get(level, ())[:count]) for side in sides]
    return chosen[0], chosen[1]


def _by_level(side: Side, rng: np.random.Generator) -> dict[str, list[int]]:
    """Rows by level in random order, one of each that share a key."""
    seen: list[set[Hashable]] = [set() for _ in side.keys]
    found: dict[str, list[int]] = {}
    for row in rng.permutation(len(side.levels)).tolist():
        if any(column[row] in taken for column, taken in zip(side.keys, seen, strict=True)):
            continue
        for column, taken in zip(side.keys, seen, strict=True):
            taken.add(column[row])
        found.setdefault(side.levels[row], []).append(row)
    return dict(sorted(found.items()))


def _shared_out(there: Counter[str], images: int) -> Counter[str]:
    """How many of each level: one more for whichever has fewest so far, as long as it has any left."""
    shares: Counter[str] = Counter()
    for _ in range(images):
        free = [level for level in there if shares[level] < there[level]]
        shares[min(free, key=lambda level: shares[level])] += 1
    return shares
