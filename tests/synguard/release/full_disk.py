"""Releases onto file systems in memory, of 4 to 160 KiB, and prints which were whole: `full_disk.py FOLDER`.

Needs a mount namespace of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

# Another distribution installs a package named `tests`, which would hide ours outside of pytest.
sys.modules["tests"] = ModuleType("tests")
sys.modules["tests"].__path__ = [str(Path(__file__).parents[2])]

from synguard.errors import SynguardError  # noqa: E402
from synguard.release.documents import Details  # noqa: E402
from synguard.release.layouts import LAYOUTS  # noqa: E402
from synguard.release.make import release  # noqa: E402
from synguard.release.verify import verify  # noqa: E402
from tests.support.governed import NOW, approved_run, key, trust  # noqa: E402

DETAILS = Details(title="Tiny", publisher="Hospital X", contact="x@example.org", licence="cc-by-4.0")


def outcome(run: Path, small: Path, layout: str) -> str:
    """What came of a release onto a small disk."""
    try:
        release(run, small / "out", trust(), key("e.moss"), DETAILS, layout=layout, now=NOW)
    except SynguardError as error:
        return "full" if "found no room left" in str(error) and not list(small.iterdir()) else f"wrong: {error}"
    verify(small / "out", trust(), NOW)
    return "whole"


def main(root: Path) -> None:
    """All layouts on all sizes."""
    run, small = approved_run(root / "run"), root / "small"
    small.mkdir()
    for layout in LAYOUTS:
        for pages in range(1, 41, 3):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4096 * pages}", "none", small], check=True)
            print(layout, outcome(run, small, layout))
            subprocess.run(["umount", small], check=True)


main(Path(sys.argv[1]))
