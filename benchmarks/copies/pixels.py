"""Baselines that compare pixels: Euclidean distance, Carlini's ratio, correlation in eight dihedral views."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .protocol import Answer, Exclude, Material, Pixels, barred, in_blocks

__all__ = ["PixelDistance", "ViewCorrelation", "fit_carlini", "fit_correlation", "fit_distance"]

NEIGHBOURS = 50
ALPHA = 0.5
"""Of Carlini et al. 2023, arXiv 2301.13188, section 4.2."""

_LEAST = 1e-4
"""Distances below it (a fortieth of a grey level) count as it, so that their logarithm is finite."""

_HIGHEST = 1 - 1e-7
"""Correlations above it count as it, so that their Fisher transform is finite."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelDistance:
    """Root mean square difference of RGB values in [0, 1]; with `ratio`, over `ALPHA` times that of the nearest fifty."""

    bank: NDArray[np.float32]
    squares: NDArray[np.float32]
    """Of each private image, the sum of its squared values."""
    patients: NDArray[np.str_]
    ratio: bool

    def query(self, pixels: Pixels, exclude: Exclude = None) -> Answer:
        """Score: minus the logarithm of the distance, or of the ratio. A ratio below 1 is called a copy."""
        return in_blocks(pixels, exclude, self._block)

    def _block(self, pixels: Pixels, exclude: Exclude) -> Answer:
        rows = _flat(pixels)
        squared = (rows**2).sum(1)[:, None] + self.squares[None] - 2 * rows @ self.bank.T
        bars = barred(exclude, self.patients)
        if bars is not None:
            squared[bars] = np.inf
        nearest = squared.argmin(1)
        # Anew for the nearest: the expanded square is off by as much as a small distance itself.
        least = np.sqrt(((rows - self.bank[nearest]).astype(np.float64) ** 2).mean(1)).clip(_LEAST)
        if not self.ratio:
            return Answer(-np.log(least), nearest)
        count = min(NEIGHBOURS, squared.shape[1])
        several = np.sqrt(np.partition(squared, count - 1, axis=1)[:, :count].clip(0) / rows.shape[1])
        # Patients that were left out may leave fewer than fifty.
        usual = np.nanmean(np.where(np.isfinite(several), several, np.nan), axis=1).astype(np.float64)
        ratio = least / (ALPHA * usual.clip(_LEAST))
        return Answer(-np.log(ratio), nearest, called=ratio < 1)


def _fit_pixels(material: Material, *, ratio: bool) -> PixelDistance:
    bank = _flat(material.index.pixels)
    return PixelDistance(bank, np.einsum("nd,nd->n", bank, bank), material.index.patient, ratio)


fit_distance = partial(_fit_pixels, ratio=False)
fit_carlini = partial(_fit_pixels, ratio=True)


@dataclass(frozen=True, slots=True, eq=False)
class ViewCorrelation:
    """Pearson correlation of grey values, the largest over the eight dihedral views of the query."""

    bank: NDArray[np.float32]
    patients: NDArray[np.str_]

    def query(self, pixels: Pixels, exclude: Exclude = None) -> Answer:
        """Score: Fisher's z of the correlation."""
        return in_blocks(pixels, exclude, self._block)

    def _block(self, pixels: Pixels, exclude: Exclude) -> Answer:
        grey = _grey(pixels)
        views = (np.rot90(base, turns, (1, 2)) for base in (grey, grey[:, :, ::-1]) for turns in range(4))
        best = np.full((len(pixels), len(self.bank)), -1.0, np.float32)
        for view in views:
            np.maximum(best, _standard(view) @ self.bank.T, out=best)
        bars = barred(exclude, self.patients)
        if bars is not None:
            best[bars] = -1.0
        nearest = best.argmax(1)
        return Answer(fisher(best[np.arange(len(best)), nearest]), nearest)


def fit_correlation(material: Material) -> ViewCorrelation:
    """The private images, standardised."""
    return ViewCorrelation(_standard(_grey(material.index.pixels)), material.index.patient)


def fisher(correlations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Fisher's z of correlations or cosines: the inverse hyperbolic tangent."""
    clipped: NDArray[np.float64] = correlations.astype(np.float64).clip(-_HIGHEST, _HIGHEST)
    return np.arctanh(clipped)


def _flat(pixels: Pixels) -> NDArray[np.float32]:
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)


def _grey(pixels: Pixels) -> NDArray[np.float32]:
    # The weights of ITU-R BT.601, as in JPEG.
    grey: NDArray[np.float32] = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return grey


def _standard(images: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = images.reshape(len(images), -1)
    rows = rows - rows.mean(1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-6)
    return unit
