"""Black box: is an image nearer to the released images than to other real ones, more than unseen images are?

The distance to the nearest synthetic image, calibrated by the distance to the nearest image of the reference role (Chen et
al. 2020, "GAN-Leaks", calibrated; van Breugel et al. 2023, "DOMIAS", for real images as reference). Members and non-members
are measured against the same two sets, of which neither is part: a score that knows nothing gives 0.5 whatever their sizes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from audits.membership.features import shrink
from audits.membership.probe import Access, Arm, Scores
from audits.spaces import embed_all
from synguard.data.images import ImageSet
from synguard.metrics.distances import nearest
from synguard.protocols import Embedder, Images

__all__ = ["InSpace", "NearestNeighbour", "PixelSpace"]

Floats = NDArray[np.float64]
_BLOCK = 1000
_SIDE = 16
_COMPONENTS = 64


@dataclass(slots=True, eq=False)
class PixelSpace:
    """An embedder that nobody has trained on members: principal components of small colour thumbnails."""

    centre: Floats
    axes: Floats
    name: str
    digest: str
    dimension: int

    @classmethod
    def fit(cls, images: ImageSet) -> PixelSpace:
        """Axes of the given images, which should be neither members nor judged."""
        values = _thumbnails(images.pixels)
        centre = values.mean(axis=0)
        vectors = np.linalg.svd(values - centre, full_matrices=False)[2][:_COMPONENTS]
        # The sign of an axis is arbitrary; fixed, so that the digest is not.
        signs = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)])
        axes = (vectors * signs[:, None]).T
        digest = hashlib.sha256(centre.tobytes() + axes.tobytes()).hexdigest()
        return cls(centre, axes, f"pixels, {_SIDE} x {_SIDE}", digest, axes.shape[1])

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Coordinates (n, dimension)."""
        return ((_thumbnails(images) - self.centre) @ self.axes).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class InSpace:
    """What all probes on the images alone share: a feature space, and where the synthetic images lie in it (n, d)."""

    kind: ClassVar[str]
    space: Embedder
    synthetic: Floats

    @property
    def name(self) -> str:
        """Name with the feature space."""
        return f"{self.kind} ({self.space.name})"

    @property
    def access(self) -> Access:
        """Needs the released images only."""
        return "black box"


@dataclass(frozen=True, slots=True, eq=False)
class NearestNeighbour(InSpace):
    """Calibrated nearest-neighbour distance in one feature space."""

    kind: ClassVar[str] = "nearest neighbour"
    reference: Floats

    @classmethod
    def fit(cls, space: Embedder, synthetic: ImageSet, reference: ImageSet) -> NearestNeighbour:
        """Embed the two sets that images are measured against."""
        return cls(space, embed_all(space, synthetic.pixels), embed_all(space, reference.pixels))

    @property
    def method(self) -> str:
        """What the score is."""
        return (
            f"(r - s) / (r + s), s the distance to the nearest of {len(self.synthetic)} synthetic images, r that to the "
            f"nearest of {len(self.reference)} images of the reference role, in {self.space.name}."
        )

    def scores(self, arm: Arm) -> Scores:
        """Higher where the nearest synthetic image is nearer than the nearest unseen real one would make expect."""
        features = embed_all(self.space, arm.pixels)
        near, background = nearest(features, self.synthetic)[1], nearest(features, self.reference)[1]
        total = near + background
        relative = np.divide(background - near, total, out=np.zeros_like(total), where=total != 0)
        return Scores(relative, {"uncalibrated": -near})


def _thumbnails(pixels: Images) -> Floats:
    side = min(_SIDE, pixels.shape[1])
    blocks = []
    for start in range(0, len(pixels), _BLOCK):
        planes = np.moveaxis(pixels[start : start + _BLOCK].astype(np.float32) / 255, 3, 0)
        blocks.append(np.stack([shrink(plane, side) for plane in planes], axis=-1).reshape(planes.shape[1], -1))
    return np.concatenate(blocks).astype(np.float64)
