"""The coarse descriptor: whitened square windows, comparable by inner product.

A window is averaged down to 16 x 16 grey values, freed of its mean and scale, projected on the leading principal components
of the windows of real images in all eight dihedral views, and divided by their spread (with shrinkage). Whitening is what
separates look-alike photographs: it takes out what they all share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audits.memorisation.geometry import DIHEDRAL, Window, cut_windows, dihedral_views, grid_of_windows

__all__ = ["BANK", "ENCODER", "VIEWS", "Encoder", "fit_encoder", "pair_map"]

BANK: tuple[Window, ...] = (Window(), *grid_of_windows(0.85, 3), *grid_of_windows(0.65, 3))
"""Windows of a private image that are searched."""
VIEWS: tuple[Window, ...] = (Window(), Window(side=0.8, degrees=12.0), Window(side=0.8, degrees=-12.0))
"""Windows of a candidate, each searched in its eight dihedral views."""

_SIDE = 16
_DIMENSION = 128
_SHRINKAGE = 0.3
_FIT_WINDOWS = 8000
_CHUNK = 64

ENCODER = {
    "name": "synguard-windows",
    "version": 2,
    "side": _SIDE,
    "dimension": _DIMENSION,
    "shrinkage": _SHRINKAGE,
    "bank": [[w.x, w.y, w.side, w.degrees] for w in BANK],
    "views": [[w.x, w.y, w.side, w.degrees] for w in VIEWS],
}
"""Identity of the encoder: an index made with another one is refused."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """The fitted projection, float64 (side * side, dimension)."""

    projection: NDArray[np.float64]

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""
        return int(self.projection.shape[1])

    def bank(self, images: Tensor) -> NDArray[np.float32]:
        """Descriptors of the bank's windows of images (n, 1, s, s): (n, windows, dimension), unit norm."""
        parts = [self._project(cut_windows(chunk, BANK, _SIDE)) for chunk in _chunks(images)]
        return np.concatenate(parts)

    def queries(self, images: Tensor, windows: tuple[Window, ...] = VIEWS) -> NDArray[np.float32]:
        """Descriptors of candidates (n, 1, s, s): (n, 8 * windows, dimension), dihedral view first, unit norm."""
        parts = []
        for chunk in _chunks(images):
            views = dihedral_views(cut_windows(chunk, windows, _SIDE)).transpose(0, 1)
            parts.append(self._project(views.flatten(1, 2)))
        return np.concatenate(parts)

    def _project(self, windows: Tensor) -> NDArray[np.float32]:
        # In float64, so that what is stored does not depend on how many images are embedded at once.
        values = _centred(windows.flatten(-2)) @ torch.from_numpy(self.projection)
        unit: NDArray[np.float32] = functional.normalize(values, dim=-1).to(torch.float32).numpy()
        return unit


def fit_encoder(images: Tensor, seed: int) -> Encoder:
    """The projection fitted on images (n, 1, s, s)."""
    rng = np.random.default_rng([seed, 0xE2C])
    rows = rng.permutation(len(images))[: max(_FIT_WINDOWS // len(BANK), 1)]
    windows = torch.cat([cut_windows(chunk, BANK, _SIDE) for chunk in _chunks(images[torch.from_numpy(rows)])])
    values = _centred(dihedral_views(windows).flatten(-2)).reshape(-1, _SIDE * _SIDE)
    covariance = (values.T @ values / len(values)).numpy()
    spread, axes = np.linalg.eigh(covariance)
    kept = np.argsort(spread)[::-1][:_DIMENSION]
    floor = _SHRINKAGE * spread.mean() + 1e-12
    return Encoder(np.ascontiguousarray(axes[:, kept] / np.sqrt(spread[kept].clip(0) + floor)))


def pair_map(view: int, window: int) -> NDArray[np.float64]:
    """The affine map (2, 3) from a candidate's frame to a private image's, where that view matched that window."""
    dihedral, own = divmod(view, len(VIEWS))
    to_private = _square(BANK[window].matrix)
    from_view = np.eye(3)
    from_view[:2, :2] = DIHEDRAL[dihedral]
    full: NDArray[np.float64] = to_private @ np.linalg.inv(from_view) @ np.linalg.inv(_square(VIEWS[own].matrix))
    return full[:2]


def _square(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


def _centred(values: Tensor) -> Tensor:
    values = values.to(torch.float64)
    values = values - values.mean(-1, keepdim=True)
    # A window without contrast gives a short vector, not a noise vector blown up to unit length.
    unit: Tensor = values / (values.norm(dim=-1, keepdim=True) + 1e-3)
    return unit


def _chunks(images: Tensor) -> Iterator[Tensor]:
    return (images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK))
