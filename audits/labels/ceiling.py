"""The ceiling: how well the diagnostic model reads real holdout images, and from what probability on it may refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    `asked` and `values` are the true labels and the readings (n,) of holdout images, `patients` (n,) numbers their patients.
    `thresholds` are per discrete attribute; `refused_real` is the share of the `evaluated` images that they refuse.
    `reconstructed` holds per discrete attribute the shares read right before and after the autoencoder, where there is one.
    """

    schema: ConditionSchema
    model_name: str
    model_digest: str
    asked: Mapping[str, Floats]
    values: Mapping[str, Floats]
    patients: NDArray[np.int64]
    thresholds: Mapping[str, float]
    refused_real: float
    evaluated: int
    reconstructed: Mapping[str, tuple[float, float]] | None = None

    @property
    def judged(self) -> tuple[AttributeConfig, ...]:
        """The discrete attributes that the model reads."""
        return tuple(attribute for attribute in self.schema.discrete if attribute.name in self.values)

    def confusion(self, name: str) -> Floats:
        """True level x read level over the evaluation images."""
        return confusions(self.asked[name], self.values[name], len(self.schema.levels(name)))

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
    more: Sequence[ImageSet] = (),
    reconstructions: Images | None = None,
) -> LabelCeiling:
    """The model's reading of holdout images, none of which it was trained on or chosen by.

    The ceiling comes from all of them, `more` holdout sets of other patients included; the refusal thresholds from
    `calibration` alone, so that `evaluation` can say how many real images they refuse. A candidate is refused where the
    asked level's probability is below `refuse_below` and also lower than all but a few real images' probability of their
    true level: so few that at most 2 % of real images would be refused over all attributes together.
    `reconstructions` are the evaluation images through the autoencoder.
    """
    sets = (calibration, evaluation, *more)
    asked = [numbers(schema, schema.parse(images.metadata, images.name)) for images in sets]
    readings = [read(model, images.pixels, schema) for images in sets]
    thresholds = _thresholds(readings[0].of_asked(asked[0]), refuse_below)
    below = below_threshold(readings[1].of_asked(asked[1]), thresholds)
    refused = np.any(list(below.values()), axis=0) if below else np.zeros(len(evaluation), bool)
    _, patients = np.unique(np.concatenate([images.patients for images in sets]), return_inverse=True)
    return LabelCeiling(
        schema=schema,
        model_name=model.name,
        model_digest=model.digest,
        asked={name: np.concatenate([part[name] for part in asked]) for name in asked[0]},
        values={name: np.concatenate([part.values[name] for part in readings]) for name in readings[0].values},
        patients=patients.astype(np.int64),
        thresholds=thresholds,
        refused_real=float(refused.mean()) if len(refused) else 0.0,
        evaluated=len(evaluation),
        reconstructed=None
        if reconstructions is None
        else _reconstructed(model, reconstructions, schema, asked[1], readings[1]),
    )


def _reconstructed(
    model: DiagnosticModel, pixels: Images, schema: ConditionSchema, asked: Mapping[str, Floats], before: Reading
) -> dict[str, tuple[float, float]]:
    """Per discrete attribute the share of the same images read right before and after the autoencoder."""
    after = read(model, pixels, schema)
    found = {}
    for name in before.probabilities:
        known = np.isfinite(asked[name])
        if known.any():
            right = [float((reading.values[name][known] == asked[name][known]).mean()) for reading in (before, after)]
            found[name] = (right[0], right[1])
    return found


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
