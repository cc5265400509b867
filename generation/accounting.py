"""What private training spends: noise, sampling rate and steps on one side, epsilon and delta on the other.

Epsilon comes from Opacus's accountant, which composes privacy loss random variables numerically (Gopi et al. 2021,
arXiv:2106.02848) and returns the upper end of its own error. It covers what DP-SGD does: each step takes every patient with
the same chance, on its own (Poisson), clips each patient's gradient, and adds Gaussian noise to the sum. Neighbouring sets
differ by one patient more or less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synguard.config import GeneratorConfig, PrivateConfig
from synguard.errors import InputError
from synguard.metrics.one_run import default_delta

__all__ = ["Budget", "budget_of", "epsilon_spent", "in_words", "statement"]

_INSTALL = "pip install 'synguard[dp]'"


@dataclass(frozen=True, slots=True)
class Budget:
    """A private training: noise multiplier, sampling rate, steps, and the (epsilon, delta) that they come to."""

    epsilon: float
    delta: float
    noise: float
    rate: float
    steps: int

    @property
    def accountant(self) -> str:
        """Which accountant vouches for epsilon."""
        return f"PRV (Opacus {_opacus().__version__})"


def budget_of(config: GeneratorConfig, patients: int) -> Budget | None:
    """The budget of a whole training, None where it is not private.

    InputError where there are fewer patients than are expected in a step, where no noise keeps to the epsilon that was asked
    for, or where Opacus is not installed.
    """
    if config.private is None:
        return None
    expected = config.denoiser.batch_size
    if expected > patients:
        raise InputError.of("generator.denoiser.batch_size", expected, f"no more than the {patients} patients there are")
    delta = config.private.delta or default_delta(patients)
    rate, steps = expected / patients, config.denoiser.steps
    noise = config.private.noise or _noise_for(config.private, rate, steps, delta)
    return Budget(epsilon_spent(noise, rate, steps, delta), delta, noise, rate, steps)


def epsilon_spent(noise: float, rate: float, steps: int, delta: float) -> float:
    """Upper bound on epsilon at `delta` after `steps` steps; 0 after none. InputError where the accountant has no answer."""
    if steps == 0:
        return 0.0
    accountant = _opacus().accountants.PRVAccountant()
    accountant.history = [(noise, rate, steps)]
    try:
        return float(accountant.get_epsilon(delta))
    except (RuntimeError, ValueError, OverflowError, MemoryError) as error:
        raise InputError.of(
            "generator.private",
            f"noise {noise:g} for {steps} steps at rate {rate:g}",
            "more noise, so that epsilon is finite",
        ) from error


def statement(budget: Budget, config: GeneratorConfig, unit: str, base: str | None) -> dict[str, Any]:
    """What the model card says: the bound, per patient, how it came about, and what it does not cover.

    `base` is the weights digest of the public model that the training started from.
    """
    private = config.private or PrivateConfig(noise=budget.noise)
    return {
        "epsilon_upper_bound": budget.epsilon,
        "delta": budget.delta,
        "unit": unit,
        "neighbours": f"sets that differ by one {unit} more or less",
        "mechanism": "DP-SGD, Poisson sampling",
        "accountant": budget.accountant,
        "noise_multiplier": budget.noise,
        "clip": private.clip,
        "sampling_rate": budget.rate,
        "steps": budget.steps,
        "multiplicity": private.multiplicity,
        "layers": private.layers,
        "base": base,
        "covers": "the denoiser",
        "not_covered": _NOT_COVERED if base is not None else _AUTOENCODER | _NOT_COVERED,
    }


def in_words(privacy: Mapping[str, Any] | None) -> str:
    """The statement for the README of a trained folder."""
    if privacy is None:
        return "**It was not trained with differential privacy (epsilon: none).**"
    lines = [f"- {what}" for what in privacy["not_covered"].values()]
    return "\n".join(
        [
            f"**Its denoiser was trained with differential privacy: epsilon {privacy['epsilon_upper_bound']:.3g} at delta "
            f"{privacy['delta']:.2g} for each {privacy['unit']}** ({privacy['mechanism']}; {privacy['accountant']}).",
            "Not covered:",
            "",
            *lines,
            "",
        ]
    )


_AUTOENCODER = {"autoencoder": "the autoencoder, which was trained on the private images without noise"}
_NOT_COVERED = {
    "labels": "how often labels occur: conditions are encoded and asked for by the private labels as they are",
    "numbers": "the numbers of images and patients, which are told",
    "tuning": "every further training on these patients, which spends anew, and choosing among trainings",
    "audit": "the audit's own figures, which are computed from the private images without noise",
    "rounding": "rounding: the noise is drawn in floating point by a statistical generator, not by a cryptographic one",
}


def _noise_for(config: PrivateConfig, rate: float, steps: int, delta: float) -> float:
    """The least noise that keeps to epsilon, to within 1 % of it."""
    from opacus.accountants.utils import get_noise_multiplier

    wanted = config.epsilon or 0.0
    try:
        return float(
            get_noise_multiplier(
                target_epsilon=wanted,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                accountant="prv",
                epsilon_tolerance=min(0.01, 0.01 * wanted),
            )
        )
    except (RuntimeError, ValueError, OverflowError) as error:
        raise InputError.of("generator.private.epsilon", wanted, "one that some noise keeps to") from error


def _opacus() -> Any:
    try:
        import opacus
    except ImportError as error:
        raise InputError.of("generator.private", "no Opacus", f"private training to be installed: {_INSTALL}") from error
    return opacus
