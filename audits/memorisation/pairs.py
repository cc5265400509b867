"""Pictures of a pair for the internal report: candidate, private image brought into its frame, and the difference."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

__all__ = ["pair_pictures"]


def pair_pictures(
    candidate: NDArray[np.uint8], private: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Candidate, aligned private image and amplified absolute difference, each uint8 (size, size, 3).

    `matrix` (2, 3) takes the candidate's frame to the private image's, as in `Examined.maps`. Outside the overlap the
    aligned image is black. Gain and bias between the two are taken out of the difference.
    """
    image = torch.from_numpy(private.astype(np.float32)).permute(2, 0, 1)[None]
    theta = torch.from_numpy(matrix.astype(np.float32))[None]
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    aligned = functional.grid_sample(image, grid, align_corners=False)[0].permute(1, 2, 0).numpy()
    inside = (grid[0].abs() <= 1).all(-1).numpy()
    difference = np.zeros_like(aligned)
    if inside.any():
        own, other = candidate[inside].astype(np.float64).mean(1), aligned[inside].astype(np.float64).mean(1)
        gain = float(np.clip(own.std() / max(other.std(), 1e-6), 0.2, 5.0))
        matched = gain * (aligned.astype(np.float64) - other.mean()) + own.mean()
        difference[inside] = np.abs(candidate[inside] - matched[inside]) * 4
    return candidate, _bytes(aligned), _bytes(difference)


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
