"""Views of square images: the eight dihedral views, square windows, and affine maps between image frames.

Frames are normalised: x to the right and y downwards, both from -1 to 1 between the outer edges of the image. An affine map
is a (2, 3) matrix that takes points of one frame to points of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

__all__ = [
    "DIHEDRAL",
    "Window",
    "cut_windows",
    "describe_transform",
    "dihedral_views",
    "grid_of_windows",
    "inside",
    "luminance",
    "reduce",
]

_LUMA = (0.299, 0.587, 0.114)


def _dihedral_matrices() -> NDArray[np.float64]:
    """`DIHEDRAL[k]` takes a point of view k to the point of the original that is seen there."""
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    flip = np.array([[-1.0, 0.0], [0.0, 1.0]])
    matrices = []
    for flipped in (False, True):
        for turns in range(4):
            base = flip if flipped else np.eye(2)
            matrices.append(base @ np.linalg.matrix_power(quarter, turns))
    return np.stack(matrices)


DIHEDRAL: NDArray[np.float64] = _dihedral_matrices()


@dataclass(frozen=True, slots=True)
class Window:
    """A square window: its centre and half side in the image's frame, turned by `degrees`."""

    x: float = 0.0
    y: float = 0.0
    side: float = 1.0
    degrees: float = 0.0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Takes points of the window's own frame to points of the image, shape (2, 3)."""
        angle = math.radians(self.degrees)
        cosine, sine = self.side * math.cos(angle), self.side * math.sin(angle)
        return np.array([[cosine, -sine, self.x], [sine, cosine, self.y]])


def grid_of_windows(side: float, per_axis: int) -> tuple[Window, ...]:
    """Windows of one side, spread evenly over the image, touching its edges."""
    reach = 1 - side
    centres = np.linspace(-reach, reach, per_axis)
    return tuple(Window(float(x), float(y), side) for y in centres for x in centres)


def luminance(pixels: NDArray[np.uint8]) -> Tensor:
    """Luminance (n, 1, size, size) in [0, 1] of pixels (n, size, size, 3)."""
    grey = pixels.astype(np.float32) @ np.asarray(_LUMA, dtype=np.float32)
    return torch.from_numpy(grey / 255.0)[:, None]


def inside(boxes: Tensor, side: int, maps: Tensor | None = None) -> Tensor:
    """1 where the centre of a pixel lies in boxes (n, 4) as x0, y0, x1, y1, else 0: (n, 1, side, side).

    With `maps` (n, 2, 3), where it lies in them seen through these. A box of NaN holds nothing.
    """
    axis = (torch.arange(side, dtype=boxes.dtype) + 0.5) * (2.0 / side) - 1
    x, y = axis[None, None, :], axis[None, :, None]
    if maps is not None:
        linear = maps.to(boxes.dtype)[..., None, None]
        x, y = (linear[:, i, 0] * x + (linear[:, i, 1] * y + linear[:, i, 2]) for i in (0, 1))
    low_x, low_y, high_x, high_y = (boxes[:, i, None, None] for i in range(4))
    within: Tensor = (x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y)
    return within[:, None].to(boxes.dtype)


def reduce(images: Tensor, side: int) -> Tensor:
    """Images (n, c, s, s) reduced to `side` by averaging; images that are smaller already stay as they are."""
    return functional.adaptive_avg_pool2d(images, side) if images.shape[-1] > side else images


def cut_windows(images: Tensor, windows: tuple[Window, ...], side: int) -> Tensor:
    """Windows of images (n, 1, s, s), each averaged down to `side`: (n, windows, side, side)."""
    n, size = len(images), images.shape[-1]
    cut = []
    for window in windows:
        samples = max(1, min(4, round(size * window.side / side)))
        theta = torch.from_numpy(window.matrix).to(images.dtype)[None]
        # One grid for all images: making one for each took longer than sampling.
        grid = functional.affine_grid(theta, [1, 1, side * samples, side * samples], align_corners=False)
        values = functional.grid_sample(images, grid.expand(n, -1, -1, -1), padding_mode="reflection", align_corners=False)
        cut.append(functional.avg_pool2d(values, samples)[:, 0])
    return torch.stack(cut, 1)


def dihedral_views(images: Tensor) -> Tensor:
    """The eight dihedral views of images (..., s, s): (8, ..., s, s), in the order of `DIHEDRAL`."""
    views = []
    for flipped in (False, True):
        base = images.flip(-1) if flipped else images
        views += [torch.rot90(base, turns, (-2, -1)) for turns in range(4)]
    return torch.stack(views)


def describe_transform(matrix: NDArray[np.float64], *, inverted: bool = False) -> str:
    """An affine map from a candidate's frame to the private image's frame, in words.

    "unchanged", or what was done to the private image: "mirrored, turned 90 degrees, enlarged 1.25 times".
    """
    linear, shift = matrix[:, :2], matrix[:, 2]
    scale = math.sqrt(max(abs(float(np.linalg.det(linear))), 1e-12))
    mirrored = float(np.linalg.det(linear)) < 0
    # Rows of `linear` without the mirror; the private image was turned by the opposite of what undoes it.
    turn = linear @ np.diag([-1.0, 1.0]) if mirrored else linear
    degrees = math.degrees(math.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1]))
    if mirrored and abs(abs(degrees) - 180) < 45:
        words, degrees = ["flipped upside down"], degrees - math.copysign(180, degrees)
    else:
        words = ["mirrored"] if mirrored else []
    rounded = round(degrees)
    if abs(rounded) >= 2:
        words.append(f"turned {abs(rounded)} degrees")
    if scale < 0.97:
        words.append(f"enlarged {1 / scale:.2f} times")
    elif scale > 1.03:
        words.append(f"reduced to {100 / scale:.0f} %")
    if float(np.abs(shift).max()) > 0.06:
        words.append("shifted")
    if inverted:
        words.append("as a negative")
    return ", ".join(words) or "unchanged"
