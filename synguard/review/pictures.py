"""What a reader is shown of a pair. All pictures of a session are of one form: naming, size, file length and metadata."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["PANELS", "panels", "plain_png"]

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
PANELS = ("candidate", "private", "matched", "difference")
"""The synthetic image; the private one in its frame; that in the synthetic one's brightness; what differs of these two."""
_AMPLIFIED = 4.0


def panels(candidate: Pixels, private: Pixels) -> Mapping[str, Pixels]:
    """`PANELS` of a pair (height, width, 3), where the private image is black outside what both show.

    Mean and spread of each channel are matched inside; a negative is matched by its negative. Outside, both are black.
    """
    inside = np.asarray(private.any(axis=2))[..., None]
    own, other = (image.astype(np.float32) for image in (candidate, private))
    (own_mean, own_spread), (mean, spread) = (_mean_and_spread(image, inside) for image in (own, other))
    sign = np.float32(-1 if ((own - own_mean) * (other - mean) * inside).sum() < 0 else 1)
    gain = sign * np.clip(own_spread / np.maximum(spread, 1e-6), 0.2, 5.0)
    matched = np.clip(gain * (other - mean) + own_mean, 0, 255) * inside
    difference = _AMPLIFIED * np.abs(own - matched) * inside
    shown = (candidate, private, _bytes(matched), _bytes(difference))
    return MappingProxyType(dict(zip(PANELS, shown, strict=True)))


def plain_png(pixels: Pixels) -> bytes:
    """A PNG whose data is stored, not compressed: its length tells the size of the picture and nothing of what is in it."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def _mean_and_spread(image: Floats, inside: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Of each channel, over what is inside."""
    n = max(int(inside.sum()), 1)
    mean = (image * inside).sum((0, 1)) / np.float32(n)
    return mean, np.sqrt((((image - mean) * inside) ** 2).sum((0, 1)) / np.float32(n))


def _bytes(values: Floats) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
