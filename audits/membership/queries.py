"""White box, by a few questions to the denoiser that need no noise: SimA, PIA, PIAN and SecMI.

Each is computed as published, for any schedule: a model is asked for the noise it sees, whatever it predicts. Guidance is 1
and latents are the posterior's mode. The published code of PIA asks Stable Diffusion at guidance 7.5, with sampled latents
and another schedule than the model's; none of that is repeated here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from audits.membership.statistics import TINY, Measured
from audits.membership.target import Block, Latents, Target
from synguard.protocols import OpenDenoiser

__all__ = ["Pia", "SecMi", "SimA"]

Floats = NDArray[np.float64]
CLEAN = 0.01
"""The level that stands for no noise at all: the first step of a schedule that has steps."""
MEAN_SIZE = math.sqrt(2 / math.pi)
"""E|N(0, 1)|, to which PIAN rescales (the port in CDI has its inverse)."""
_POWER = 4


@dataclass(frozen=True, slots=True)
class SimA:
    """The noise seen in a clean image: || eps(x, t) ||_4^4 (2025, arXiv:2509.25003).

    The image is scaled to the size that noised latents have at that level: not at all on the published, variance preserving
    schedule, by sqrt((1 - t)^2 + t^2) on a flow.
    """

    level: float
    name: str = "SimA"

    @property
    def method(self) -> str:
        """What is measured."""
        return f"noise predicted in the image without noise, told that there is {self.level:g}, fourth moment, log"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one figure."""
        return ("fourth moment",)

    def calls(self, target: Target) -> int:
        """One a turn."""
        return len(target.turns)

    def measure(self, target: Target, block: Block) -> Measured:
        """(n, 1)."""
        asked = _Asked.of(target, block)
        size = np.float32(math.hypot(*asked.model.coefficients(self.level)))
        return _over_turns(block, lambda x: _moment(asked.noise(size * x, self.level), _POWER))


@dataclass(frozen=True, slots=True)
class Pia:
    """How far the noise seen in x_t, noised with the noise eps0 seen in x itself, is from eps0.

    || eps0 - eps(a_t x + s_t eps0, t) ||_4^4 (Kong et al. 2024, arXiv:2305.18355). `normalised` (PIAN) rescales eps0 to
    the mean size of Gaussian noise first.
    """

    level: float
    normalised: bool = False

    @property
    def name(self) -> str:
        """PIA or PIAN."""
        return "PIAN" if self.normalised else "PIA"

    @property
    def method(self) -> str:
        """What is measured."""
        scaled = " scaled to the size of Gaussian noise," if self.normalised else ""
        return (
            f"difference between the noise seen in the image,{scaled} and that seen at level {self.level:g} where the "
            "former was added, fourth moment, log"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The one figure."""
        return ("fourth moment",)

    def calls(self, target: Target) -> int:
        """Two a turn."""
        return 2 * len(target.turns)

    def measure(self, target: Target, block: Block) -> Measured:
        """(n, 1)."""
        asked = _Asked.of(target, block)
        signal, share = asked.model.coefficients(self.level)

        def difference(x: Latents) -> Floats:
            first = asked.noise(x, CLEAN)
            if self.normalised:
                size = np.abs(first).mean(axis=(1, 2, 3), keepdims=True)
                first = first * (np.float32(MEAN_SIZE) / np.maximum(size, np.float32(TINY)))
            noised = np.float32(signal) * x + np.float32(share) * first
            return _moment(first - asked.noise(noised, self.level), _POWER)

        return _over_turns(block, difference)


@dataclass(frozen=True, slots=True)
class SecMi:
    """The error of one deterministic step there and back, at a point reached by deterministic inversion (SecMI_stat).

    Duan et al. 2023, arXiv:2302.01316: from the image to level t in ten DDIM steps, on to t + k and back, squared distance.
    Compared at t itself, which the published code misses by one step.
    """

    level: float
    steps: int = 10
    name: str = "SecMI"

    @property
    def method(self) -> str:
        """What is measured."""
        return f"error of a deterministic step forth and back at level {self.level:g}, reached in {self.steps} steps, log"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one figure."""
        return ("squared error",)

    def calls(self, target: Target) -> int:
        """The inversion, a step forth, a step back."""
        return (self.steps + 2) * len(target.turns)

    def measure(self, target: Target, block: Block) -> Measured:
        """(n, 1)."""
        asked = _Asked.of(target, block)
        grid = np.linspace(0, self.level, self.steps + 1)
        levels = [CLEAN, *grid[1:].tolist()]

        def there_and_back(x: Latents) -> Floats:
            point = x
            for number, (here, there) in enumerate(pairwise(levels)):
                # The image itself has no noise, whatever the first step of the schedule says.
                point = asked.step(point, here, there, clean=number == 0)
            beyond = min(self.level + self.level / self.steps, (1 + self.level) / 2)
            back = asked.step(asked.step(point, self.level, beyond), beyond, self.level)
            return _moment(back - point, 2)

        return _over_turns(block, there_and_back)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A model, the weights and the conditions that a block's questions go to."""

    model: OpenDenoiser
    target: Target
    block: Block

    @classmethod
    def of(cls, target: Target, block: Block) -> _Asked:
        if target.open is None:
            raise ValueError("model: found one that only tells its errors, expected one that can be asked for noise")
        return cls(target.open, target, block)

    def noise(self, noised: Latents, level: float) -> Latents:
        return self.model.predict(noised, self.block.conditions, level=level, weights=self.target.weights)

    def step(self, noised: Latents, here: float, there: float, *, clean: bool = False) -> Latents:
        """A deterministic step (DDIM; on a flow, Euler's) from one level to another."""
        signal, share = (1.0, 0.0) if clean else self.model.coefficients(here)
        next_signal, next_share = self.model.coefficients(there)
        noise = self.noise(noised, here)
        image = (noised - np.float32(share) * noise) / np.float32(signal)
        return np.asarray(np.float32(next_signal) * image + np.float32(next_share) * noise, dtype=np.float32)


def _moment(values: Latents, power: int) -> Floats:
    """Mean (n,) of absolute values to a power."""
    return np.asarray((np.abs(values.astype(np.float64)) ** power).mean(axis=(1, 2, 3)), dtype=np.float64)


def _over_turns(block: Block, figure: Callable[[Latents], Floats]) -> Measured:
    """Log of the mean over the turns that training showed (n, 1)."""
    return Measured(np.log(np.mean([figure(latents) for latents in block.latents], axis=0) + TINY)[:, None])
