"""Where the ledger is: `--ledger`, else the environment variable SYNGUARD_LEDGER, else a file of the user's own.

The default is `synguard/ledger.sqlite` in the user's data folder (XDG Base Directory Specification: $XDG_DATA_HOME, else
~/.local/share). The key of its fingerprints is the file SYNGUARD_LEDGER_KEY names, else `<ledger file>.key`, or for a
server `synguard/ledger.key` in the data folder. The folder `synguard/heads` there remembers how far each ledger had come.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from synguard.errors import InputError

__all__ = ["ENVIRONMENT", "KEY_ENVIRONMENT", "Place", "Where", "find_place"]

ENVIRONMENT = "SYNGUARD_LEDGER"
KEY_ENVIRONMENT = "SYNGUARD_LEDGER_KEY"
_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_EXPECTED = "a file, sqlite:///FILE or postgresql://USER@HOST/DATABASE"


@dataclass(frozen=True, slots=True)
class Place:
    """A ledger's database, the file of its key, and the folder that remembers its heads."""

    url: URL
    key_file: Path
    heads: Path

    @property
    def file(self) -> Path | None:
        """The database's file; None where it is a server."""
        return Path(str(self.url.database)) if self.url.get_backend_name() == "sqlite" else None

    def __str__(self) -> str:
        """For people and for memory: the same for the same database, without user and password."""
        if self.file is not None:
            return str(self.file)
        host = self.url.host or self.url.query.get("host") or "localhost"
        return f"postgresql://{host}:{self.url.port or 5432}/{self.url.database}"


Where = str | Path | Place | None
"""What callers may name a ledger by: a file, a URL, a place, or None for the environment's or the default."""


def find_place(given: Where = None, *, data: Path | None = None) -> Place:
    """The place that is given, or the environment's, or the default. `data` stands for the user's data folder.

    Raises InputError for what is no place.
    """
    if isinstance(given, Place):
        return given
    named = str(given) if given is not None else os.environ.get(ENVIRONMENT, "")
    data = data or _data_folder()
    url = _url(named or str(data / "ledger.sqlite"))
    beside = data / "ledger.key" if url.get_backend_name() != "sqlite" else Path(f"{url.database}.key")
    return Place(url, Path(os.environ.get(KEY_ENVIRONMENT) or beside), data / "heads")


def _url(named: str) -> URL:
    if "://" not in named:
        return URL.create(_DRIVERS["sqlite"], database=str(Path(named).expanduser().resolve()))
    try:
        url = make_url(named)
    except (ArgumentError, ValueError) as error:
        raise InputError.of("ledger", "an address that cannot be read", _EXPECTED) from error
    driver = _DRIVERS.get(url.drivername.partition("+")[0])
    if driver is None:
        raise InputError.of("ledger", f"a database of kind {url.drivername}", _EXPECTED)
    if driver == _DRIVERS["sqlite"]:
        if url.database in (None, "", ":memory:") or url.query:
            raise InputError.of("ledger", "an SQLite address without a file, or with options", _EXPECTED)
        return URL.create(driver, database=str(Path(str(url.database)).resolve()))
    if not url.database:
        raise InputError.of("ledger", "a PostgreSQL address without a database", _EXPECTED)
    return url.set(drivername=driver)


def _data_folder() -> Path:
    named = os.environ.get("XDG_DATA_HOME", "")
    # The specification has relative paths ignored.
    if Path(named).is_absolute():
        return Path(named) / "synguard"
    try:
        return Path.home() / ".local" / "share" / "synguard"
    except RuntimeError as error:
        raise InputError.of(
            "ledger", "a user without a home folder", f"--ledger or {ENVIRONMENT} to name a place"
        ) from error
