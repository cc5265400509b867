"""Copies planted by the audit itself: private images put through known transforms, to measure what the detector finds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

__all__ = ["CORE", "LESION", "RECOGNISABLE", "TRANSFORMS", "plant", "plant_lesions"]

Pixels = NDArray[np.uint8]
Transform = Callable[[Pixels, Pixels, np.random.Generator], Pixels]
"""Takes a private image and one of another patient that it may be mixed with."""


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


def _paste(image: Pixels, host: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """A square of that share of the area, cut out anywhere and pasted anywhere."""
    size = image.shape[0]
    side = max(round(size * share**0.5), 1)
    (top, left), (down, across) = rng.integers(0, size - side + 1, (2, 2)).tolist()
    pasted = host.copy()
    pasted[down : down + side, across : across + side] = image[top : top + side, left : left + side]
    return pasted


def _shrink(image: Pixels, side: float, rng: np.random.Generator) -> Pixels:
    """Reduced to that share of the side, anywhere on black, white, or the image's mean colour."""
    size = image.shape[0]
    small = Image.fromarray(image).resize((max(round(size * side), 1),) * 2, Image.Resampling.LANCZOS)
    ground = [np.zeros(3), np.full(3, 255.0), image.mean((0, 1))][int(rng.integers(3))]
    shown = np.broadcast_to(np.rint(ground).astype(np.uint8), image.shape).copy()
    top, left = rng.integers(0, size - small.height + 1, 2).tolist()
    shown[top : top + small.height, left : left + small.width] = np.asarray(small)
    return shown


def _blend(image: Pixels, host: Pixels, share: float) -> Pixels:
    return np.rint(share * image.astype(np.float64) + (1 - share) * host).astype(np.uint8)


TRANSFORMS: Mapping[str, Transform] = MappingProxyType(
    {
        "identity": lambda image, host, rng: _jpeg(image, 95),
        "mirrored": lambda image, host, rng: _mirror(image, rng),
        "turned": lambda image, host, rng: _turn(image, rng),
        "jpeg-40": lambda image, host, rng: _jpeg(image, 40),
        "brightened-1.3": lambda image, host, rng: _brighten(image, 1.3),
        "blurred": lambda image, host, rng: _blur(image),
        "rotated-10": lambda image, host, rng: _rotate(image, float(rng.choice([-10.0, 10.0]))),
        "crop-80": lambda image, host, rng: _crop(image, 0.8, rng),
        "crop-50": lambda image, host, rng: _crop(image, 0.5, rng),
        "shrunk-75": lambda image, host, rng: _shrink(image, 0.75, rng),
        "negative": lambda image, host, rng: 255 - image,
        "pasted-50": lambda image, host, rng: _paste(image, host, 0.5, rng),
        "blended-50": lambda image, host, rng: _blend(image, host, 0.5),
    }
)
"""Transforms by name. A policy names the ones whose recall it holds a limit against."""

CORE: tuple[str, ...] = ("identity", "mirrored", "turned", "jpeg-40", "brightened-1.3", "shrunk-75")
"""The transforms that any audit must see; the others tell how far it sees beyond them."""

RECOGNISABLE: tuple[str, ...] = (*CORE, "blurred", "rotated-10", "crop-80")
"""The transforms that leave what a person recognises as the same picture: what readers of pairs are measured on."""

LESION = "lesion-pasted"
"""One more transform, where private images have boxes; see `plant_lesions`."""


def plant(pixels: Pixels, name: str, rng: np.random.Generator, hosts: Pixels | None = None) -> Pixels:
    """The images (n, size, size, 3) put through the transform `name`.

    Transforms that mix take `hosts` (m, size, size, 3), or the images themselves in another order where there are none.
    """
    others = pixels if hosts is None or len(hosts) == 0 else hosts
    return np.stack([TRANSFORMS[name](image, others[(row + 1) % len(others)], rng) for row, image in enumerate(pixels)])


def plant_lesions(pixels: Pixels, boxes: NDArray[np.float32], rng: np.random.Generator, hosts: Pixels) -> Pixels:
    """What lies in the boxes (n, 4) of images (n, size, size, 3), pasted somewhere on `hosts` (m, size, size, 3)."""
    return np.stack([_transplant(image, hosts[(row + 1) % len(hosts)], boxes[row], rng) for row, image in enumerate(pixels)])


def _transplant(image: Pixels, host: Pixels, box: NDArray[np.float32], rng: np.random.Generator) -> Pixels:
    size = len(image)
    left, top, right, bottom = np.rint((box.astype(np.float64) + 1) * size / 2).astype(int).clip(0, size).tolist()
    lesion = image[top:bottom, left:right]
    down, across = (int(rng.integers(0, size - length + 1)) for length in lesion.shape[:2])
    pasted = host.copy()
    pasted[down : down + bottom - top, across : across + right - left] = lesion
    return pasted
