"""Images at the working size, as the search, the alignment and the score want them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audits.memorisation.geometry import luminance, reduce

__all__ = ["WORKING_SIDE", "Pictures", "working_pictures"]

WORKING_SIDE = 64
"""Larger images are averaged down to this side."""

_CHUNK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """`grey` (n, 1, s, s) is luminance in [0, 1] at the working side s; `colour` (n, 3, s/2, s/2) is RGB at half of it."""

    grey: Tensor
    colour: Tensor

    def __len__(self) -> int:
        return len(self.grey)

    @property
    def side(self) -> int:
        """The working side s."""
        return int(self.grey.shape[-1])

    def take(self, rows: Tensor | slice) -> Pictures:
        """Some of the pictures."""
        return Pictures(self.grey[rows], self.colour[rows])

    def padded(self, n: int) -> Pictures:
        """Followed by black pictures, `n` in all."""
        missing = n - len(self)
        return Pictures(functional.pad(self.grey, (0,) * 7 + (missing,)), functional.pad(self.colour, (0,) * 7 + (missing,)))


def working_pictures(pixels: NDArray[np.uint8]) -> Pictures:
    """Pictures of pixels (n, size, size, 3)."""
    side = min(pixels.shape[1], WORKING_SIDE)
    grey, colour = [torch.zeros(0, 1, side, side)], [torch.zeros(0, 3, side // 2, side // 2)]
    for start in range(0, len(pixels), _CHUNK):
        part = pixels[start : start + _CHUNK]
        grey.append(reduce(luminance(part), side))
        planes = torch.from_numpy(part.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2)
        colour.append(reduce(planes, side // 2))
    return Pictures(torch.cat(grey), torch.cat(colour))
