"""Alignment of pairs: the affine map from a candidate's frame to a private image's frame, by damped Gauss-Newton steps.

Inverse compositional alignment (Baker and Matthews 2004) with gain and bias solved in each step, on a pyramid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["MIN_OVERLAP", "correlation", "in_frame", "plausible", "refine", "usable", "warp"]

_SATURATED = 0.985
_MIN_USABLE = 0.25
MIN_OVERLAP = 0.2
"""Share of the candidate that an image must cover to be aligned with it, unless told otherwise."""
_FRAME = 0.025
_WHOLE, _PARTS = (0.4, 1.8, 1.0), (0.35, 2.3, 1.6)
"""Smallest and largest scale, and furthest shift in the image's frame, that a map may have."""


def warp(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, c, s, s) seen through maps (n, 2, 3): values (n, c, s, s) and where they come from inside (n, 1, s, s)."""
    size = images.shape[-1]
    axis = (torch.arange(size, dtype=images.dtype) + 0.5) * (2.0 / size) - 1
    x, y = axis[None, None, :], axis[None, :, None]
    linear = maps.to(images.dtype)[..., None, None]
    # By broadcasting: several times faster than torch's affine_grid, which multiplies matrices of three columns.
    places = torch.empty(len(maps), size, size, 2, dtype=images.dtype)
    along = [torch.add(linear[:, i, 0] * x, linear[:, i, 1] * y + linear[:, i, 2], out=places[..., i]) for i in (0, 1)]
    values = functional.grid_sample(images, places, padding_mode="border", align_corners=False)
    inside = ((along[0].abs() <= 1.0) & (along[1].abs() <= 1.0))[:, None].to(images.dtype)
    return values, inside


def plausible(maps: Tensor, *, parts: bool = False) -> Tensor:
    """Which maps (n, 2, 3) are a turn, a scale of 0.4 to 1.8, a slight stretch and a shift by half of the side at most.

    With `parts`, a scale of 0.35 to 2.3 and a shift by 80 %: where keypoints vouch for a map it may lead further.
    """
    linear = maps[:, :, :2]
    square = (linear**2).sum((1, 2))
    determinant = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    area = determinant.abs()
    # For singular values a and b: square = a^2 + b^2 and area = a b, so the ratio is 2 exactly where a = b.
    stretched = square > 2.12 * area
    smallest, largest, furthest = _PARTS if parts else _WHOLE
    shifted = maps[:, :, 2].abs().amax(1) > furthest
    return ~stretched & ~shifted & (area > smallest**2) & (area < largest**2)


def correlation(template: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    """Weighted correlation (n,) of images (n, ...) with weights of the same shape; 0 where either is constant."""
    return _Compared.of(template, image, weight).correlation


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """Two images (n, points) less their weighted means, the weighted sum of their product and of either square (n,)."""

    first: Tensor
    second: Tensor
    weight: Tensor
    product: Tensor
    energies: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, template: Tensor, image: Tensor, weight: Tensor) -> _Compared:
        """Of images (n, ...) with weights of the same shape."""
        template, image, weight = (part.flatten(1) for part in (template, image, weight))
        total = weight.sum(1).clamp_min(1e-6)
        first, second = (part - ((weight * part).sum(1) / total)[:, None] for part in (template, image))
        weighted = weight * second
        energies = ((weight * first**2).sum(1), (weighted * second).sum(1))
        return cls(first, second, weight, (weighted * first).sum(1), energies)

    @property
    def correlation(self) -> Tensor:
        """(n,); 0 where either is constant."""
        energy = self.energies[0] * self.energies[1]
        return torch.where(energy > 1e-8, self.product / energy.clamp_min(1e-8).sqrt(), torch.zeros_like(energy))


def in_frame(maps: Tensor, reference: Tensor, side: int) -> Tensor:
    """Which maps (n, 2, 3) differ from `reference` by no more than a hair: 2.5 %, 1.4 degrees, 1 pixel of `side`."""
    linear = torch.linalg.solve(reference[:, :, :2], maps[:, :, :2])
    near = (linear - torch.eye(2, dtype=maps.dtype)).abs().amax((1, 2)) <= _FRAME
    kept: Tensor = near & ((maps[:, :, 2] - reference[:, :, 2]).abs().amax(1) <= 2.0 / side)
    return kept


def refine(
    template: Tensor,
    image: Tensor,
    maps: Tensor,
    steps: int,
    frame: Tensor | None = None,
    focus: Tensor | None = None,
    least: float = MIN_OVERLAP,
) -> tuple[Tensor, Tensor]:
    """Maps (n, 2, 3) moved so that `image` seen through them looks like `template` (both (n, 1, s, s)).

    Returns the best maps met on the way and their correlations (n,). Gain and bias are free; saturated points of the
    template do not count, since a brightened copy has lost them. With `frame` (n, 2, 3), only maps near it count; with
    `focus` (n, 1, s, s), points count by that weight: where the rest of the image shows something else. A map must bring
    the image over a share of `least` of the template.
    """
    points = usable(template) if focus is None else usable(template) * focus
    gradient = _steepest_descent(template)
    size = template.shape[-1]
    room = torch.empty_like(gradient)
    best_maps, best = maps, torch.full((len(maps),), -1.0, dtype=template.dtype)
    for step in range(steps + 1):
        seen, inside = warp(image, maps)
        weight = inside * points
        compared = _Compared.of(template, seen, weight)
        found = compared.correlation
        allowed = plausible(maps, parts=focus is not None) if frame is None else in_frame(maps, frame, size)
        overlap = inside if focus is not None else weight
        better = (found > best) & allowed & (overlap.mean((1, 2, 3)) > least)
        best = torch.where(better, found, best)
        best_maps = torch.where(better[:, None, None], maps, best_maps)
        if step < steps:
            maps = _compose(maps, _step(compared, gradient, room))
    return best_maps, best


def usable(template: Tensor) -> Tensor:
    """1 where a point of the candidate says something about the original, 0 where it is saturated (n, 1, s, s).

    Where nearly all of an image is saturated, all of it counts: there is nothing better.
    """
    points = (template < _SATURATED).to(template.dtype)
    mostly: Tensor = torch.where(points.mean((1, 2, 3), keepdim=True) < _MIN_USABLE, torch.ones_like(points), points)
    return mostly


def _steepest_descent(template: Tensor) -> Tensor:
    """Change of the template per affine parameter, (n, 6, s * s)."""
    size = template.shape[-1]
    spacing = 2.0 / size
    padded = functional.pad(template, (1, 1, 1, 1), mode="replicate")
    along_x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]).flatten(1) / (2 * spacing)
    along_y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]).flatten(1) / (2 * spacing)
    axis = (torch.arange(size, dtype=template.dtype) + 0.5) * spacing - 1
    y, x = (part.flatten() for part in torch.meshgrid(axis, axis, indexing="ij"))
    return torch.stack([along_x * x, along_x * y, along_x, along_y * x, along_y * y, along_y], 1)


def _step(compared: _Compared, gradient: Tensor, room: Tensor) -> Tensor:
    """The parameters (n, 6) of the warp of the template that explains what is seen. `room` is like `gradient`, and used."""
    gain = (compared.product / compared.energies[1].clamp_min(1e-6)).clamp(0.2, 5.0)[:, None]
    residual = compared.weight * (gain * compared.second - compared.first)
    weighted = torch.mul(gradient, compared.weight[:, None], out=room)
    normal = weighted @ gradient.transpose(1, 2)
    # As a row times a matrix: several times faster than as a matrix times a column.
    side = (residual[:, None] @ weighted.transpose(1, 2)).squeeze(1)
    diagonal = torch.diagonal(normal, dim1=1, dim2=2)
    damping = torch.diag_embed(1e-2 * diagonal + 1e-3 * diagonal.mean(1, keepdim=True) + 1e-6)
    step: Tensor = torch.linalg.solve(normal + damping, side)
    return step.clamp(-0.25, 0.25)


def _compose(maps: Tensor, step: Tensor) -> Tensor:
    """`maps` after the inverse of the template's warp."""
    n = len(maps)
    change = torch.eye(3, dtype=maps.dtype).repeat(n, 1, 1)
    change[:, :2] += step.reshape(n, 2, 3)
    moved: Tensor = maps @ torch.linalg.inv(change)
    return moved
