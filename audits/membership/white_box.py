"""White box: the model's own error on an image, over noise levels, lower on what it was trained on.

Sources: Matsumoto et al. 2023 (loss threshold); Carlini et al. 2023 (noise level matters most); Dubinski et al. 2025, "CDI"
(several levels with the same noise). The levels, draws and weights of the score are fixed in the configuration, never
chosen as the best on the data that are judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audits.membership.difficulty import Difficulty
from audits.membership.probe import Access, Arm, Scores
from synguard.protocols import Denoiser

__all__ = ["MultiStepLoss"]

Floats = NDArray[np.float64]
_BLOCK = 250
"""Images a call. Fixed, so that no batch size of the audit changes a figure."""
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class MultiStepLoss:
    """How much lower the denoiser's error is than for unseen images of that look, mean over noise levels, equal weights."""

    denoiser: Denoiser
    weights: str
    levels: tuple[float, ...]
    noise: NDArray[np.float32]
    """(draws, c, h, w): the same noise for every image and level, so that differences are not the noise's."""
    expected: Difficulty
    """The log errors, by level, that non-members of the calibration role have, by appearance."""

    @classmethod
    def fit(
        cls, denoiser: Denoiser, weights: str, calibration: Arm, *, levels: tuple[float, ...], draws: int, seed: int
    ) -> MultiStepLoss:
        """Standardise against the calibration role: non-members that the verdict does not use."""
        noise = np.random.default_rng([seed, 0x1055]).standard_normal((draws, *denoiser.latent_shape)).astype(np.float32)
        errors = _log_errors(denoiser, calibration, weights, levels, noise)
        return cls(denoiser, weights, levels, noise, Difficulty.fit(calibration.looks, errors))

    @property
    def name(self) -> str:
        """Name with the weights that were probed."""
        return f"multi-step loss ({self.weights})"

    @property
    def access(self) -> Access:
        """Needs the weights."""
        return "white box"

    @property
    def method(self) -> str:
        """What the score is."""
        levels = ", ".join(f"{level:g}" for level in self.levels)
        return (
            f"Denoising error at noise levels {levels}, {len(self.noise)} common draws each, log, against that expected "
            f"for the image's appearance ({self.expected.source}), mean of the standardised levels, weights {self.weights}."
        )

    def scores(self, arm: Arm) -> Scores:
        """Higher where the model errs less than on unseen images that look alike."""
        errors = _log_errors(self.denoiser, arm, self.weights, self.levels, self.noise)
        standard = -self.expected.standardise(arm.looks, errors)
        return Scores(standard.mean(axis=1), {f"level {level:g}": standard[:, i] for i, level in enumerate(self.levels)})


def _log_errors(denoiser: Denoiser, arm: Arm, weights: str, levels: tuple[float, ...], noise: NDArray[np.float32]) -> Floats:
    """Log of the mean error over the draws, (n, levels)."""
    result = np.empty((len(arm), len(levels)))
    for start in range(0, len(arm), _BLOCK):
        rows = slice(start, start + _BLOCK)
        latents = denoiser.encode(arm.pixels[rows])
        conditions = None if arm.conditions is None else arm.conditions.iloc[rows].reset_index(drop=True)
        for column, level in enumerate(levels):
            draws = [denoiser.errors(latents, conditions, level=level, noise=one, weights=weights) for one in noise]
            result[rows, column] = np.mean(draws, axis=0)
    return np.asarray(np.log(result + _TINY), dtype=np.float64)
