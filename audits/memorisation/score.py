"""The evidence of an aligned pair: do two images agree in detail, and in colour, not only in layout?

Both images are split into bands of detail, each divided by its local energy, so that one strong outline (a lesion's
border, the rim of a fundus) does not decide alone; the correlation of each band over the overlap is the evidence.
Coarse bands survive blur and compression, fine ones tell look-alikes apart. Beside the bands stands the difference of the
two as they are, smoothed, in colour and without any gain or bias: unrelated photographs differ in it even where shape and
detail agree, and compression hardly touches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from audits.memorisation.alignment import correlation, usable, warp
from audits.memorisation.blur import gaussian_blur
from audits.memorisation.geometry import reduce
from audits.memorisation.pictures import Pictures

__all__ = ["BANDS", "CELLS", "FIGURES", "NOWHERE", "REGIONS", "Evidence", "copied_area", "measure"]

BANDS: tuple[tuple[float, float], ...] = ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0))
"""Bands of detail: differences of Gaussians of these widths, in pixels of the working size."""

_CONTRAST_FLOOR = 0.1
_NOISE = 1.5 / 255
_AREA_NOISE = 0.004
_COLOUR_NOISE = 1.0 / 255
_COLOUR_BLUR = 1.0
_MATCHING = 0.5
_CERTAIN = 0.99999
_COVERED = 0.8
_QUIET = 0.05
_ROUNDING = 2e-5
"""Energy of a band, summed: that of rounding errors stays below 6e-6, one level of blue in one pixel of 64 x 64 is 5e-5."""
_TYPICAL = ((0.1, 0.3, 0.75, 3.0), (0.06, 0.12, 0.25, 0.5))
"""What unrelated images show; serves only to choose among regions."""


REGIONS: tuple[float, ...] = (0.7, 0.45)
"""Sides of the square regions that are looked at beside the whole overlap, as shares of the image's side."""

FIGURES = len(BANDS) + 1
CELLS = (16, 16)
"""Grid over a candidate on which the copied area is given."""
NOWHERE = -5.0
"""Figure of a region that no map covers."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What n aligned pairs show.

    `whole` (n, 4): Fisher-transformed correlation of each of the `BANDS` over the overlap, then the likeness in colour, -ln
    of the root mean square difference. `regions` (n, regions, 4): the same where the pair agrees best, a square of each of
    the `REGIONS`; (n, 0, 4) where they were not asked for. `overlap` (n,): share of the candidate that the original covers,
    of what was looked at.
    """

    whole: Tensor
    regions: Tensor
    overlap: Tensor


def measure(
    candidates: Pictures, originals: Pictures, maps: Tensor, *, regions: bool = False, within: Tensor | None = None
) -> Evidence:
    """The evidence of n candidates against n originals seen through maps (n, 2, 3).

    With `within` (n, 1, s, s), 1 or 0, nothing that lies where it is 0 has any part in the evidence.
    """
    grey = candidates.grey
    seen, inside = warp(originals.grey, maps)
    points = usable(grey)
    if within is not None:
        inside = inside * within
    weight = inside * points
    bands = _bands(grey, seen, weight, None if within is None else inside)
    values = [_agreement(first, second, weight) for first, second in bands]
    square, cover = _colour_difference(candidates.colour, originals.colour, maps, points, within)
    mean = (cover * square).sum((1, 2, 3)) / cover.sum((1, 2, 3)).clamp_min(1.0)
    whole = torch.stack([*(_fisher(value) for value in values), _colour_likeness(mean)], 1)
    local = [_best_region(bands, weight, square, cover, share) for share in REGIONS if regions]
    regional = torch.stack(local, 1) if local else torch.zeros(len(maps), 0, FIGURES)
    return Evidence(whole, regional, inside.mean((1, 2, 3)))


def copied_area(candidates: Pictures, originals: Pictures, maps: Tensor, within: Tensor | None = None) -> Tensor:
    """Where the candidates show the originals: the share of each cell that agrees, (n, 16, 16) over their frame.

    Only where `within` (n, 1, s, s) is 1, if given.
    """
    seen, inside = warp(originals.grey, maps)
    if within is not None:
        inside = inside * within
    weight = inside * usable(candidates.grey)
    first, second = _bands(candidates.grey, seen, weight, None if within is None else inside, BANDS[-1:])[0]
    width = first.shape[-1] / 16
    product = gaussian_blur(weight * first * second, width)
    energy = (gaussian_blur(weight * first**2, width) * gaussian_blur(weight * second**2, width)).sqrt()
    local = product / (energy + _AREA_NOISE)
    # Saturated parts say nothing by themselves: they count where their neighbourhood agrees.
    agrees = (local > _MATCHING) * inside
    return functional.adaptive_avg_pool2d(agrees, CELLS)[:, 0]


def _bands(
    grey: Tensor,
    seen: Tensor,
    weight: Tensor,
    within: Tensor | None,
    bands: tuple[tuple[float, float], ...] = BANDS,
) -> list[tuple[Tensor, Tensor]]:
    """Of both images each band, divided by its local energy."""
    widths = sorted({width for band in bands for width in band})
    first, second = ({width: _smooth(part, width, within) for width in widths} for part in (grey, seen))
    found = []
    for fine, coarse in bands:
        width = min(max(1.5 * coarse, 2.0), 7.0)
        cover = gaussian_blur(weight, width) + 1e-3
        one, other = (_flattened(part[fine] - part[coarse], weight, cover, width) for part in (first, second))
        found.append((one, other))
    return found


def _agreement(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Correlation (n,) of two bands; 0 where either holds rounding errors alone, which differ from machine to machine."""
    told = torch.stack([(weight * band**2).sum((1, 2, 3)) for band in (first, second)]).amin(0) > _ROUNDING
    return torch.where(told, correlation(first, second, weight), torch.zeros_like(told, dtype=first.dtype))


def _smooth(images: Tensor, sigma: float, within: Tensor | None) -> Tensor:
    """Images blurred; with `within`, by what lies in it alone (Knutsson and Westin 1993, normalised convolution)."""
    if within is None or sigma == 0:
        return gaussian_blur(images, sigma)
    return gaussian_blur(within * images, sigma) / gaussian_blur(within, sigma).clamp_min(1e-3)


def _fisher(value: Tensor) -> Tensor:
    return torch.atanh(value.clamp(-_CERTAIN, _CERTAIN))


def _best_region(bands: list[tuple[Tensor, Tensor]], weight: Tensor, square: Tensor, cover: Tensor, share: float) -> Tensor:
    """Figures (n, 4) of the square of that side in which the pair agrees best."""
    side = weight.shape[-1]
    window, stride = max(4 * round(share * side / 4), 4), 2 * max(side // 32, 1)
    covered = _averaged(weight, window, stride) > _COVERED
    found = []
    for first, second in bands:
        pooled = _averaged(weight * torch.cat([first * second, first**2, second**2], 1), window, stride)
        energy = ((pooled[:, 1] + _QUIET) * (pooled[:, 2] + _QUIET)).sqrt()
        found.append(_fisher(pooled[:, 0] / energy))
    total = _averaged(cover, window // 2, stride // 2).clamp_min(1e-3)
    found.append(_colour_likeness(_averaged(cover * square, window // 2, stride // 2) / total)[:, 0])
    figures = torch.stack(found, -1)
    standard = (figures - torch.tensor(_TYPICAL[0])) / torch.tensor(_TYPICAL[1])
    rank = standard[..., : len(BANDS)].mean(-1) + standard[..., -1]
    rank = torch.where(covered[:, 0], rank, torch.full_like(rank, -1e3)).flatten(1)
    best = rank.argmax(1)
    row = torch.arange(len(figures))
    chosen = figures.flatten(1, 2)[row, best]
    return torch.where((rank[row, best] > -1e3)[:, None], chosen, torch.full_like(chosen, NOWHERE))


def _averaged(images: Tensor, window: int, stride: int) -> Tensor:
    """Means over squares of that side: as avg_pool2d, by two matrix products, which cost less for large windows."""
    matrix = _box_matrix(images.shape[-1], window, stride)
    return (matrix @ images) @ matrix.T


@lru_cache(maxsize=64)
def _box_matrix(size: int, window: int, stride: int) -> Tensor:
    starts = torch.arange(0, size - window + 1, stride)[:, None]
    offset = torch.arange(size)[None] - starts
    return ((offset >= 0) & (offset < window)).to(torch.float32) / window


def _colour_difference(
    candidates: Tensor, originals: Tensor, maps: Tensor, points: Tensor, within: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Mean square difference in colour, and where it counts, (n, 1, s/2, s/2) each."""
    seen, inside = warp(originals, maps)
    weight = inside * reduce(points, candidates.shape[-1])
    if within is not None:
        # A pixel of the colour that lies across the border shows both sides of it.
        within = (reduce(within, candidates.shape[-1]) == 1).to(candidates.dtype)
        weight = weight * within
    return (_smooth(candidates - seen, _COLOUR_BLUR, within) ** 2).mean(1, keepdim=True), weight


def _colour_likeness(mean: Tensor) -> Tensor:
    return -0.5 * torch.log(mean + _COLOUR_NOISE**2)


def _flattened(band: Tensor, weight: Tensor, cover: Tensor, width: float) -> Tensor:
    energy = gaussian_blur(weight * band**2, width) / cover
    mean = (weight * energy).sum((1, 2, 3), keepdim=True) / weight.sum((1, 2, 3), keepdim=True).clamp_min(1.0)
    return band / (energy + _CONTRAST_FLOOR**2 * mean + _NOISE**2).sqrt()
