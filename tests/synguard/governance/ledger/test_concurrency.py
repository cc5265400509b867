"""Many processes append at once, and some are killed in the middle of it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from synguard.governance.ledger import Ledger
from tests.support.cli import environment

WRITER = Path(__file__).parent / "writer.py"


def start(where: str, name: str, count: int, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), where, name, str(count), *more]
    return subprocess.Popen(command, env=environment(1), stdout=subprocess.PIPE, text=True)


def test_processes_that_begin_at_once_make_one_ledger_and_lose_nothing(where: str):
    """No ledger is there yet: one of them makes it, under one key."""
    writers = [start(where, f"writer{number}", 12) for number in range(8)]
    told = [int(line) for writer in writers for line in writer.communicate(timeout=300)[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0] * 8
    ledger = Ledger.open(where)
    assert ledger.verify() == ()
    assert sorted(told) == [entry.number for entry in ledger.entries("note")] == list(range(2, 98))
    assert set(Counter(entry.run for entry in ledger.entries("note")).values()) == {12}
    for number in range(8):
        assert [entry.payload["turn"] for entry in ledger.entries("note", f"writer{number}")] == list(range(12))
    assert ledger.key().id == ledger.entries("ledger")[0].payload["key"]


def test_killed_between_insert_and_commit_leaves_nothing(where: str):
    ledger = Ledger.open(where)
    ledger.append("note", {"run": "before"})
    writer = start(where, "killed", 1, "die-before-commit")
    assert writer.communicate(timeout=120)[0] == ""
    assert writer.returncode == -signal.SIGKILL
    assert ledger.entries("note", "killed") == ()
    assert ledger.append("note", {"run": "after"}).number == 3
    assert Ledger.open(where).verify() == ()


def test_kills_at_any_moment_break_nothing(where: str):
    """Two writers go on while others are killed; whatever an entry's number was told for is there."""
    Ledger.open(where)
    steady = [start(where, f"steady{number}", 40) for number in range(2)]
    moments, told = random.Random(4), []
    for number in range(8):
        victim = start(where, f"victim{number}", 1000)
        assert victim.stdout is not None
        told.append(int(victim.stdout.readline()))  # it has begun to write
        time.sleep(moments.uniform(0, 0.15))
        victim.kill()
        told += [int(line) for line in victim.communicate()[0].splitlines() if line.endswith("") and line]
    for writer in steady:
        told += [int(line) for line in writer.communicate(timeout=300)[0].splitlines()]
        assert writer.returncode == 0
    ledger = Ledger.open(where)
    assert ledger.verify() == ()
    numbers = {entry.number for entry in ledger.entries("note")}
    assert set(told) <= numbers
    assert len(ledger.entries("note", "steady0")) == 40
