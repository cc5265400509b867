"""Pages that people read in a browser: the command that serves one, and a server of one in this process."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import uvicorn

from synguard.governance.ledger import Ledger
from tests.support.cli import Process, start

__all__ = ["in_thread", "reading"]


@contextmanager
def reading(run: Path, ledger: Ledger, reviewer: str, *options: str) -> Iterator[tuple[Process, str]]:
    """`synguard review` in a process of its own, and the link that it printed."""
    command = ["review", run, "--reviewer", reviewer, *options, "--ledger", ledger.place.file]
    out, its = os.pipe()
    with TemporaryFile("w+") as said, os.fdopen(out) as stdout:
        process = start(*command, stdout=its, stderr=said.fileno(), threads=1)
        os.close(its)
        try:
            line = stdout.readline()
            said.seek(0)
            assert "http://127.0.0.1:" in line, said.read()
            yield process, line.split()[-1]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


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
