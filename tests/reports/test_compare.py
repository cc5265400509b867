"""What changed between two runs is told, what chance explains is not, and hostile names stay text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reports import compare
from tests.support.runs import Made

Maker = Callable[..., Path]


def test_a_run_and_itself(run_folder: Maker):
    run = run_folder("clean")
    found = compare(run, run)
    assert (found.checks, found.figures, found.inputs) == ((), (), ())
    assert found.unchanged > 0
    assert found.headline.startswith("Both runs ended with")


def test_from_a_clean_run_to_one_with_copies(run_folder: Maker):
    found = compare(run_folder("clean"), run_folder("copies"))
    assert found.verdict.before != found.verdict.after
    moved = {change.what: (change.before.status, change.after.status) for change in found.checks}
    assert ("pass", "fail") in moved.values()
    text = "\n".join(found.lines())
    assert "| before | after |" in text
    assert found.headline in text


def test_a_figure_that_chance_explains_is_not_told(run_folder: Maker, tmp_path: Path):
    def moved(by: float) -> Callable[[Made], None]:
        def change(made: Made) -> None:
            for row in made.results["metrics"]:
                if row["name"] == "membership.black_box.auc":
                    row["value"] += by
                    row["interval"] = [bound + by for bound in row["interval"]]

        return change

    before = run_folder("clean").rename(tmp_path / "before")
    near = run_folder("clean", moved(0.001)).rename(tmp_path / "near")
    far = run_folder("clean", moved(0.4)).rename(tmp_path / "far")
    assert compare(before, near).figures == ()
    assert len(compare(before, far).figures) == 1


def test_what_went_in_is_told(run_folder: Maker, tmp_path: Path):
    def other(made: Made) -> None:
        made.run["config"] = {**made.run.get("config", {}), "seed": 99, "release": {"images": 5}}
        made.run["versions"] = {"torch": "9.9"}

    before = run_folder("clean").rename(tmp_path / "before")
    told = {change.what: change.after.said for change in compare(before, run_folder("clean", other)).inputs}
    assert told["configuration.seed"] == "99"
    assert told["configuration.release.images"] == "5"
    assert told["version.torch"] == "9.9"


@pytest.mark.parametrize("name", ['"><img src=x onerror=alert(1)>', "a|b`c`<b>", "\u202egnp.exe\u202c", "x" * 300])
def test_hostile_names_stay_text(run_folder: Maker, tmp_path: Path, name: str):
    def hostile(made: Made) -> None:
        made.run["config"] = {**made.run.get("config", {}), "name": name, name: name}

    before = run_folder("clean").rename(tmp_path / "before")
    found = compare(before, run_folder("clean", hostile))
    page = found.write(tmp_path / "report" / "compared.html").read_text()
    assert "<img" not in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page
    table = [line for line in found.lines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") == 4 for line in table)
    assert not any(sign in "\n".join(found.lines()) for sign in ("<img", "\u202e"))
    assert json.loads(json.dumps(found.as_dict()))["after"] == name
