"""Commands from a warm process: Python's own fork server, which has the imports behind it that cost a command ten seconds.

Nothing is computed and no file is opened before the fork, so each command starts as a fresh process would. Commands of one
server have the seed of `hash` in common: where runs are compared byte by byte, one of them should be cold
(`tests.support.cli.start`).
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

__all__ = ["Command", "can_be_warm"]

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "tests.support.warm",  # while this checkout comes first: others install a package of that name too
        "synguard.commands.main",
        "synguard.runs.execute",
        "synguard.runs.gate",
        "synguard.release.make",
        "synguard.review.server",
        "generation.train",
        "sklearn.linear_model",
        "torchmetrics.functional.image",
    ]
)
_turn = threading.Lock()
"""A command's end may be read once: starting another one reads it too."""


def can_be_warm(environment: Mapping[str, str]) -> bool:
    """Whether a fork does what a fresh process does in this environment."""
    # Threads and, where there is a GPU, CUDA do not survive a fork, and the number of threads is read by imports.
    one_thread = environment.get("OMP_NUM_THREADS") == os.environ.get("OMP_NUM_THREADS") == "1"
    return one_thread and not Path("/dev/nvidiactl").exists()


class Command:
    """`python -m synguard ARGUMENTS`, forked, in this process's folder; as much of `subprocess.Popen` as tests ask for."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int) -> None:
        ends = [Connection(os.dup(end), readable=False) for end in (stdout, stderr)]
        given = (list(arguments), dict(environment), Path.cwd(), *ends)
        self._process = _SERVER.Process(target=_become, args=given)
        with _turn:
            with patch.dict(os.environ, environment):  # the server imports from where the command would
                forkserver.ensure_running()
            self._process.start()
        for end in ends:
            end.close()

    def poll(self) -> int | None:
        """Its exit code, minus the signal that ended it, or None while it runs."""
        with _turn:
            return self._process.exitcode

    def wait(self, timeout: float = 3600) -> int:
        """Its exit code when it has ended. Raises subprocess.TimeoutExpired after so many seconds."""
        last = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > last:
                raise subprocess.TimeoutExpired(f"process {self._process.pid}", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """To the command's own process; nothing where that has ended."""
        if self.poll() is None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _become(arguments: list[str], environment: dict[str, str], folder: Path, stdout: Connection, stderr: Connection) -> None:
    """Be `python -m synguard ARGUMENTS`, to its end."""
    import numpy as np
    import torch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(stdout.fileno(), 1)
    os.dup2(stderr.fileno(), 2)
    stdout.close()
    stderr.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, str(folder))
    sys.argv = ["synguard", *arguments]
    # As at a fresh start; `random` sees to it by itself after a fork.
    np.random.seed()  # noqa: NPY002
    torch.default_generator.seed()
    try:
        runpy.run_module("synguard", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
