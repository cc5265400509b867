"""White box, at a price or beside the denoiser: norms of gradients, and what the autoencoder gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audits.membership.statistics import TINY, Measured
from audits.membership.target import Block, Latents, Target

__all__ = ["GradientNorms", "Reconstruction"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class GradientNorms:
    """How much an image would still change the model: norms of the loss's gradient, by part of the network, log.

    Pang et al. 2023, "GSA", arXiv:2308.06405 (GSA1: one backward pass of the mean loss over several levels). Their norms by
    tensor are pooled into a few consecutive parts, so that they need no shadow models and no thousands of images.
    """

    levels: tuple[float, ...]
    noise: Latents
    """(levels, c, h, w)"""
    parts: int = 6
    name: str = "gradient norms"

    @property
    def method(self) -> str:
        """What is measured."""
        levels = ", ".join(f"{level:g}" for level in self.levels)
        of = f"of the gradient of the mean denoising error at noise levels {levels}"
        return f"norms {of}, in {self.parts} parts of the network, log"

    @property
    def columns(self) -> tuple[str, ...]:
        """One a part."""
        return tuple(f"part {part + 1}" for part in range(self.parts))

    def calls(self, target: Target) -> int:
        """Forth and back at each level."""
        return 3 * len(self.levels)

    def measure(self, target: Target, block: Block) -> Measured:
        """(n, parts)."""
        if target.open is None:
            raise ValueError("model: found one that only tells its errors, expected one that can be differentiated")
        norms = target.open.gradient_norms(
            block.latents[0], block.conditions, levels=self.levels, noise=self.noise, weights=target.weights
        )
        pooled = [np.square(part).sum(axis=1) for part in np.array_split(norms, self.parts, axis=1)]
        return Measured(np.log(np.stack(pooled, axis=1) + TINY) / 2)


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Squared error of the image through encoder and decoder, log (Hilprecht et al. 2019)."""

    name: str = "autoencoder reconstruction"

    @property
    def method(self) -> str:
        """What is measured."""
        return "mean squared error of the image through encoder and decoder, log"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one figure."""
        return ("squared error",)

    def calls(self, target: Target) -> int:
        """None of the denoiser."""
        return 0

    def measure(self, target: Target, block: Block) -> Measured:
        """(n, 1)."""
        made = target.model.reconstruct(block.pixels).astype(np.float64) / 255
        errors = np.square(made - block.pixels / 255).mean(axis=(1, 2, 3))
        return Measured(np.log(errors + TINY)[:, None])
