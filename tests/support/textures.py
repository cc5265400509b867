"""Made-up photographs: smooth random textures, no two alike, for tests that need truth and no patient."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from synguard.data.images import ImageSet


def textures(n: int, seed: int, size: int = 32) -> NDArray[np.uint8]:
    """Coloured noise with structure at several scales, (n, size, size, 3)."""
    rng = np.random.default_rng([seed, 77])
    images = np.zeros((n, size, size, 3))
    for sigma, weight in ((1.0, 0.5), (2.5, 1.0), (6.0, 1.5)):
        layer = gaussian_filter(rng.normal(size=images.shape), (0, sigma, sigma, 0.6))
        images += weight * layer / layer.std()
    return np.clip(np.rint(128 + 28 * images), 0, 255).astype(np.uint8)


def image_set(pixels: NDArray[np.uint8], name: str, patients: list[str] | None = None) -> ImageSet:
    """Pixels as an image set with names and digests."""
    n = len(pixels)
    return ImageSet(
        name=name,
        files=tuple(f"{name}-{row:04d}.png" for row in range(n)),
        sha256=digests(pixels),
        pixels=pixels,
        patients=np.array(patients or [f"{name}-{row}" for row in range(n)]),
        metadata=pd.DataFrame(index=range(n)),
        has_patient_ids=patients is not None,
    )


def digests(pixels: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels)
