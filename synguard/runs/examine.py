"""The stages over one batch: copies, then labels; the rows of images.parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits import labels
from audits.memorisation import CELLS, Examined
from synguard.data.images import ImageSet
from synguard.data.sheets import find_sheet
from synguard.errors import InputError
from synguard.runs.engine import Batch
from synguard.runs.prepare import Prepared

__all__ = ["HOLDOUT_COPY", "INNER", "examine_batch", "examined_of", "public_rows"]

HOLDOUT_COPY = "memorisation.holdout_copy"
"""Column of images.parquet: whether a candidate is an exact copy of an image of the holdout."""
INNER = "_examined."
"""Prefix of columns that carry the copy search's findings from batch to conclusion; images.parquet never has them."""


def examine_batch(batch: Batch, prepared: Prepared, *, quarantine: bool, by_hand: Sequence[str] = ()) -> pd.DataFrame:
    """One row a candidate. With `quarantine`, copies of real images, sheets of several and label refusals are not accepted,
    for the reason given.

    Without it (`synguard audit`) the images are what somebody means to release: all count as accepted but those that were
    taken out `by_hand`, for the reason given.
    """
    private = prepared.material.searched
    examined = prepared.memorisation.examine(batch.pixels, batch.sha256, _sources(batch, private))
    unseen = prepared.unseen.find(batch.sha256, batch.pixels) >= 0
    sheets = [quarantine and find_sheet(image) is not None for image in batch.pixels]
    reasons = pd.Series(list(map(_refused, examined.flagged, unseen, sheets)), dtype="string")
    found_out = pd.DataFrame({HOLDOUT_COPY: unseen})
    parts = [batch.asked.add_prefix("condition."), examined.columns(private), found_out, _inner(examined)]
    if batch.origins:
        parts.insert(0, pd.DataFrame(batch.origins).astype("string"))
    if prepared.diagnostic is not None and prepared.ceiling is not None:
        found = labels.examine(prepared.diagnostic, batch.pixels, batch.asked, prepared.ceiling)
        parts.insert(1, found.columns())
        label_reasons = pd.Series([f"label: {reason}" if reason else "" for reason in found.reason], dtype="string")
        reasons = reasons.where(reasons != "", label_reasons)
    taken = pd.Series(by_hand or [""] * len(reasons), dtype="string")
    accepted = (reasons == "") if quarantine else taken == ""
    reasons = reasons.where(reasons != "", taken)
    head = pd.DataFrame(
        {
            "file": pd.array(batch.files, dtype="string"),
            "sha256": pd.array(batch.sha256, dtype="string"),
            "seed": pd.array(batch.seeds, dtype="Int64"),
            "attempt": pd.array([a.attempt for a in batch.attempts], dtype="Int64"),
            "accepted": accepted.to_numpy(dtype=bool),
            "reason": reasons,
        }
    )
    return pd.concat([head, *(part.reset_index(drop=True) for part in parts)], axis=1)


def _refused(copy: bool, unseen: bool, sheet: bool) -> str:
    if copy:
        return "copy of a private image"
    if unseen:
        return "copy of an image of the holdout"
    # The copy search sees a sheet in small, and the photographs on it as a texture.
    return "a sheet of several pictures" if sheet else ""


def _sources(batch: Batch, private: ImageSet) -> NDArray[np.int64] | None:
    """Rows of the private images that candidates were made from, -1 for none. InputError for one that is not there."""
    if not batch.origins:
        return None
    places = {file: row for row, file in enumerate(private.files)}
    for file, origin in zip(batch.files, batch.origins, strict=True):
        if origin.source is not None and origin.source not in places:
            raise InputError.of(f"the source of {file}", repr(origin.source), f"an image of {private.name}")
    return np.array([-1 if o.source is None else places[o.source] for o in batch.origins], dtype=np.int64)


def examined_of(rows: pd.DataFrame) -> Examined:
    """The copy search's findings on all candidates, as they were before they became rows."""
    arrays: dict[str, NDArray[Any]] = {}
    for field in fields(Examined):
        if field.name == "seconds":
            continue
        if field.name == "maps":
            arrays["maps"] = rows[[f"{INNER}maps.{i}" for i in range(6)]].to_numpy().reshape(-1, 2, 3)
            continue
        if field.name == "copied":
            cells = np.frombuffer(b"".join(rows[f"{INNER}copied"]), dtype=np.uint8)
            arrays["copied"] = cells.reshape(-1, *CELLS) / 255
            continue
        values = rows[INNER + field.name]
        arrays[field.name] = values.to_numpy(dtype=np.str_) if values.dtype.kind not in "bif" else values.to_numpy()
    return Examined(**arrays, seconds={})


def public_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as images.parquet has them."""
    inner = [name for name in rows.columns if name.startswith(INNER)]
    return rows.drop(columns=[*inner, "batch"], errors="ignore")


def _inner(examined: Examined) -> pd.DataFrame:
    columns: dict[str, NDArray[Any]] = {}
    for field in fields(Examined):
        values = getattr(examined, field.name)
        if field.name == "maps":
            columns |= {f"{INNER}maps.{i}": values.reshape(-1, 6)[:, i] for i in range(6)}
        elif field.name == "copied":
            columns[f"{INNER}copied"] = np.array(
                [cells.tobytes() for cells in np.rint(values * 255).astype(np.uint8)], object
            )
        elif field.name != "seconds":
            columns[INNER + field.name] = values.astype(object) if values.dtype.kind == "U" else values
    return pd.DataFrame(columns)
