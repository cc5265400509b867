"""The sample sheet: accepted images, a row a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from reports.blocks import Note, Picture, SampleRow, Samples, Section
from reports.pictures import load, picture
from reports.runfolder import RunFolder, mapping, rows, text
from synguard.data.released import released_name

__all__ = ["sample_section"]

_PER_ROW = 8
_MOST_ROWS = 12
_LEAD = "Accepted images, by what was asked of the generator. They were chosen by their digests, not by their looks."
_TITLE = "Samples"


def sample_section(run: RunFolder, *, public: bool, presentable: Callable[[str], bool] = bool) -> Section:
    """Accepted images by class. With `public` only those that no stage pointed at, and none unless the release passed.

    Classes whose names are not `presentable` are left out.
    """
    if public and run.decision.status not in {"pass", "warn"}:
        words = "No samples are shown, since the release has not passed."
        return Section("samples", _TITLE, _LEAD, (Note(words, "absent"),))
    images = _eligible(run, public=public)
    found = tuple(row for row in _rows(run, images) if presentable(f"{row.under} {row.title}"))
    if not found:
        return Section("samples", _TITLE, _LEAD, (Note("No accepted images are at hand to show.", "absent"),))
    return Section("samples", _TITLE, _LEAD, (Samples(found),))


def _eligible(run: RunFolder, *, public: bool) -> pd.DataFrame:
    images = run.images
    if images.empty or "file" not in images or "accepted" not in images:
        return pd.DataFrame()
    keep = images["accepted"].eq(True).fillna(False)
    if public:
        for column in ("memorisation.flagged", "memorisation.near_copy"):
            if column in images:
                keep &= images[column].eq(False).fillna(False)
            elif column == "memorisation.flagged":
                return pd.DataFrame()  # not examined for copies, so nothing may be shown
        said = mapping(run.evidence.get("memorisation"))
        pointed_at = {text(row.get("file")) for key in ("flagged", "review") for row in rows(said.get(key))}
        keep &= ~images["file"].isin(pointed_at)
    kept = images[keep]
    by = "sha256" if "sha256" in kept else "file"
    return kept.sort_values([by, "file"], kind="stable")


def _rows(run: RunFolder, images: pd.DataFrame) -> tuple[SampleRow, ...]:
    if images.empty:
        return ()
    column = _class_column(run, images)
    if column is None:
        return tuple(row for row in (_row(run, "All", "", images),) if row.pictures)
    name = column.removeprefix("condition.")
    levels = _levels(run, name, images[column])
    made = (_row(run, level, name, images[images[column].astype(str) == level]) for level in levels[:_MOST_ROWS])
    return tuple(row for row in made if row.pictures)


def _row(run: RunFolder, title: str, under: str, images: pd.DataFrame) -> SampleRow:
    shown: list[Picture] = []
    for name in images["file"].astype(str):
        pixels = _pixels(run, name)
        if pixels is not None:
            shown.append(picture(pixels, f"Synthetic image, {under} {title}".replace(",  ", ", ")))
        if len(shown) == _PER_ROW:
            break
    return SampleRow(title, under, tuple(shown))


def _pixels(run: RunFolder, name: str) -> Any:
    for place in (f"accepted/{released_name(name)}", f"accepted/images/{name}"):
        pixels = load(run.path, place)
        if pixels is not None:
            return pixels
    return None


def _class_column(run: RunFolder, images: pd.DataFrame) -> str | None:
    """The first attribute with levels: ordinal or categorical rather than binary, as the configuration orders them."""
    kinds = {text(a.get("name")): text(a.get("kind")) for a in _attributes(run)}
    columns = [c for c in images.columns if c.startswith("condition.") and 2 <= images[c].nunique() <= _MOST_ROWS]
    for wanted in ({"ordinal", "categorical"}, {"binary"}, {""}):
        for column in columns:
            if kinds.get(column.removeprefix("condition."), "") in wanted:
                return column
    return None


def _levels(run: RunFolder, name: str, values: pd.Series[Any]) -> list[str]:
    declared = next((a.get("levels") for a in _attributes(run) if a.get("name") == name), None) or ()
    present = set(values.dropna().astype(str))
    first = [str(level) for level in declared if str(level) in present]
    return first + sorted(present - set(first))


def _attributes(run: RunFolder) -> tuple[Mapping[str, Any], ...]:
    return rows(mapping(run.run.get("config")).get("conditions"))
