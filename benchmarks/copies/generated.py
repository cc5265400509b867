"""Copies made by a generator: our own latent diffusion model, trained on the private images, given them back to redo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from generation.latent import LatentDiffusion
from generation.synguard_pipeline import chunk_size, decode, in_chunks
from generation.synguard_sampling import noise, predict
from generation.train import train
from synguard.config import AttributeConfig, AutoencoderConfig, DenoiserConfig, GeneratorConfig
from synguard.data.conditions import ConditionSchema

from .data import Photographs
from .ours import image_set

__all__ = ["GENERATED", "image_to_image", "made", "trained"]

Pixels = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]

GENERATED: Mapping[str, float] = {
    "autoencoder": 0.0,
    "image-to-image 0.1": 0.1,
    "image-to-image 0.2": 0.2,
    "image-to-image 0.3": 0.3,
    "image-to-image 0.4": 0.4,
}
"""The share of noise that the latents are mixed with before they are denoised."""

_STEPS = 10
_CONFIG = GeneratorConfig(
    autoencoder=AutoencoderConfig(widths=(16, 32, 48), steps=2500, batch_size=16, crop=32),
    denoiser=DenoiserConfig(widths=(32, 64, 128), steps=1500, batch_size=32, learning_rate=1e-3, augment="mirror"),
)


def trained(
    photographs: Photographs,
    labels: NDArray[np.str_],
    cache: Path,
    config: GeneratorConfig = _CONFIG,
    progress: Progress | None = None,
) -> LatentDiffusion:
    """A model of the photographs, conditional on their label out of `labels`; from the folder `cache` where it is there."""
    levels = tuple(np.unique(labels).tolist())
    schema = ConditionSchema((AttributeConfig(name="label", kind="categorical", levels=levels),))
    content = hashlib.sha256(photographs.pixels.tobytes())
    content.update(f"{photographs.label.tolist()} {levels} {config.model_dump_json()}".encode())
    folder = cache / content.hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    train(image_set(photographs, "index"), schema, config, seed=0, folder=folder, progress=progress)
    return LatentDiffusion.load(folder)


def made(model: LatentDiffusion, photographs: Photographs, strength: float, seed: int) -> Pixels:
    """The photographs through the autoencoder, or where `strength` is above 0, redone by the denoiser as well."""
    if strength == 0:
        return model.reconstruct(photographs.pixels)
    return image_to_image(model, photographs.pixels, photographs.label, strength, seed)


def image_to_image(model: LatentDiffusion, pixels: Pixels, labels: NDArray[np.str_], strength: float, seed: int) -> Pixels:
    """Images of the same shape: latents mixed with a share of `strength` noise, then denoised from there.

    On the straight path of flow matching (arXiv 2210.02747) that is z = (1 - strength) * latent + strength * noise at time
    `strength`, followed back to time 0 in equal Euler steps under the image's own label (SDEdit, arXiv 2108.01073).
    """
    latents = torch.from_numpy(model.encode(pixels))
    conditions = torch.from_numpy(model.encoder.encode(pd.DataFrame({"label": labels.astype(object)})))
    drawn = noise([seed * 1_000_003 + row for row in range(len(pixels))], model.latent_shape)
    start = (1 - strength) * latents + strength * drawn

    def work(rows: NDArray[np.int64]) -> Pixels:
        z = start[rows].to(model.device, memory_format=torch.channels_last)
        asked = conditions[rows].to(model.device)
        with torch.inference_mode():
            for step in range(_STEPS):
                time = torch.full((len(z),), 1000 * strength * (1 - step / _STEPS), device=model.device)
                z = z - strength / _STEPS * predict(model.unets["ema"], z, time, asked)
            return decode(model.vae, z)

    return in_chunks(len(pixels), chunk_size(model.device), work)
