"""White box, by the model's own error on an image: at several noise levels, beyond a reference model's, by condition.

Sources: Matsumoto et al. 2023 (loss threshold); Carlini et al. 2023 (noise level matters most); Dubinski et al. 2025, "CDI"
(several levels with the same noise); Watson et al. 2022 (calibration by a reference model); Zhai et al. 2024, "CLiD" (the
error under other conditions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits.membership.statistics import TINY, Measured
from audits.membership.target import Block, Latents, Target, encoded
from synguard.errors import InputError
from synguard.protocols import Denoiser

__all__ = ["ConditionGap", "MultiStepLoss", "ReferenceLoss"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MultiStepLoss:
    """The denoiser's error at several noise levels, log of the mean over common draws.

    Draw r is made on turn r of the image, where training showed it turned, so that turns cost no further passes.
    """

    levels: tuple[float, ...]
    noise: Latents
    name: str = "loss"

    @property
    def method(self) -> str:
        """What is measured."""
        return f"denoising error at noise levels {_listed(self.levels)}, {len(self.noise)} common draws each, log"

    @property
    def columns(self) -> tuple[str, ...]:
        """One a level."""
        return tuple(f"level {level:g}" for level in self.levels)

    def calls(self, target: Target) -> int:
        """One a level and draw."""
        return len(self.levels) * len(self.noise)

    def measure(self, target: Target, block: Block) -> Measured:
        """Log errors (n, levels)."""
        return Measured(_log_errors(target, block, block.conditions, self.levels, self.noise))


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceLoss:
    """The error beyond that of a reference model that has seen none of the images.

    The reference's own error stands beside the image's looks in the regression that says what to expect, so that a reference
    of another scale, or with an autoencoder of its own, serves as well.
    """

    reference: Target
    levels: tuple[float, ...]
    noise: Latents
    what: str
    name: str = "loss against reference"

    @classmethod
    def of(
        cls,
        reference: Denoiser,
        model: Denoiser,
        turns: tuple[int, ...],
        levels: tuple[float, ...],
        noise: Latents,
        what: str,
    ) -> ReferenceLoss:
        """Against the released weights of `reference`; InputError where its latents have another shape than the model's."""
        if reference.latent_shape != model.latent_shape:
            shapes = [" x ".join(map(str, one.latent_shape)) for one in (reference, model)]
            raise InputError.of(f"latents of the reference model ({what})", shapes[0], f"{shapes[1]}, as the model's")
        return cls(Target(reference, reference.weights[0], turns), levels, noise, what)

    @property
    def method(self) -> str:
        """What is measured."""
        return (
            f"log denoising error beyond that of a reference model ({self.what}) at noise levels {_listed(self.levels)}, "
            f"{len(self.noise)} common draws each"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """One a level."""
        return tuple(f"level {level:g}" for level in self.levels)

    def calls(self, target: Target) -> int:
        """One a level and draw, of either model."""
        return 2 * len(self.levels) * len(self.noise)

    def measure(self, target: Target, block: Block) -> Measured:
        """Differences of log errors (n, levels), and beside them the reference's log errors."""
        mine = _log_errors(target, block, block.conditions, self.levels, self.noise)
        latents = encoded(self.reference.model, block.pixels, self.reference.turns)
        seen = Block(block.pixels, latents, block.conditions)
        theirs = _log_errors(self.reference, seen, block.conditions, self.levels, self.noise)
        return Measured(mine - theirs, theirs)


@dataclass(frozen=True, slots=True, eq=False)
class ConditionGap:
    """How much lower the error is under the image's own conditions than under others and under none, in logs.

    The same noise throughout. Other conditions are combinations of the calibration role, in an order fixed by seed: for
    each image the first ones that differ from its own.
    """

    others: pd.DataFrame
    levels: tuple[float, ...]
    noise: Latents
    swaps: int
    none: bool = True
    """Whether the model can be asked without conditions."""
    name: str = "condition gap"

    @classmethod
    def fit(
        cls, conditions: pd.DataFrame, *, levels: tuple[float, ...], noise: Latents, swaps: int, none: bool, seed: int
    ) -> ConditionGap:
        """With at most `swaps` combinations out of `conditions`, the calibration role's."""
        distinct = conditions.drop_duplicates().reset_index(drop=True)
        order = np.random.default_rng([seed, 0xC11D]).permutation(len(distinct))
        return cls(distinct.iloc[order].reset_index(drop=True), levels, noise, min(swaps, len(distinct) - 1), none)

    @property
    def method(self) -> str:
        """What is measured."""
        return (
            f"log denoising error under the image's own conditions, less the mean under {self._asked}, at "
            f"noise levels {_listed(self.levels)}, {len(self.noise)} common draws each"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """One a level."""
        return tuple(f"level {level:g}" for level in self.levels)

    def calls(self, target: Target) -> int:
        """One a level, draw and condition: its own, none, and the others."""
        return (1 + self.none + self.swaps) * len(self.levels) * len(self.noise)

    def measure(self, target: Target, block: Block) -> Measured:
        """Differences of log errors (n, levels)."""
        if block.conditions is None:
            raise ValueError("conditions: found none, expected those of the images")
        own = _log_errors(target, block, block.conditions, self.levels, self.noise)
        asked = [*([None] if self.none else []), *self._swapped(block.conditions)]
        other = [_log_errors(target, block, conditions, self.levels, self.noise) for conditions in asked]
        return Measured(own - np.mean(other, axis=0))

    @property
    def _asked(self) -> str:
        return f"none and {self.swaps} others" if self.none else f"{self.swaps} others"

    def _swapped(self, conditions: pd.DataFrame) -> list[pd.DataFrame]:
        keys, own = _keys(self.others), _keys(conditions)
        rows = np.array([np.flatnonzero(keys != key)[: self.swaps] for key in own])
        return [self.others.iloc[rows[:, swap]].reset_index(drop=True) for swap in range(self.swaps)]


def _keys(conditions: pd.DataFrame) -> NDArray[np.str_]:
    """One text an image that tells its combination of conditions."""
    return conditions.astype("string").fillna("\x00").agg("\x1f".join, axis=1).to_numpy(dtype=np.str_)


def _log_errors(
    target: Target, block: Block, conditions: pd.DataFrame | None, levels: tuple[float, ...], noise: Latents
) -> Floats:
    """Log of the mean error over the draws, (n, levels)."""
    columns = []
    for level in levels:
        draws = [
            target.model.errors(
                block.latents[draw % len(block.latents)], conditions, level=level, noise=one, weights=target.weights
            )
            for draw, one in enumerate(noise)
        ]
        columns.append(np.log(np.mean(draws, axis=0) + TINY))
    return np.stack(columns, axis=1)


def _listed(levels: tuple[float, ...]) -> str:
    return ", ".join(f"{level:g}" for level in levels)
