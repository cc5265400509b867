"""Which attributes of the real images are compared: the declared conditions, and what else both sides' tables say.

A probe sees the pictures and, at most, the conditions. But an age or a camera that differs between the sides shows that they
were not drawn alike, and what differs with it may be in the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from audits.membership.probe import Schema
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet

__all__ = ["attributes"]

_FEWEST = 20
_SPLITS = frozenset({"split", "fold", "partition", "set", "subset", "role", "part", "usage"})
"""Columns that name the sides themselves, as many data sets have them, and say nothing about the images."""


def attributes(private: ImageSet, holdout: Sequence[ImageSet], schema: Schema | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Typed attributes of both sides, row by row; no ids, file names, free text or names of the split. May have no column.

    InputError where a declared condition does not fit.
    """
    tables = [private.metadata.reset_index(drop=True), pd.concat([part.metadata for part in holdout], ignore_index=True)]
    patients = [private.patients.astype(str), np.concatenate([part.patients.astype(str) for part in holdout])]
    declared = [
        pd.DataFrame(index=range(len(table))) if schema is None else schema.parse(table, name)
        for table, name in zip(tables, (private.name, "holdout"), strict=True)
    ]
    left_out = {
        str(name)
        for name in tables[0].columns
        if name in declared[0].columns
        or str(name).lower() in _SPLITS
        or _is_patient(tables[0], patients[0], str(name))
        or any(name in table.columns and _is_number_of_row(table[name]) for table in tables)
    }
    others = ConditionSchema.from_shared(tables[0], tables[1], holdout=tables[1], exclude=left_out)
    typed = [others.parse(table, "metadata") for table in tables]
    first, second = (pd.concat(pair, axis=1) for pair in zip(declared, typed, strict=True))
    return first, second


def _is_number_of_row(column: pd.Series) -> bool:
    """Whole numbers that never repeat: an id, or the place in a list, which tells the sides apart by their sizes alone."""
    numbers = pd.to_numeric(column, errors="coerce").dropna()
    whole = bool((numbers == numbers.round()).all())
    return whole and len(numbers) >= _FEWEST and numbers.nunique() == len(numbers)


def _is_patient(table: pd.DataFrame, patients: np.ndarray[tuple[int], np.dtype[np.str_]], name: str) -> bool:
    return bool((table[name].astype(str).to_numpy(dtype=np.str_) == patients).all())
