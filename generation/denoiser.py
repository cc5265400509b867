"""The denoiser: a stock UNet2DConditionModel told time and conditions, and the loss it is trained with."""

from __future__ import annotations

import math
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from generation.schedule import FLOW, Schedule
from generation.synguard_sampling import predict
from synguard.config import DenoiserConfig
from synguard.errors import InputError

__all__ = ["build", "errors", "loss"]


def build(config: DenoiserConfig, *, latent_channels: int, latent_size: int, dimension: int) -> Any:
    """An untrained UNet2DConditionModel on latents; conditions enter as a projected vector, added to the time's.

    Raises InputError where the latents cannot be halved as often as the widths ask.
    """
    depth = len(config.widths)
    if latent_size % 2 ** (depth - 1):
        raise InputError.of(
            "generator.denoiser.widths",
            f"{depth} widths on latents of side {latent_size}",
            f"a side that can be halved {depth - 1} times",
        )
    attention = "Attn" if config.attention else ""
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlock2D",) * (depth - 1) + (f"{attention}DownBlock2D",),
        mid_block_type="UNetMidBlock2D",
        up_block_types=(f"{attention}UpBlock2D",) + ("UpBlock2D",) * (depth - 1),
        block_out_channels=config.widths,
        layers_per_block=config.layers,
        norm_num_groups=math.gcd(8, *config.widths),
        resnet_time_scale_shift="scale_shift",
        time_embedding_dim=max(256, 4 * config.widths[0]),
        # There is no cross attention, but the constructor asks for its width.
        cross_attention_dim=8,
        class_embed_type="projection" if dimension else None,
        projection_class_embeddings_input_dim=dimension or None,
    )


def errors(
    unet: Any, latents: Tensor, conditions: Tensor, noise: Tensor, times: Tensor, schedule: Schedule = FLOW
) -> Tensor:
    """Squared error per image (n,) of what is predicted at times (n,), t = 1 being pure noise.

    By default of the velocity noise - latents of flow matching with a straight path: arXiv 2210.02747, 2209.03003.
    """
    noised, target = schedule.mixed(latents, noise, times)
    return (predict(unet, noised, schedule.told(times), conditions) - target).square().flatten(1).mean(1)


def loss(unet: Any, latents: Tensor, conditions: Tensor, noise: Tensor, normal: Tensor, schedule: Schedule = FLOW) -> Tensor:
    """Mean weighted error at times given by their standard normal draws (n,)."""
    times = schedule.times(normal)
    found, weights = errors(unet, latents, conditions, noise, times, schedule), schedule.weights(times)
    return found.mean() if weights is None else (weights * found).mean()
