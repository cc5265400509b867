"""A warm process: it has imported what commands need and forks for each, which saves a command ten seconds of imports.

`python -P warm.py serve CHANNEL` is that process. Over the channel, a socket, come orders (arguments, environment, folder),
each with four descriptors: stdin, stdout, stderr, and a socket for the answers. These are the command's process id when it
has begun and its exit code when it has ended. Nothing is computed and no file is opened before the fork, so each command
starts as a fresh process would. Commands of one warm process have the seed of `hash` in common: where runs are compared byte
by byte, one of them should be cold (`tests.support.cli.start`).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Command", "channel", "client", "order"]

PRELOADED = (
    "synguard.commands.main",
    "synguard.runs.execute",
    "synguard.runs.gate",
    "synguard.release.make",
    "synguard.review.server",
    "generation.train",
    "sklearn.linear_model",
    "torchmetrics.functional.image",
)
LATE = {"PATH", "PWD", "OLDPWD", "SHLVL", "_", "PYTEST_CURRENT_TEST", "XDG_DATA_HOME"}
"""Variables that are read when needed, as are those that begin with SYNGUARD_. Any other may matter to an import."""
_BYTES = 1 << 18
_starting = threading.Lock()
_warm: list[tuple[socket.socket, dict[str, str]]] = []
"""The channel to this process's warm process, once there is one, and the environment that the imports saw."""


class Command:
    """A command forked from the warm process; as much of `subprocess.Popen` as tests ask for."""

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        self.pid = int(answers.recv(_BYTES))
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or minus the signal that ended it."""
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = int(self._answers.recv(_BYTES))
            except TimeoutError:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
            self._answers.close()
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        try:
            return self.wait(0)
        except BlockingIOError:
            return None

    def send_signal(self, number: int) -> None:
        """To the command's own process; nothing where that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def channel(environment: Mapping[str, str]) -> socket.socket | None:
    """To the warm process, which is started if need be; None where a fork of it would not do what a fresh process does."""
    # With a GPU the imports look for CUDA, which does not survive a fork.
    if sys.platform != "linux" or environment.get("OMP_NUM_THREADS") != "1" or Path("/dev/nvidiactl").exists():
        return None
    fixed = {name: value for name, value in environment.items() if name not in LATE and not name.startswith("SYNGUARD_")}
    with _starting:
        if not _warm:
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with its:
                # It ends when our end of the channel does, hence with this process, however that dies.
                program = [sys.executable, "-P", __file__, "serve", str(its.fileno())]
                subprocess.Popen(program, env=environment, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()])
            _warm.append((ours, fixed))
    return _warm[0][0] if fixed == _warm[0][1] else None


def order(to: socket.socket, arguments: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int) -> Command:
    """Begin `python -m synguard ARGUMENTS` in a fork, with this process's folder and stdin."""
    wanted = {"arguments": list(arguments), "environment": dict(environment), "folder": str(Path.cwd())}
    answers, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        socket.send_fds(to, [json.dumps(wanted).encode()], [0, stdout, stderr, its.fileno()])
    return Command(answers)


def client(to: socket.socket) -> str:
    """A shell script that stands for the command `synguard`, for whoever inherits the channel."""
    return f'#!/bin/sh\nexec "{sys.executable}" -S -E -P "{__file__}" order {to.fileno()} "$@"\n'


def _serve(orders: socket.socket) -> NoReturn:
    """Fork for each order until nobody is left who could send one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests and for the commands
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for a command
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # what no collection looks at is not copied for it
    while True:
        wanted, descriptors, _, _ = socket.recv_fds(orders, _BYTES, 4)
        if not wanted:
            os._exit(0)
        if os.fork() == 0:
            orders.close()
            _attend(json.loads(wanted), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _attend(wanted: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Fork once more: the child is the command, the parent tells how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    answers = socket.socket(fileno=descriptors.pop())
    if (pid := os.fork()) == 0:
        answers.close()
        _become(wanted, descriptors)
    for descriptor in descriptors:  # or whoever reads what the command writes would not see its end
        os.close(descriptor)
    with suppress(OSError):  # nobody wants to know any more
        answers.send(str(pid).encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        answers.send(str(code).encode())
    os._exit(0)


def _become(wanted: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be `python -m synguard ARGUMENTS`, to its end."""
    import numpy as np
    import torch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.path.insert(0, wanted["folder"])
    sys.argv = ["synguard", *wanted["arguments"]]
    # As at a fresh start; `random`, `tempfile` and OpenSSL see to it by themselves after a fork.
    np.random.seed()  # noqa: NPY002
    torch.default_generator.seed()
    code: Any = 0
    try:
        runpy.run_module("synguard", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    # All of the interpreter's end but taking thousands of modules apart, which would cost three seconds.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    inherited = socket.socket(fileno=int(sys.argv[2]))
    if sys.argv[1] == "serve":
        _serve(inherited)
    sys.exit(order(inherited, sys.argv[3:], os.environ, 1, 2).wait())
