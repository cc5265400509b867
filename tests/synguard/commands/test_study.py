"""`synguard review --study` from the command line: what is asked together, what is printed, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from synguard.commands.main import main
from synguard.governance.ledger import Ledger
from synguard.runs.study import open_study
from tests.support.studied import HOSTILE, answer_all, studied_run


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SYNGUARD_LEDGER", str(tmp_path / "ledger" / "ledger.sqlite"))
    return Ledger.open()


@pytest.fixture
def run(tmp_path: Path, ledger: Ledger) -> Path:
    return studied_run(tmp_path / "world", ledger)


def asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["synguard", "review", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    found = capsys.readouterr()
    return int(ended.value.code or 0), found.out, found.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--margin", "0.1"), "--margin: found it alone, expected it beside --study"),
        ((), "Missing option '--reviewer'"),
        (("--study",), "expected --study-images, --reviewer or --results"),
        (("--study", "--margin", "0.1"), "expected --study-images and --margin"),
        (("--study", "--study-images", "6", "--readers", "2"), "expected --study-images and --margin"),
        (("--study", "--export", "x"), "Missing option '--reviewer'"),
        (("--study", "--results", "--import", "x", "--reviewer", "ann"), "--import: found it beside --results"),
        (("--study", "--reviewer", "ann", "--json"), "--json: found it alone, expected it beside --results"),
        (("--study", "--study-images", "2", "--margin", "0.1"), "--study-images: found 2, expected at least 5"),
        (("--study", "--study-images", "99", "--margin", "0.1"), "--study-images: found 99, where 12 can be matched"),
        (("--study", "--study-images", "6", "--margin", "5"), "--margin: found 5, expected"),
        (("--study", "--study-images", "6", "--margin", "0.1", "--readers", "0"), "--readers: found 0, expected"),
        (("--study", "--reviewer", "\u200b"), "no plan of a study"),
    ],
)
def test_bad_input_ends_with_2(run: Path, capsys, monkeypatch, arguments: tuple[str, ...], named: str):
    code, out, err = asked(capsys, monkeypatch, run, *arguments)
    assert (code, out) == (2, "")
    assert named in err
    assert "Traceback" not in err
    assert not (run / "study").exists()


def test_from_plan_to_results(run: Path, ledger: Ledger, tmp_path: Path, capsys, monkeypatch):
    plan = ("--study", "--study-images", 6, "--readers", 2, "--margin", 0.1)
    code, out, err = asked(capsys, monkeypatch, run, *plan)
    assert code == 0
    assert "6 real and 6 synthetic images, AUC within 0.1 of 0.5, decided by the first 2 who finish" in out
    assert "warning: with so few images" in err
    assert asked(capsys, monkeypatch, run, *plan)[0] == 0, "the same again"
    code, _, err = asked(capsys, monkeypatch, run, "--study", "--study-images", 6, "--readers", 2, "--margin", 0.2)
    assert code == 30
    assert "expected the same: its plan is fixed" in err
    code, out, _ = asked(capsys, monkeypatch, run, "--study", "--reviewer", "Bob", "--export", tmp_path / "bob")
    assert (code, (tmp_path / "bob" / "answers.csv").is_file()) == (0, True)
    assert "12 images, half of them of patients" in out
    assert asked(capsys, monkeypatch, run, "--study", "--reviewer", "Bob", "--export", tmp_path / "bob")[0] == 2
    rng = np.random.default_rng(2)
    answer_all(open_study(run), HOSTILE, lambda _: (str(rng.choice(["real", "synthetic"])), 3))
    code, out, _ = asked(capsys, monkeypatch, run, "--study", "--results")
    assert code == 0
    assert out.startswith("undecided: mean AUC")
    assert "1 more must finish" in out
    assert "\u202e" not in out, "a name turns the terminal's text round"
    assert out.endswith("Looking real is not being private.\n")
    code, out, _ = asked(capsys, monkeypatch, run, "--study", "--results", "--json")
    assert json.loads(out)["readers"][0]["name"] == HOSTILE
