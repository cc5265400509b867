"""The ledger in both databases: append, read, refuse, and what is found after somebody edited it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import inspect

from synguard.errors import InputError, IntegrityError
from synguard.governance.ledger import Ledger, database
from synguard.governance.ledger.chain import ORIGIN
from synguard.governance.ledger.database import ENTRIES, REVISION
from tests.support.postgres import Server

Edit = Callable[..., None]
LAST = 12


def test_entries_are_read_back_as_they_were_written(ledger: Ledger, where: str):
    entries = Ledger.open(where).entries()
    assert [entry.number for entry in entries] == list(range(1, LAST + 1))
    assert entries[0].kind == "ledger"
    assert entries[0].previous == ORIGIN
    assert all(a.hash == b.previous for a, b in pairwise(entries))
    assert [entry.payload["batch"] for entry in ledger.entries("batch", "b")] == [0, 1, 2]
    assert ledger.head().hash == entries[-1].hash
    assert ledger.id == entries[0].hash
    assert ledger.verify() == ()


def test_once_is_once(ledger: Ledger):
    first = ledger.append_once("state", {"run": "a", "state": "complete"})
    assert ledger.append_once("state", {"state": "complete", "run": "a"}) == first
    assert ledger.append_once("state", {"run": "b", "state": "complete"}).number == first.number + 1
    assert ledger.append("state", {"run": "a", "state": "complete"}).number == first.number + 2


@pytest.mark.parametrize("kind", ["", "Run", "a b", "run;", "-run", "r" * 41])
def test_a_kind_is_a_plain_word(ledger: Ledger, kind: str):
    with pytest.raises(ValueError, match="kind"):
        ledger.append(kind, {})


def test_text_of_all_sorts_comes_back(ledger: Ledger):
    payload = {
        "run": "c",
        "text": "zero \x00, quote ', \u202e, \U0001f5c2, \\",
        "number": 1.5,
        "none": None,
        "list": [1, []],
    }
    assert ledger.append("review", payload).payload == payload
    assert ledger.entries("review")[0].payload == payload
    assert ledger.verify() == ()


REFUSED = {
    "update": "UPDATE ledger_entries SET payload = '{}' WHERE number = 3",
    "update to the same": "UPDATE ledger_entries SET run = run",
    "delete": "DELETE FROM ledger_entries WHERE number = 12",
    "delete all": "DELETE FROM ledger_entries",
    "insert out of order": "INSERT INTO ledger_entries SELECT number + 20, kind, run, at, payload, previous, hash, images "
    "FROM ledger_entries WHERE number = 3",
    "insert beside the chain": "INSERT INTO ledger_entries SELECT 13, kind, run, at, payload, previous, hash, images "
    "FROM ledger_entries WHERE number = 3",
}
REFUSED_SQLITE = {
    "replace": "INSERT OR REPLACE INTO ledger_entries SELECT number, kind, run, at, '{}', previous, hash, images "
    "FROM ledger_entries WHERE number = 3",
    "update or replace": "UPDATE OR REPLACE ledger_entries SET number = 4 WHERE number = 3",
    "upsert": "INSERT INTO ledger_entries SELECT * FROM ledger_entries WHERE number = 3 ON CONFLICT DO UPDATE SET run = 'x'",
}
REFUSED_POSTGRES = {
    "truncate": "TRUNCATE ledger_entries",
    "upsert": "INSERT INTO ledger_entries SELECT * FROM ledger_entries WHERE number = 3 "
    "ON CONFLICT (number) DO UPDATE SET run = 'x'",
    "as a replica": "SET session_replication_role = replica; DELETE FROM ledger_entries",
}


def test_the_triggers_refuse_all_but_appending(ledger: Ledger, where: str, edit: Edit):
    before = ledger.entries()
    for name, statement in (REFUSED | (REFUSED_POSTGRES if where.startswith("postgres") else REFUSED_SQLITE)).items():
        with pytest.raises((sqlite3.Error, psycopg.Error), match="append-only"):
            edit(statement, below=False)
        assert ledger.entries() == before, name


HASH = "0" * 63 + "1"
EDITS = {
    "payload altered": ("UPDATE ledger_entries SET payload = replace(payload, '20', '21') WHERE number = 4", "altered", 4),
    "decision turned": (
        "UPDATE ledger_entries SET payload = replace(payload, 'fail', 'pass') WHERE number = 10",
        "altered",
        10,
    ),
    "kind altered": ("UPDATE ledger_entries SET kind = 'note' WHERE number = 10", "altered", 10),
    "time altered": ("UPDATE ledger_entries SET at = '2020-01-01T00:00:00' WHERE number = 2", "altered", 2),
    "run altered": ("UPDATE ledger_entries SET run = 'b' WHERE number = 10", "altered", 10),
    "hash altered": (f"UPDATE ledger_entries SET hash = '{HASH}' WHERE number = 5", "altered", 5),
    "link altered": (f"UPDATE ledger_entries SET previous = '{HASH}' WHERE number = 5", "altered", 5),
    "first altered": ("UPDATE ledger_entries SET payload = '{}' WHERE number = 1", "altered", 1),
    "last altered": ("UPDATE ledger_entries SET payload = '{}' WHERE number = 12", "altered", 12),
    "fingerprints slipped in": ("UPDATE ledger_entries SET images = kind::bytea WHERE number = 5", "altered", 5),
    "one dropped": ("DELETE FROM ledger_entries WHERE number = 10", "dropped", None),
    "several dropped": ("DELETE FROM ledger_entries WHERE number BETWEEN 3 AND 9", "dropped", None),
    "first dropped": ("DELETE FROM ledger_entries WHERE number = 1", "dropped", None),
    "truncated by one": ("DELETE FROM ledger_entries WHERE number = 12", "truncated", None),
    "truncated to the first": ("DELETE FROM ledger_entries WHERE number > 1", "truncated", None),
    "emptied": ("DELETE FROM ledger_entries", "replaced", None),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_was_edited_below_the_triggers_is_found(ledger: Ledger, where: str, edit: Edit, name: str):
    statement, what, number = EDITS[name]
    edit(statement if where.startswith("postgres") else statement.replace("kind::bytea", "x'00ff'"))
    faults = ledger.verify()
    assert what in {fault.what for fault in faults}, faults
    assert number in {fault.number for fault in faults}, faults
    assert not [fault for fault in faults if fault.what == "unprotected"]


def test_exchanged_entries_are_found(ledger: Ledger, edit: Edit):
    move = "UPDATE ledger_entries SET number = {} WHERE number = {}"
    edit(move.format(99, 10), move.format(10, 11), move.format(11, 99))
    found = [(fault.what, fault.number) for fault in ledger.verify()]
    assert ("reordered", 10) in found
    assert ("reordered", 11) in found


def test_a_chain_that_was_made_anew_does_not_fit_the_head_that_was_seen(
    ledger: Ledger, where: str, edit: Edit, data_folder: Path
):
    """Who may write to the database can rewrite all of it, hashes and all; not what others have kept."""
    known = ledger.head()
    edit("DELETE FROM ledger_entries WHERE number > 9")
    path = next((data_folder / "heads").iterdir())
    path.unlink()
    forged = Ledger.open(where)
    for number in range(10, 14):
        forged.append("note", {"number": number})
    assert forged.verify() == ()
    (fault,) = forged.verify([("the report", known)])
    assert (fault.what, fault.number) == ("altered", 12)
    assert "the report" in fault.message


def test_a_ledger_cut_short_is_not_written_to(ledger: Ledger, where: str, edit: Edit):
    edit("DELETE FROM ledger_entries WHERE number > 6")
    with pytest.raises(IntegrityError, match="of entry 12, the ledger ends with entry 6"):
        Ledger.open(where)
    assert ledger.head().number == 6


def test_a_fresh_ledger_in_the_place_of_another_is_refused(ledger: Ledger, where: str, edit: Edit):
    old = ledger.id
    if where.startswith("postgres"):
        edit("DROP TABLE ledger_entries, ledger_version", "DROP FUNCTION ledger_follows, ledger_refuse", below=False)
    else:
        Path(where).unlink()
    with pytest.raises(IntegrityError, match=r"is of ledger .*, this is an empty one"):
        Ledger.open(where)
    assert where.startswith("postgres") or not Path(where).exists()
    for path in ledger.place.heads.iterdir():
        path.unlink()
    assert Ledger.open(where).id != old


def test_a_dropped_table_is_damage_and_no_fresh_start(ledger: Ledger, where: str, edit: Edit):
    edit("DROP TABLE ledger_entries", below=False)
    for check in (True, False):
        with pytest.raises(IntegrityError, match="damaged ledger"):
            Ledger.open(where, check=check)


def test_a_missing_or_toothless_trigger_is_found(ledger: Ledger, where: str, edit: Edit):
    if where.startswith("postgres"):
        edit("ALTER TABLE ledger_entries DISABLE TRIGGER ledger_no_change", below=False)
        edit("DROP TRIGGER ledger_no_truncate ON ledger_entries", below=False)
        edit(
            "CREATE OR REPLACE FUNCTION ledger_follows() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            below=False,
        )
    else:
        edit("DROP TRIGGER ledger_no_update", "DROP TRIGGER ledger_no_delete", "DROP TRIGGER ledger_in_order", below=False)
        edit("CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger_entries BEGIN SELECT 1; END", below=False)
    faults = ledger.verify()
    assert {fault.what for fault in faults} == {"unprotected"}
    assert len(faults) == 3


def test_a_ledger_of_a_later_version_is_refused(ledger: Ledger, where: str, edit: Edit):
    assert REVISION == "0001"
    edit("UPDATE ledger_version SET version_num = '9999'", below=False)
    with pytest.raises(InputError, match=r"another version \(9999\)"):
        Ledger.open(where)


def test_the_migrations_make_the_table_that_is_read_and_run_once(ledger: Ledger, where: str):
    with ledger._database.writing() as connection:
        ledger._database.migrate(connection)
    with ledger._database.reading() as connection:
        columns = inspect(connection).get_columns("ledger_entries")
    assert [column["name"] for column in columns] == [column.name for column in ENTRIES.columns]
    assert [column["name"] for column in columns if column["nullable"]] == ["images"]
    versions = Path(database.__file__).parent / "migrations" / "versions"
    assert max(path.stem.rpartition("_")[2] for path in versions.glob("*_*.py") if path.stem != "__init__") == REVISION
    assert ledger.verify() == ()


def test_reading_makes_no_ledger(where: str):
    with pytest.raises(InputError, match="made by the first run"):
        Ledger.open(where, create=False)
    assert where.startswith("postgres") or not Path(where).exists()


def test_the_key_must_be_the_one_it_was_made_with(
    ledger: Ledger, where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    other = tmp_path / "other.key"
    other.write_bytes(bytes(32))
    other.chmod(0o600)
    monkeypatch.setenv("SYNGUARD_LEDGER_KEY", str(other))
    with pytest.raises(InputError, match="which the ledger was made with"):
        Ledger.open(where).key()
    other.chmod(0o640)
    with pytest.raises(InputError, match="the rights 640"):
        Ledger.open(where).key()
    other.unlink()
    with pytest.raises(InputError, match=r"other\.key: found No such file"):
        Ledger.open(where).key()
    assert not other.exists()


@pytest.mark.system
def test_a_role_that_may_only_read_and_insert_is_enough(server: Server):
    """How a server should be set up: who runs audits does not own the table, and cannot take its triggers off."""
    where = server.new_database()
    Ledger.open(where)
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS auditor")
        connection.execute("CREATE ROLE auditor LOGIN")
        connection.execute("GRANT SELECT, INSERT ON ledger_entries TO auditor")
        connection.execute("GRANT SELECT ON ledger_version TO auditor")
    as_auditor = server.url(where.rpartition("/")[2], "auditor")
    ledger = Ledger.open(as_auditor)
    assert ledger.append("note", {"run": "a"}).number == 2
    assert ledger.verify() == ()
    with psycopg.connect(as_auditor) as connection:
        for statement in ("DELETE FROM ledger_entries", "ALTER TABLE ledger_entries DISABLE TRIGGER ALL"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
            connection.rollback()


@pytest.mark.system
def test_another_users_key_is_not_made_up(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The second machine that uses a server needs the first one's key: with one of its own it would find no overlap."""
    where = server.new_database()
    Ledger.open(where).key()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "second"))
    second = Ledger.open(where)
    with pytest.raises(InputError, match=r"ledger\.key: found No such file"):
        second.key()
    assert not second.place.key_file.exists()
