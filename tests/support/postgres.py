"""A PostgreSQL server for tests, from Debian's package, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

__all__ = ["Server", "running_server"]


class Server:
    """A running server; each test asks for a database."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._databases = 0

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        self._databases += 1
        name = f"ledger{self._databases}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str, user: str = "synguard") -> str:
        return f"postgresql://{user}@127.0.0.1:{self._port}/{database}"


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server on a free port, and stop it in the end."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="synguard-postgres-"))
    # The server refuses to run as root; Debian's package brings a user for it.
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", _free_port()
    control = [*user, programs / "pg_ctl", "--pgdata", data, "--wait", "--silent"]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        init = [programs / "initdb", "--pgdata", data, "--username", "synguard", "--auth", "trust", "--no-sync"]
        _run([*user, *init], folder)
        _run([*control, "--log", folder / "log", "--options", options, "start"], folder)
        try:
            yield Server(port)
        finally:
            _run([*control, "--mode", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[object], folder: Path) -> None:
    # Output to a file: the server inherits it, and a pipe would never end.
    with (folder / "output").open("w") as output:
        done = subprocess.run(list(map(str, command)), stdout=output, stderr=output, cwd="/", timeout=120, check=False)
    assert done.returncode == 0, (folder / "output").read_text()


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        pytest.skip("no PostgreSQL: run tests/system/install")
    return found[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
