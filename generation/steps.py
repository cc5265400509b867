"""The denoiser's gradients of one step, with and without differential privacy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generation import denoiser
from generation.accounting import Budget
from generation.conditions import ConditionEncoder
from generation.fit import Gradients, clipped, torch_normal
from generation.private import Patients, Secret, clipped_sum, noised, put
from generation.processes import Processes
from generation.schedule import Schedule
from synguard.config import PrivateConfig

__all__ = ["Drawn", "plain", "private"]

_DRAWS = 13
"""What the random numbers of a private step are for, beside those of `generation.private`."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What batches are made of: latents (variants, n, c, h, w), one for each turn, and encoded conditions (n, d).

    `shorter` are encoded sentences (variants, n, w) that leave labels out, where images are told by sentences.
    """

    latents: Tensor
    encoded: NDArray[np.float32]
    shorter: NDArray[np.float32] | None
    encoder: ConditionEncoder
    dropout: float
    schedule: Schedule

    def batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents, conditions (some hidden), noise, and the normal draws that times come from; one a row."""
        n, device = len(rows), self.latents.device
        variants = rng.integers(0, len(self.latents), n)
        shorter = None if self.shorter is None else self.shorter[:, rows]
        conditions = self.encoder.told(self.encoded[rows], shorter, self.dropout, rng)
        noise = torch_normal(rng, (n, *self.latents.shape[2:]), device)
        normal = torch_normal(rng, (n,), device)
        latents = self.latents[torch.from_numpy(variants), torch.from_numpy(rows)]
        return latents, torch.from_numpy(conditions).to(device), noise, normal


def plain(
    drawn: Drawn,
    rows: Callable[[int], NDArray[np.int64]],
    rng: Callable[[int], np.random.Generator],
    autocast: Callable[[], contextlib.AbstractContextManager[Any]],
    processes: Processes,
) -> Gradients:
    """Clipped gradients of the mean loss; `rows` and `rng` are those of a step."""

    def loss(model: Any, step: int) -> Tensor:
        # All draw the whole batch, so that it does not depend on how many share it.
        latents, conditions, noise, normal = (processes.own(part) for part in drawn.batch(rows(step), rng(step)))
        with autocast():
            latents = latents.contiguous(memory_format=torch.channels_last)
            return denoiser.loss(model, latents, conditions, noise, normal, drawn.schedule)

    return clipped(loss, processes)


def private(drawn: Drawn, patients: Patients, secret: Secret, config: PrivateConfig, budget: Budget) -> Gradients:
    """Differentially private gradients: of the patients that a step's coins take, clipped one by one, summed, noised.

    In float32 throughout, so that what is clipped is what is added up.
    """
    expected = patients.rate * len(patients.rows)
    loss = partial(denoiser.loss, schedule=drawn.schedule)

    def gradients(model: Any, step: int) -> None:
        taken, rng = patients.taken(secret, step), secret.rng(_DRAWS, step)
        rows = [patients.images(patient, config.multiplicity, rng) for patient in taken.tolist()]
        flat = drawn.batch(np.concatenate([np.zeros(0, dtype=np.int64), *rows]), rng)
        batch = [part.reshape(len(taken), config.multiplicity, *part.shape[1:]) for part in flat]
        total = clipped_sum(model, loss, batch, config.clip)
        generator = secret.generator(step, drawn.latents.device)
        put(model, noised(total, deviation=budget.noise * config.clip, expected=expected, generator=generator))

    return gradients
