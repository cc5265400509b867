"""The section on readers: names and verdicts in the internal edition, nothing of either in the public one."""

from __future__ import annotations

import json
from pathlib import Path

import reports
from tests.support.page import read
from tests.support.runs import make_run

HOSTILE = '"><img src=x onerror=alert(1)>\u202e'


def review(name: str) -> dict[str, object]:
    reader = {"name": name, "judged": 8, "known": 5, "found": 4, "controls": 2, "alarms": 1, "interval": [0.28, 0.99]}
    pair = {"file": "q00000.png", "accepted": False, "verified": True, "verdict": "copy", "contested": False}
    open_ = {"file": "000003.png", "accepted": True, "verified": False, "verdict": None, "contested": True}
    return {
        "readers": [reader],
        "agreement": {"readers": [name, "bob"], "n": 8, "kappa": 0.61, "interval": [0.2, 0.9], "bounds": [0.3, 0.8]},
        "pairs": [pair | {"said": [[name, "copy", f"the disc {name}"]]}, open_ | {"said": [["bob", "unsure", ""]]}],
    }


def test_the_internal_edition_shows_readers(tmp_path: Path):
    run = make_run("copies").write(tmp_path / "run")
    (run / "review.json").write_text(json.dumps(review(HOSTILE)))
    page = read(reports.render(run, "internal").read_text())
    assert page.faults == []
    words = page.text("review")
    assert "1 of 2 flagged pairs are open, 1 of them since readers differ" in words
    assert "kappa 0.61 (0.20 to 0.90)" in words
    assert "4 of 5" in words
    assert HOSTILE in words
    assert words.index("000003.png") < words.index("q00000.png"), "open pairs first"
    assert not [image for image in page.all("img") if image["src"] == "x"]
    public = reports.render(run, "public").read_text()
    assert "onerror" not in public
    assert "bob" not in public
    assert 'id="review"' not in public


def test_nobody_has_looked(tmp_path: Path):
    run = make_run("clean").write(tmp_path / "run")
    assert "Nobody has looked" in read(reports.render(run, "internal").read_text()).text("review")
