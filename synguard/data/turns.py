"""The eight mirrorings and quarter turns of a square picture, by number: what training may show beside the picture."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["TURNS", "turned"]

TURNS: Mapping[str, tuple[int, ...]] = MappingProxyType({"none": (0,), "mirror": (0, 1), "dihedral": tuple(range(8))})
"""The turns that each setting of `generator.denoiser.augment` shows."""


def turned(images: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Images (..., h, w, 3) turned: 0 leaves them, 1 mirrors left to right, 2 to 7 add quarter turns to either."""
    mirrored = images[..., :, ::-1, :] if turn % 2 else images
    return np.rot90(mirrored, turn // 2, axes=(-3, -2))
