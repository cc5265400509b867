"""Candidates by class, and those that stand out, for the internal edition alone: it names files."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.blocks import Block, Cell, Note, Section, Table
from reports.numbers import ABSENT, Numbers
from reports.runfolder import RunFolder, mapping, number, rows, text
from reports.samples import class_column, levels_of

__all__ = ["class_section"]

_MOST = 12
_LEAD = (
    "An average hides a class, and a class hides an image: what became of the candidates of each class, the candidates most "
    "alike to a private image that were let through, and the private images that most candidates lie nearest to."
)


def class_section(run: RunFolder) -> Section:
    """Per class and outliers, from the rows of images.parquet."""
    images = run.images
    if images.empty or not {"file", "accepted"} <= set(images):
        return Section("classes", "Classes and outliers", _LEAD, (Note("Not tested: this run holds no rows.", "absent"),))
    images = images.assign(accepted=images["accepted"].eq(True).fillna(False))
    blocks: list[Block] = [_classes(run, images), _alike(images), _leaned_on(images)]
    return Section("classes", "Classes and outliers", _LEAD, tuple(blocks))


def _classes(run: RunFolder, images: pd.DataFrame) -> Block:
    attributes = rows(mapping(run.run.get("config")).get("conditions"))
    column = class_column(images, attributes)
    if column is None:
        return Note("There are no classes: the release has no attribute with a few levels.")
    name, values = column.removeprefix("condition."), images[column].astype(str)
    body = [_class(level, images[values == level]) for level in levels_of(name, images[column], attributes)]
    header = (
        "Level",
        "Examined",
        "Accepted",
        "Refused: copies, sheets",
        "Refused: labels",
        "Score: median",
        "Score: highest",
    )
    return Table(f"Candidates by {name}.", header, tuple(body), right=(1, 2, 3, 4, 5, 6))


def _class(level: str, images: pd.DataFrame) -> tuple[Cell, ...]:
    exact = Numbers()
    reason = images["reason"].fillna("").astype(str) if "reason" in images else pd.Series("", images.index)
    labels = ~images["accepted"] & reason.str.startswith("label")
    copies = ~images["accepted"] & ~labels
    scores = _numbers(images, "memorisation.score")
    counts = (len(images), int(images["accepted"].sum()), int(copies.sum()), int(labels.sum()))
    return (
        Cell(level),
        *(Cell(exact.count(count)) for count in counts),
        Cell(exact.plain(number(scores.median())) if len(scores) else ABSENT),
        Cell(exact.plain(number(scores.max())) if len(scores) else ABSENT),
    )


def _alike(images: pd.DataFrame) -> Block:
    exact = Numbers()
    scores = _numbers(images[images["accepted"]], "memorisation.score")
    if scores.empty:
        return Note("Not tested: the rows hold no likeness to private images.", "absent")
    found = images.loc[scores.sort_values(ascending=False, kind="stable").index[:_MOST]]
    body = tuple(
        (
            Cell(text(row["file"])),
            Cell(text(row.get("memorisation.nearest")) or ABSENT),
            Cell(exact.plain(number(row.get("memorisation.score")))),
            Cell(exact.small(number(row.get("memorisation.p_value")))),
        )
        for row in found.to_dict("records")
    )
    caption = f"The {len(body)} accepted candidates most alike to a private image."
    return Table(caption, ("Candidate", "Nearest private image", "Score", "p-value"), body, right=(2, 3))


def _leaned_on(images: pd.DataFrame) -> Block:
    exact = Numbers()
    if "memorisation.nearest" not in images:
        return Note("Not tested: the rows do not name the nearest private images.", "absent")
    named = images["memorisation.nearest"].fillna("").astype(str)
    counts: pd.Series[Any] = named[named != ""].value_counts()
    found = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:_MOST]
    body = tuple(
        (Cell(str(name)), Cell(exact.count(count)), Cell(exact.count(int((images["accepted"] & (named == name)).sum()))))
        for name, count in found
    )
    caption = f"The private images that most candidates lie nearest to, of {exact.count(len(counts))} with any."
    return Table(caption, ("Private image", "Candidates", "Of them accepted"), body, right=(1, 2))


def _numbers(images: pd.DataFrame, column: str) -> pd.Series[Any]:
    """The finite numbers of a column, or nothing."""
    if column not in images:
        return pd.Series(dtype=float)
    return pd.to_numeric(images[column], errors="coerce").dropna()
