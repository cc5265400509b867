"""Debian's Chromium opens both editions from disk: nothing is asked of any network, nothing complains, nothing overflows."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from html import escape
from pathlib import Path

import pytest

import reports
from tests.support.runs import make_run

pytestmark = pytest.mark.system
# Chromium must not keep an empty profile's background services from the network busy while it is watched.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
# A window cannot be narrower than 500 px, a frame can.
FRAME = """<!doctype html><body>
<iframe width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  const view = document.querySelector("iframe").contentWindow, inner = view.document, wide = [];
  for (const one of inner.body.querySelectorAll("*")) {{
    const box = one.getBoundingClientRect(), hidden = box.width === 0 || one.closest(".scroll, .skip, thead");
    if (box.right > view.innerWidth + 1 && !hidden) wide.push(one.tagName + "." + one.className);
  }}
  const broken = [...inner.images].filter(one => one.complete && !one.naturalWidth).length;
  const found = [view.innerWidth, inner.documentElement.scrollWidth, wide.slice(0, 5).join(" "), broken];
  document.body.dataset.found = found.join("|");
}});
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    """Chromium's path."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium: apt-get install chromium")
    return found


@pytest.fixture(scope="module", params=["clean", "copies", "invalid"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with both editions."""
    folder = make_run(request.param).write(tmp_path_factory.mktemp("browser") / request.param)
    reports.render(folder, "internal")
    reports.render(folder, "public")
    return folder


def _chromium(browser: str, profile: Path, *arguments: str) -> tuple[str, str]:
    """What Chromium writes to its two outputs; all its processes end with it."""
    command = [browser, *FLAGS, f"--user-data-dir={profile}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        return process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("edition", ["internal", "public"])
def test_it_opens_in_silence(browser: str, run: Path, tmp_path: Path, edition: str) -> None:
    page, log = run / "report" / f"{edition}.html", tmp_path / "net.json"
    picture = tmp_path / "page.png"
    _, complaints = _chromium(
        browser,
        tmp_path / "profile",
        "--window-size=1280,1000",
        f"--log-net-log={log}",
        f"--screenshot={picture}",
        page.as_uri(),
    )
    assert picture.stat().st_size > 20_000
    assert "CONSOLE" not in complaints, complaints
    assert _asked_for(log) == set()


def test_a_request_would_be_seen(browser: str, tmp_path: Path) -> None:
    """The same watch on a page that does ask for something."""
    page, log = tmp_path / "page.html", tmp_path / "net.json"
    page.write_text('<!doctype html><img src="http://127.0.0.1:9/x.png" alt="">')
    _chromium(browser, tmp_path / "profile", f"--log-net-log={log}", f"--screenshot={tmp_path / 'x.png'}", page.as_uri())
    assert _asked_for(log) == {"http://127.0.0.1:9/x.png"}


def _asked_for(log: Path) -> set[str]:
    """What the page asked of a network; what the browser asks by itself has no origin."""
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    return {
        said["url"]
        for said in events
        if re.match("(https?|wss?|ftp):", str(said.get("url"))) and said.get("initiator", "not an origin") != "not an origin"
    }


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("edition", ["internal", "public"])
def test_nothing_overflows(browser: str, run: Path, tmp_path: Path, edition: str, width: int) -> None:
    html = (run / "report" / f"{edition}.html").read_text()
    # The page itself runs no script, so a copy of it is measured, without the policy that forbids it.
    open_ = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    assert open_ != html
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width, page=escape(open_, quote=True)))
    dom, _ = _chromium(browser, tmp_path / "profile", "--window-size=1400,1000", "--dump-dom", frame.as_uri())
    found = re.search(r'data-found="([^"]*)"', dom)
    assert found is not None
    inner, scroll, wide, broken = found[1].split("|")
    assert int(inner) == width
    assert (int(scroll), wide, broken) == (width, "", "0")


def test_the_policy_forbids_what_it_should(browser: str, run: Path, tmp_path: Path) -> None:
    """With a script, a style and a foreign picture put in, all three are refused, and the test can see that."""
    html = (run / "report" / "internal.html").read_text()
    bad = '<script>document.title="owned"</script><p style="color:red">x</p><img src="http://127.0.0.1:9/x.png" alt="">'
    copy = tmp_path / "bad.html"
    copy.write_text(html.replace("</main>", f"{bad}</main>"))
    dom, complaints = _chromium(browser, tmp_path / "profile", "--dump-dom", copy.as_uri())
    assert "<title>owned" not in dom
    assert complaints.count("Content Security Policy") >= 3


def test_it_prints(browser: str, run: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.pdf"
    page = run / "report" / "internal.html"
    _chromium(browser, tmp_path / "profile", "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri())
    content = target.read_bytes()
    boxes = set(re.findall(rb"/MediaBox \[([^\]]+)\]", content))
    assert content.startswith(b"%PDF")
    assert len(boxes) == 1
    left, bottom, right, top = (float(x) for x in boxes.pop().split())
    assert (right - left, top - bottom) == pytest.approx((595, 842), abs=1.5), "A4 in points"
