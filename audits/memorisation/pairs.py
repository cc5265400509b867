"""Pictures of a pair for the internal report: candidate, private image in its frame, difference, and the area copied."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from torch.nn import functional

__all__ = ["pair_pictures"]

_COPIED = 0.5
"""Share of a cell from which all of it is shown as copied."""
_DIMMED = 0.25
_OUTLINE = (255, 210, 0)
_SIDE_TO_WIDTH = 64
"""The outline is one pixel wide for every so many pixels of the side."""


def pair_pictures(
    candidate: NDArray[np.uint8],
    private: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    *,
    copied: NDArray[np.float64],
    inverted: bool = False,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Candidate, aligned private image, amplified absolute difference, copied area, each uint8 (size, size, 3).

    `matrix` (2, 3) takes the candidate's frame to the private image's, as in `Examined.maps`. Outside the overlap the
    aligned image is black. Gain and bias between the two are taken out of the difference; where the candidate is the
    negative (`inverted`), it is held against the private image's negative. The copied area is the candidate with an outline
    around the cells that `copied` (rows, columns), as in `Examined.copied`, calls copied by half or more; others are dimmed.
    """
    image = torch.from_numpy(private.astype(np.float32)).permute(2, 0, 1)[None]
    theta = torch.from_numpy(matrix.astype(np.float32))[None]
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    aligned = functional.grid_sample(image, grid, align_corners=False)[0].permute(1, 2, 0).numpy()
    inside = (grid[0].abs() <= 1).all(-1).numpy()
    difference = np.zeros_like(aligned)
    if inside.any():
        against = 255.0 - aligned if inverted else aligned.astype(np.float64)
        own, other = candidate[inside].astype(np.float64).mean(1), against[inside].mean(1)
        gain = float(np.clip(own.std() / max(other.std(), 1e-6), 0.2, 5.0))
        matched = gain * (against - other.mean()) + own.mean()
        difference[inside] = np.abs(candidate[inside] - matched[inside]) * 4
    return candidate, _bytes(aligned), _bytes(difference), _area(candidate, copied)


def _area(candidate: NDArray[np.uint8], copied: NDArray[np.float64]) -> NDArray[np.uint8]:
    side = len(candidate)
    row, column = (np.arange(side) * cells // side for cells in copied.shape)
    shown = (copied >= _COPIED)[row[:, None], column]
    picture = np.where(shown[..., None], candidate, np.float32(_DIMMED) * candidate)
    # The frame of the picture counts as not copied, so that the outline is closed.
    picture[shown & ~binary_erosion(shown, iterations=max(1, side // _SIDE_TO_WIDTH))] = _OUTLINE
    return _bytes(picture)


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
