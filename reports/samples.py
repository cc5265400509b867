"""The sample sheet: accepted images, a row a class, in the internal edition each above the private image nearest to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.blocks import Note, Sample, SampleRow, Samples, Section
from reports.pictures import Form, fitting, load, pair_pixels, picture
from reports.runfolder import RunFolder, mapping, rows, text
from synguard.data.released import released_name

__all__ = ["class_column", "levels_of", "sample_section", "sampled_files"]

_PER_ROW = 8
_MOST_ROWS = 12
_ROOM = 1_500_000
_LEAD = "Accepted images, by what was asked of the generator. They were chosen by their digests, not by their looks."
_BESIDE = " Under each stands the private image that the audit found nearest to it, turned and mirrored as the candidate is."
_TITLE = "Samples"


@dataclass(frozen=True, slots=True)
class _Class:
    """A row of the sheet: level, attribute, and all images of it in the order in which they are taken."""

    title: str
    under: str
    files: tuple[str, ...]


def sampled_files(images: pd.DataFrame, attributes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The files that the internal sheet shows, of images.parquet and the condition schema as the configuration has it."""
    return tuple(file for row in _classes(_accepted(images), attributes) for file in row.files[:_PER_ROW])


def sample_section(run: RunFolder, *, public: bool, presentable: Callable[[str], bool] = bool) -> Section:
    """Accepted images by class. With `public` only those that no stage pointed at, and none unless the release passed.

    Classes whose names are not `presentable` are left out. Private images stand beside them where `public` is false alone.
    """
    if public and run.decision.status not in {"pass", "warn"}:
        words = "No samples are shown, since the release has not passed."
        return Section("samples", _TITLE, _LEAD, (Note(words, "absent"),))
    images = _eligible(run) if public else _accepted(run.images)
    nearest = {} if public else _nearest(run)
    classes = _classes(images, _attributes(run))
    form = _form(run, classes, 2 if nearest else 1)
    made = (_row(run, row, nearest, form) for row in classes)
    found = tuple(row for row in made if row.samples and presentable(f"{row.under} {row.title}"))
    if not found:
        return Section("samples", _TITLE, _LEAD, (Note("No accepted images are at hand to show.", "absent"),))
    return Section("samples", _TITLE, _LEAD + (_BESIDE if nearest else ""), (Samples(found),))


def _accepted(images: pd.DataFrame) -> pd.DataFrame:
    if images.empty or "file" not in images or "accepted" not in images:
        return pd.DataFrame()
    kept = images[images["accepted"].eq(True).fillna(False)]
    by = "sha256" if "sha256" in kept else "file"
    return kept.sort_values([by, "file"], kind="stable")


def _eligible(run: RunFolder) -> pd.DataFrame:
    """What may be shown outside: examined for copies, and pointed at by nothing."""
    images = _accepted(run.images)
    if images.empty or "memorisation.flagged" not in images:
        return pd.DataFrame()
    keep = images["memorisation.flagged"].eq(False).fillna(False)
    if "memorisation.near_copy" in images:
        keep &= images["memorisation.near_copy"].eq(False).fillna(False)
    said = mapping(run.evidence.get("memorisation"))
    pointed_at = {text(row.get("file")) for key in ("flagged", "review") for row in rows(said.get(key))}
    return images[keep & ~images["file"].isin(pointed_at)]


def _nearest(run: RunFolder) -> dict[str, Mapping[str, Any]]:
    """What the run noted of the private images nearest to its samples, by file."""
    found = rows(mapping(run.evidence.get("samples")).get("nearest"))
    return {text(row.get("file")): row for row in found if text(row.get("pair"))}


def _classes(images: pd.DataFrame, attributes: Sequence[Mapping[str, Any]]) -> tuple[_Class, ...]:
    if images.empty:
        return ()
    column = class_column(images, attributes)
    if column is None:
        return (_Class("All", "", tuple(images["file"].astype(str))),)
    name, values = column.removeprefix("condition."), images[column].astype(str)
    levels = levels_of(name, images[column], attributes)[:_MOST_ROWS]
    return tuple(_Class(level, name, tuple(images.loc[values == level, "file"].astype(str))) for level in levels)


def _form(run: RunFolder, classes: Sequence[_Class], each: int) -> Form:
    """The best form in which the whole sheet fits, as the first image of each class tells."""
    first = [pixels for row in classes for name in row.files[:1] if (pixels := _pixels(run, name)) is not None]
    return fitting(first, each * _PER_ROW * len(classes), _ROOM)


def _row(run: RunFolder, row: _Class, nearest: Mapping[str, Mapping[str, Any]], form: Form) -> SampleRow:
    shown: list[Sample] = []
    for name in row.files:
        pixels = _pixels(run, name)
        if pixels is not None:
            alt = f"Synthetic image, {row.under} {row.title}".replace(",  ", ", ")
            shown.append(_sample(run, Sample(picture(pixels, alt, form)), nearest.get(name), form))
        if len(shown) == _PER_ROW:
            break
    return SampleRow(row.title, row.under, tuple(shown))


def _sample(run: RunFolder, sample: Sample, entry: Mapping[str, Any] | None, form: Form) -> Sample:
    panels = pair_pixels(run.path, text(entry.get("pair"))) if entry is not None else {}
    if entry is None or "private" not in panels:
        return sample
    name = text(entry.get("nearest"))
    return Sample(sample.picture, picture(panels["private"], f"Private image nearest to it, {name}", form), name)


def _pixels(run: RunFolder, name: str) -> Any:
    for place in (f"accepted/{released_name(name)}", f"accepted/images/{name}"):
        pixels = load(run.path, place)
        if pixels is not None:
            return pixels
    return None


def class_column(images: pd.DataFrame, attributes: Sequence[Mapping[str, Any]]) -> str | None:
    """The first attribute with levels: ordinal or categorical rather than binary, as the configuration orders them."""
    kinds = {text(a.get("name")): text(a.get("kind")) for a in attributes}
    columns = [c for c in images.columns if c.startswith("condition.") and 2 <= images[c].nunique() <= _MOST_ROWS]
    for wanted in ({"ordinal", "categorical"}, {"binary"}, {""}):
        for column in columns:
            if kinds.get(column.removeprefix("condition."), "") in wanted:
                return column
    return None


def levels_of(name: str, values: pd.Series[Any], attributes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The levels of an attribute that occur, those that the configuration declares first and in its order."""
    declared = next((a.get("levels") for a in attributes if a.get("name") == name), None) or ()
    present = set(values.dropna().astype(str))
    first = [str(level) for level in declared if str(level) in present]
    return first + sorted(present - set(first))


def _attributes(run: RunFolder) -> tuple[Mapping[str, Any], ...]:
    return rows(mapping(run.run.get("config")).get("conditions"))
