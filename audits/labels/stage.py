"""The stage: read every candidate, and refuse those that clearly do not show what was asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits.labels.ceiling import LabelCeiling, Reading, below_threshold, numbers, read
from synguard.data.conditions import ConditionSchema
from synguard.protocols import DiagnosticModel, Images

__all__ = ["LabelFindings", "examine"]


@dataclass(frozen=True, slots=True)
class LabelFindings:
    """The label stage's findings on n candidates. `annotation` is a typed frame of what was read, as `asked` is."""

    refused: NDArray[np.bool_]
    reason: tuple[str, ...]
    annotation: pd.DataFrame
    probability: pd.DataFrame
    """Probability of the asked level, a column a discrete attribute; NaN where none was asked."""

    def columns(self) -> pd.DataFrame:
        """The columns of `images.parquet`: `annotation.NAME` and `labels.probability.NAME`."""
        return pd.concat(
            (self.annotation.add_prefix("annotation."), self.probability.add_prefix("labels.probability.")), axis=1
        )


def examine(model: DiagnosticModel, pixels: Images, asked: pd.DataFrame, ceiling: LabelCeiling) -> LabelFindings:
    """Read n candidates, and refuse those that clearly do not show what was asked.

    `asked` is a typed frame of the ceiling's schema with a row per candidate. An attribute that was not asked (NA) or that
    the model does not read refuses nothing.
    """
    schema = ceiling.schema
    wanted = numbers(schema, asked)
    reading = read(model, pixels, schema)
    probability = reading.of_asked(wanted)
    below = below_threshold(probability, ceiling.thresholds)
    reasons = []
    for row in range(len(asked)):
        named = [
            f"asked {name} {_level(schema, name, wanted[name][row])}, read {_level(schema, name, reading.values[name][row])}"
            for name, low in below.items()
            if low[row]
        ]
        reasons.append("; ".join(named))
    return LabelFindings(
        refused=np.array([bool(reason) for reason in reasons], dtype=np.bool_),
        reason=tuple(reasons),
        annotation=_typed(schema, reading),
        probability=pd.DataFrame(probability, index=range(len(asked)), dtype="float64"),
    )


def _level(schema: ConditionSchema, name: str, code: float) -> str:
    return schema.levels(name)[int(code)]


def _typed(schema: ConditionSchema, reading: Reading) -> pd.DataFrame:
    rows = len(next(iter(reading.values.values()))) if reading.values else 0
    frame = pd.DataFrame(index=range(rows))
    for attribute in schema.attributes:
        if attribute.name not in reading.values:
            continue
        values = reading.values[attribute.name]
        if attribute.kind == "binary":
            frame[attribute.name] = pd.array(values.astype(np.int64), dtype="Int8")
        elif attribute.kind == "continuous":
            frame[attribute.name] = pd.array(values, dtype="Float64")
        else:
            levels = schema.levels(attribute.name)
            frame[attribute.name] = pd.array([levels[int(code)] for code in values], dtype="string")
    return frame
