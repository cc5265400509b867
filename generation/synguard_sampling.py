"""Samplers by name, and guidance by groups of attributes: from noise to latents, with nothing needed but diffusers.

This file is copied into each trained folder, beside the pipeline that uses it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray

__all__ = [
    "SAMPLERS",
    "Term",
    "default_sampler",
    "evaluations",
    "fitting",
    "generators",
    "noise",
    "predict",
    "prediction_of",
    "sample",
    "solver",
    "terms",
]

OWN = ("ab2", "euler", "heun")
"""Solvers of a flow that are written out below; all others are the schedulers of diffusers."""
SAMPLERS = {
    "ab2": "",
    "euler": "EulerDiscreteScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "pndm": "PNDMScheduler",
    "dpm-solver++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
FLOW = frozenset({*OWN, "dpm-solver++", "unipc"})
"""Samplers of models trained by flow matching. The others that diffusers has are written for epsilon and v alone."""


def fitting(prediction: str) -> tuple[str, ...]:
    """Names of the samplers for models that predict "flow", or "epsilon", "v_prediction" or "sample"."""
    return tuple(name for name, kind in SAMPLERS.items() if (name in FLOW if prediction == "flow" else kind))


def default_sampler(prediction: str) -> str:
    """The sampler where none is named: one evaluation a step, of order two."""
    return "ab2" if prediction == "flow" else "dpm-solver++"


def prediction_of(scheduler: Any) -> str:
    """What a model predicts, by the scheduler that lies beside it."""
    flow = type(scheduler).__name__.startswith("FlowMatch")
    return "flow" if flow else str(scheduler.config.get("prediction_type", "epsilon"))


@dataclass(frozen=True, slots=True)
class Term:
    """Guidance of a group of attributes: `columns` (d,) are ones where it or a group before it is told.

    `weight` acts at times from `low` to `high`, 1 being pure noise; outside them it is 1.
    """

    columns: NDArray[np.float32]
    weight: float
    low: float = 0.0
    high: float = 1.0

    def at(self, time: float) -> float:
        """Its weight at a time."""
        return self.weight if self.low <= time <= self.high else 1.0


def terms(
    widths: Sequence[int],
    members: Sequence[str | None],
    guidance: float,
    interval: Sequence[float] = (0.0, 1.0),
    groups: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Term, ...]:
    """The terms for attributes of so many columns each, members of these groups; all others have `guidance`.

    Groups come in the order in which attributes name them, after the attributes of no group that is guided by itself.
    """
    given = groups or {}
    own = {name: given[name] for name in dict.fromkeys(members) if name is not None and name in given}
    found: list[Term] = []
    told = np.zeros(sum(widths), np.float32)
    for group in (None, *own):
        mine = [name == group if group else name not in own for name in members]
        if any(mine) or not members:
            told = told + np.repeat(np.array(mine, np.float32), widths)
            asked = {"guidance": guidance, "interval": interval, **(own[group] if group else {})}
            low, high = asked["interval"]
            found.append(Term(told, float(asked["guidance"]), float(low), float(high)))
    return tuple(found)


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Each image's own random numbers, drawn on the CPU so that all devices have the same."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def noise(seeds: Sequence[int | torch.Generator], shape: tuple[int, int, int]) -> torch.Tensor:
    """Starting noise (n, c, h, w), each image's from its own seed or generator."""
    own = [seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(int(seed)) for seed in seeds]
    return torch.stack([torch.randn(shape, generator=generator) for generator in own])


def sample(
    unet: Any,
    start: torch.Tensor,
    conditions: torch.Tensor,
    *,
    sampler: str,
    steps: int,
    guidance: Sequence[Term],
    scheduler: Any = None,
    random: list[torch.Generator] | None = None,
) -> torch.Tensor:
    """Latents (n, c, h, w) from standard normal noise. `scheduler` is the model's own, None for flow matching.

    `random` are the images' generators, for samplers that draw more noise on the way. Raises ValueError for a sampler that
    does not go with what the model predicts.
    """
    prediction = "flow" if scheduler is None else prediction_of(scheduler)
    if sampler not in fitting(prediction):
        raise ValueError(f"sampler: found {sampler}, expected one for {prediction}: {', '.join(fitting(prediction))}")
    guided = _guided(unet, conditions, guidance)
    if prediction == "flow" and sampler in OWN:
        return _flow(guided, start, steps, sampler)
    return _stock(guided, start, steps, solver(sampler, scheduler, prediction), random)


def evaluations(sampler: str, steps: int, guidance: Sequence[Term], scheduler: Any = None) -> int:
    """How often the denoiser is evaluated for one image: counted, on a denoiser that does nothing."""
    called = []

    def counted(z: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor]:
        called.append(len(z))
        return (torch.zeros_like(z),)

    conditions = torch.zeros(1, len(guidance[0].columns))
    random = generators([0])
    start = noise(random, (1, 8, 8))
    sample(counted, start, conditions, sampler=sampler, steps=steps, guidance=guidance, scheduler=scheduler, random=random)
    return sum(called)


Guided = Callable[[torch.Tensor, float, float], torch.Tensor]
"""From latents, what the denoiser is told of the time, and the time itself in [0, 1] to what it predicts."""


def _guided(unet: Any, conditions: torch.Tensor, guidance: Sequence[Term]) -> Guided:
    """v = v_0 + sum over groups of w_g (v_g - v_(g-1)), v_g being told all groups up to g: classifier-free guidance.

    arXiv 2207.12598, eq. 6, for one group. As a sum over v_g its coefficients are w_g - w_(g+1), and what has none is not
    evaluated: groups of equal weight cost as much as one, weights of 1 cost nothing.
    """
    masks = [torch.zeros(conditions.shape[1]), *[torch.from_numpy(term.columns) for term in guidance]]
    told = [conditions * mask.to(conditions.device) for mask in masks]

    def predicted(z: torch.Tensor, step: float, time: float) -> torch.Tensor:
        weights = [1.0, *[term.at(time) for term in guidance], 0.0]
        shares = [a - b for a, b in pairwise(weights)]
        if not conditions.shape[1]:
            shares = [0.0] * (len(shares) - 1) + [1.0]
        asked = [number for number, share in enumerate(shares) if share]
        n = len(asked) * len(z)
        times = torch.full((n,), step, device=z.device)
        out = predict(unet, torch.cat([z] * len(asked)), times, torch.cat([told[number] for number in asked]))
        if len(asked) == 1:
            return out
        parts = [shares[number] * part for number, part in zip(asked, out.chunk(len(asked)), strict=True)]
        return torch.stack(parts).sum(0)

    return predicted


def predict(network: Any, z: torch.Tensor, steps: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
    """What the denoiser predicts (n, c, h, w) at time steps (n,) out of 1000, as float32 whatever it computes in.

    A UNet2DConditionModel is told conditions with the time, a PixArtTransformer2DModel as a text of one token.
    """
    dtype = getattr(network, "dtype", z.dtype)
    config = getattr(network, "config", {})
    told: dict[str, Any] = {"encoder_hidden_states": None, "class_labels": None}
    if "caption_channels" in config:
        token = conditions if conditions.shape[1] else conditions.new_zeros(len(z), 1)
        told = {"encoder_hidden_states": token[:, None].to(dtype), "added_cond_kwargs": _NO_SIZE}
    elif conditions.shape[1]:
        told |= {"class_labels": conditions.to(dtype)}
    out: torch.Tensor = network(z.to(dtype), timestep=steps, **told, return_dict=False)[0]
    return out.float()


_NO_SIZE = {"resolution": None, "aspect_ratio": None}


def _flow(guided: Guided, start: torch.Tensor, steps: int, sampler: str) -> torch.Tensor:
    """The flow dz/dt = v(z, t) followed from noise (t = 1) to data (t = 0) in equal steps, v being noise - data.

    "euler", "heun" (two evaluations a step), "ab2" (Adams-Bashforth of order two).
    """

    def velocity(z: torch.Tensor, time: float) -> torch.Tensor:
        return guided(z, 1000 * time, time)

    z, h, last = start, -1.0 / steps, None
    for step in range(steps):
        v = velocity(z, 1 - step / steps)
        if sampler == "heun" and step < steps - 1:
            slope = (v + velocity(z + h * v, 1 - (step + 1) / steps)) / 2
        elif sampler == "ab2" and last is not None:
            slope = 1.5 * v - 0.5 * last
        else:
            slope = v
        z, last = z + h * slope, v
    return z


def solver(sampler: str, scheduler: Any, prediction: str) -> Any:
    """The scheduler of diffusers by that name, with the betas and the prediction of the model's own."""
    kind = getattr(diffusers, SAMPLERS[sampler])
    if prediction == "flow":
        return kind(prediction_type="flow_prediction", use_flow_sigmas=True)
    # Pictures are clipped, latents have no bounds; PLMS is PNDM without its Runge-Kutta steps.
    further = {"clip_sample": False, "skip_prk_steps": True, "timestep_spacing": "trailing"}
    known = inspect.signature(kind.__init__).parameters
    return kind.from_config(dict(scheduler.config), **{key: value for key, value in further.items() if key in known})


def _stock(
    guided: Guided, start: torch.Tensor, steps: int, solver: Any, random: list[torch.Generator] | None
) -> torch.Tensor:
    """Latents by a scheduler of diffusers, which keeps its own state: one for each call."""
    solver.set_timesteps(steps)
    options = {"generator": random} if "generator" in inspect.signature(solver.step).parameters else {}
    z = start * float(solver.init_noise_sigma)
    for told, time in _times(solver):
        out = guided(solver.scale_model_input(z, told), float(told), time)
        z = solver.step(out, told, z, return_dict=False, **options)[0]
    return z


def _times(solver: Any) -> Iterator[tuple[torch.Tensor, float]]:
    for told in solver.timesteps:
        yield told, float(told) / solver.config.num_train_timesteps
