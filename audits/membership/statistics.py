"""What a white-box statistic is: figures of an image that the model makes lower where it has been trained on it.

A new one is a class that satisfies `Statistic`, and a line in `choose.py`. Parameters are fixed in the configuration, never
taken as the best on the data that are judged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audits.membership.target import Block, Shown, Target

__all__ = ["TINY", "Measured", "Statistic", "measure"]

Floats = NDArray[np.float64]
TINY = 1e-12
"""Added before a logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Figures (n, k), lower for members, and what is known of the image's difficulty besides its looks (n, m)."""

    figures: Floats
    beside: Floats = field(default_factory=lambda: np.empty((0, 0)))


class Statistic(Protocol):
    """One attack on one image, given a set of weights."""

    @property
    def name(self) -> str:
        """Short name."""
        ...

    @property
    def method(self) -> str:
        """One sentence without a full stop: what is measured, and with which parameters."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """What each figure is."""
        ...

    def calls(self, target: Target) -> int:
        """Passes through the denoiser an image; a backward pass counts as two."""
        ...

    def measure(self, target: Target, block: Block) -> Measured:
        """The figures of every image of the block, each by itself."""
        ...


def measure(statistic: Statistic, target: Target, shown: Shown) -> Measured:
    """The figures of a whole arm, with its looks beside them."""
    parts = [statistic.measure(target, block) for block in shown.blocks]
    beside = [part.beside for part in parts if part.beside.size]
    looks = [shown.arm.looks, np.concatenate(beside)] if beside else [shown.arm.looks]
    return Measured(np.concatenate([part.figures for part in parts]), np.concatenate(looks, axis=1))
