"""Which statistics a configuration asks for, which of them this model allows, and why the others were left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audits.membership.deep import GradientNorms, Reconstruction
from audits.membership.losses import ConditionGap, MultiStepLoss, ReferenceLoss
from audits.membership.probe import Arm
from audits.membership.queries import Pia, SecMi, SimA
from audits.membership.statistics import Statistic
from audits.membership.target import Target, common_noise
from synguard.config import MembershipConfig, ProbeName
from synguard.data.turns import TURNS
from synguard.protocols import Denoiser, OpenDenoiser

__all__ = ["Chosen", "Reference", "choose", "turns_of"]

_GAP_LEVELS, _SWAPS = 3, 2
_GRADIENT_LEVELS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A model that has seen neither members nor judged non-members, and what it is, in a few words."""

    model: Denoiser
    what: str


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Statistics to run, in order, and those left out: name and reason."""

    statistics: tuple[Statistic, ...]
    left_out: tuple[tuple[str, str], ...]

    def ask(self, target: Target) -> bool:
        """Whether any of them asks the denoiser: the autoencoder alone says nothing of it."""
        return any(statistic.calls(target) for statistic in self.statistics)


def turns_of(model: Denoiser, config: MembershipConfig) -> tuple[int, ...]:
    """The turns that training showed images in: as the model says, or as the configuration says of it."""
    if config.turns != "as-trained":
        return TURNS[config.turns]
    return model.turns if isinstance(model, OpenDenoiser) else (0,)


def choose(model: Denoiser, calibration: Arm, config: MembershipConfig, *, reference: Reference | None, seed: int) -> Chosen:
    """The statistics for one model. InputError where the reference model's latents have another shape."""
    noise = common_noise(model, config.draws, seed)
    made: list[Statistic] = []
    left_out: list[tuple[str, str]] = []
    for name in config.probes:
        reason = _barred(name, model, calibration)
        if reason:
            left_out.append((name, reason))
            continue
        made.append(_made(name, model, calibration, config, noise, seed))
    if reference is not None:
        turns = turns_of(model, config)
        made.append(ReferenceLoss.of(reference.model, model, turns, config.noise_levels, noise, reference.what))
    return Chosen(tuple(made), tuple(left_out))


def _barred(name: ProbeName, model: Denoiser, calibration: Arm) -> str:
    """Why this model cannot be probed so; empty where it can."""
    if name in ("sima", "pia", "pian", "secmi", "gradients") and not isinstance(model, OpenDenoiser):
        return "the model tells its errors only, not what it predicts"
    if name == "condition-gap":
        conditions = calibration.conditions
        if conditions is None or not len(conditions.columns):
            return "the model takes no conditions"
        if len(conditions.drop_duplicates()) < 2:
            return "all images of the calibration role have the same conditions"
    return ""


def _made(
    name: ProbeName, model: Denoiser, calibration: Arm, config: MembershipConfig, noise: np.ndarray, seed: int
) -> Statistic:
    levels = config.noise_levels
    if name == "loss":
        return MultiStepLoss(levels, noise)
    if name == "condition-gap" and calibration.conditions is not None:
        fewer = _spread(levels, _GAP_LEVELS)
        none = not isinstance(model, OpenDenoiser) or model.unconditional
        return ConditionGap.fit(calibration.conditions, levels=fewer, noise=noise[:1], swaps=_SWAPS, none=none, seed=seed)
    if name == "gradients":
        fewer = _spread(levels, _GRADIENT_LEVELS)
        return GradientNorms(fewer, common_noise(model, len(fewer), seed))
    if name == "secmi":
        return SecMi(config.query_level)
    if name == "autoencoder":
        return Reconstruction()
    return SimA(config.query_level) if name == "sima" else Pia(config.query_level, normalised=name == "pian")


def _spread(levels: Sequence[float], count: int) -> tuple[float, ...]:
    """At most `count` of the levels, evenly spread, both ends among them."""
    rows = np.unique(np.linspace(0, len(levels) - 1, min(count, len(levels))).round().astype(int))
    return tuple(levels[row] for row in rows.tolist())
