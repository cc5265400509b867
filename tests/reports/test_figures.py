"""The matplotlib figures hold the numbers of the run, whatever its names are."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from reports import evidence, figures
from reports.runfolder import read_run
from synguard.errors import InputError
from tests.support.runs import FOUND, GRADES, Made

RunFolder = Callable[..., Path]
ALL: dict[str, Callable[[Path], Figure]] = {
    "distances": figures.distances,
    "p_values": figures.p_values,
    "roc": figures.roc,
    "power": figures.power,
    "quarantine": figures.quarantine,
    "confusion": lambda run: figures.confusion(run, "grade"),
}
HOSTILE = ('"><img src=x onerror=alert(1)>', "$\\frac{1}{0$", "\u202egnp.exe", "a" * 300, "_hidden")


@pytest.mark.parametrize("name", ALL)
def test_a_figure_shows_itself(run_folder: RunFolder, name: str) -> None:
    figure = ALL[name](run_folder("copies"))
    shown = figure._repr_png_()  # type: ignore[attr-defined]
    pixels = np.asarray(Image.open(io.BytesIO(shown)).convert("L"))
    assert pixels.std() > 5
    assert figures.__all__ == sorted(ALL)


def test_the_roc_is_that_of_the_run(run_folder: RunFolder) -> None:
    run = run_folder("clean")
    facts = evidence.membership(read_run(run).evidence)
    assert facts is not None
    axes = figures.roc(str(run)).axes
    assert len(axes) == len(facts.probes) == 2
    for one, probe in zip(axes, facts.probes, strict=True):
        _, line = one.get_lines()
        assert probe.roc is not None
        assert tuple(line.get_xdata()) == probe.roc.fpr
        assert tuple(line.get_ydata()) == probe.roc.tpr
        assert (one.get_xscale(), one.get_yscale()) == ("log", "log")
        band = one.collections[0].get_paths()[0].vertices
        assert {round(y, 9) for y in probe.roc.high} <= {round(float(y), 9) for y in np.asarray(band)[:, 1]}


def test_distances_and_p_values_are_those_of_the_run(run_folder: RunFolder) -> None:
    run = run_folder("copies")
    facts = evidence.copies(read_run(run).evidence)
    assert facts is not None
    for axes, series in zip(figures.distances(run).axes, facts.scores, strict=True):
        values, edges, _ = axes.patches[0].get_data()  # type: ignore[attr-defined]
        assert tuple(edges) == series.edges
        assert np.square(values) * max(series.counts) == pytest.approx(np.array(series.counts))
        assert list(axes.get_lines()[0].get_xdata()) == [0.76, 0.76]
    assert figures.distances(run).axes[0].get_title(loc="left") == "Candidates: 15 of 1,000 beyond the threshold"
    assert facts.p_values is not None
    heights, _, _ = figures.p_values(run).axes[0].patches[0].get_data()  # type: ignore[attr-defined]
    assert heights * facts.p_values.total / 20 == pytest.approx(np.array(facts.p_values.counts))


def test_power_and_quarantine_and_confusion_are_those_of_the_run(run_folder: RunFolder) -> None:
    run = run_folder("copies")
    lines = figures.power(run).axes[0].get_lines()
    points = [float(line.get_xdata()[0]) for line in lines if len(line.get_xdata()) == 1]  # type: ignore[arg-type]
    assert points[::-1] == [found / 100 for found in FOUND.values()]
    batches = evidence.batches(read_run(run).evidence, read_run(run).images)
    bars = [[bar.get_height() for bar in stack] for stack in figures.quarantine(run).axes[0].containers]  # type: ignore[union-attr]
    assert bars == [
        [batch.accepted for batch in batches],
        [batch.refused_copies for batch in batches],
        [batch.refused_labels for batch in batches],
    ]
    labels = evidence.labels(read_run(run).evidence)
    assert labels is not None
    first, second = figures.confusion(run, "grade").axes
    for axes, cells in ((first, labels.attributes[0].confusion), (second, labels.attributes[0].ceiling_confusion)):
        shown = np.asarray(axes.images[0].get_array())
        assert shown == pytest.approx(np.array(cells) / np.array(cells).sum(axis=1, keepdims=True))
        assert tuple(label.get_text() for label in axes.get_xticklabels()) == GRADES


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_stay_text(run_folder: RunFolder, hostile: str) -> None:
    def change(made: Made) -> None:
        for row in made.evidence["memorisation"]["planted"]:
            row["transform"] = hostile
        for row in made.evidence["membership"]["probes"]:
            row["name"] = hostile
        made.evidence["labels"]["attributes"][0]["levels"] = [f"{hostile}{i}" for i in range(5)]

    run = run_folder("clean", change)
    for make in ALL.values():
        assert make(run)._repr_png_()  # type: ignore[attr-defined]
    named = figures.power(run).axes[0].get_yticklabels()
    assert all(label.get_text() and label.get_text().isprintable() and len(label.get_text()) <= 48 for label in named)
    assert not any(label.get_parse_math() for label in named)


def test_what_is_not_there_is_said_in_one_line(run_folder: RunFolder) -> None:
    run = run_folder("clean", lambda made: made.evidence.clear())
    for make in (figures.distances, figures.p_values, figures.roc, figures.power):
        with pytest.raises(InputError, match=r"run-clean: found no .*, expected a run whose audit left it"):
            make(run)
    with pytest.raises(InputError, match="found no attribute 'grade', expected one of: none, no labels were read"):
        figures.confusion(run, "grade")


def test_reports_do_not_wait_for_matplotlib_and_pyplot_is_left_alone() -> None:
    words = "import sys, reports; print('matplotlib' in sys.modules); from reports import figures; "
    words += "print('matplotlib.pyplot' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert found.stdout.strip().split() == ["False", "False"]
