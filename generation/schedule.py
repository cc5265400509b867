"""Noise schedules: how much of a noised latent is noise, and which noise follows from what a model predicts.

Everything is read from the scheduler that comes with the model, never from a family's usual values: public attack code has
probed Stable Diffusion with linear betas, where its schedule is linear in their square roots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray
from torch import Tensor

from synguard.errors import InputError

__all__ = ["FLOW", "Prediction", "Schedule", "check_level", "scheduler_for"]

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]


def check_level(level: float) -> None:
    """InputError for a level outside (0, 1)."""
    if not 0 < level < 1:
        raise InputError.of("level", level, "a share of noise between 0 and 1")


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """What a model predicts, and the cumulative alphas (steps,) of its schedule; None for the straight path of a flow.

    Variance preserving: z = sqrt(alpha_bar) x + sqrt(1 - alpha_bar) e (Ho et al. 2020, arXiv:2006.11239, eq. 4), a level
    is sqrt(1 - alpha_bar) and means the step that comes nearest. Flow: z = (1 - t) x + t e, a level is t (arXiv:2210.02747).
    """

    prediction: Prediction
    alphas: NDArray[np.float64] | None
    steps: int

    @classmethod
    def of(cls, scheduler: Any, where: str) -> Schedule:
        """That of a diffusers scheduler; InputError for one whose latents or predictions are of another kind."""
        config = scheduler.config
        steps = int(config.get("num_train_timesteps", 1000))
        if type(scheduler).__name__.startswith("FlowMatch"):
            return cls("flow", None, steps)
        alphas = getattr(scheduler, "alphas_cumprod", None)
        prediction = config.get("prediction_type", "epsilon")
        if alphas is None or prediction not in get_args(Prediction):
            found = f"{type(scheduler).__name__} with prediction_type {prediction}"
            raise InputError.of(
                where, found, "a scheduler with alphas_cumprod that predicts epsilon, v_prediction or sample"
            )
        return cls(cast(Prediction, prediction), np.asarray(alphas, dtype=np.float64), steps)

    def timestep(self, level: float) -> float:
        """What the model is told."""
        check_level(level)
        if self.alphas is None:
            return level * self.steps
        return float(np.abs(np.sqrt(1 - self.alphas) - level).argmin())

    def coefficients(self, level: float) -> tuple[float, float]:
        """Shares of latent and noise in a noised latent."""
        step = self.timestep(level)
        if self.alphas is None:
            return 1 - level, level
        return float(np.sqrt(self.alphas[int(step)])), float(np.sqrt(1 - self.alphas[int(step)]))

    def noise(self, predicted: Tensor, noised: Tensor, level: float) -> Tensor:
        """The noise that follows from a prediction; v after Salimans and Ho 2022, arXiv:2202.00512, appendix D."""
        signal, noise = self.coefficients(level)
        if self.prediction == "epsilon":
            return predicted
        if self.prediction == "v_prediction":
            return signal * predicted + noise * noised
        if self.prediction == "sample":
            return (noised - signal * predicted) / noise
        return noised + signal * predicted

    def target(self, latents: Tensor, drawn: Tensor, level: float) -> Tensor:
        """What the model should have predicted for latents noised with `drawn`."""
        return self._target(latents, drawn, *self.coefficients(level))

    def _target(self, latents: Tensor, drawn: Tensor, signal: float | Tensor, noise: float | Tensor) -> Tensor:
        if self.prediction == "epsilon":
            return drawn
        if self.prediction == "v_prediction":
            return signal * drawn - noise * latents
        return latents if self.prediction == "sample" else drawn - latents

    def time(self, level: float) -> float:
        """The time in (0, 1) of a level."""
        return level if self.alphas is None else (self.timestep(level) + 0.5) / self.steps

    def times(self, normal: Tensor) -> Tensor:
        """Times of training (n,) from standard normal draws: logit-normal for a flow (arXiv:2403.03206), else uniform."""
        return normal.sigmoid() if self.alphas is None else torch.special.ndtr(normal)

    def told(self, times: Tensor) -> Tensor:
        """What the model is told at times (n,)."""
        return times * self.steps if self.alphas is None else (times * self.steps).floor().clamp(max=self.steps - 1)

    def mixed(self, latents: Tensor, drawn: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Noised latents at times (n,), and what the model should predict for them."""
        signal, noise = self._shares(times)
        return signal * latents + noise * drawn, self._target(latents, drawn, signal, noise)

    def weights(self, times: Tensor, gamma: float = 5.0) -> Tensor | None:
        """Min-SNR weights (n,) of the errors at times (arXiv:2303.09556, section 3.4, with 5 as there); None for a flow."""
        if self.alphas is None:
            return None
        signal, noise = (share.flatten() for share in self._shares(times))
        ratio = (signal / noise).square()
        least = ratio.clamp(max=gamma)
        return least / (ratio + 1) if self.prediction == "v_prediction" else least / ratio

    def _shares(self, times: Tensor) -> tuple[Tensor, Tensor]:
        if self.alphas is None:
            t = times.view(-1, 1, 1, 1)
            return 1 - t, t
        alphas = torch.from_numpy(self.alphas).to(times)[self.told(times).long()].view(-1, 1, 1, 1)
        return alphas.sqrt(), (1 - alphas).sqrt()


FLOW = Schedule("flow", None, 1000)
"""That of flow matching, the default of our own models."""


def scheduler_for(objective: Literal["flow", "epsilon", "v"]) -> Any:
    """The scheduler that lies beside a model trained for an objective; for epsilon and v with Stable Diffusion's betas."""
    if objective == "flow":
        return FlowMatchEulerDiscreteScheduler()
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if objective == "v" else "epsilon",
        clip_sample=False,
        timestep_spacing="trailing",
    )
