"""Few private images, and a tiny Stable Diffusion folder to tune on them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from synguard.config import AttributeConfig, GeneratorConfig, SamplingConfig, TuningConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from tests.support import layouts

SIZE = 16
SCHEMA = ConditionSchema(
    (
        AttributeConfig(name="dx", kind="categorical", levels=("nv", "mel")),
        AttributeConfig(name="is_gc", kind="binary"),
    )
)
SAMPLING = SamplingConfig(sampler="ddim", steps=4, guidance=2.0)


def config(**changes) -> GeneratorConfig:
    tuning = {"base": "base", "rank": 4, "steps": 6, "batch_size": 4, "learning_rate": 1e-3} | changes
    return GeneratorConfig(kind="text-to-image", tuning=TuningConfig(**tuning), sampling=SAMPLING)


def base(folder: Path, scheduler: str = "epsilon", **parts) -> Path:
    layouts.stable_diffusion(folder, scheduler, length=48, **parts)
    path = folder / "scheduler" / "scheduler_config.json"
    # As published folders have them; the stock pipelines warn without.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"steps_offset": 1, "clip_sample": False}))
    return folder


def private_set(n: int = 10) -> ImageSet:
    """Discs on plain ground: dark ones for nv, bright ones for mel, each at a place of its own."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    pixels = np.full((n, SIZE, SIZE, 3), 150, dtype=np.uint8)
    for row in range(n):
        top, left = rng.uniform(6, 10, 2)
        pixels[row][(y - top) ** 2 + (x - left) ** 2 < 16] = (60, 40, 30) if row % 2 else (240, 200, 190)
    return ImageSet(
        name="private",
        files=tuple(f"{row}.png" for row in range(n)),
        sha256=tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels),
        pixels=pixels,
        patients=np.array([str(row) for row in range(n)]),
        metadata=pd.DataFrame({"dx": ["nv" if row % 2 else "mel" for row in range(n)], "is_gc": [0] * (n - 1) + [1]}),
        has_patient_ids=False,
    )
