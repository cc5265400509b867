"""The ledger's database: connections that write one at a time, migrations, and errors in one sentence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from synguard.errors import InputError, IntegrityError, SynguardError
from synguard.governance.files import private_folder
from synguard.governance.ledger.place import Place

__all__ = ["ENTRIES", "REVISION", "Database"]

REVISION = "0001"
"""The newest migration."""

ENTRIES = Table(
    "ledger_entries",
    MetaData(),
    Column("number", BigInteger, primary_key=True),
    Column("kind", Text),
    Column("run", Text),
    Column("at", Text),
    Column("payload", Text),
    Column("previous", Text),
    Column("hash", Text),
    Column("images", LargeBinary),
)
_LOCK = 0x73796E6775617264
"""Number of the advisory lock that writers in PostgreSQL hold: "synguard"."""
_WAIT_SECONDS = 120
_NOT_THE_DATA = ("AUTH", "BUSY", "CANTOPEN", "FULL", "IOERR", "LOCKED", "NOMEM", "PERM", "READONLY")
"""SQLite's errors that do not say that the file itself is damaged."""
_NO_ACCESS = ("08", "25006", "28", "3D", "42501", "53", "55", "57")
"""SQLSTATE of PostgreSQL: connection, read-only, password, no such database, no privilege, no resources, lock, shutdown."""


class Database:
    """A place's database, connected to anew for each transaction."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._engine = _engine(place)

    @property
    def exists(self) -> bool:
        """Whether there is something to connect to: False only for a file that is not there."""
        return self.place.file is None or self.place.file.exists()

    def make_file(self) -> None:
        """An empty, owner-only file for SQLite, and its folder, where there is none."""
        if self.place.file is None:
            return
        try:
            if not self.place.file.parent.exists():
                private_folder(self.place.file.parent)
            os.close(os.open(self.place.file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise InputError.of(self.place, error.strerror, "a file that can be written (--ledger names another)") from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads: one state of the ledger, whatever is appended meanwhile."""
        options = {"isolation_level": "REPEATABLE READ"} if self.place.file is None else {}
        with self._explained(), self._engine.execution_options(**options).begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is the only one to write; it is committed when the block ends without an error."""
        options = {"synguard_writes": True}
        with self._explained(), self._engine.execution_options(**options).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            yield connection

    @staticmethod
    def revision(connection: Connection) -> str | None:
        """The migration that the database is at; None where it holds no ledger."""
        if not inspect(connection).has_table("ledger_version"):
            return None
        return str(connection.execute(text("SELECT version_num FROM ledger_version")).scalar_one())

    def migrate(self, connection: Connection) -> None:
        """Bring the database to the newest form. Raises InputError where a newer synguard made it."""
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            found = f"a ledger of another version ({self.revision(connection)})"
            raise InputError.of(self.place, found, f"version {REVISION} or older") from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._said(error.orig) from error
        except (sqlite3.Error, UnicodeDecodeError) as error:  # a file so damaged that its first page cannot be read
            raise self._said(error) from error

    def _said(self, error: BaseException | None) -> SynguardError:
        lines = str(error).strip().splitlines()
        said = lines[0] if lines else type(error).__name__
        if self.place.file is not None:
            name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT").removeprefix("SQLITE_")
            damaged = not name.startswith(_NOT_THE_DATA)
        else:
            state = getattr(error, "sqlstate", None)
            damaged = state is not None and not state.startswith(_NO_ACCESS)  # without one there was no connection
        if damaged:
            return IntegrityError(f"{self.place}: found a damaged ledger ({said}), expected what synguard wrote")
        return InputError.of(self.place, said, "a ledger that can be opened and written")


def _engine(place: Place) -> Engine:
    if place.file is None:
        try:
            return create_engine(place.url, poolclass=NullPool, isolation_level="READ COMMITTED")
        except ModuleNotFoundError as error:
            raise InputError.of(
                place, "no driver for PostgreSQL", "the extra: pip install 'synguard[postgresql]'"
            ) from error
    engine = create_engine(place.url, poolclass=NullPool, connect_args={"timeout": _WAIT_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where the driver thinks
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA trusted_schema = OFF")  # functions hidden in a strange file's schema are not called


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its place before it reads the last row, or two would append to the same one.
    writes = connection.get_execution_options().get("synguard_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
