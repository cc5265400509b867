"""A file held against what our own writer makes of what was read from it, without a second copy of it."""

from __future__ import annotations

from collections.abc import Callable
from io import RawIOBase
from pathlib import Path
from typing import IO, Any

__all__ = ["Anew", "written_anew"]


class Anew(RawIOBase):
    """A file that is written to nowhere: its size, and whether it is the one that lies there so far."""

    def __init__(self, there: IO[bytes]) -> None:
        self._there = there
        self.same = True
        self.size = 0

    def writable(self) -> bool:
        """Always: `RawIOBase` asks."""
        return True

    def tell(self) -> int:
        """The place that would be written to next."""
        return self.size

    def write(self, data: Any) -> int:
        """Compares, and forgets."""
        view = memoryview(data).cast("B")
        self.same = self.same and self._there.read(len(view)) == view
        self.size += len(view)
        return len(view)


def written_anew(path: Path, write: Callable[[Anew], None]) -> Anew:
    """What `write` makes, held against the whole file at `path`."""
    with path.open("rb") as there:
        anew = Anew(there)
        write(anew)
        anew.same = anew.same and not there.read(1)
    return anew
