"""The section on quarantine: what became of the candidates."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Cell, Figure, Figures, Section, Table
from reports.facts import BatchFact
from reports.numbers import Numbers
from reports.plots import batch_bars
from reports.sections.shared import absent

__all__ = ["quarantine"]


def quarantine(facts: Sequence[BatchFact], numbers: Numbers) -> Section:
    """What became of the candidates, batch by batch."""
    lead = (
        "Candidates that a stage refused were set aside, counted and replaced; they are never released. A generator"
        " that copies now and then is not made safe by filtering, so refused copies still count."
    )
    if not facts:
        return Section("quarantine", "Quarantine", lead, absent("quarantine"))
    examined = sum(b.examined for b in facts)
    kinds = (
        ("Accepted", sum(b.accepted for b in facts)),
        ("Refused as copies or sheets", sum(b.refused_copies for b in facts)),
        ("Refused for their labels", sum(b.refused_labels for b in facts)),
    )
    table = Table(
        caption=f"{numbers.count(examined)} candidates were examined.",
        header=("Fate", "Images", "Share"),
        rows=tuple(
            (
                Cell(name),
                Cell(numbers.count(count)),
                Cell(numbers.share_of(count / examined if examined else None, examined)),
            )
            for name, count in kinds
        ),
        right=(1, 2),
    )
    if numbers.coarse or len(facts) < 2:
        return Section("quarantine", "Quarantine", lead, (table,))
    drawing = batch_bars(facts, numbers)
    figure = Figure("Batch by batch", drawing, "A rising share of refusals would mean that the generator drifts.")
    return Section("quarantine", "Quarantine", lead, (Figures((figure,)), table))
