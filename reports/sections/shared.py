"""What several sections need."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Block, Note

__all__ = ["absent", "scale_start"]


def absent(what: str) -> tuple[Block, ...]:
    """What a section says where the run left no evidence."""
    return (Note(f"Not tested: this run holds no evidence on {what}.", "absent"),)


def scale_start(lows: Sequence[float | None]) -> float:
    """Where a scale of shares starts: at one half unless something lies below."""
    return 0.5 if all(low is not None and low >= 0.5 for low in lows) else 0.0
