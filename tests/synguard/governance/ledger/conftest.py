"""Ledgers in both databases. What needs PostgreSQL is marked as a system test."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from synguard.governance.ledger import Ledger
from tests.support.postgres import Server, running_server

Edit = Callable[..., None]


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's data folder of the test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "synguard"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where there is no ledger yet."""
    if request.param == "sqlite":
        return str(tmp_path / "made" / "ledger.sqlite")
    server: Server = request.getfixturevalue("server")
    return server.new_database()


@pytest.fixture
def ledger(where: str) -> Ledger:
    """A ledger with twelve entries: its own, and those of two runs."""
    return filled(Ledger.open(where))


def filled(ledger: Ledger) -> Ledger:
    for run in ("a", "b"):
        ledger.append("run", {"run": run, "name": f"run {run}"})
        for batch in range(3):
            ledger.append("batch", {"run": run, "batch": batch, "examined": 20})
    ledger.append("decision", {"run": "a", "status": "fail", "exit_code": 20})
    ledger.append("decision", {"run": "b", "status": "pass", "exit_code": 0})
    ledger.append("approval", {"run": "b", "role": "board"})
    return ledger


@pytest.fixture
def edit(where: str) -> Edit:
    """Runs SQL on the database itself, past the ledger; with `below` past its triggers too."""

    def run(*statements: str, below: bool = True) -> None:
        if where.startswith("postgresql"):
            with psycopg.connect(where, autocommit=True) as connection:
                if below:
                    connection.execute("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
                for statement in statements:
                    connection.execute(statement)
                if below:
                    for name in ("in_order", "no_change", "no_truncate"):
                        connection.execute(f"ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_{name}")
            return
        connection = sqlite3.connect(where, isolation_level=None)
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        try:
            for name, _ in triggers if below else ():
                connection.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                connection.execute(statement)
            for _, sql in triggers if below else ():
                connection.execute(sql)
        finally:
            connection.close()

    return run
