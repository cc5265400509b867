"""White box, the autoencoder: it has seen the private images too, and may restore them better than unseen ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audits.membership.difficulty import Difficulty
from audits.membership.probe import Access, Arm, Scores
from synguard.protocols import Denoiser, Images

__all__ = ["Reconstruction"]

Floats = NDArray[np.float64]
_BLOCK = 250
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """How much lower the error of the autoencoder's restoration is than images of that look have."""

    denoiser: Denoiser
    expected: Difficulty

    @classmethod
    def fit(cls, denoiser: Denoiser, calibration: Arm) -> Reconstruction:
        """Standardise against the calibration role."""
        return cls(denoiser, Difficulty.fit(calibration.looks, _log_errors(denoiser, calibration.pixels)))

    @property
    def name(self) -> str:
        """Name."""
        return "autoencoder reconstruction"

    @property
    def access(self) -> Access:
        """Needs the weights."""
        return "white box"

    @property
    def method(self) -> str:
        """What the score is."""
        return (
            f"Mean squared error of the image through encoder and decoder, log, compared with that expected for the image's "
            f"appearance ({self.expected.source})."
        )

    def scores(self, arm: Arm) -> Scores:
        """Higher where the autoencoder restores the image better than unseen ones that look alike."""
        errors = _log_errors(self.denoiser, arm.pixels)
        return Scores(-self.expected.standardise(arm.looks, errors)[:, 0])


def _log_errors(denoiser: Denoiser, pixels: Images) -> Floats:
    """Log of the mean squared error over the image, (n, 1)."""
    errors = []
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK]
        difference = denoiser.reconstruct(block).astype(np.float32) - block.astype(np.float32)
        errors.append(np.square(difference / 255).mean(axis=(1, 2, 3), dtype=np.float64))
    return np.asarray(np.log(np.concatenate(errors)[:, None] + _TINY), dtype=np.float64)
