"""A whole reader study in Debian's Chromium, by keyboard alone, from `synguard review --study` in processes of their own."""

from __future__ import annotations

import csv
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synguard.governance.ledger import Ledger
from synguard.review.study.answers import KIND
from synguard.review.study.plan import Terms
from synguard.runs.study import open_study
from tests.support.chromium import Browser, chromium
from tests.support.cli import Outcome, synguard
from tests.support.pages import reading
from tests.support.studied import GRADES, HOSTILE, RUN, studied_run

pytestmark = pytest.mark.system
HEADING = "document.querySelector('#image h1').textContent"
CHECKED = "[...document.querySelectorAll('#answer input:checked')].map(one => one.value)"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Ledger.open(tmp_path / "ledger" / "ledger.sqlite")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path / "profile") as found:
        found.look(1280, 900)
        yield found


def study(run: Path, ledger: Ledger, *arguments: object) -> Outcome:
    return synguard("review", run, "--study", "--ledger", ledger.place.file, *arguments, threads=1)


def answer(browser: Browser, *keys: str) -> None:
    """One answer by keyboard, until the page shows what comes after it."""
    before = browser.ask(HEADING)
    for key in keys:
        browser.key(key)
    browser.key("Enter")
    browser.wait(f"{HEADING} !== {json.dumps(before)}")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def said(ledger: Ledger, reviewer: str) -> list[tuple[str, int | None, dict[str, str]]]:
    found = [entry.payload for entry in ledger.entries(KIND, RUN) if entry.payload["reviewer"] == reviewer]
    return [(one["answer"], one.get("confidence"), one.get("seen", {})) for one in found]


def test_a_whole_study(tmp_path: Path, ledger: Ledger, browser: Browser):
    """Plan, a reader by keyboard who is killed and goes on, a reader elsewhere, results in ledger and report."""
    run = studied_run(tmp_path / "world", ledger)
    assert study(run, ledger, "--reviewer", "ann").code == 2, "nobody reads before there is a plan"
    done = study(run, ledger, "--study-images", 6, "--readers", 2, "--margin", 0.2)
    assert done.code == 0, done
    assert "is fixed: 6 real and 6 synthetic images" in done.stdout
    changed = study(run, ledger, "--study-images", 6, "--readers", 2, "--margin", 0.3)
    assert changed.code == 30
    assert changed.stderr.count("\n") == 1
    with reading(run, ledger, "ann", "--study") as (process, link):
        browser.go(link)
        assert browser.ask("location.search") == "", "the token stays in the address"
        assert browser.ask(HEADING) == "Image 1 of 12"
        browser.key("Enter")
        assert browser.ask(HEADING) == "Image 1 of 12", "it asks for what is missing"
        browser.key("s")
        browser.key("r")
        browser.key("2")
        browser.key("4")
        assert browser.ask(CHECKED) == ["real", "4"]
        browser.key("?", shift=True)
        assert browser.ask("document.querySelector('#help').open")
        browser.key("s")
        browser.key("Escape")
        assert browser.ask(CHECKED) == ["real", "4"], "keys do nothing behind the help"
        browser.key("c")
        assert browser.ask("document.activeElement.id") == "condition-0"
        browser.key("ArrowDown")
        browser.key("ArrowDown")
        browser.key("Tab")
        browser.key("y")
        assert browser.ask("document.querySelector('#condition-1').value") == "1", "letters choose in a list"
        browser.key("Escape")
        browser.key("+", shift=True)
        zoomed = "getComputedStyle(document.querySelector('.frame img')).transform"
        assert browser.ask(zoomed).startswith("matrix(2,")
        answer(browser)
        assert said(ledger, "ann") == [("real", 4, {"grade": GRADES[1], "drusen": "1"})]
        assert browser.ask(CHECKED) == [], "the next image starts anew"
        answer(browser, "s", "5")
        browser.key("u")
        browser.wait(f"{HEADING} === 'Image 2 of 12'")
        answer(browser, "s", "1")
        assert [one[:2] for one in said(ledger, "ann")] == [
            ("real", 4),
            ("synthetic", 5),
            ("undone", None),
            ("synthetic", 1),
        ]
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        browser.key("r")
        browser.key("3")
        browser.key("Enter")
        browser.wait("document.querySelector('.problem').textContent.startsWith('Perhaps not recorded')")
        assert browser.ask(CHECKED) == ["real", "3"], "what was said is still there"
    assert len(said(ledger, "ann")) == 4
    browser.complaints.clear()
    with reading(run, ledger, "ann", "--study") as (_, link):
        browser.go(link)
        assert browser.ask(HEADING) == "Image 3 of 12"
        for number in range(10):
            answer(browser, "rs"[number % 2], str(1 + number % 5))
        assert browser.ask(HEADING) == "You have answered on all images"
    assert browser.complaints == []
    out = tmp_path / "lund"
    assert study(run, ledger, "--reviewer", "B. Lund", "--export", out).code == 0
    rows = list(csv.DictReader((out / "answers.csv").open(newline="", encoding="utf-8-sig")))
    for number, row in enumerate(rows):
        row |= {"answer": ("real", "synthetic")[number % 2], "confidence": str(1 + number % 5)}
    with (out / "answers.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[:-1])
    broken = study(run, ledger, "--reviewer", "B. Lund", "--import", out / "answers.csv")
    assert (broken.code, broken.stderr.count("\n")) == (2, 1)
    assert said(ledger, "B. Lund") == []
    with (out / "answers.csv").open("a", newline="") as stream:
        csv.DictWriter(stream, list(rows[0])).writerow(rows[-1])
    taken = study(run, ledger, "--reviewer", "B. Lund", "--import", out / "answers.csv")
    assert (taken.code, taken.stdout.split()[-3:]) == (0, ["12", "new", "answers"])
    shown = study(run, ledger, "--results", "--json")
    found = json.loads(shown.stdout)
    assert [reader["name"] for reader in found["readers"]] == ["ann", "B. Lund"]
    assert found["waiting"] == 0
    assert sum(map(sum, found["confusion"])) == 24
    assert found == json.loads(json.dumps(_plain(run, ledger)))
    assert ledger.verify() == ()
    browser.go((run / "report" / "internal.html").as_uri())
    words = browser.ask("document.querySelector('#study').textContent")
    assert "Looking real is not being private" in words
    assert f"{found['auc']['value']:.3f}" in words
    assert browser.violations() == []


def _plain(run: Path, ledger: Ledger) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(open_study(run, ledger.place).results())


def test_tab_and_enter_alone(tmp_path: Path, ledger: Ledger, browser: Browser):
    """Without single keys, as for somebody whose own tools use them."""
    run = studied_run(tmp_path / "world", ledger)
    open_study(run, ledger.place).fix(Terms(images=5, readers=2, margin=0.2))
    with reading(run, ledger, "ann", "--study") as (_, link):
        browser.go(link)
        tab_to(browser, "document.activeElement.id === 'help-button'")
        browser.key("Enter")
        tab_to(browser, "document.activeElement.id === 'keys'")
        browser.key(" ")
        browser.key("Escape")
        browser.key("s")
        assert browser.ask(CHECKED) == [], "single keys are off"
        tab_to(browser, "document.activeElement.value === 'real'")
        browser.key(" ")
        tab_to(browser, "document.activeElement.name === 'confidence'")
        browser.key("ArrowRight")
        tab_to(browser, "document.activeElement.matches('.record')")
        browser.key("Enter")
        browser.wait(f"{HEADING} === 'Image 2 of 10'")
        until(lambda: [one[:2] for one in said(ledger, "ann")] == [("real", 2)])


def tab_to(browser: Browser, condition: str) -> None:
    for _ in range(40):
        if browser.ask(condition):
            return
        browser.key("Tab")
    raise AssertionError(f"Tab never leads to {condition}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 800)])
def test_it_is_accessible(tmp_path: Path, ledger: Ledger, browser: Browser, scheme: str, width: int, height: int):
    run = studied_run(tmp_path / "world", ledger, name=HOSTILE, attribute=HOSTILE, levels=(HOSTILE, "mild"))
    open_study(run, ledger.place).fix(Terms(images=5, readers=2, margin=0.2))
    with reading(run, ledger, HOSTILE, "--study") as (_, link):
        browser.look(width, height, scheme)
        browser.go(link)
        picture = tmp_path / "page.png"
        browser.screenshot(picture)
        assert picture.stat().st_size > 10_000
        assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
        assert browser.violations() == []
        browser.key("s")
        browser.key("4")
        assert browser.violations() == [], "with something chosen"
        browser.key("?", shift=True)
        assert browser.violations() == []
        browser.key("Escape")
        for _ in range(10):
            answer(browser, "r", "2")
        assert browser.violations() == []
        assert "owned" not in browser.ask("document.title").partition("Reader study")[0]
        assert browser.ask("document.querySelectorAll('header img').length") == 0
    assert browser.complaints == []
