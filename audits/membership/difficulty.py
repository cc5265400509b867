"""How hard an image is, by its looks alone.

Images differ far more in difficulty than members differ from non-members, so what an attacker should look at is the error
beyond that of unseen images with the same look (difficulty calibration: Watson et al. 2022; quantile regression on
non-members: Tang et al. 2023). Ridge regression on appearance, fitted to non-members that no verdict uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difficulty"]

Floats = NDArray[np.float64]
_FEWEST = 100
"""Images below which the regression is left out and errors are only centred and scaled."""
_RIDGE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Difficulty:
    """A linear expectation of k errors given an image's appearance, and the spread around it."""

    centre: Floats
    scale: Floats
    weights: Floats
    mean: Floats
    spread: Floats
    n: int

    @classmethod
    def fit(cls, looks: Floats, errors: Floats) -> Difficulty:
        """Fit to errors (n, k) of images with appearance (n, d). Rows with errors that are not finite are left out."""
        finite = np.isfinite(errors).all(axis=1)
        looks, errors = looks[finite], errors[finite]
        n = len(errors)
        if n == 0:
            nothing = np.full(errors.shape[1], np.nan)
            width = looks.shape[1]
            return cls(np.zeros(width), np.ones(width), np.zeros((width, len(nothing))), nothing, nothing, 0)
        centre, scale = looks.mean(axis=0), looks.std(axis=0) + 1e-9
        mean = errors.mean(axis=0)
        standard = (looks - centre) / scale
        weights = np.zeros((looks.shape[1], errors.shape[1]))
        if n >= _FEWEST:
            gram = standard.T @ standard + _RIDGE * n * np.eye(len(weights))
            weights = np.linalg.solve(gram, standard.T @ (errors - mean))
        residual = errors - mean - standard @ weights
        return cls(centre, scale, weights, mean, np.maximum(residual.std(axis=0), 1e-9), n)

    @property
    def source(self) -> str:
        """Which images the expectation comes from."""
        how = "ridge regression" if self.n >= _FEWEST else "mean"
        return f"{how} on {self.n} non-members of the calibration role"

    def standardise(self, looks: Floats, errors: Floats) -> Floats:
        """Errors (n, k) beyond expectation, in units of the spread."""
        expected = self.mean + ((looks - self.centre) / self.scale) @ self.weights
        return np.asarray((errors - expected) / self.spread, dtype=np.float64)
