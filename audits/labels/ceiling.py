"""The ceiling: how well the diagnostic model reads real holdout images, and from what probability on it may refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synguard.config import AttributeConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.metrics.agreement import confusions, recalls
from synguard.protocols import DiagnosticModel, Images

__all__ = ["LabelCeiling", "Reading", "below_threshold", "measure_ceiling", "numbers", "read"]

Floats = NDArray[np.float64]

REFUSED_REAL = 0.02
"""At most this share of real images may be refused, over all attributes together."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model reads off n images: level indices or values (n,) an attribute, and probabilities (n, levels)."""

    values: Mapping[str, Floats]
    probabilities: Mapping[str, Floats]

    def of_asked(self, asked: Mapping[str, Floats]) -> dict[str, Floats]:
        """Per discrete attribute the probability of the asked level (n,), NaN where none was asked."""
        found: dict[str, Floats] = {}
        for name, probabilities in self.probabilities.items():
            level = asked[name]
            known = np.isfinite(level)
            found[name] = np.full(len(level), np.nan)
            found[name][known] = probabilities[known, level[known].astype(np.int64)]
        return found


@dataclass(frozen=True, slots=True)
class LabelCeiling:
    """How well the model reads real images that nobody learned from, and from what probability on it refuses.

    `asked` and `reading` are the true labels and the readings of the holdout's evaluation images, `patients` (n,) numbers
    their patients. `reconstructed` is the reading of the same images after the autoencoder, where there was one.
    `thresholds` are per discrete attribute; `refused_real` is the share of evaluation images that they refuse.
    """

    schema: ConditionSchema
    model_name: str
    model_digest: str
    asked: Mapping[str, Floats]
    reading: Reading
    patients: NDArray[np.int64]
    thresholds: Mapping[str, float]
    refused_real: float
    reconstructed: Reading | None = None

    @property
    def judged(self) -> tuple[AttributeConfig, ...]:
        """The discrete attributes that the model reads."""
        return tuple(attribute for attribute in self.schema.discrete if attribute.name in self.reading.values)

    def confusion(self, name: str) -> Floats:
        """True level x read level over the evaluation images."""
        return confusions(self.asked[name], self.reading.values[name], len(self.schema.levels(name)))

    def recalls(self, name: str) -> Floats:
        """Per level, the share of real images of that level that is read as it; NaN where the holdout has none."""
        return recalls(self.confusion(name))


def read(model: DiagnosticModel, pixels: Images, schema: ConditionSchema) -> Reading:
    """What `model` reads off `pixels`, for the attributes of `schema` that it knows."""
    predicted = model.predict(pixels)
    values: dict[str, Floats] = {}
    probabilities: dict[str, Floats] = {}
    for attribute in schema.attributes:
        if attribute.kind == "text" or attribute.name not in predicted:
            continue
        found = np.asarray(predicted[attribute.name], dtype=np.float64)
        if attribute.kind == "continuous":
            values[attribute.name] = found
        else:
            probabilities[attribute.name] = found
            values[attribute.name] = found.argmax(1).astype(np.float64)
    return Reading(values, probabilities)


def measure_ceiling(
    model: DiagnosticModel,
    calibration: ImageSet,
    evaluation: ImageSet,
    schema: ConditionSchema,
    *,
    refuse_below: float,
    reconstructions: Images | None = None,
) -> LabelCeiling:
    """The model's reading of the holdout: thresholds from its calibration images, the ceiling from its evaluation images.

    A candidate is refused where the asked level's probability is below `refuse_below` and also lower than all but a few
    real images' probability of their true level: so few that at most 2 % of real images would be refused over all
    attributes together. `reconstructions` are the evaluation images through the autoencoder.
    """
    asked = numbers(schema, schema.parse(evaluation.metadata, evaluation.name))
    reading = read(model, evaluation.pixels, schema)
    known = numbers(schema, schema.parse(calibration.metadata, calibration.name))
    thresholds = _thresholds(read(model, calibration.pixels, schema).of_asked(known), refuse_below)
    below = below_threshold(reading.of_asked(asked), thresholds)
    refused = np.any(list(below.values()), axis=0) if below else np.zeros(len(evaluation), bool)
    _, patients = np.unique(evaluation.patients, return_inverse=True)
    return LabelCeiling(
        schema=schema,
        model_name=model.name,
        model_digest=model.digest,
        asked=asked,
        reading=reading,
        patients=patients.astype(np.int64),
        thresholds=thresholds,
        refused_real=float(refused.mean()) if len(refused) else 0.0,
        reconstructed=None if reconstructions is None else read(model, reconstructions, schema),
    )


def numbers(schema: ConditionSchema, frame: pd.DataFrame) -> dict[str, Floats]:
    """Level indices, and values (n,) of every attribute of a typed frame that is not text."""
    return {a.name: schema.codes(frame, a.name) for a in schema.attributes if a.kind != "text"}


def _thresholds(of_true: Mapping[str, Floats], refuse_below: float) -> dict[str, float]:
    """Per attribute the probability under which the asked level is refused.

    Each image's probability of its true level is ranked among the images of that attribute; an image counts with its
    lowest rank over the attributes. The thresholds lie at one common rank, which k of the n images are below, with k so
    small that a new real image is below it with probability at most REFUSED_REAL: k + 1 of n + 1 (exchangeability).
    """
    ranks = []
    for probability in of_true.values():
        known = np.isfinite(probability)
        rank = np.ones(len(probability))
        ordered = np.sort(probability[known])
        rank[known] = np.searchsorted(ordered, probability[known], side="left") / max(1, len(ordered))
        ranks.append(rank)
    if not ranks or not len(ranks[0]):
        return dict.fromkeys(of_true, 0.0)
    lowest = np.sort(np.min(ranks, axis=0))
    below = int(np.floor(REFUSED_REAL * (len(lowest) + 1))) - 1
    if below < 0:
        return dict.fromkeys(of_true, 0.0)
    common = lowest[below]
    found = {}
    for name, probability in of_true.items():
        ordered = np.sort(probability[np.isfinite(probability)])
        position = int(np.floor(common * len(ordered) + 1e-9))
        found[name] = float(min(refuse_below, ordered[position])) if position < len(ordered) else 0.0
    return found


def below_threshold(probability: Mapping[str, Floats], thresholds: Mapping[str, float]) -> dict[str, NDArray[np.bool_]]:
    """Per attribute, which images (n,) lie below the threshold. NaN, where nothing was asked, is below nothing."""
    return {name: values < thresholds[name] for name, values in probability.items()}
