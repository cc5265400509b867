"""The section on labels: asked against read, beside what the diagnostic model can do at all."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Block, Cell, Matrices, Matrix, Section, Table
from reports.facts import AttributeFact, ContinuousFact, LabelFacts
from reports.numbers import ABSENT, Numbers
from reports.plots import strip
from reports.sections.shared import absent, scale_start

__all__ = ["labels"]


def labels(facts: LabelFacts | None, numbers: Numbers) -> Section:
    """Asked against read, beside what the diagnostic model can do at all."""
    lead = (
        "Do the images show what their labels say? A diagnostic model reads each image; its agreement with what was"
        " asked is judged against its own agreement with the truth on real images, the ceiling."
    )
    if facts is None:
        return Section("labels", "Labels", lead, absent("labels"))
    blocks: list[Block] = [_agreement(facts.attributes, numbers)] if facts.attributes else []
    blocks += [m for one in facts.attributes if len(one.levels) > 2 and (m := _matrices(one))]
    if facts.continuous:
        blocks.append(_correlations(facts.continuous, numbers))
    return Section("labels", "Labels", lead, tuple(blocks))


def _agreement(attributes: Sequence[AttributeFact], numbers: Numbers) -> Table:
    body = []
    start = scale_start([(one.share_interval or (one.share,))[0] for one in attributes])
    for one in attributes:
        hidden = numbers.hides(one.agreement, one.n)
        body.append(
            (
                Cell(one.name, under=one.kind),
                Cell(drawing=strip(one.share, one.share_interval, low=start, high=1.1, mark=1.0)),
                Cell(numbers.share(one.share), under=numbers.interval(one.share_interval, "share")),
                Cell(
                    numbers.share_of(one.agreement, one.n), under="" if hidden else numbers.interval(one.interval, "share")
                ),
                Cell(numbers.share(one.ceiling)),
                Cell(numbers.count(one.n)),
            )
        )
    return Table(
        caption="Agreement as a share of the ceiling, for each condition.",
        header=(
            "Condition",
            f"From {100 * start:g} to 110\u00a0%, mark at the ceiling",
            "Share of ceiling",
            "Agreement",
            "Ceiling",
            "n",
        ),
        rows=tuple(body),
        right=(2, 3, 4, 5),
    )


def _correlations(found: Sequence[ContinuousFact], numbers: Numbers) -> Table:
    return Table(
        caption="Conditions that are numbers: correlation of asked and read, beside that of true and read on real images.",
        header=("Condition", "From 0 to 1, mark at the ceiling", "Correlation", "Ceiling", "n"),
        rows=tuple(
            (
                Cell(one.name),
                Cell(drawing=strip(one.correlation, one.interval, mark=one.ceiling)),
                Cell(numbers.plain(one.correlation), under=numbers.interval(one.interval)),
                Cell(numbers.plain(one.ceiling)),
                Cell(numbers.count(one.n)),
            )
            for one in found
        ),
        right=(2, 3, 4),
    )


def _matrices(one: AttributeFact) -> Matrices | None:
    named = (
        ("Candidates: asked, then read", one.confusion, "asked"),
        ("Real images: true, then read", one.ceiling_confusion, "true"),
    )
    found = tuple(
        Matrix(title, one.levels, _shaded(cells), rows_are)
        for title, cells, rows_are in named
        if cells and len(cells) == len(one.levels) == len(cells[0])
    )
    return Matrices(f"{one.name}: which level was taken for which", found) if found else None


def _shaded(cells: Sequence[Sequence[float]]) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Shares of each row with a shade from 0 to 10; what is withheld is negative."""
    shown = []
    for row in cells:
        total = sum(max(cell, 0.0) for cell in row) or 1.0
        empty = all(cell < 0 for cell in row)
        shown.append(tuple(_shade(cell, cell / total, ABSENT if empty else "few") for cell in row))
    return tuple(shown)


def _shade(cell: float, share: float, withheld: str) -> tuple[str, int]:
    return (withheld, 0) if cell < 0 else (f"{100 * share:.0f}\u00a0%", round(10 * share))
