"""The section on fidelity: each figure beside what real against real gives."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Cell, Section, Table
from reports.facts import FidelityFact
from reports.numbers import Numbers
from reports.plots import strip
from reports.sections.shared import absent
from reports.wording import FIDELITY, metric_title

__all__ = ["fidelity"]


def fidelity(facts: Sequence[FidelityFact], numbers: Numbers) -> Section:
    """Each figure beside what real against real gives."""
    lead = (
        "How close are the candidates to real images as a whole? Each figure stands beside its floor: what two sets"
        " of real images of different patients give."
    )
    if not facts:
        return Section("fidelity", "Fidelity", lead, absent("fidelity"))
    body = []
    for one in facts:
        short = one.name.removeprefix("fidelity.")
        top = max([1.0 if short in {"precision", "recall", "coverage"} else 0.0, *_ends(one)]) * 1.05 or 1.0
        body.append(
            (
                Cell(metric_title(f"fidelity.{short}"), under=FIDELITY.get(short, "")),
                Cell(drawing=strip(one.value, one.interval, low=0, high=top, mark=one.floor)),
                Cell(numbers.plain(one.value), under=numbers.interval(one.interval)),
                Cell(numbers.plain(one.floor)),
                Cell(numbers.count(one.n)),
            )
        )
    table = Table(
        caption="Fidelity. Distances are in units of the extractor; compare each with its own floor only.",
        header=("Figure", "From 0, mark at the floor", "Value", "Real against real", "n"),
        rows=tuple(body),
        right=(2, 3, 4),
    )
    return Section("fidelity", "Fidelity", lead, (table,))


def _ends(one: FidelityFact) -> list[float]:
    return [x for x in (one.value, one.floor, one.interval[1] if one.interval else None) if x is not None]
