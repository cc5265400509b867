"""Where a ledger is looked for, and what is no place for one."""

from __future__ import annotations

import builtins
import os
import sys
from pathlib import Path

import pytest

from synguard.errors import InputError, IntegrityError
from synguard.governance.ledger import Ledger
from synguard.governance.ledger.place import find_place


def test_by_default_a_file_of_the_users_own(data_folder: Path):
    ledger = Ledger.open()
    assert ledger.place.file == data_folder / "ledger.sqlite"
    assert data_folder.stat().st_mode & 0o777 == 0o700
    for name in ("ledger.sqlite", "ledger.sqlite.key"):
        assert (data_folder / name).stat().st_mode & 0o777 == 0o600


def test_owner_only_whatever_the_umask(data_folder: Path):
    before = os.umask(0)
    try:
        Ledger.open().append("note", {})
    finally:
        os.umask(before)
    assert not [path for path in data_folder.rglob("*") if path.stat().st_mode & 0o077]


def test_the_environment_then_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYNGUARD_LEDGER", str(tmp_path / "env.sqlite"))
    assert find_place().file == tmp_path / "env.sqlite"
    assert find_place(tmp_path / "given.sqlite").file == tmp_path / "given.sqlite"
    assert find_place(f"sqlite:///{tmp_path}/url.sqlite").file == tmp_path / "url.sqlite"
    monkeypatch.chdir(tmp_path)
    assert find_place("relative.sqlite").file == tmp_path / "relative.sqlite"
    assert find_place(find_place("relative.sqlite")).file == tmp_path / "relative.sqlite"


def test_relative_data_folders_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_DATA_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_place().file == tmp_path / ".local" / "share" / "synguard" / "ledger.sqlite"


def test_a_server_has_its_key_in_the_data_folder(data_folder: Path):
    place = find_place("postgres://me:secret@db.example/ledgers?sslmode=verify-full")
    assert place.key_file == data_folder / "ledger.key"
    assert place.url.query["sslmode"] == "verify-full"
    assert str(place) == "postgresql://db.example:5432/ledgers"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://host/base",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file.sqlite?mode=ro",
        "postgresql://host",
        "://",
        "postgresql://host:port/base",
        "https://host/base",
    ],
)
def test_what_is_no_place(url: str):
    with pytest.raises(
        InputError, match=r"^ledger: found .*, expected a file, sqlite:///FILE or postgresql://USER@HOST/DATABASE$"
    ):
        find_place(url)


def test_no_password_in_a_message():
    with pytest.raises(InputError) as caught:
        Ledger.open("postgresql://me:pa55word@127.0.0.1:1/ledgers?connect_timeout=2")
    assert "pa55word" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("psycopg"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)  # type: ignore[arg-type]

    for name in [name for name in sys.modules if name.split(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'synguard\[postgresql\]'"):
        Ledger.open("postgresql://host/base")


@pytest.mark.parametrize("what", ["a folder", "a text file", "below a file"])
def test_files_that_are_no_ledger(tmp_path: Path, what: str):
    path = tmp_path / "it"
    if what == "a folder":
        path.mkdir()
    else:
        path.write_text("no database, but long enough to be one" * 40)
    named = path / "ledger.sqlite" if what == "below a file" else path
    with pytest.raises((InputError, IntegrityError), match=str(path)) as caught:
        Ledger.open(named)
    assert "\n" not in str(caught.value)


def test_a_link_is_not_followed_to_make_a_ledger(tmp_path: Path):
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "elsewhere.sqlite")
    assert Ledger.open(tmp_path / "link.sqlite").place.file == tmp_path / "elsewhere.sqlite"


def test_a_data_folder_that_cannot_be_written_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    ledger.append("note", {})
    assert ledger.verify() == ()


def test_a_damaged_memory_is_said(data_folder: Path):
    Ledger.open()
    path = next((data_folder / "heads").iterdir())
    path.write_text("{}")
    with pytest.raises(IntegrityError, match="found no head of a ledger"):
        Ledger.open()
