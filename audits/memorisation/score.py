"""The evidence of an aligned pair: do two images agree in detail, and in colour, not only in layout?

Both images are split into bands of detail, each divided by its local energy, so that one strong outline (a lesion's
border, the rim of a fundus) does not decide alone; the correlation of each band over the overlap is the evidence.
Coarse bands survive blur and compression, fine ones tell look-alikes apart. Beside the bands stands the difference of the
two as they are, smoothed, in colour and without any gain or bias: unrelated photographs differ in it even where shape and
detail agree, and compression hardly touches it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audits.memorisation.alignment import correlation, usable, warp
from audits.memorisation.blur import gaussian_blur
from audits.memorisation.geometry import reduce
from audits.memorisation.pictures import Pictures

__all__ = ["BANDS", "Evidence", "measure"]

BANDS: tuple[tuple[float, float], ...] = ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0))
"""Bands of detail: differences of Gaussians of these widths, in pixels of the working size."""

_CONTRAST_FLOOR = 0.1
_NOISE = 1.5 / 255
_AREA_NOISE = 0.004
_COLOUR_NOISE = 1.0 / 255
_COLOUR_BLUR = 1.0
_MATCHING = 0.5
_CERTAIN = 0.99999


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What aligned pairs show, one entry a pair.

    `figures` (n, 4): Fisher-transformed correlation of each of the `BANDS`, then the likeness in colour, -ln of the root
    mean square difference; `correlation` (n,): of the middle band, before the transform; `area` (n,): share of the candidate
    that shows the private image.
    """

    figures: Tensor
    correlation: Tensor
    area: Tensor


def measure(candidates: Pictures, originals: Pictures, maps: Tensor) -> Evidence:
    """The evidence of n candidates against n originals seen through maps (n, 2, 3)."""
    grey = candidates.grey
    seen, inside = warp(originals.grey, maps)
    points = usable(grey)
    weight = inside * points
    found, middle, area = [], torch.zeros(len(maps)), torch.zeros(len(maps))
    for number, (fine, coarse) in enumerate(BANDS):
        width = min(max(1.5 * coarse, 2.0), 7.0)
        first = _flattened(gaussian_blur(grey, fine) - gaussian_blur(grey, coarse), weight, width)
        second = _flattened(gaussian_blur(seen, fine) - gaussian_blur(seen, coarse), weight, width)
        value = correlation(first, second, weight)
        found.append(torch.atanh(value.clamp(-_CERTAIN, _CERTAIN)))
        if number == 1:
            middle = value
        if number == len(BANDS) - 1:
            area = _copied_area(first, second, weight, inside)
    found.append(_colour_likeness(candidates.colour, originals.colour, maps, points))
    return Evidence(torch.stack(found, 1), middle, area)


def _colour_likeness(candidates: Tensor, originals: Tensor, maps: Tensor, points: Tensor) -> Tensor:
    seen, inside = warp(originals, maps)
    weight = inside * reduce(points, candidates.shape[-1])
    square = (gaussian_blur(candidates - seen, _COLOUR_BLUR) ** 2).mean(1, keepdim=True)
    mean = (weight * square).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1.0)
    return -0.5 * torch.log(mean + _COLOUR_NOISE**2)


def _flattened(band: Tensor, weight: Tensor, width: float) -> Tensor:
    cover = gaussian_blur(weight, width) + 1e-3
    energy = gaussian_blur(weight * band**2, width) / cover
    mean = (weight * energy).sum((1, 2, 3), keepdim=True) / weight.sum((1, 2, 3), keepdim=True).clamp_min(1.0)
    return band / (energy + _CONTRAST_FLOOR**2 * mean + _NOISE**2).sqrt()


def _copied_area(first: Tensor, second: Tensor, weight: Tensor, inside: Tensor) -> Tensor:
    """Share of the candidate's frame where the two agree in a neighbourhood."""
    width = first.shape[-1] / 16
    product = gaussian_blur(weight * first * second, width)
    energy = (gaussian_blur(weight * first**2, width) * gaussian_blur(weight * second**2, width)).sqrt()
    local = product / (energy + _AREA_NOISE)
    # Saturated parts say nothing by themselves: they count where their neighbourhood agrees.
    return ((local > _MATCHING) * inside).mean((1, 2, 3))
