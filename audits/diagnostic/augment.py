"""Augmentation for the diagnostic model: what changes between a real and a generated image of the same thing.

Generated images went through an autoencoder and are softer than real ones, so blur is part of it. There are no flips unless
they are asked for: a mirrored fundus photograph is one of the other eye.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["augmented"]


def augmented(images: Tensor, generator: torch.Generator, *, flips: bool) -> Tensor:
    """Images (n, 3, side, side) in [0, 1], each moved, recoloured, softened and made noisy by its own random amounts."""
    return _noisy(_softened(_recoloured(_moved(images, generator, flips), generator), generator), generator).clamp(0.0, 1.0)


def _uniform(images: Tensor, low: float, high: float, generator: torch.Generator, channels: int = 1) -> Tensor:
    drawn = torch.rand((len(images), channels, 1, 1), generator=generator)
    return (low + (high - low) * drawn).to(images.device)


def _moved(images: Tensor, generator: torch.Generator, flips: bool) -> Tensor:
    """Shifted by up to 6 %, scaled by up to 10 %, turned by up to 10 degrees; mirrored either way with `flips`."""
    angle = _uniform(images, -math.radians(10), math.radians(10), generator).flatten()
    scale = _uniform(images, 0.9, 1.1, generator).flatten()
    shift = _uniform(images, -0.12, 0.12, generator, channels=2)[:, :, 0, 0]
    mirror = torch.ones((2, len(images)), device=images.device)
    if flips:
        mirror = torch.where(torch.rand((2, len(images)), generator=generator) < 0.5, -1.0, 1.0).to(images.device)
    across = torch.stack((torch.cos(angle) * mirror[0], -torch.sin(angle) * mirror[1]), 1) * scale[:, None]
    down = torch.stack((torch.sin(angle) * mirror[0], torch.cos(angle) * mirror[1]), 1) * scale[:, None]
    matrix = torch.cat((torch.stack((across, down), 1), shift[:, :, None]), 2)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast and brightness within 10 %, each channel's gain within 5 %."""
    mean = images.mean((1, 2, 3), keepdim=True)
    contrast = _uniform(images, 0.9, 1.1, generator)
    gain = _uniform(images, 0.95, 1.05, generator, channels=3)
    return ((images - mean) * contrast + mean) * gain + _uniform(images, -0.08, 0.08, generator)


def _softened(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mixed with a copy at a half to a quarter of the resolution, two images in three; one in three is left sharp."""
    side = images.shape[-1]
    coarse = max(4, int(side * (0.25 + 0.25 * torch.rand((), generator=generator).item())))
    small = functional.interpolate(images, (coarse, coarse), mode="area")
    soft = functional.interpolate(small, (side, side), mode="bilinear", align_corners=False)
    return torch.lerp(images, soft, _uniform(images, -0.5, 1.0, generator).clamp(min=0.0))


def _noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    """With Gaussian noise of up to 3 % of the range."""
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return images + noise * _uniform(images, 0.0, 0.03, generator)
