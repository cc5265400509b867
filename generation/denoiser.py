"""The denoiser: a stock UNet or transformer of diffusers told time and conditions, and the loss it is trained with."""

from __future__ import annotations

import math
from typing import Any

from diffusers import PixArtTransformer2DModel, UNet2DConditionModel
from torch import Tensor

from generation.schedule import FLOW, Schedule
from generation.synguard_sampling import predict
from synguard.config import DenoiserConfig
from synguard.errors import InputError

__all__ = ["PARTS", "build", "errors", "loss", "part_of"]


PARTS: dict[str, Any] = {"unet": UNet2DConditionModel, "transformer": PixArtTransformer2DModel}
"""The folder that a denoiser lies in, and its class."""
_HEAD = 32
"""Width of a transformer's attention head."""


def part_of(network: Any) -> str:
    """The name of the folder for a denoiser."""
    return next(part for part, kind in PARTS.items() if isinstance(network, kind))


def build(config: DenoiserConfig, *, latent_channels: int, latent_size: int, dimension: int) -> Any:
    """An untrained denoiser on latents (n, latent_channels, latent_size, latent_size) and conditions (n, dimension).

    Raises InputError for widths or patches that do not fit the latents.
    """
    if config.kind == "transformer":
        return _transformer(config, latent_channels, latent_size, dimension)
    return _unet(config, latent_channels, latent_size, dimension)


def _transformer(config: DenoiserConfig, latent_channels: int, latent_size: int, dimension: int) -> Any:
    """Blocks of attention on patches (DiT, arXiv 2212.09748, as in PixArt, arXiv 2310.00426); conditions are one token."""
    if len(config.widths) != 1 or config.widths[0] % _HEAD:
        found = ", ".join(map(str, config.widths))
        raise InputError.of("generator.denoiser.widths", found, f"one width for a transformer, a multiple of {_HEAD}")
    if latent_size % config.patch:
        raise InputError.of("generator.denoiser.patch", config.patch, f"a divisor of {latent_size}, the side of the latents")
    return PixArtTransformer2DModel(
        sample_size=latent_size,
        patch_size=config.patch,
        in_channels=latent_channels,
        out_channels=latent_channels,
        num_layers=config.layers,
        num_attention_heads=config.widths[0] // _HEAD,
        attention_head_dim=_HEAD,
        cross_attention_dim=config.widths[0],
        caption_channels=max(1, dimension),
        # Else positions would be scaled to those of images of 512 pixels.
        interpolation_scale=1,
        use_additional_conditions=False,
    )


def _unet(config: DenoiserConfig, latent_channels: int, latent_size: int, dimension: int) -> Any:
    """Conditions enter as a projected vector, added to the time's."""
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
