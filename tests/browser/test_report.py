"""Debian's Chromium opens both editions from disk: nothing is asked of any network, nothing complains, nothing overflows."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import reports
from tests.support.chromium import Browser, chromium
from tests.support.runs import make_run

pytestmark = pytest.mark.system
BOTH = pytest.mark.parametrize("edition", ["internal", "public"])
OVERFLOWS = """
[...document.body.querySelectorAll("*")].filter(one => {
  const box = one.getBoundingClientRect();
  return box.right > innerWidth + 1 && box.width > 0 && !one.closest(".scroll, .skip, thead");
}).map(one => one.tagName + "." + one.className)
"""
BROKEN = "[...document.images].filter(one => one.complete && !one.naturalWidth).length"


@pytest.fixture(scope="module")
def chromium_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def browser(chromium_: Browser) -> Browser:
    """One browser for all, with nothing noted of the pages before."""
    chromium_.go("about:blank")
    chromium_.complaints.clear()
    chromium_.requests.clear()
    return chromium_


@pytest.fixture(scope="module", params=["clean", "copies", "invalid"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with both editions."""
    folder = make_run(request.param).write(tmp_path_factory.mktemp("browser") / request.param)
    reports.render(folder, "internal")
    reports.render(folder, "public")
    return folder


def page(run: Path, edition: str) -> str:
    return (run / "report" / f"{edition}.html").as_uri()


@BOTH
def test_it_opens_in_silence(browser: Browser, run: Path, tmp_path: Path, edition: str) -> None:
    browser.look(1280, 1000)
    browser.go(page(run, edition))
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
    assert browser.complaints == []
    assert browser.requests == []


def test_a_request_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    """The same watch on a page that does ask for something."""
    asking = tmp_path / "page.html"
    asking.write_text('<!doctype html><img src="http://127.0.0.1:9/x.png" alt="">')
    browser.go(asking.as_uri())
    assert browser.requests == ["http://127.0.0.1:9/x.png"]
    assert browser.complaints


@pytest.mark.parametrize("width", [1280, 390])
@BOTH
def test_nothing_overflows(browser: Browser, run: Path, edition: str, width: int) -> None:
    browser.look(width, 900)
    browser.go(page(run, edition))
    assert browser.ask("innerWidth") == width
    assert browser.ask(OVERFLOWS) == []
    assert browser.ask("document.documentElement.scrollWidth") == width
    assert browser.ask(BROKEN) == 0


def test_an_overflow_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    wide = tmp_path / "page.html"
    wide.write_text('<!doctype html><p class="wide" style="width: 500px">x</p><img src="gone.png" alt="">')
    browser.look(390, 900)
    browser.go(wide.as_uri())
    assert browser.ask(OVERFLOWS) == ["P.wide"]
    assert browser.ask(BROKEN) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@BOTH
def test_everybody_can_read_it(browser: Browser, run: Path, edition: str, scheme: str) -> None:
    """WCAG 2.2 AA as far as a machine can tell, contrast included."""
    browser.look(1280, 900, scheme)
    browser.go(page(run, edition))
    assert browser.violations() == []


def test_the_policy_forbids_what_it_should(browser: Browser, run: Path, tmp_path: Path) -> None:
    """With a script, a style and a foreign picture put in, all three are refused, and the test can see that."""
    html = (run / "report" / "internal.html").read_text()
    copy = tmp_path / "bad.html"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.3)
        foreign = f"http://127.0.0.1:{listening.getsockname()[1]}/x.png"
        bad = f'<script>document.title="owned"</script><p style="color:red">x</p><img src="{foreign}" alt="">'
        copy.write_text(html.replace("</main>", f"{bad}</main>"))
        browser.go(copy.as_uri())
        with pytest.raises(TimeoutError):
            listening.accept()
    assert "owned" not in browser.ask("document.title")
    assert sum("Content Security Policy" in said for said in browser.complaints) >= 3
    assert browser.requests == []


def test_it_prints(browser: Browser, run: Path, tmp_path: Path) -> None:
    browser.go(page(run, "internal"))
    browser.print(tmp_path / "page.pdf")
    content = (tmp_path / "page.pdf").read_bytes()
    boxes = set(re.findall(rb"/MediaBox \[([^\]]+)\]", content))
    assert content.startswith(b"%PDF")
    assert len(boxes) == 1
    left, bottom, right, top = (float(x) for x in boxes.pop().split())
    assert (right - left, top - bottom) == pytest.approx((595, 842), abs=1.5), "A4 in points"


def shown(browser: Browser) -> list[str]:
    """Headings of the pairs that can be seen, as they stand on the page: from the top, then from the left."""
    return list(
        browser.ask(
            """[...document.querySelectorAll(".pair")].filter(one => one.offsetParent)
            .map(one => [one.offsetTop, one.offsetLeft, one.querySelector("h3").textContent])
            .sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(one => one[2])"""
        )
    )


def choose(browser: Browser, value: str) -> None:
    """With the keyboard: the group's checked radio has the focus, and an arrow moves on until it is this one."""
    browser.ask(f"""document.querySelector('[value="{value}"]').closest("fieldset").querySelector(":checked").focus()""")
    for _ in range(6):
        if browser.ask("document.activeElement.value") == value:
            return
        browser.key("ArrowDown")
    raise AssertionError(f"no way to {value}")


@pytest.fixture
def pairs(browser: Browser, tmp_path: Path) -> Browser:
    """The page of a run whose pairs differ in everything that they can be chosen by."""
    made = make_run("copies")
    for i, row in enumerate(made.evidence["memorisation"]["flagged"]):
        row |= {"copied_area": (7 * i % 15) / 15, "match": "moved" if i % 3 else "part-45", "accepted": i in (4, 9)}
    browser.look(1280, 900)
    browser.go(reports.render(made.write(tmp_path / "run"), "internal").as_uri())
    return browser


def test_pairs_are_filtered_with_the_keyboard(pairs: Browser) -> None:
    assert len(shown(pairs)) == 15
    choose(pairs, "let-through")
    assert [name.partition(". ")[2] for name in shown(pairs)] == ["q00004.png", "q00009.png"]
    choose(pairs, "part")
    assert [name.partition(". ")[2] for name in shown(pairs)] == ["q00009.png"]
    assert pairs.ask("getComputedStyle(document.querySelector('.shown'), '::before').content") == "counter(shown)"
    choose(pairs, "all")
    assert pairs.complaints == []


def test_pairs_are_sorted_with_the_keyboard_and_read_in_that_order(pairs: Browser) -> None:
    before = shown(pairs)
    choose(pairs, "file")
    after = [name.partition(". ")[2] for name in shown(pairs)]
    assert after == sorted(after) != [name.partition(". ")[2] for name in before]
    walked = []
    for _ in range(16):
        pairs.key("Tab")
        walked.append(pairs.ask("document.activeElement.closest('.pair')?.querySelector('h3').textContent ?? ''"))
    assert [name for name in walked if name][:15] == shown(pairs), "the focus does not go as the eye does"
    choose(pairs, "area")
    areas = [f"{(7 * i % 15) / 15:.3f}" for i in (int(name[-9:-4]) for name in shown(pairs))]
    assert areas == sorted(areas, reverse=True)


def test_candidate_and_private_image_lie_one_over_the_other(pairs: Browser) -> None:
    images = "[...document.querySelectorAll('#pair-3 img')].slice(0, 2)"
    boxes = f"{images}.map(one => JSON.stringify(one.getBoundingClientRect()))"
    first, second = pairs.ask(boxes)
    assert first != second
    choose(pairs, "over")
    first, second = pairs.ask(boxes)
    assert first == second
    assert pairs.ask(f"{images}.map(one => getComputedStyle(one).opacity)") == ["1", "0.5"]
    assert pairs.violations() == []
    choose(pairs, "beside")
    first, second = pairs.ask(boxes)
    assert first != second


def test_a_pair_opens_at_full_size_and_closes_with_the_keyboard(pairs: Browser) -> None:
    width = "document.querySelector('#pair-3 img').getBoundingClientRect().width"
    small = pairs.ask(width)
    pairs.ask("document.querySelector('#pair-3 .zoom').focus()")
    pairs.key("Enter")
    assert pairs.ask("document.querySelector('#pair-3-full').matches(':popover-open')")
    assert pairs.ask(width) > 2.5 * small
    assert pairs.violations() == []
    pairs.key("Escape")
    assert not pairs.ask("document.querySelector('#pair-3-full').matches(':popover-open')")
    assert pairs.ask(width) == small
    assert pairs.ask("document.activeElement.className") == "zoom"


def test_a_click_on_a_picture_opens_it(pairs: Browser) -> None:
    pairs.ask("document.querySelector('#pair-2').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = pairs.ask("(box => [box.x + 20, box.y + 20])(document.querySelector('#pair-2 img').getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        pairs.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert pairs.ask("document.querySelector('#pair-2-full').matches(':popover-open')")
