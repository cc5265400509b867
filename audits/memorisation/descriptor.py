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
from audits.memorisation.store import Joined, grey_rows

__all__ = ["COARSE", "SHARP", "Design", "Encoder", "fit_encoder", "pair_map"]


@dataclass(frozen=True, slots=True)
class Design:
    """Which windows are described, and how finely: `bank` of a private image, `views` of a candidate, each in eight dihedral
    views; averaged down to `side`, projected on `dimension` principal components with that `shrinkage`."""

    bank: tuple[Window, ...]
    views: tuple[Window, ...]
    side: int
    dimension: int
    shrinkage: float

    @property
    def identity(self) -> dict[str, object]:
        """What an index must have been made with."""
        windows = {
            name: [[w.x, w.y, w.side, w.degrees] for w in part]
            for name, part in (("bank", self.bank), ("views", self.views))
        }
        return {"side": self.side, "dimension": self.dimension, "shrinkage": self.shrinkage, **windows}


COARSE = Design(
    bank=(Window(), *grid_of_windows(0.85, 3), *grid_of_windows(0.65, 3)),
    views=(Window(), Window(side=0.8, degrees=12.0), Window(side=0.8, degrees=-12.0)),
    side=16,
    dimension=128,
    shrinkage=0.3,
)
"""Many windows at low resolution: bears a shift by two or three pixels of 64."""

SHARP = Design(bank=(Window(),), views=(Window(),), side=32, dimension=400, shrinkage=0.05)
"""The whole image, strongly whitened: sees an image through another one that it was blended with, but only in its frame."""

_FIT_WINDOWS = 8000
_CHUNK = 64


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """The fitted projection, float64 (side * side, dimension)."""

    design: Design
    projection: NDArray[np.float64]

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""
        return int(self.projection.shape[1])

    def bank(self, images: Tensor) -> NDArray[np.float32]:
        """Descriptors of the bank's windows of images (n, 1, s, s): (n, windows, dimension), unit norm."""
        parts = [self._project(cut_windows(chunk, self.design.bank, self.design.side)) for chunk in _chunks(images)]
        return np.concatenate(parts)

    def queries(self, images: Tensor, windows: tuple[Window, ...] | None = None) -> NDArray[np.float32]:
        """Descriptors of candidates (n, 1, s, s): (n, 8 * windows, dimension), dihedral view first, unit norm."""
        parts = []
        for chunk in _chunks(images):
            views = dihedral_views(cut_windows(chunk, windows or self.design.views, self.design.side)).transpose(0, 1)
            parts.append(self._project(views.flatten(1, 2)))
        return np.concatenate(parts)

    def _project(self, windows: Tensor) -> NDArray[np.float32]:
        # In float64, so that what is stored does not depend on how many images are embedded at once.
        values = _centred(windows.flatten(-2)) @ torch.from_numpy(self.projection)
        unit: NDArray[np.float32] = functional.normalize(values, dim=-1).to(torch.float32).numpy()
        return unit


def fit_encoder(design: Design, images: Joined | Tensor, seed: int) -> Encoder:
    """The projection fitted on some of the images (n, 1, s, s), of which a chunk is in memory at a time."""
    rng = np.random.default_rng([seed, 0xE2C])
    rows = rng.permutation(len(images))[: max(_FIT_WINDOWS // (len(design.bank) * design.side // 16), 1)]
    total, count = torch.zeros(design.side**2, design.side**2, dtype=torch.float64), 0
    for start in range(0, len(rows), _CHUNK):
        windows = cut_windows(grey_rows(images, rows[start : start + _CHUNK]), design.bank, design.side)
        values = _centred(dihedral_views(windows).flatten(-2)).reshape(-1, design.side**2)
        total, count = total + values.T @ values, count + len(values)
    covariance = (total / count).numpy()
    spread, axes = np.linalg.eigh(covariance)
    kept = np.argsort(spread)[::-1][: design.dimension]
    floor = design.shrinkage * spread.mean() + 1e-12
    return Encoder(design, np.ascontiguousarray(axes[:, kept] / np.sqrt(spread[kept].clip(0) + floor)))


def pair_map(view: int, window: int) -> NDArray[np.float64]:
    """The affine map (2, 3) from a candidate's frame to a private image's, where that view matched that window."""
    dihedral, own = divmod(view, len(COARSE.views))
    to_private = _square(COARSE.bank[window].matrix)
    from_view = np.eye(3)
    from_view[:2, :2] = DIHEDRAL[dihedral]
    full: NDArray[np.float64] = to_private @ np.linalg.inv(from_view) @ np.linalg.inv(_square(COARSE.views[own].matrix))
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
