"""The blinded reader study, for the internal edition alone: readers have names, and few of them are few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.blocks import Block, Cell, Matrices, Matrix, Note, Section, Table
from reports.numbers import ABSENT, Numbers
from reports.plots import strip
from reports.runfolder import RunFolder, flag, interval, mapping, number, numbers, read_mapping, rows, text, whole

__all__ = ["study_section"]

_LEAD = (
    "People judged single images, as many real ones of unseen patients as synthetic ones, without knowing which is which. "
    "Looking real is not being private: a perfect copy of a patient's photograph looks most real of all."
)
_EXACT = Numbers()
_SIDES = ("real", "synthetic")


def study_section(run: RunFolder) -> tuple[Section, ...]:
    """The study as its results were last written; no section where there are none."""
    study = read_mapping(run.path / "study" / "results.json")
    if not study:
        return ()
    readers = rows(study.get("readers"))
    blocks: list[Block] = [_verdict(study)]
    if readers:
        blocks += [_readers(study, readers), _confusions(study, readers)]
    levels = rows(study.get("levels"))
    if any(_figure(level, key)[0] is not None for level in levels for key in ("told", "synthetic", "real")):
        blocks += [_told(levels), _seen(levels)]
    if agreement := rows(study.get("agreement")):
        blocks.append(_agreement(agreement))
    return (Section("study", "Reader study", _LEAD, tuple(blocks)),)


def _verdict(study: Mapping[str, Any]) -> Note:
    """Never a pass: nothing about privacy follows from it."""
    terms, (mean, span, n) = mapping(study.get("terms")), _figure(study, "auc")
    margin, images = number(terms.get("margin")), _EXACT.count(whole(terms.get("images")))
    fixed = f"The plan, fixed on {text(study.get('fixed'))[:10]} before the first answer: {images} images of each side, "
    fixed += (
        f"the AUC within {_EXACT.plain(margin)} of 0.5, decided by the first {_EXACT.count(whole(terms.get('readers')))} "
    )
    fixed += "readers who finish, by two one-sided tests at 5 %."
    if mean is None:
        return Note(f"No reader has finished. {fixed}", "absent")
    waiting = whole(study.get("waiting")) or 0
    words = f"{text(study.get('verdict')).capitalize()}: mean AUC {mean:.3f} "
    words += f"({_EXACT.interval(span)}, n = {_EXACT.count(n)} images)"
    words += f"; {_EXACT.count(waiting)} more must finish" if waiting else ""
    return Note(f"{words}. {fixed}")


def _readers(study: Mapping[str, Any], readers: tuple[Mapping[str, Any], ...]) -> Table:
    total = 2 * (whole(mapping(study.get("terms")).get("images")) or 0)

    def row(reader: Mapping[str, Any]) -> tuple[Cell, ...]:
        (auc, span, _), answered = _figure(reader, "auc"), whole(reader.get("answered")) or 0
        beyond = "" if flag(reader.get("counted")) or auc is None else ", beyond the plan"
        return (
            Cell(text(reader.get("name"))),
            Cell(drawing=strip(auc, span, mark=0.5)),
            _cell(reader, "auc"),
            _cell(reader, "accuracy", "share"),
            Cell(f"{_EXACT.count(answered)} of {_EXACT.count(total)}"),
            Cell(f"{text(reader.get('verdict'))}{beyond}" if auc is not None else ABSENT),
        )

    return Table(
        "Each reader: AUC of real or synthetic by confidence, 0.5 for guessing (DeLong's interval), and accuracy (exact).",
        ("Reader", "AUC from 0 to 1, mark at 0.5", "AUC", "Accuracy", "Answered", "By itself"),
        tuple(row(reader) for reader in readers),
        right=(2, 3, 4),
    )


def _confusions(study: Mapping[str, Any], readers: tuple[Mapping[str, Any], ...]) -> Matrices:
    named = [
        ("All who count", study),
        *((text(one.get("name")), one) for one in readers if _figure(one, "auc")[0] is not None),
    ]
    return Matrices("What was taken for what, in images", tuple(_matrix(title, one) for title, one in named))


def _matrix(title: str, found: Mapping[str, Any]) -> Matrix:
    cells = []
    for counts in found.get("confusion") or ():
        row = numbers(counts)
        cells.append(tuple((_EXACT.count(count), round(10 * count / (sum(row) or 1))) for count in row))
    return Matrix(title, _SIDES, tuple(cells), "was")


def _told(levels: tuple[Mapping[str, Any], ...]) -> Table:
    return Table(
        "Synthetic images told from real ones, by what they show: F1, 0.5 for guessing.",
        ("Condition", "From 0 to 1, mark at 0.5", "F1", "Answers"),
        tuple(
            (
                _name(level),
                Cell(drawing=strip(*_figure(level, "told")[:2], mark=0.5)),
                _cell(level, "told"),
                _n(level, "told"),
            )
            for level in levels
        ),
        right=(2, 3),
    )


def _seen(levels: tuple[Mapping[str, Any], ...]) -> Table:
    """The two sides beside each other: what is unreadable on real images says nothing about synthetic ones."""
    return Table(
        "What readers saw, against what was asked of the generator and against the labels of real images: F1.",
        ("Condition", "Synthetic, from 0 to 1, mark at real", "Synthetic", "Answers", "Real", "Answers on real"),
        tuple(
            (
                _name(level),
                Cell(drawing=strip(*_figure(level, "synthetic")[:2], mark=_figure(level, "real")[0])),
                _cell(level, "synthetic"),
                _n(level, "synthetic"),
                _cell(level, "real"),
                _n(level, "real"),
            )
            for level in levels
        ),
        right=(2, 3, 4, 5),
    )


def _agreement(found: tuple[Mapping[str, Any], ...]) -> Table:
    def names(one: Mapping[str, Any]) -> str:
        return " and ".join(text(name) for name in one.get("readers") or ())

    return Table(
        "Agreement of two readers on what is real: Cohen's kappa.",
        ("Readers", "Kappa", "Images"),
        tuple((Cell(names(one)), _cell(one, "kappa"), _n(one, "kappa")) for one in found),
        right=(1, 2),
    )


def _name(level: Mapping[str, Any]) -> Cell:
    return Cell(f"{text(level.get('condition'))} {text(level.get('level'))}")


def _cell(found: Mapping[str, Any], key: str, unit: str = "") -> Cell:
    value, span, _ = _figure(found, key)
    shown = _EXACT.share(value) if unit == "share" else _EXACT.plain(value)
    return Cell(shown, under=_EXACT.interval(span, unit))


def _n(found: Mapping[str, Any], key: str) -> Cell:
    return Cell(_EXACT.count(_figure(found, key)[2]))


def _figure(found: Mapping[str, Any], key: str) -> tuple[float | None, tuple[float, float] | None, int]:
    figure = mapping(found.get(key))
    return number(figure.get("value")), interval(figure.get("interval")), whole(figure.get("n")) or 0
