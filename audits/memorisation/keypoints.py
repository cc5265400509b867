"""Keypoints: small windows at places that a copy keeps, wherever it was moved, turned, mirrored, inverted or pasted.

A keypoint is a local maximum of band-passed contrast. Its window is turned to the direction of the smoothed gradient there
and its sign to that of the contrast, so that the same window looks the same under any turn and in a negative; mirrored
copies are found by mirroring the candidate's windows. Two octaves see a copy that was enlarged or reduced to half.
In the manner of Lowe 2004 (doi:10.1023/B:VISI.0000029664.99615.94), with whitened windows in place of histograms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audits.memorisation.blur import gaussian_blur
from audits.memorisation.geometry import inside, reduce
from audits.memorisation.rows import MakeRows, Rows
from audits.memorisation.store import Joined, PictureStore, grey_rows
from audits.memorisation.vectors import NearestVectors, VectorNote

__all__ = [
    "KEYPOINTS",
    "KeypointBank",
    "KeypointDesign",
    "KeypointEncoder",
    "KeypointIndex",
    "Keypoints",
    "fit_keypoints",
]

_WIDTH = 1.0
_MARGIN = 3
_FAINTEST = 0.5 / 255
_DIRECTION = 3.0
_WINDOW = 7
"""Radius of the round window in pixels of the octave."""
_DIMENSION = 64
_SHRINKAGE = 0.1
_FIT_IMAGES = 600
_CHUNK = 64
_DEPTH = 16
_DEPTH_BARRED = 48


@dataclass(frozen=True, slots=True)
class KeypointDesign:
    """Where keypoints are looked for, how many, and how large their windows are."""

    octaves: tuple[int, ...] = (1, 2)
    """Each finds keypoints in the image reduced by this factor."""
    counts: tuple[int, ...] = (32, 12)
    """Keypoints kept in each octave, strongest first."""
    radius: int = 4
    """No two keypoints of an octave lie within this many pixels of each other, in both axes."""
    spacing: float = 1.0
    """Pixels of the octave between the points of a window."""

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for stored descriptors to be of use."""
        return {
            "name": "synguard-keypoints",
            "version": 1,
            "octaves": list(self.octaves),
            "counts": list(self.counts),
            "window": _WINDOW,
            "dimension": _DIMENSION,
            "shrinkage": _SHRINKAGE,
            # Said only where it is not what it was in the first indexes, which stay of use.
            **({} if self.radius == 4 else {"radius": self.radius}),
            **({} if self.spacing == 1 else {"spacing": self.spacing}),
        }


WHOLE = KeypointDesign()
KEYPOINTS = WHOLE.identity
"""Identity of the keypoint encoder."""


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """Keypoints of n images, k each. Descriptors (n, k, d), or (n, 2 k, d) with mirrored windows behind, of unit norm; zero
    where an image has fewer.

    `place` (n, k, 2) in the image's frame, `angle` (n, k) in radians, `scale` (n, k) pixels of the image in one of the
    window, `sign` (n, k) of the contrast: 1, -1, or 0 where there is no keypoint.
    """

    descriptors: NDArray[np.float32]
    place: NDArray[np.float32]
    angle: NDArray[np.float32]
    scale: NDArray[np.float32]
    sign: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class KeypointBank:
    """All keypoints of a private set, one entry each, in the order of its images: 15 bytes in memory, the rest on disk.

    `descriptors` are rows (m, 1, d) of float16; `image` is the private image's row; the others are as in `Keypoints`.
    """

    descriptors: Rows
    image: NDArray[np.int32]
    place: NDArray[np.float16]
    angle: NDArray[np.float32]
    scale: NDArray[np.float16]
    sign: NDArray[np.int8]

    @staticmethod
    def build(
        encoder: KeypointEncoder,
        originals: PictureStore,
        total: int,
        make: MakeRows,
        name: str = "keypoints",
        boxes: Tensor | None = None,
    ) -> KeypointBank:
        """Of a store's images, inside `boxes` (n, 4) where given, a chunk at a time; descriptors are written to
        `make(name, ...)`, `total` in all."""
        descriptors = make(name, (total, 1, encoder.dimension), np.float16)
        parts, first = [_compact(np.zeros(0), np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0))], 0
        for chunk in originals.chunks():
            places = None if boxes is None else boxes[first : first + len(chunk)]
            found = encoder.keypoints(chunk.grey, mirrored=False, boxes=places)
            at = np.nonzero(found.sign)
            descriptors.append(found.descriptors[at][:, None])
            parts.append(_compact(at[0] + first, found.place[at], found.angle[at], found.scale[at], found.sign[at]))
            first += len(chunk)
        return KeypointBank(descriptors.finish(), *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What there is to keep beside the descriptors, by name."""
        return {name: getattr(self, name) for name in ("image", "place", "angle", "scale", "sign")}


def _compact(
    image: NDArray[Any], place: NDArray[Any], angle: NDArray[Any], scale: NDArray[Any], sign: NDArray[Any]
) -> tuple[NDArray[Any], ...]:
    """In the types of `KeypointBank`. Places and scales of 64 x 64 pixels are exact in float16."""
    types = (np.int32, np.float16, np.float32, np.float16, np.int8)
    return tuple(part.astype(to) for part, to in zip((image, place, angle, scale, sign), types, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class KeypointEncoder:
    """The fitted projection of windows, float32 (points, dimension)."""

    projection: NDArray[np.float32]
    design: KeypointDesign = WHOLE

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""
        return int(self.projection.shape[1])

    def keypoints(self, images: Tensor, *, mirrored: bool, boxes: Tensor | None = None) -> Keypoints:
        """Keypoints of images (n, 1, s, s), with `boxes` (n, 4) only those inside; with the mirrored windows too where they
        are to be searched for."""
        parts = [self._encode(*chunk, mirrored=mirrored) for chunk in _chunks(images, boxes)]
        return Keypoints(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def count(self, images: Tensor, boxes: Tensor | None = None) -> int:
        """How many keypoints images (n, 1, s, s) have in all."""
        return sum(int((_find(*chunk, self.design).sign != 0).sum()) for chunk in _chunks(images, boxes))

    def _encode(self, images: Tensor, boxes: Tensor | None, *, mirrored: bool) -> tuple[NDArray[np.float32], ...]:
        found = _find(images, boxes, self.design)
        sides = [_windows(images, found, self.design, mirror=mirror) for mirror in ((False, True) if mirrored else (False,))]
        values = _centred(torch.cat(sides, 1)) @ torch.from_numpy(self.projection)
        there = found.sign.abs().repeat(1, len(sides))[..., None]
        descriptors = functional.normalize(values, dim=-1) * there
        return tuple(
            part.to(torch.float32).numpy() for part in (descriptors, found.place, found.angle, found.scale, found.sign)
        )


class KeypointIndex:
    """Search over all keypoints of a private set. Images without texture have few; what is missing costs nothing."""

    def __init__(self, bank: KeypointBank, lists: NDArray[np.uint8] | None = None, note: VectorNote | None = None) -> None:
        self.bank = bank
        self.vectors = NearestVectors(bank.descriptors, lists=lists, note=note)

    def describe(self) -> str:
        """How it searches, in one sentence."""
        return f"Keypoints: {self.vectors.describe()}"

    def search(
        self, queries: Keypoints, barred: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Likeness and row (-1: none) of the nearest stored keypoints, (n, 2 k, depth) each."""
        n, views, _ = queries.descriptors.shape
        there = np.tile(queries.sign != 0, (1, views // queries.sign.shape[1])).reshape(-1)
        depth = _DEPTH if barred is None else _DEPTH_BARRED
        likeness = np.full((n * views, depth), -2.0, np.float32)
        rows = np.full((n * views, depth), -1, np.int64)
        if there.any():
            flat = queries.descriptors.reshape(n * views, -1)[there]
            likeness[there], rows[there] = self.vectors.search(flat, depth)
        return likeness.reshape(n, views, depth), rows.reshape(n, views, depth)


def fit_keypoints(images: Joined | Tensor, seed: int, design: KeypointDesign = WHOLE) -> KeypointEncoder:
    """The projection on the leading principal components of windows of images (n, 1, s, s), divided by their spread."""
    rows = np.random.default_rng([seed, 0x4E9]).permutation(len(images))[:_FIT_IMAGES]
    windows, there = [], []
    for chunk, _ in _chunks(grey_rows(images, rows)):
        found = _find(chunk, None, design)
        windows += [_windows(chunk, found, design, mirror=mirror) for mirror in (False, True)]
        there += [found.sign != 0] * 2
    values = _centred(torch.cat(windows)[torch.cat(there)]).to(torch.float64)
    covariance = (values.T @ values / max(len(values), 1)).numpy()
    spread, axes = np.linalg.eigh(covariance)
    kept = np.argsort(spread)[::-1][:_DIMENSION]
    floor = _SHRINKAGE * spread.mean() + 1e-12
    projection = np.ascontiguousarray(axes[:, kept] / np.sqrt(spread[kept].clip(0) + floor)).astype(np.float32)
    return KeypointEncoder(projection, design)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    place: Tensor
    angle: Tensor
    scale: Tensor
    sign: Tensor


def _find(images: Tensor, boxes: Tensor | None, design: KeypointDesign) -> _Found:
    """Places, directions, scales and signs of keypoints of all octaves, (n, k, ...), inside `boxes` (n, 4) where given."""
    places, angles, scales, signs = [], [], [], []
    for octave, count in zip(design.octaves, design.counts, strict=True):
        reduced = reduce(images, max(images.shape[-1] // octave, 2 * _MARGIN + 2))
        side = reduced.shape[-1]
        contrast = (gaussian_blur(reduced, _WIDTH) - gaussian_blur(reduced, 2 * _WIDTH))[:, 0]
        strength = contrast.abs()
        tallest = _tallest(strength, design.radius)
        inner = _inner(side) if boxes is None else _inner(side) & (inside(boxes, side)[:, 0] > 0)
        peaks = torch.where((strength >= tallest) & inner, strength, torch.zeros_like(strength)).flatten(1)
        height, at = peaks.topk(min(count, side * side), 1)
        sign = contrast.flatten(1).gather(1, at).sign() * (height > _FAINTEST)
        along = [part.flatten(1).gather(1, at) * sign for part in _gradient(gaussian_blur(reduced, _DIRECTION)[:, 0])]
        places.append((2.0 * torch.stack([at % side, at // side], -1) + 1.0) / side - 1.0)
        angles.append(torch.atan2(along[1], along[0]))
        scales.append(torch.full_like(height, design.spacing * images.shape[-1] / side))
        signs.append(sign)
    return _Found(torch.cat(places, 1), torch.cat(angles, 1), torch.cat(scales, 1), torch.cat(signs, 1))


def _tallest(strength: Tensor, radius: int) -> Tensor:
    """The largest value in the square about each point (n, s, s): first of each row, then of the rows, which costs less."""
    width = 2 * radius + 1
    of_rows = functional.max_pool2d(strength[:, None], (1, width), 1, (0, radius))
    tallest: Tensor = functional.max_pool2d(of_rows, (width, 1), 1, (radius, 0))[:, 0]
    return tallest


def _inner(side: int) -> Tensor:
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[_MARGIN : side - _MARGIN, _MARGIN : side - _MARGIN] = True
    return inside


def _gradient(images: Tensor) -> tuple[Tensor, Tensor]:
    """Along x and y, (n, s, s) each."""
    padded = functional.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    return padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]


def _windows(images: Tensor, found: _Found, design: KeypointDesign, *, mirror: bool) -> Tensor:
    """Grey values of the windows (n, k, points), turned to their direction and sign, from their octave."""
    x, y = _DISK[:, 0], _DISK[:, 1] * (-1.0 if mirror else 1.0)
    cosine, sine = torch.cos(found.angle)[..., None], torch.sin(found.angle)[..., None]
    turned = torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)
    points = found.place[:, :, None] + turned * (found.scale * 2.0 / images.shape[-1])[..., None, None]
    parts, first = [], 0
    for octave, count in zip(design.octaves, design.counts, strict=True):
        reduced = reduce(images, max(images.shape[-1] // octave, 2 * _MARGIN + 2))
        last = first + min(count, reduced.shape[-1] ** 2)
        grid = points[:, first:last]
        parts.append(functional.grid_sample(reduced, grid, padding_mode="reflection", align_corners=False)[:, 0])
        first = last
    return torch.cat(parts, 1) * found.sign[..., None]


def _centred(values: Tensor) -> Tensor:
    values = values - values.mean(-1, keepdim=True)
    unit: Tensor = values / (values.norm(dim=-1, keepdim=True) + 1e-3)
    return unit


def _disk() -> Tensor:
    axis = torch.arange(-_WINDOW, _WINDOW + 1, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    inside = x**2 + y**2 <= (_WINDOW + 0.5) ** 2
    return torch.stack([x[inside], y[inside]], 1)


_DISK = _disk()


def _chunks(images: Tensor, boxes: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor | None]]:
    for start in range(0, len(images), _CHUNK):
        yield images[start : start + _CHUNK], None if boxes is None else boxes[start : start + _CHUNK]
