"""Baselines that compare perceptual hashes: imagehash's pHash, and PDQ. Both libraries come with the extra `bench`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .protocol import Answer, Exclude, Material, Pixels, barred, in_blocks

__all__ = ["HashSearch", "fit_pdq", "fit_pdq_views", "fit_phash"]

Bits = NDArray[np.bool_]
Hash = Callable[[NDArray[np.uint8]], Bits]
"""An image (size, size, 3) to one hash (bits,) or the hashes of several views (views, bits)."""

PHASH_DISTANCE = 10
"""imagededup's default; imagehash itself names none."""
PDQ_DISTANCE = 31
"""Recommended as a start by pdq/README.md of facebook/ThreatExchange."""

_INSTALL = "the hashes need an extra: pip install 'synguard[bench]'"


@dataclass(frozen=True, slots=True, eq=False)
class HashSearch:
    """Hamming distance of hashes; of the nearest view, where a query has several."""

    bank: NDArray[np.float32]
    patients: NDArray[np.str_]
    hashed: Hash
    limit: int

    def query(self, pixels: Pixels, exclude: Exclude = None) -> Answer:
        """Score: the logarithm of the odds of an equal bit, half a bit added to both sides."""
        return in_blocks(pixels, exclude, self._block)

    def _block(self, pixels: Pixels, exclude: Exclude) -> Answer:
        signs = _signs([np.atleast_2d(self.hashed(image)) for image in pixels])
        bits = self.bank.shape[1]
        # With bits as -1 and 1, the product counts equal bits less different ones.
        product = (signs.reshape(-1, bits) @ self.bank.T).reshape(len(pixels), -1, len(self.bank)).max(1)
        distance = np.rint((bits - product) / 2)
        bars = barred(exclude, self.patients)
        if bars is not None:
            distance[bars] = bits
        nearest = distance.argmin(1)
        least = distance[np.arange(len(distance)), nearest].astype(np.float64)
        return Answer(np.log((bits - least + 0.5) / (least + 0.5)), nearest, called=least <= self.limit)


def fit_phash(material: Material) -> HashSearch:
    """imagehash.phash with its defaults: 64 bits of a 32 x 32 cosine transform."""
    try:
        import imagehash
    except ImportError as error:
        raise SystemExit(_INSTALL) from error

    def hashed(image: NDArray[np.uint8]) -> Bits:
        bits: Bits = imagehash.phash(Image.fromarray(image)).hash.reshape(-1)
        return bits

    return _fit(material, hashed, hashed, PHASH_DISTANCE)


def fit_pdq(material: Material) -> HashSearch:
    """PDQ, 256 bits, of the image as it is; images that PDQ calls featureless are not left out."""
    one, _ = _pdq()
    return _fit(material, one, one, PDQ_DISTANCE)


def fit_pdq_views(material: Material) -> HashSearch:
    """PDQ with the hashes of all eight dihedral views of a query, which the library derives from one transform."""
    return _fit(material, *_pdq(), PDQ_DISTANCE)


def _pdq() -> tuple[Hash, Hash]:
    try:
        import pdqhash  # type: ignore[import-untyped]  # it ships no types
    except ImportError as error:
        raise SystemExit(_INSTALL) from error

    def one(image: NDArray[np.uint8]) -> Bits:
        return np.asarray(pdqhash.compute(image)[0], bool)

    def views(image: NDArray[np.uint8]) -> Bits:
        return np.asarray(pdqhash.compute_dihedral(image)[0], bool)

    return one, views


def _fit(material: Material, stored: Hash, asked: Hash, limit: int) -> HashSearch:
    bank = _signs([stored(image) for image in material.index.pixels])
    return HashSearch(bank, material.index.patient, asked, limit)


def _signs(hashes: list[Bits]) -> NDArray[np.float32]:
    return np.stack(hashes).astype(np.float32) * 2 - 1
