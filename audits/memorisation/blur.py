"""Blur and noise of images and pictures, and how sharp a picture is."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audits.memorisation.pictures import Pictures

__all__ = ["blurred", "gaussian_blur", "roughened", "sharpness"]

_FINE, _COARSE = 1.0, 4.0
"""Pixels of the working size: detail is what the first blur takes away, structure what lies between the two."""
_FLOOR = 1e-8
_LUMA_NOISE = 0.67
"""Noise of luminance where each colour has noise of 1."""


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Images (n, c, s, s) blurred, with mirrored edges.

    Two matrix products: several times faster than a convolution at these sizes.
    """
    if sigma == 0:
        return images
    matrix = _blur_matrix(images.shape[-1], sigma)
    return (matrix @ images) @ matrix.T


def blurred(pictures: Pictures, sigma: float) -> Pictures:
    """The pictures blurred by `sigma` pixels of the working size."""
    if sigma == 0:
        return pictures
    return Pictures(gaussian_blur(pictures.grey, sigma), gaussian_blur(pictures.colour, sigma / 2))


def roughened(pictures: Pictures, sigma: float, seed: int) -> Pictures:
    """The pictures with noise of that standard deviation in each colour of each pixel of the working size."""
    if sigma == 0:
        return pictures
    rng = np.random.default_rng([seed, 0x2015])
    grey, colour = (rng.standard_normal(part.shape, dtype=np.float32) for part in (pictures.grey, pictures.colour))
    return Pictures(
        (pictures.grey + sigma * _LUMA_NOISE * torch.from_numpy(grey)).clamp(0, 1),
        (pictures.colour + sigma / 2 * torch.from_numpy(colour)).clamp(0, 1),
    )


def sharpness(pictures: Pictures) -> NDArray[np.float64]:
    """Natural log of the amplitude of fine detail over that of coarser structure, (n,); falls with blur."""
    smooth = gaussian_blur(pictures.grey, _FINE)
    detail, structure = pictures.grey - smooth, smooth - gaussian_blur(pictures.grey, _COARSE)
    energies = [(part**2).mean((1, 2, 3)).to(torch.float64) + _FLOOR for part in (detail, structure)]
    ratio: NDArray[np.float64] = (0.5 * torch.log(energies[0] / energies[1])).numpy()
    return ratio


@lru_cache(maxsize=64)
def _blur_matrix(size: int, sigma: float) -> Tensor:
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-(offsets.to(torch.float64) ** 2) / (2 * sigma**2))
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for row in range(size):
        # Mirrored at the edges, without repeating the edge itself; wider kernels than the image wrap again.
        period = 2 * size - 2
        place = (row + offsets).remainder(period)
        place = torch.where(place >= size, period - place, place)
        matrix[row].index_add_(0, place, kernel / kernel.sum())
    return matrix.to(torch.float32)
