"""The side at which images are audited, where nobody said."""

from __future__ import annotations

from pathlib import Path

from synguard.config import DataSource
from synguard.data.readers import shorter_side

__all__ = ["LARGEST", "SMALLEST", "common_size"]

SMALLEST, LARGEST = 32, 128
"""Below 32 px too little of an image is left to compare; above 128 px the copy search gains nothing but time."""


def common_size(sources: list[DataSource], base: Path) -> int:
    """The smallest native side among the sources' first images, as a multiple of 8 between `SMALLEST` and `LARGEST`."""
    side = min(shorter_side(source, base=base) for source in sources)
    return max(SMALLEST, min(LARGEST, round(side / 8) * 8))
