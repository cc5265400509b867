"""Tables that name single patients or classes of them, for the internal edition alone."""

from __future__ import annotations

from reports.blocks import Block, Cell, Note, Table
from reports.numbers import Numbers
from reports.runfolder import RunFolder, mapping, number, rows, text, whole

__all__ = ["classes", "exposed"]


def exposed(run: RunFolder) -> tuple[Block, ...]:
    """The patients nearest to the release, by pseudonym, with what succeeded on them."""
    exact = Numbers()
    found = rows(mapping(run.evidence.get("disclosure")).get("exposed"))
    if not found:
        return ()
    table = Table(
        "The patients nearest to the release. The p-value is the patient's rank among holdout patients, who cannot have "
        "leaked; q is the share of false entries among all patients up to this one.",
        ("Pseudonym", "Images", "Nearness", "p", "q", "Attacks that succeeded"),
        tuple(
            (
                Cell(text(row.get("pseudonym")), code=True),
                Cell(exact.count(whole(row.get("images")))),
                Cell(exact.plain(number(row.get("score")))),
                Cell(exact.plain(number(row.get("p_value")))),
                Cell(exact.plain(number(row.get("q_value")))),
                Cell(", ".join(_words(row.get("attacks"))) or "none"),
            )
            for row in found
        ),
        right=(1, 2, 3, 4),
    )
    note = Note(
        "Attacks succeed on holdout patients too, as the controls above tell: a success alone is no leak. A pseudonym is a "
        "keyed digest of the patient's id; audits.disclosure.pseudonym makes it anew from the private set."
    )
    return (table, note)


def classes(run: RunFolder) -> tuple[Block, ...]:
    """Patients of each class on either side of the membership comparison."""
    exact = Numbers()
    found = rows(mapping(mapping(run.evidence.get("membership")).get("split")).get("mix"))
    if not found:
        return ()
    table = Table(
        "Classes on both sides of the membership comparison, by patient.",
        ("Class", "Private patients", "Holdout patients"),
        tuple(
            (
                Cell(f"{text(row.get('attribute'))} {text(row.get('level'))}"),
                Cell(exact.count(whole(row.get("members")))),
                Cell(exact.count(whole(row.get("nonmembers")))),
            )
            for row in found
        ),
        right=(1, 2),
    )
    return (table,)


def _words(value: object) -> list[str]:
    return [text(one) for one in value] if isinstance(value, list | tuple) else []
