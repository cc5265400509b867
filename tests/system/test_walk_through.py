"""docs/walk-through.md, command by command: from photographs to a verified release, with both ledgers; and nothing leaks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synguard.governance.ledger import Ledger
from tests.support.cli import environment
from tests.support.postgres import running_server

pytestmark = pytest.mark.system

PAGE = Path(__file__).resolve().parents[2] / "docs" / "walk-through.md"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
        return
    with running_server() as server:
        yield server.new_database()


@pytest.fixture(scope="module")
def walked(ledger: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder after all commands of the page, and what they said."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "bin").mkdir()
    (folder / "bin" / "synguard").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m synguard "$@"\n')
    (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for program in (folder / "bin").iterdir():
        program.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment() | {"PATH": path, "SYNGUARD_LEDGER": ledger, "XDG_DATA_HOME": str(folder / "data")},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return folder, done.stdout + done.stderr


def test_every_command_of_the_page_does_what_it_says(walked: tuple[Path, str], ledger: str, monkeypatch: pytest.MonkeyPatch):
    folder, said = walked
    assert "VERIFIED: copy" in said
    assert "README.md: changed" in said
    assert "as it was written, up to entry" in said
    assert "consent was withdrawn" in said
    assert not (folder / "runs" / "first" / "index").exists()
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    kinds = [entry.kind for entry in Ledger.open(ledger, create=False).entries() if entry.run]
    assert kinds.count("attempt") == 1
    assert kinds[-7:] == ["approval", "approval", "approval", "approval", "release", "recall", "purge"]
