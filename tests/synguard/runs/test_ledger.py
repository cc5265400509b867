"""What a run leaves in the ledger: killed before its decision, failed, resumed, complete; and how attempts are counted."""

from __future__ import annotations

import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

import synguard
from synguard.commands.main import cli
from synguard.data.images import ImageSet
from synguard.data.phantom import phantom_set
from synguard.errors import InputError, IntegrityError, SynguardError
from synguard.governance.keys import software
from synguard.governance.ledger import Head, Ledger
from synguard.runs.ledger import RunLedger
from synguard.runs.material import Material
from synguard.runs.result import RunResult
from tests.support.cli import environment
from tests.support.given import given_phantoms

PASSPHRASE = "a long enough passphrase"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return given_phantoms(tmp_path_factory.mktemp("recorded")).parent


@pytest.fixture(scope="module")
def killed(world: Path) -> list[str]:
    """The kinds of the ledger's entries after a run that was killed when it looked at the first candidate."""
    script = Path(__file__).parent / "killed_audit.py"
    command = [sys.executable, script, world / "synguard.yaml", world / "run", world / "ledger.sqlite"]
    done = subprocess.run(command, env=environment(1), capture_output=True, timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (world / "run" / "results.json").exists()
    return [entry.kind for entry in Ledger.open(world / "ledger.sqlite").entries()]


@pytest.fixture(scope="module")
def result(world: Path, killed: list[str]) -> RunResult:
    """The same run, resumed to its end."""
    with pytest.raises(InputError, match=r"found a run that is recorded in ledger"):
        resumed(world, world / "another.sqlite")
    return resumed(world, world / "ledger.sqlite")


def resumed(world: Path, ledger: Path) -> RunResult:
    return synguard.generate_and_audit(world / "synguard.yaml", world / "run", ledger=ledger, resume=True)


def command(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli, [*map(str, arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def refused(*arguments: object) -> SynguardError:
    with pytest.raises(SynguardError) as caught:
        CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    return caught.value


def test_an_attempt_is_written_before_the_decision_is_known(killed: list[str]):
    assert killed == ["ledger", "run", "images", "images", "attempt"]


def test_a_resumed_run_counts_once_and_leaves_all_its_rows(world: Path, result: RunResult):
    ledger = Ledger.open(world / "ledger.sqlite")
    (run,) = {entry.run for entry in ledger.entries("run")}
    kinds = Counter(entry.kind for entry in ledger.entries(run=run))
    assert kinds == {"run": 1, "attempt": 1, "batch": 3, "probe": 5, "decision": 1, "state": 2}
    assert [entry.payload["state"] for entry in ledger.entries("state")] == ["resumed", "complete"]
    assert result.metric("run.attempts").value == 1
    assert ledger.entries("decision")[0].payload["status"] == result.decision.status
    before = ledger.head()
    assert resumed(world, world / "ledger.sqlite").decision == result.decision
    assert ledger.head() == before
    assert ledger.verify() == ()


def test_the_head_is_in_the_record_and_in_both_reports(world: Path, result: RunResult):
    head = Head.of_dict(json.loads((result.folder / "run.json").read_text())["ledger"], "run.json")
    ledger = Ledger.open(world / "ledger.sqlite")
    assert head == ledger.head()
    assert head.number > ledger.entries("decision")[0].number
    printed = f"{head.number}:{head.hash[:32]}"
    for report in (result.internal_report, result.public_report):
        assert printed in report.read_text()
    where = ("--ledger", world / "ledger.sqlite")
    assert "held against 2 heads" in command("runs", "ledger-verify", *where, "--runs", world / "run", "--printed", printed)


def test_the_ledger_names_no_private_file_and_no_patient(world: Path, result: RunResult):
    told = (world / "ledger.sqlite").read_bytes()
    names = [path.name for part in ("private", "holdout") for path in (world / part / "images").iterdir()]
    names += [f"P{number:06}" for number in range(200)] + [str(world)]
    assert not [name for name in names if name.encode() in told]
    digests = json.loads((result.folder / "results.json").read_text())["data"]
    assert digests["private"]["sha256"].encode() not in told


def test_runs_are_listed_and_shown_from_the_ledger(world: Path, result: RunResult):
    where = ("--ledger", world / "ledger.sqlite")
    (row,) = json.loads(command("runs", "list", *where, "--json"))
    assert row["name"] == "given"
    assert (row["state"], row["decision"], row["attempted"], row["batches"]) == ("complete", result.decision.status, True, 3)
    assert row["id"][:12] in command("runs", "list", *where)
    shown = json.loads(command("runs", "show", result.folder, *where, "--json"))
    assert shown["attempts"] == 1
    assert [entry["kind"] for entry in shown["entries"]][:2] == ["run", "attempt"]
    assert command("runs", "show", row["id"][:8], *where).splitlines()[1] == "gate attempts on these images by then: 1"
    assert "found no runs whose id begins so" in str(refused("runs", "show", "zzz", *where))


def test_a_second_party_signs_the_head_and_later_finds_it_cut_short(
    world: Path, result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    where = ("--ledger", world / "ledger.sqlite")
    public = software.create(tmp_path / "board.key", PASSPHRASE).public
    secret = tmp_path / "board.txt"
    secret.write_text(PASSPHRASE)
    secret.chmod(0o600)
    signed = tmp_path / "board.head.json"
    sign = ("--sign", tmp_path / "board.key", "--passphrase-file", secret, "--out", signed)
    command("runs", "ledger-head", *where, *sign)
    held = ("--head", signed, "--public-key", public)
    assert "as it was written" in command("runs", "ledger-verify", *where, *held)
    assert "exists already" in str(refused("runs", "ledger-head", *where, *sign))
    forged = tmp_path / "forged.json"
    forged.write_bytes(signed.read_bytes().replace(b'"sig": "', b'"sig": "A'))
    assert "forged.json" in str(refused("runs", "ledger-verify", *where, "--head", forged, "--public-key", public))
    # The attempt and all after it cut off, and nothing remembered of it: only the signed head knows.
    short = tmp_path / "short.sqlite"
    shutil.copyfile(world / "ledger.sqlite", short)
    with sqlite3.connect(short) as database:
        (trigger,) = database.execute("SELECT sql FROM sqlite_master WHERE name = 'ledger_no_delete'").fetchone()
        database.execute("DROP TRIGGER ledger_no_delete")
        database.execute("DELETE FROM ledger_entries WHERE number >= 5")
        database.execute(trigger)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "fresh"))
    cut = ("--ledger", short)
    assert "as it was written" in command("runs", "ledger-verify", *cut)
    assert f"truncated: the signed head {signed}" in command("runs", "ledger-verify", *cut, *held, code=30)
    faults = json.loads(command("runs", "ledger-verify", *cut, "--runs", world / "run", "--json", code=30))["faults"]
    assert [fault["what"] for fault in faults] == ["truncated"]


@pytest.mark.parametrize("printed", ["", "5", "5:abc", "0:" + "a" * 32, "5:" + "A" * 32, "-1:" + "a" * 32])
def test_what_no_report_prints(world: Path, result: RunResult, printed: str):
    where = ("--ledger", world / "ledger.sqlite")
    assert "as in the report" in str(refused("runs", "ledger-verify", *where, "--printed", printed))


def test_a_run_that_fails_leaves_its_rows_and_no_attempt(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("private/images/secret.png")

    monkeypatch.setattr("synguard.runs.execute.prepare", broken)
    with pytest.raises(RuntimeError):
        synguard.generate_and_audit(world / "synguard.yaml", tmp_path / "run", ledger=tmp_path / "ledger.sqlite")
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    assert [entry.kind for entry in ledger.entries()] == ["ledger", "run", "state"]
    state = ledger.entries("state")[0].payload
    assert (state["state"], state["error"]) == ("failed", "RuntimeError")
    assert "secret" not in str(state)


def test_without_a_ledger_nothing_is_begun(world: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"127\.0\.0\.1:1/ledgers: found .*, expected a ledger that can be opened"):
        synguard.generate_and_audit(
            world / "synguard.yaml", tmp_path / "run", ledger="postgresql://127.0.0.1:1/ledgers?connect_timeout=2"
        )
    assert not (tmp_path / "run").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_batch_or_a_probe_has_one_entry(tmp_path: Path):
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    book, rows = RunLedger(ledger, "a"), pd.DataFrame({"sha256": ["1", "2"], "accepted": [True, False]})
    for number, file in enumerate(["f0", "f1", "f1"]):
        book.batch(min(number, 1), rows, file)
    book.probe("membership", "m")
    RunLedger(ledger, "b").batch(0, rows)
    assert book.batches() == {0: "f0", 1: "f1"}
    assert book.probes() == {"membership": "m"}
    book.batch(1, rows, "f2")
    with pytest.raises(IntegrityError, match="entry 6: found batch 1 with rows f2, expected f1"):
        book.batches()
    book.probe("membership", "n")
    with pytest.raises(IntegrityError, match="found probe membership with sha256 n, expected m"):
        book.probes()
    with pytest.raises(IntegrityError, match="an earlier version began the run"):
        RunLedger(ledger, "b").batches()


def material(private: ImageSet, holdout: ImageSet) -> Material:
    return Material(private, holdout, None, None, None, (), holdout)  # type: ignore[arg-type]


def as_jpeg(images: ImageSet) -> ImageSet:
    """Every file renamed, saved again as JPEG, and decoded."""

    def again(pixels: np.ndarray) -> np.ndarray:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "jpeg", quality=90)
        return np.array(Image.open(stream).convert("RGB"))

    names = tuple(f"other/{row}.jpg" for row in range(len(images)))
    return replace(images, files=names, sha256=names, pixels=np.stack([again(pixels) for pixels in images.pixels]))


def test_attempts_are_counted_over_all_sets_that_overlap(tmp_path: Path):
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    sets = [
        phantom_set(f"s{k}", patients=30, images_per_patient=1, size=64, seed=3, first_patient=100 * k) for k in range(8)
    ]
    larger = phantom_set("larger", patients=60, images_per_patient=1, size=64, seed=3, first_patient=20)
    smaller = phantom_set("smaller", patients=30, images_per_patient=1, size=48, seed=3)

    def attempt(run: str, private: ImageSet, holdout: ImageSet) -> float | None:
        return RunLedger(ledger, run).attempt(material(private, holdout)).value

    assert attempt("first", sets[0], sets[1]) == 1
    assert attempt("the same again", sets[0], sets[1]) == 2
    assert attempt("another holdout", sets[0], sets[2]) == 3
    assert attempt("only the holdout is shared", sets[3], sets[1]) == 3
    assert attempt("renamed and saved again", as_jpeg(sets[0]), sets[4]) == 4
    assert attempt("a set that shares ten images", larger, sets[5]) == 5
    assert attempt("decoded at another size", smaller, sets[5]) == 6
    assert attempt("exchanged", sets[1], sets[0]) == 8
    assert attempt("of other patients", sets[6], sets[7]) == 1
    assert attempt("first", sets[0], sets[1]) == 1
    assert len(ledger.entries("attempt")) == 9
