"""Copies planted by the audit itself: private images put through known transforms, to measure what the detector finds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

__all__ = ["CORE", "TRANSFORMS", "plant"]

Pixels = NDArray[np.uint8]
Transform = Callable[[Pixels, np.random.Generator], Pixels]


def _jpeg(image: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _mirror(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(image[:, ::-1] if rng.random() < 0.5 else image[::-1])


def _turn(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(np.rot90(image, int(rng.choice([1, 3]))))


def _brighten(image: Pixels, factor: float) -> Pixels:
    return np.clip(np.rint(image.astype(np.float64) * factor), 0, 255).astype(np.uint8)


def _rotate(image: Pixels, degrees: float) -> Pixels:
    """Rotated about the centre; what comes from outside is the mirrored image, as augmentation libraries fill it."""
    size = image.shape[0]
    margin = size // 2
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    turned = Image.fromarray(padded).rotate(degrees, resample=Image.Resampling.BICUBIC)
    return np.asarray(turned)[margin : margin + size, margin : margin + size]


def _crop(image: Pixels, side: float, rng: np.random.Generator) -> Pixels:
    size = image.shape[0]
    kept = max(round(size * side), 1)
    top, left = rng.integers(0, size - kept + 1, 2).tolist()
    cut = Image.fromarray(image[top : top + kept, left : left + kept])
    return np.asarray(cut.resize((size, size), Image.Resampling.BICUBIC))


def _blur(image: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(image.shape[0] / 64)))


TRANSFORMS: Mapping[str, Transform] = MappingProxyType(
    {
        "identity": lambda image, rng: _jpeg(image, 95),
        "mirrored": lambda image, rng: _mirror(image, rng),
        "turned": lambda image, rng: _turn(image, rng),
        "jpeg-40": lambda image, rng: _jpeg(image, 40),
        "brightened-1.3": lambda image, rng: _brighten(image, 1.3),
        "blurred": lambda image, rng: _blur(image),
        "rotated-10": lambda image, rng: _rotate(image, float(rng.choice([-10.0, 10.0]))),
        "crop-80": lambda image, rng: _crop(image, 0.8, rng),
    }
)
"""Transforms by name. A policy names the ones whose recall it holds a limit against."""

CORE: tuple[str, ...] = ("identity", "mirrored", "turned", "jpeg-40", "brightened-1.3")
"""The transforms that any audit must see; the others tell how far it sees beyond them."""


def plant(pixels: Pixels, name: str, rng: np.random.Generator) -> Pixels:
    """The images (n, size, size, 3) put through the transform `name`."""
    return np.stack([TRANSFORMS[name](image, rng) for image in pixels])
