"""Which private image a candidate starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.errors import InputError

__all__ = ["Sources"]

_SOURCE = 33
"""What the random numbers of an image are for, beside its words and its mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Private images by their conditions. `codes` (n, attributes) are of attributes with levels, NaN where unknown."""

    private: ImageSet
    schema: ConditionSchema
    codes: NDArray[np.float64]

    @classmethod
    def of(cls, private: ImageSet, schema: ConditionSchema) -> Sources:
        """Those of a set; InputError for labels outside the schema, or for no image."""
        if not len(private):
            raise InputError.of(private.name, "no image", "one to start from")
        return cls(private, schema, _codes(schema.parse(private.metadata, private.name), schema))

    @property
    def digest(self) -> str:
        """sha256 of the images with their names and their conditions, in their order."""
        labels = hashlib.sha256(self.codes.tobytes()).hexdigest()
        files = hashlib.sha256("\n".join(self.private.files).encode()).hexdigest()
        return hashlib.sha256(f"{self.private.digest} {files} {labels}".encode()).hexdigest()

    def rows(self, asked: pd.DataFrame, seeds: Sequence[int]) -> NDArray[np.int64]:
        """A row of the set for each row of a typed frame and its seed, whatever else is asked for.

        The seed chooses among the images that agree with most of what is asked for: with all of it where there are any. An
        attribute that is not asked for agrees with none; numbers and texts, which few images share, are not looked at.
        """
        agree = (_codes(asked, self.schema)[:, None, :] == self.codes[None, :, :]).sum(axis=2)
        found = []
        for row, seed in zip(agree, seeds, strict=True):
            best = np.flatnonzero(row == row.max())
            found.append(best[np.random.default_rng([int(seed), _SOURCE]).integers(len(best))])
        return np.array(found, dtype=np.int64)


def _codes(frame: pd.DataFrame, schema: ConditionSchema) -> NDArray[np.float64]:
    """(n, attributes with levels)."""
    columns = [schema.codes(frame, attribute.name) for attribute in schema.discrete]
    return np.stack(columns, axis=1) if columns else np.zeros((len(frame), 0))
