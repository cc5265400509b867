"""The stages over one batch: copies, then labels; the rows of images.parquet."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits import labels
from audits.memorisation import CELLS, Examined
from synguard.runs.engine import Batch
from synguard.runs.prepare import Prepared

__all__ = ["INNER", "examine_batch", "examined_of", "public_rows"]

INNER = "_examined."
"""Prefix of columns that carry the copy search's findings from batch to conclusion; images.parquet never has them."""


def examine_batch(batch: Batch, prepared: Prepared, *, quarantine: bool) -> pd.DataFrame:
    """One row a candidate. With `quarantine`, verified copies and label refusals are not accepted, for the reason given.

    Without it (`synguard audit`) the images are what somebody means to release: all count as accepted.
    """
    examined = prepared.memorisation.examine(batch.pixels, batch.sha256)
    reasons = pd.Series(["copy of a private image" if copy else "" for copy in examined.flagged], dtype="string")
    parts = [batch.asked.add_prefix("condition."), examined.columns(prepared.material.private), _inner(examined)]
    if prepared.diagnostic is not None and prepared.ceiling is not None:
        found = labels.examine(prepared.diagnostic, batch.pixels, batch.asked, prepared.ceiling)
        parts.insert(1, found.columns())
        label_reasons = pd.Series([f"label: {reason}" if reason else "" for reason in found.reason], dtype="string")
        reasons = reasons.where(reasons != "", label_reasons)
    accepted = (reasons == "") if quarantine else pd.Series(True, index=reasons.index)
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
