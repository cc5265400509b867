"""The report as PDF, read back by pypdf: A4, numbered, the same bytes, nothing fetched, nothing private in public."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pypdf
import pytest

import reports
from synguard.errors import InputError
from tests.support.runs import Made

RunFolder = Callable[..., Path]


def words(path: Path) -> str:
    return " ".join(" ".join(page.extract_text() for page in pypdf.PdfReader(path).pages).split())


def test_without_the_extra_one_line_says_what_to_install(run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder("clean")
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(InputError, match=r"--format pdf: found no WeasyPrint .*pip install 'synguard\[pdf\]'"):
        reports.render_pdf(run, "public")
    assert not (run / "report").exists()


@pytest.mark.system
@pytest.mark.parametrize("edition", ["internal", "public"])
def test_it_reads_back(run_folder: RunFolder, edition: reports.Edition) -> None:
    path = reports.render_pdf(run_folder("copies"), edition)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pages = pypdf.PdfReader(path).pages
    assert len(pages) > 4
    for number, page in enumerate(pages, start=1):
        assert (float(page.mediabox.width), float(page.mediabox.height)) == pytest.approx((595.28, 841.89), abs=0.1)
        assert f"{number} / {len(pages)}" in page.extract_text()
        assert f"{edition} edition" in page.extract_text()
    said = words(path)
    assert "Do not release: 15 of 1,000 candidates are copies of private images." in said
    assert "fallback" not in said
    assert ("patient-4003/left.png" in said) == (edition == "internal")
    pictures = sum(len(page.images) for page in pages)
    assert pictures >= 45 if edition == "internal" else pictures == 0


@pytest.mark.system
def test_other_processes_write_the_same_bytes(run_folder: RunFolder) -> None:
    run = run_folder("clean")
    program = "import sys, pathlib, reports; reports.render_pdf(pathlib.Path(sys.argv[1]), 'public')"
    found = []
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        subprocess.run([sys.executable, "-c", program, str(run)], check=True, env=environment)
        found.append((run / "report" / "public.pdf").read_bytes())
    assert found[0] == found[1]


@pytest.mark.system
def test_nothing_is_fetched(run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where a page asks for it: one that a template could never make."""
    run = run_folder("clean")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/x.png"
        asking = (
            f'<img src="{address}" alt=""><img src="file:///etc/hostname" alt=""><link rel="stylesheet" href="{address}">'
        )
        monkeypatch.setattr("reports.paper.page", lambda view: f"<!doctype html><p>here</p>{asking}")
        path = reports.render_pdf(run, "public")
        with pytest.raises(TimeoutError):
            listening.accept()
    assert words(path).startswith("here")


@pytest.mark.system
def test_hostile_names_stay_text(run_folder: RunFolder) -> None:
    hostile = '"><svg onload=x><style>*{display:none}</style>'

    def change(made: Made) -> None:
        for row in made.evidence["memorisation"]["flagged"]:
            row["file"] = hostile

    said = words(reports.render_pdf(run_folder("copies", change), "internal"))
    assert said.count("onload=x") >= 15
    assert "Reproduction" in said
