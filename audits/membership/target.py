"""A model under probe, and the images that it is probed with, block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits.membership.probe import Arm
from synguard.data.turns import turned
from synguard.errors import InputError
from synguard.protocols import Denoiser, Images, OpenDenoiser

__all__ = ["Block", "Latents", "Shown", "Target", "common_noise", "encoded"]

Latents = NDArray[np.float32]
_BLOCK = 250
"""Images a call. Fixed, so that no batch size of the audit changes a figure."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some images of an arm: pixels, latents by turn, and the conditions that belong to them."""

    pixels: Images
    latents: tuple[Latents, ...]
    conditions: pd.DataFrame | None


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A model and the set of its weights that is probed, in the turns that its training showed images in."""

    model: Denoiser
    weights: str
    turns: tuple[int, ...] = (0,)

    @property
    def open(self) -> OpenDenoiser | None:
        """The model where it can be asked at any point and differentiated; None where it only tells its errors."""
        return self.model if isinstance(self.model, OpenDenoiser) else None


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An arm as a model sees it, in blocks. Encoded once: the autoencoder is the same for all weights of the denoiser."""

    arm: Arm
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, arm: Arm, model: Denoiser, turns: tuple[int, ...] = (0,)) -> Shown:
        """The arm in these turns; InputError where the model's denoiser takes other latents than its autoencoder makes."""
        blocks = []
        for start in range(0, len(arm), _BLOCK):
            rows = slice(start, start + _BLOCK)
            conditions = None if arm.conditions is None else arm.conditions.iloc[rows].reset_index(drop=True)
            blocks.append(Block(arm.pixels[rows], encoded(model, arm.pixels[rows], turns), conditions))
        return cls(arm, tuple(blocks))


def encoded(model: Denoiser, pixels: Images, turns: tuple[int, ...] = (0,)) -> tuple[Latents, ...]:
    """Images (n, s, s, 3) as the model sees them, by turn; InputError where its denoiser takes others than it makes."""
    found = tuple(model.encode(turned(pixels, turn)) for turn in turns)
    if found[0].shape[1:] != model.latent_shape:
        raise InputError.of(
            f"the model's latents of images of {pixels.shape[1]} pixels",
            " x ".join(map(str, found[0].shape[1:])),
            f"{' x '.join(map(str, model.latent_shape))}, as its denoiser takes them",
        )
    return found


def common_noise(model: Denoiser, draws: int, seed: int) -> Latents:
    """(draws, c, h, w): the same noise for every image and level, so that differences are not the noise's."""
    return np.random.default_rng([seed, 0x1055]).standard_normal((draws, *model.latent_shape)).astype(np.float32)
