"""How long work tells that it goes on: a callable that the command line turns into bars or plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "Timings", "silent"]

Progress = Callable[[str, int, int], None]
"""Called with a phase, how much of it is done, and how much there is; with a total of 0, with a line to be said once."""


def silent(phase: str, done: int, total: int) -> None:
    """Say nothing."""


class Timings:
    """Wall seconds per phase, for run.json."""

    def __init__(self) -> None:
        """Start with no phase."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to phase `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)
