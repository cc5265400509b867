"""Differentially private gradients (DP-SGD, Abadi et al. 2016, arXiv:1607.00133), patient by patient.

In each step every patient is taken with the same chance, independently of all others. The gradient of a patient is that of
the mean loss over several images, turns, noises and times (noise multiplicity: Dockhorn et al. 2023, arXiv:2210.09929), so
that however many images a patient has, one clipping bounds them all together. The clipped gradients are summed, Gaussian
noise is added once, and the sum is divided by the number of patients that are expected.

Gradients come from `torch.func` and not from Opacus's hooks, and why is in docs/decisions/0012-private-training.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from generation.gradients import WithParameters
from synguard.errors import IntegrityError, SynguardError

__all__ = ["Patients", "Secret", "clipped_sum", "noised", "patient_gradients", "put"]

_TAKEN, _NOISE = 11, 12
_CHUNK_BYTES = {"cpu": 2**28, "cuda": 2**32}
"""Memory that the gradients of the patients in one chunk may take."""
_TINY = 1e-6
"""As Opacus has it: keeps the clipped norm below the bound in spite of rounding."""

Loss = Callable[..., Tensor]
Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Secret:
    """What all coins and noise of one private training come from.

    Who knows it can take the noise away again. It is therefore no seed of the configuration, which a model card tells, but
    drawn anew, kept beside the checkpoints while the training may have to be gone on with, and destroyed at its end.
    """

    key: bytes

    @classmethod
    def kept(cls, path: Path, *, fresh: bool) -> Secret:
        """The one in the file; a new one where there is none yet. IntegrityError where one is missed (not `fresh`)."""
        if path.is_file():
            try:
                return cls(bytes.fromhex(json.loads(path.read_bytes())["key"]))
            except (ValueError, KeyError, TypeError) as error:
                raise IntegrityError(f"{path}: found no key, expected that of the training to go on with") from error
        if not fresh:
            raise IntegrityError(f"{path}: found nothing, expected the key of the training to go on with")
        key = secrets.token_bytes(32)
        partial = path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(json.dumps({"key": key.hex()}))
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        return cls(key)

    @property
    def digest(self) -> str:
        """sha256 that checkpoints carry, so that none is gone on with under another secret."""
        return hashlib.sha256(b"digest" + self.key).hexdigest()

    def rng(self, purpose: int, step: int) -> np.random.Generator:
        """Random numbers of one step, independent of what was drawn before it."""
        return np.random.default_rng(list(self._derived(purpose, step)))

    def generator(self, step: int, device: torch.device) -> torch.Generator:
        """Torch's generator for the noise of one step."""
        seed = int.from_bytes(self._derived(_NOISE, step)[:8], "big") % 2**63
        return torch.Generator(device).manual_seed(seed)

    def _derived(self, purpose: int, step: int) -> bytes:
        return hashlib.sha256(self.key + purpose.to_bytes(4, "big") + step.to_bytes(8, "big")).digest()


@dataclass(frozen=True, slots=True, eq=False)
class Patients:
    """The rows of each patient's images, and the chance of a patient to be taken in a step."""

    rows: tuple[NDArray[np.int64], ...]
    rate: float

    @classmethod
    def of(cls, patients: NDArray[np.str_], rate: float) -> Patients:
        """From the patient of each image."""
        codes, counts = np.unique(patients, return_inverse=True, return_counts=True)[1:]
        return cls(tuple(np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])), rate)

    def taken(self, secret: Secret, step: int) -> NDArray[np.int64]:
        """Numbers of the patients of one step: Poisson sampling, so now and then none."""
        return np.flatnonzero(secret.rng(_TAKEN, step).random(len(self.rows)) < self.rate)

    def images(self, patient: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows of `draws` images of a patient, going round all of them in random order."""
        return np.resize(rng.permutation(self.rows[patient]), draws)


def patient_gradients(model: Any, loss: Loss, batch: Sequence[Tensor]) -> Tensors:
    """The gradient of `loss(model, *one patient's part)` for each patient: (patients, *shape) by name of the parameter.

    `batch` are tensors with the patients along their first axis. Parameters that need no gradient have none.
    """
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def of_one(parameters: Tensors, *part: Tensor) -> Tensor:
        return loss(WithParameters(model, parameters), *part)

    # The fused kernels of attention have no rule for batches of batches, and fall back to a loop.
    with sdpa_kernel(SDPBackend.MATH):
        found: Tensors = vmap(grad(of_one), in_dims=(None, *[0] * len(batch)))(trained, *batch)
    return found


def clipped_sum(model: Any, loss: Loss, batch: Sequence[Tensor], clip: float) -> Tensors:
    """The sum of the patients' gradients, each cut to length `clip`, by name; zeros where there is no patient.

    Raises SynguardError for a gradient that is not finite.
    """
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    device = next(iter(total.values())).device
    each = 4 * sum(value.numel() for value in total.values())
    size = max(1, _CHUNK_BYTES[device.type] // each)
    for first in range(0, len(batch[0]), size):
        gradients = patient_gradients(model, loss, [part[first : first + size] for part in batch])
        squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0)
        if not torch.isfinite(squares).all():
            raise SynguardError("denoiser: found a gradient that is not finite, expected a lower learning rate")
        factors = (clip / (squares.sqrt() + _TINY)).clamp(max=1.0)
        for name, gradient in gradients.items():
            total[name] += torch.einsum("i,i...->...", factors, gradient)
    return total


def noised(total: Tensors, *, deviation: float, expected: float, generator: torch.Generator) -> Tensors:
    """The sum with Gaussian noise of standard deviation `deviation` in every number, divided by `expected` patients."""
    return {
        name: (value + deviation * torch.randn(value.shape, generator=generator, device=value.device)) / expected
        for name, value in total.items()
    }


def put(model: Any, gradients: Tensors) -> None:
    """Gradients into the parameters, in the parameters' own order of memory, which the fused optimiser goes by."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter).copy_(gradients[name])
