"""The autoencoder: a stock AutoencoderKL without attention, and the loss it is trained with."""

from __future__ import annotations

import math
from typing import Any

from diffusers import AutoencoderKL
from torch import Tensor

from synguard.config import AutoencoderConfig
from synguard.errors import InputError

__all__ = ["build", "factor", "loss", "with_statistics"]

SQUARE_WEIGHT = 4.0
"""Of the mean squared error, beside L1, which alone gives up small things of a rare colour (exudates, a swollen disc)."""
KL_WEIGHT = 1e-4
"""Of the mean divergence per latent number: enough to bound the latents, too little to blur."""
GRADIENT_WEIGHT = 1.0
"""Of the L1 distance between horizontal and vertical differences, which keeps fine edges (vessels, hairs)."""


def factor(config: AutoencoderConfig) -> int:
    """Pixels per latent along one side."""
    return int(2 ** (len(config.widths) - 1))


def build(config: AutoencoderConfig, image_size: int) -> Any:
    """An untrained AutoencoderKL; raises InputError where images or crops cannot be divided by its factor."""
    step = factor(config)
    for key, side in (("image_size", image_size), ("generator.autoencoder.crop", config.crop)):
        if side is not None and (side % step or side > image_size):
            raise InputError.of(key, side, f"a multiple of {step}, the autoencoder's factor, no larger than the image")
    depth = len(config.widths)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=config.widths,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=math.gcd(8, *config.widths),
        mid_block_add_attention=False,
        sample_size=image_size,
        scaling_factor=1.0,
    )


def loss(vae: Any, images: Tensor, noise: Tensor) -> Tensor:
    """Error of pixels and of their gradients, and a small divergence; images in [-1, 1], noise of the latents' shape."""
    posterior = vae.encode(images).latent_dist
    error = vae.decode(posterior.mean + posterior.std * noise).sample - images
    gradients = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    divergence = posterior.kl().sum() / noise.numel()
    pixels = error.abs().mean() + SQUARE_WEIGHT * error.square().mean()
    total: Tensor = pixels + GRADIENT_WEIGHT * gradients + KL_WEIGHT * divergence
    return total


def with_statistics(vae: Any, latents: Tensor) -> None:
    """Writes mean and standard deviation per channel of latents (n, c, h, w) into the autoencoder's config."""
    flat = latents.double().transpose(0, 1).flatten(1)
    vae.register_to_config(latents_mean=flat.mean(1).tolist(), latents_std=flat.std(1).clamp(min=1e-6).tolist())
