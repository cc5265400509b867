"""Commands that are forked from a warm process do what commands do that start as users start them."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import Outcome, start, synguard
from tests.support.given import given_phantoms

pytestmark = pytest.mark.system


def both(*arguments: object) -> tuple[Outcome, Outcome]:
    return synguard(*arguments, threads=1, cold=True), synguard(*arguments, threads=1)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["audit", "--nothing"], 2), (["generate-and-audit", "missing.yaml", "--out", "run"], 2)],
    ids=["help", "usage", "input"],
)
def test_words_and_exit_code_are_the_same(arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    cold, warm = both(*arguments)
    assert warm == cold
    assert warm.code == code
    assert "Traceback" not in warm.stderr


def test_an_audit_is_the_same_byte_by_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = given_phantoms(tmp_path)
    outcomes = []
    for name in ("cold", "warm"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        arguments = ("generate-and-audit", config, "--out", "run", "--quiet")
        outcomes.append(synguard(*arguments, threads=1, cold=name == "cold"))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].code == 22  # far too few images
    for name in ("results.json", "manifest.json", "images.parquet"):
        assert (tmp_path / "cold" / "run" / name).read_bytes() == (tmp_path / "warm" / "run" / name).read_bytes()


def test_a_killed_command_breaks_none_after_it(tmp_path: Path):
    """It is its own process that is killed, and how it ended is told."""
    with (tmp_path / "words").open("wb") as words:
        process = start("demo", "--out", tmp_path / "demo", stdout=words.fileno(), stderr=words.fileno(), threads=1)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == process.poll() == -signal.SIGKILL
    with pytest.raises(subprocess.TimeoutExpired):
        synguard("demo", "--out", tmp_path / "demo", timeout=0.1, threads=1)
    assert synguard("--help", threads=1).code == 0
