"""The section on epsilon: how much privacy was lost at most, by the accountant, and at least, by the canaries."""

from __future__ import annotations

from reports.blocks import Block, Cell, Note, Section, Table
from reports.facts import EpsilonFacts
from reports.numbers import Numbers
from reports.wording import NOT_COVERED, STATE_WORDS

__all__ = ["epsilon"]

_LEAD = (
    "Epsilon bounds how much more likely any outcome of the training becomes because one patient took part: by a factor of "
    "at most e to the power of epsilon, but for the small probability delta. An accountant bounds it from above, if the "
    "training was private; an attack on canaries, patients whom coins put in or left out, bounds it from below."
)
_EQUIVALENT = (
    "No coins decided who took part, so there is no lower bound. The epsilon equivalent is what the same arithmetic makes "
    "of private against holdout images: good for comparing models on this split, and not a bound."
)


def epsilon(facts: EpsilonFacts | None, numbers: Numbers) -> tuple[Section, ...]:
    """The figures, what they rest on and what they leave out; no section where there is neither a bound nor a figure."""
    if facts is None or (facts.upper is None and facts.lower is None and facts.equivalent is None):
        return ()
    body: list[tuple[Cell, ...]] = []
    blocks: list[Block] = []
    if facts.refuted:
        words = (
            "The canaries prove a greater loss than the accountant's bound: through what it does not cover, or because the "
            "training was not as private as its model card says. The bound is void for this model."
        )
        blocks.append(Note(words, "invalid"))
    if facts.upper is not None:
        who = "patient" if facts.unit == "patient" else "image (the set names no patients)"
        body.append(_row("At most, by the accountant", f"for each {who}", facts.upper, numbers, "private training"))
    if facts.lower is not None:
        state = "" if facts.lower_state == "measured" else STATE_WORDS.get(facts.lower_state, facts.lower_state)
        most = f"can show at most {numbers.plain(facts.most)}" if facts.most is not None else ""
        drawn = f"{numbers.count(facts.canaries)} canaries, {most}" if most else f"{numbers.count(facts.canaries)} canaries"
        body.append(_row("At least, proven by canaries", state or "for any mechanism", facts.lower, numbers, drawn))
        if facts.gaussian is not None:
            body.append(_row("At least, by canaries", "if the mechanism is nearly Gaussian", facts.gaussian, numbers, drawn))
    if facts.equivalent is not None:
        state = "" if facts.equivalent_state == "measured" else STATE_WORDS.get(facts.equivalent_state, "")
        rest = f"{numbers.count(facts.equivalent_patients)} patients a side"
        body.append(_row("Epsilon equivalent", state or "not a bound", facts.equivalent, numbers, rest))
    blocks.append(
        Table(
            caption=f"Epsilon at delta {numbers.small(facts.delta)}. Bounds hold with 95\u00a0%; all ways of guessing that "
            "were tried are paid for. Nothing proven is no proof of privacy.",
            header=("Figure", "Epsilon", "Rests on"),
            rows=tuple(body),
            right=(1,),
        )
    )
    if facts.equivalent is not None:
        blocks.append(Note(_EQUIVALENT))
    if facts.upper is not None:
        listed = "; ".join(NOT_COVERED[name] for name in facts.not_covered if name in NOT_COVERED)
        blocks.append(Note(f"What the accountant's bound does not cover: {listed}."))
    else:
        blocks.append(Note("The training was not private, or nothing is known of it: there is no upper bound.", "absent"))
    return (Section("epsilon", "Privacy loss", _LEAD, tuple(blocks)),)


def _row(title: str, under: str, value: float, numbers: Numbers, rest: str) -> tuple[Cell, ...]:
    return (Cell(title, under=under), Cell(numbers.plain(value)), Cell(rest))
