"""A tiny private set and what to train on it: enough to hold every mechanism, too little for quality."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from diffusers import DiffusionPipeline

from synguard.config import AttributeConfig, AutoencoderConfig, DenoiserConfig, GeneratorConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet

SIZE = 16
SCHEMA = ConditionSchema(
    (
        AttributeConfig(name="dx", kind="categorical", levels=("nv", "mel", "bcc")),
        AttributeConfig(name="grade", kind="ordinal", levels=("0", "1", "2")),
        AttributeConfig(name="is_gc", kind="binary"),
    )
)
CONFIG = GeneratorConfig(
    autoencoder=AutoencoderConfig(widths=(8, 8, 8), steps=12, batch_size=8, crop=None),
    denoiser=DenoiserConfig(widths=(16, 16), steps=18, batch_size=8, augment="mirror"),
)


def private_set(n: int = 30, seed: int = 0) -> ImageSet:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
    metadata = pd.DataFrame(
        {
            "dx": rng.choice(["nv", "mel", "bcc"], n),
            "grade": [None if i % 7 == 0 else str(i % 3) for i in range(n)],
            "is_gc": rng.integers(0, 2, n),
        }
    )
    return ImageSet(
        name="private",
        files=tuple(f"{i}.png" for i in range(n)),
        sha256=tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels),
        pixels=pixels,
        patients=np.array([str(i) for i in range(n)]),
        metadata=metadata,
        has_patient_ids=False,
    )


def asked(n: int, seed: int = 1) -> pd.DataFrame:
    return private_set(n, seed).metadata


def made_by_diffusers(folder: Path, n: int) -> np.ndarray:
    """Images of `asked(n)` and the seeds 0 to n - 1 by the pipeline that diffusers opens, without synguard."""
    pipe = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    rows = [{k: v for k, v in row.items() if v is not None} for row in asked(n).to_dict("records")]
    return pipe(rows, seeds=range(n), output_type="np").images
