"""The eighteen transforms under which private images are planted, after the table that this benchmark continues.

Each takes one image and one unrelated one, uint8 (size, size, 3), and gives the copy with the mask of what was copied.
Lengths are shares of the side, so that 64 and 128 px mean the same; what comes from outside an image is mirrored.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

__all__ = ["TRANSFORMS", "planted"]

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Copy = tuple[Pixels, Mask]
Transform = Callable[[Pixels, Pixels, np.random.Generator], Copy]


def planted(images: Pixels, hosts: Pixels, name: str, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Images (n, size, size, 3) under the transform `name`, on hosts of the same shape: copies and masks (n, size, size)."""
    copies, masks = zip(
        *(TRANSFORMS[name](image, host, rng) for image, host in zip(images, hosts, strict=True)), strict=True
    )
    return np.stack(copies), np.stack(masks)


def _whole(change: Callable[[Pixels, np.random.Generator], Pixels]) -> Transform:
    def copy(image: Pixels, host: Pixels, rng: np.random.Generator) -> Copy:
        return change(image, rng), np.ones(image.shape[:2], bool)

    return copy


def _bytes(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _mirror(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(image[:, ::-1])


def _quarter(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(np.rot90(image, int(rng.choice([1, 3]))))


def _rotate(image: Pixels, rng: np.random.Generator, degrees: float) -> Pixels:
    size = len(image)
    margin = size // 2
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    turned = Image.fromarray(padded).rotate(degrees * rng.choice([-1.0, 1.0]), resample=Image.Resampling.BICUBIC)
    return np.asarray(turned)[margin : margin + size, margin : margin + size]


def _crop(image: Pixels, rng: np.random.Generator, side: float) -> Pixels:
    size = len(image)
    kept = round(size * side)
    top, left = rng.integers(0, size - kept + 1, 2).tolist()
    cut = Image.fromarray(image[top : top + kept, left : left + kept])
    return np.asarray(cut.resize((size, size), Image.Resampling.BICUBIC))


def _brighten(image: Pixels, rng: np.random.Generator, factor: float) -> Pixels:
    return _bytes(image.astype(np.float64) * factor)


def _contrast(image: Pixels, rng: np.random.Generator, factor: float) -> Pixels:
    mean = image.mean()
    return _bytes(mean + factor * (image - mean))


def _noise(image: Pixels, rng: np.random.Generator, deviation: float) -> Pixels:
    return _bytes(image + 255 * deviation * rng.standard_normal(image.shape))


def _blur(image: Pixels, rng: np.random.Generator, width: float) -> Pixels:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(width * len(image) / 64)))


def _jpeg(image: Pixels, rng: np.random.Generator, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _several(image: Pixels, rng: np.random.Generator) -> Pixels:
    return _jpeg(_crop(_rotate(_mirror(image, rng), rng, 10.0), rng, 0.87), rng, 50)


def _patch(image: Pixels, host: Pixels, rng: np.random.Generator, area: float) -> Copy:
    """A square of the image, pasted somewhere else on the host."""
    size = len(image)
    side = round(size * area**0.5)
    (top, left), (down, across) = rng.integers(0, size - side + 1, (2, 2)).tolist()
    copy, mask = host.copy(), np.zeros((size, size), bool)
    copy[down : down + side, across : across + side] = image[top : top + side, left : left + side]
    mask[down : down + side, across : across + side] = True
    return copy, mask


def _blend(image: Pixels, host: Pixels, rng: np.random.Generator, share: float) -> Copy:
    mixed = share * image.astype(np.float64) + (1 - share) * host
    return _bytes(mixed), np.ones(image.shape[:2], bool)


TRANSFORMS: Mapping[str, Transform] = {
    "identity": _whole(lambda image, rng: image),
    "mirrored": _whole(_mirror),
    "quarter turn": _whole(_quarter),
    "rotated 5": _whole(partial(_rotate, degrees=5.0)),
    "rotated 20": _whole(partial(_rotate, degrees=20.0)),
    "crop 80 %": _whole(partial(_crop, side=0.8)),
    "crop 50 %": _whole(partial(_crop, side=0.5)),
    "brightness 1.4": _whole(partial(_brighten, factor=1.4)),
    "contrast 0.6": _whole(partial(_contrast, factor=0.6)),
    "noise 0.05": _whole(partial(_noise, deviation=0.05)),
    "noise 0.15": _whole(partial(_noise, deviation=0.15)),
    "blur 2": _whole(partial(_blur, width=2.0)),
    "JPEG 20": _whole(partial(_jpeg, quality=20)),
    "patch 25 %": partial(_patch, area=0.25),
    "patch 47 %": partial(_patch, area=0.47),
    "blend 0.7": partial(_blend, share=0.7),
    "blend 0.5": partial(_blend, share=0.5),
    "mirrored, rotated 10, zoomed, JPEG 50": _whole(_several),
}
