"""Pages that people read in a browser: the command that serves one, and a server of one in this process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from synguard.governance.ledger import Ledger
from tests.support.cli import environment

__all__ = ["in_thread", "reading"]


@contextmanager
def reading(run: Path, ledger: Ledger, reviewer: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`synguard review` in a process of its own, and the link that it printed."""
    command = [sys.executable, "-m", "synguard", "review", str(run), "--reviewer", reviewer, *options]
    command += ["--ledger", str(ledger.place.file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(1))
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line, process.stderr and process.stderr.read()
        yield process, line.split()[-1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        process.stdout.close()
        process.stderr.close()  # type: ignore[union-attr]


@contextmanager
def in_thread(serving: uvicorn.Server, listening: socket.socket) -> Iterator[int]:
    """A server while it runs; its port."""
    listening.listen()
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        serving.should_exit = True
        thread.join(20)
