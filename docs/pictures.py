"""Takes the pictures of docs/reports.md anew: reports of three invented runs, as Chromium shows them.

    make pictures

Every image in them is drawn by code and every figure invented (tests/support/runs.py); no patient is in any. Needs Debian's
chromium, which tests/system/install fetches.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

import reports

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
from support.chromium import Browser, chromium  # noqa: E402
from support.runs import Made, make_run  # noqa: E402

FIRST_SCREEN = (1280, 860)
PHONE = (390, 860)
AT_THE_TOP = "window.scrollTo({top: 0, behavior: 'instant'})"


def run_of(kind: str) -> Made:
    """An invented run; its pairs differ in what they can be chosen by."""
    made = make_run(kind)
    for i, row in enumerate(made.evidence["memorisation"]["flagged"]):
        row |= {"match": "framed" if i % 3 else "moved", "copied_area": 1 - (5 * i % 15) / 20}
    return made


def take(browser: Browser, page: Path, target: Path, size: tuple[int, int], scheme: str, before: str = AT_THE_TOP) -> None:
    """One window full of a page, after what `before` does there."""
    browser.look(*size, scheme)
    browser.go(page.as_uri())
    browser.ask(before)
    shot = target.with_suffix(".png")
    browser.screenshot(shot)
    with Image.open(io.BytesIO(shot.read_bytes())) as image:
        image.convert("RGB").save(target, quality=82, method=6)
    shot.unlink()
    print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")


def to(place: str) -> str:
    """The page moved to an element."""
    return f"document.querySelector('{place}').scrollIntoView({{behavior: 'instant'}})"


def main(folder: Path) -> None:
    """All pictures, into a folder."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, chromium(Path(scratch) / "profile") as browser:
        pages = {}
        for kind in ("clean", "copies", "invalid"):
            run = run_of(kind).write(Path(scratch) / kind)
            pages[kind] = reports.render(run, "internal")
            take(browser, pages[kind], folder / f"{kind}.webp", FIRST_SCREEN, "light")
        public = reports.render(pages["clean"].parents[1], "public")
        take(browser, public, folder / "public.webp", FIRST_SCREEN, "light")
        take(browser, pages["copies"], folder / "pairs.webp", FIRST_SCREEN, "light", to("#pairs"))
        opened = "document.querySelector('#pair-2-full').showPopover()"
        take(browser, pages["copies"], folder / "full-size.webp", FIRST_SCREEN, "light", opened)
        take(browser, pages["clean"], folder / "copies-section-dark.webp", FIRST_SCREEN, "dark", to("#copies"))
        take(browser, pages["invalid"], folder / "phone-dark.webp", PHONE, "dark")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "pictures")
