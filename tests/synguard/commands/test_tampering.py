"""A ledger that somebody edited in SQL, triggers and all, as the commands meet it: nothing is signed, released or purged."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from synguard.commands.main import cli
from synguard.errors import SynguardError
from synguard.governance.ledger import Ledger
from synguard.governance.ledger.chain import entry_hash
from synguard.release.make import release
from tests.support.governed import DETAILS, NOW, approved_run, key, trust, trust_file

PASS = """UPDATE ledger_entries SET payload = replace(payload, '"files"', '"Files"') WHERE kind = 'decision'"""
SWAP = (
    "UPDATE ledger_entries SET number = 99 WHERE number = 2",
    "UPDATE ledger_entries SET number = 2 WHERE number = 3",
    "UPDATE ledger_entries SET number = 3 WHERE number = 99",
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A run that all have signed, its ledger, what this machine remembers of it, a release, and the trust file."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        ledger = Ledger.open(folder / "ledger.sqlite")
        run = approved_run(folder / "run", ledger)
        release(run, folder / "release", trust(), key("e.moss"), DETAILS, now=NOW, book=ledger)
    trust_file(folder / "trust.json")
    (folder / "passphrase").write_text("correct horse battery")
    (folder / "passphrase").chmod(0o600)
    return folder


@pytest.fixture
def copy(desk, tmp_path, monkeypatch):
    """All of it on another machine, which remembers no head: there is the one in run.json alone."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return shutil.copytree(desk, tmp_path / "desk")


def call(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if isinstance(result.exception, SynguardError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


def edit(path: Path, *statements: str, rehash: int = 0) -> None:
    """SQL past the triggers, which are there again afterwards; from entry `rehash` on the chain is made anew."""
    database = sqlite3.connect(path, isolation_level=None)
    triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    if rehash:
        columns = "number, kind, run, at, payload"
        rows = database.execute(f"SELECT {columns} FROM ledger_entries WHERE number >= {rehash} ORDER BY number").fetchall()
        (previous,) = database.execute(f"SELECT hash FROM ledger_entries WHERE number = {rehash - 1}").fetchone()
        for row in rows:
            digest = entry_hash(*row, previous)
            database.execute("UPDATE ledger_entries SET previous = ?, hash = ? WHERE number = ?", (previous, digest, row[0]))
            previous = digest
    for _, sql in triggers:
        database.execute(sql)
    database.close()


def commands(desk: Path) -> list[tuple[object, ...]]:
    ledger, run = ("--ledger", desk / "ledger.sqlite"), desk / "run"
    given = ("--key", desk / "absent.key", "--passphrase-file", desk / "passphrase", "--trust", desk / "trust.json", *ledger)
    details = ("--title", "Tiny", "--publisher", "Hospital X", "--contact", "x@example.org", "-q")
    return [
        ("sign-off", run, "--role", "operator", "--yes", *given),
        ("release", run, "--to", desk / "again", *details, *given),
        ("purge", run, "--yes", *ledger),
        ("runs", "ledger-verify", *ledger, "--runs", desk / "run"),
    ]


EDITS = {
    "a decision rewritten": ((PASS,), 0, "entry 4 "),
    "a decision rewritten, and all after it": ((PASS,), 4, "entry 4 is not the one that the head in"),
    "a hash alone": (("UPDATE ledger_entries SET hash = previous WHERE number = 3",), 0, "entry 3 "),
    "an attempt dropped": (("DELETE FROM ledger_entries WHERE number = 3",), 0, "entry 3 is missing"),
    "two exchanged": (SWAP, 0, "entry 2 holds what was written as entry 3"),
    "the end cut off": (("DELETE FROM ledger_entries WHERE number > 3",), 0, "the ledger ends with entry 3"),
    "emptied": (("DELETE FROM ledger_entries",), 0, "found no entry"),
}


@pytest.mark.parametrize(("statements", "rehash", "says"), EDITS.values(), ids=EDITS)
def test_a_ledger_row_edited_in_sql(copy, statements, rehash, says):
    edit(copy / "ledger.sqlite", *statements, rehash=rehash)
    before = sorted(copy.rglob("*"))
    for command in commands(copy):
        code, said = call(*command)
        assert (code, says in said) == (30, True), (command[0], said)
    assert sorted(copy.rglob("*")) == before


REFUSED_LATER = "UPDATE ledger_entries SET payload = replace(payload, 'approve', 'refuse') WHERE number = 8"


def test_what_came_after_the_runs_head_is_known_to_who_wrote_it(desk, copy, monkeypatch):
    """Rewritten with all after it: whoever signed or released on this machine has seen the head of then."""
    monkeypatch.setenv("XDG_DATA_HOME", str(desk / "data"))
    edit(copy / "ledger.sqlite", REFUSED_LATER, rehash=8)
    for command in commands(copy):
        code, said = call(*command)
        assert (code, "entry 9 is not the one that the head that" in said) == (30, True), (command[0], said)


def test_left_alone_the_commands_get_as_far_as_the_key(copy):
    for command in commands(copy)[:2]:
        code, said = call(*command)
        assert (code, "absent.key" in said) == (2, True), said
    assert call(*commands(copy)[3])[0] == 0


def test_a_release_that_is_out_rests_on_no_ledger(copy):
    (copy / "ledger.sqlite").unlink()
    code, said = call("verify", copy / "release", "--trust", copy / "trust.json", "--json")
    assert (code, json.loads(said)["verified"]) == (0, True)
