"""Work that is counted in the steps that it takes in the file system, and killed at one of them."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

__all__ = ["steps_of"]

STEPS = ("open", "os.rename", "os.mkdir", "os.chmod")
"""What work does to the file system, as Python tells audit hooks (PEP 578)."""


def steps_of(work: Callable[[], object], *, dies_at: int = 0, within: Path | None = None) -> int:
    """How many steps a fork of this process takes that does the work; or 0, if it dies at one without a chance to clean up.

    Of the steps, only those that name something `within` a folder, where one is given.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pytest has threads; the child calls nothing that needs them
        child = os.fork()
    if child == 0:
        taken = 0

        def step(event: str, about: tuple[object, ...]) -> None:
            nonlocal taken
            if event not in STEPS or (within is not None and not str(about[0]).startswith(str(within))):
                return
            taken += 1
            if taken == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(step)
        try:
            work()
            os.write(writing, str(taken).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as said:
        return int(said.read() or 0)
