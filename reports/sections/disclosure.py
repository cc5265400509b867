"""The section on disclosure risks per patient: attack, control and naive baseline side by side."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Block, Cell, Note, Section, Table
from reports.facts import AttackFact, DisclosureFacts
from reports.numbers import ABSENT, Numbers
from reports.plots import strip
from reports.sections.shared import absent
from reports.wording import STATE_WORDS

__all__ = ["disclosure"]

_LEAD = (
    "Three questions of data protection law, each put as an attack on one patient after another. Singling out: does a "
    "released image fit one patient and nobody else? Linkability: do two views of a patient lead to the same released "
    "image? Inference: does the label of the nearest released image tell something about the patient? The same attack on "
    "holdout patients, whom the model never saw, is the control: what any picture of such patients gives away. The risk is "
    "what the release adds."
)
_NAMES = {"singling_out": "Singling out", "linkability": "Linkability", "inference": "Inference"}


def disclosure(facts: DisclosureFacts | None, numbers: Numbers, more: Sequence[Block] = ()) -> Section:
    """One row an attack and attribute; `more` are blocks of the internal edition."""
    if facts is None or not facts.attacks:
        return Section("disclosure", "Disclosure risks", _LEAD, absent("disclosure risks"))
    blocks: list[Block] = []
    if facts.state == "invalid":
        words = (
            "Invalid: private set and holdout can be told apart without the model, so the control is none. The figures are "
            "shown, but decide nothing."
        )
        blocks.append(Note(words, "invalid"))
    blocks.append(_table(facts.attacks, numbers))
    return Section("disclosure", "Disclosure risks", _LEAD, (*blocks, *more))


def _table(attacks: Sequence[AttackFact], numbers: Numbers) -> Table:
    top = max([0.1, *(one.interval[1] for one in attacks if one.interval)])
    return Table(
        caption="Share of patients on whom each attack succeeds. Risk is (private - holdout) / (1 - holdout), with its "
        "95\u00a0% interval. Power is the smallest risk that so many patients would have shown.",
        header=(
            "Attack",
            f"Risk from 0 to {numbers.share(top)}",
            "Risk",
            "Private",
            "Holdout",
            "No release",
            "Power",
            "Patients",
        ),
        rows=tuple(_row(one, top, numbers) for one in attacks),
        right=(2, 3, 4, 5, 6, 7),
    )


def _row(one: AttackFact, top: float, numbers: Numbers) -> tuple[Cell, ...]:
    title = _NAMES.get(one.name, "Attack") + (f": {one.attribute}" if one.attribute else "")
    sizes = f"{numbers.count(one.attacked)} / {numbers.count(one.controlled)}"
    if one.risk is None:
        state = STATE_WORDS.get(one.state, "unfinished")
        return (Cell(title, under=state), *(Cell(ABSENT) for _ in range(6)), Cell(sizes))
    # A risk tells the count behind it, so that it is withheld together with it.
    hidden = numbers.hides(one.attack, one.attacked) or numbers.hides(one.control, one.controlled)
    state = "" if one.state == "measured" else STATE_WORDS.get(one.state, one.state)
    drawing = None if hidden else strip(one.risk, one.interval, low=0, high=top, mark=0)
    return (
        Cell(title, under=state),
        Cell(drawing=drawing) if drawing is not None else Cell("withheld"),
        Cell("withheld" if hidden else numbers.share(one.risk), under="" if hidden else _under(one, numbers)),
        Cell(numbers.share_of(one.attack, one.attacked)),
        Cell(numbers.share_of(one.control, one.controlled)),
        Cell(numbers.share_of(one.naive, one.attacked)),
        Cell("withheld" if hidden else numbers.share(one.minimum_detectable)),
        Cell(sizes),
    )


def _under(one: AttackFact, numbers: Numbers) -> str:
    span = numbers.interval(one.interval, "share")
    told = "" if one.p_holm is None else f"; {numbers.p_value(one.p_holm)} after correction"
    return f"{span}{told}"
