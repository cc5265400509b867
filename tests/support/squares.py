"""Coloured squares with known labels: planted truth that a small diagnostic model learns in seconds."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pandas as pd

from audits.diagnostic import TrainedModel, train
from synguard.config import AttributeConfig, LabelsConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet

__all__ = ["SCHEMA", "SIZE", "model", "squares"]

SIZE = 16
SCHEMA = ConditionSchema(
    (
        AttributeConfig(name="colour", kind="categorical", levels=("red", "green", "blue")),
        AttributeConfig(name="side", kind="ordinal", levels=("4", "7", "10")),
        AttributeConfig(name="hole", kind="binary"),
        AttributeConfig(name="light", kind="continuous", range=(0, 1)),
        AttributeConfig(name="caption", kind="text"),
    )
)


def squares(n: int, seed: int, *, missing: float = 0.0, per_patient: int = 2) -> ImageSet:
    """n images of a square on grey: its colour, side and hole, and the background's light, vary independently."""
    rng = np.random.default_rng([seed, 77])
    colour, side, hole = rng.integers(3, size=n), rng.integers(3, size=n), rng.integers(2, size=n)
    light = rng.uniform(0.1, 0.5, n)
    pixels = np.zeros((n, SIZE, SIZE, 3))
    for i in range(n):
        pixels[i] = light[i]
        length = (4, 7, 10)[side[i]]
        top, left = rng.integers(1, SIZE - length, size=2)
        pixels[i, top : top + length, left : left + length] = np.eye(3)[colour[i]] * 0.7 + 0.2
        if hole[i]:
            middle = length // 2 - 1
            pixels[i, top + middle : top + middle + 3, left + middle : left + middle + 3] = 0.0
    pixels += rng.normal(0, 0.02, pixels.shape)
    encoded = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
    table = pd.DataFrame(
        {
            "colour": [("red", "green", "blue")[c] for c in colour],
            "side": [("4", "7", "10")[s] for s in side],
            "hole": hole.astype(object),
            "light": light.astype(object),
            "caption": "a square",
        }
    )
    for name in ("colour", "side", "hole", "light"):
        table.loc[rng.random(n) < missing, name] = None
    return ImageSet(
        name=f"squares-{seed}",
        files=tuple(f"{i:05}.png" for i in range(n)),
        sha256=tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in encoded),
        pixels=encoded,
        patients=np.array([f"{seed}-{i // per_patient}" for i in range(n)]),
        metadata=table,
        has_patient_ids=True,
    )


@functools.cache
def model() -> TrainedModel:
    """A model trained on 600 squares, a tenth of the labels missing."""
    return train(squares(600, 1, missing=0.1), SCHEMA, LabelsConfig(steps=250), seed=0)
