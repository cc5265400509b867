"""Black box: how much of the release, and how much of other real images, lies around an image.

    Monte Carlo         synthetic images within a radius, nearer ones counting more (Hilprecht, Haerterich and Bernau 2019,
                        "Monte Carlo and Reconstruction Membership Inference Attacks against Generative Models"), less the
                        same for real images of the reference role
    density ratio       synthetic density over real density (van Breugel et al. 2023, "Membership Inference Attacks against
                        Synthetic Data through Overfitting Detection"), Gaussian kernels on principal components, in logs
    closest record      distance to the nearest synthetic image, nothing else: what release notes often quote. Shown beside
                        the others and never gated on, since releases pass it whose members can be named (Yao et al. 2025,
                        "The DCR Delusion", arXiv:2505.01524)

Radius, axes and scales come from the calibration role, real density from the reference role: the images that are judged
choose nothing, so that the score of an image does not depend on which others are judged with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from audits.membership.black_box import InSpace, NearestNeighbour
from audits.membership.probe import Arm, Probe, Roles, Scores
from audits.spaces import Remembered, embed_all
from synguard.data.images import ImageSet
from synguard.metrics.distances import nearest
from synguard.protocols import Embedder

__all__ = ["ClosestRecord", "DensityRatio", "MonteCarlo", "black_box_probes"]

Floats = NDArray[np.float64]
_PAIRS = 4_000_000
"""Distances held at once."""
_COMPONENTS = 20
_NEAREST = 1e-3
"""Of the radius: nearer than this all distances count alike, or a logarithm of 0 would outweigh everything."""


@dataclass(frozen=True, slots=True, eq=False)
class ClosestRecord(InSpace):
    """Distance to the nearest synthetic image, uncalibrated."""

    kind: ClassVar[str] = "closest record"

    @classmethod
    def fit(cls, space: Embedder, synthetic: ImageSet) -> ClosestRecord:
        """Embed what distances are measured to."""
        return cls(space, embed_all(space, synthetic.pixels))

    @property
    def method(self) -> str:
        """What the score is."""
        return (
            f"Minus the distance to the nearest of {len(self.synthetic)} synthetic images in {self.space.name}; shown, "
            "never gated on: it says little about membership."
        )

    def scores(self, arm: Arm) -> Scores:
        """Higher where the nearest synthetic image is nearer."""
        return Scores(-nearest(embed_all(self.space, arm.pixels), self.synthetic)[1])


@dataclass(frozen=True, slots=True, eq=False)
class MonteCarlo(InSpace):
    """Synthetic images within a radius, weighted by nearness, less real ones."""

    kind: ClassVar[str] = "Monte Carlo"
    reference: Floats
    radius: float

    @classmethod
    def fit(cls, space: Embedder, synthetic: ImageSet, reference: ImageSet, calibration: ImageSet) -> MonteCarlo:
        """The radius is the median distance from calibration images to the nearest synthetic one (Hilprecht et al.)."""
        made = embed_all(space, synthetic.pixels)
        radius = float(np.median(nearest(embed_all(space, calibration.pixels), made)[1]))
        # A space that sees nothing has a radius of 0; then all scores are 0, which is an error of its own.
        return cls(space, made, embed_all(space, reference.pixels), max(radius, 1e-12))

    @property
    def method(self) -> str:
        """What the score is."""
        return (
            f"Mean of log(radius / distance) over {len(self.synthetic)} synthetic images within the radius "
            f"{self.radius:.3g}, less the same over {len(self.reference)} images of the reference role, in "
            f"{self.space.name}; radius from the calibration role."
        )

    def scores(self, arm: Arm) -> Scores:
        """Higher where more of the release lies nearer than the population would make expect."""
        features = embed_all(self.space, arm.pixels)
        nearness, share = (_by_block(features, self.synthetic, weigh) for weigh in (self._nearness, self._share))
        return Scores(nearness - _by_block(features, self.reference, self._nearness), {"share, as published": share})

    def _nearness(self, squares: Floats) -> Floats:
        ratio = np.maximum(squares, (_NEAREST * self.radius) ** 2) / self.radius**2
        return np.asarray(np.maximum(-0.5 * np.log(ratio), 0).mean(axis=1), dtype=np.float64)

    def _share(self, squares: Floats) -> Floats:
        return np.asarray((squares < self.radius**2).mean(axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class DensityRatio(InSpace):
    """Log of the synthetic over the real density around an image."""

    kind: ClassVar[str] = "density ratio"
    centre: Floats
    axes: Floats
    """(dimension, k): principal axes, scaled so that calibration images vary by 1 along each."""
    reference: Floats

    @classmethod
    def fit(cls, space: Embedder, synthetic: ImageSet, reference: ImageSet, calibration: ImageSet) -> DensityRatio:
        """Axes and scales of the calibration role; densities of the other two sets."""
        base = embed_all(space, calibration.pixels)
        if not np.isfinite(base).all():
            # Nothing can be fitted; scores that are not finite are an error that names the probe.
            nothing = np.full((1, 1), np.nan)
            return cls(space, nothing, np.full(base.shape[1], np.nan), np.zeros((base.shape[1], 1)), nothing)
        centre = base.mean(axis=0)
        _, sizes, vectors = np.linalg.svd(base - centre, full_matrices=False)
        kept = min(_COMPONENTS, max(1, int((sizes > 1e-9 * max(float(sizes[0]), 1e-300)).sum())))
        axes = vectors[:kept].T / np.maximum(sizes[:kept] / np.sqrt(max(len(base) - 1, 1)), 1e-12)
        made, real = (_along(embed_all(space, images.pixels), centre, axes) for images in (synthetic, reference))
        return cls(space, made, centre, axes, real)

    @property
    def method(self) -> str:
        """What the score is."""
        return (
            f"Log density of {len(self.synthetic)} synthetic images over that of {len(self.reference)} images of the "
            f"reference role, Gaussian kernels of Scott's width on {self.axes.shape[1]} principal components of "
            f"{self.space.name}; axes from the calibration role."
        )

    def scores(self, arm: Arm) -> Scores:
        """Higher where the release is denser than the population."""
        features = _along(embed_all(self.space, arm.pixels), self.centre, self.axes)
        return Scores(_log_density(features, self.synthetic) - _log_density(features, self.reference))


def black_box_probes(space: Embedder, synthetic: ImageSet, roles: Roles) -> tuple[Probe, ...]:
    """All probes of one feature space, the one that makes the verdict first."""
    space = Remembered.of(space)
    return (
        NearestNeighbour.fit(space, synthetic, roles.reference),
        DensityRatio.fit(space, synthetic, roles.reference, roles.calibration),
        MonteCarlo.fit(space, synthetic, roles.reference, roles.calibration),
        ClosestRecord.fit(space, synthetic),
    )


def _along(features: Floats, centre: Floats, axes: Floats) -> Floats:
    """Coordinates (n, k); NaN where features are not finite, without a warning for it."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray((features - centre) @ axes, dtype=np.float64)


def _log_density(features: Floats, points: Floats) -> Floats:
    """Log of the kernel density up to a constant of the dimension, bandwidth n^(-1 / (k + 4)) (Scott 1992)."""
    n, k = points.shape
    width = n ** (-1 / (k + 4))
    sums = _by_block(features, points, lambda squares: np.asarray(logsumexp(-squares / (2 * width**2), axis=1)))
    return np.asarray(sums - np.log(n) - k * np.log(width), dtype=np.float64)


def _by_block(features: Floats, targets: Floats, reduce: Callable[[Floats], Floats]) -> Floats:
    """`reduce` of the squared distances (rows, targets) to all targets, (n,). NaN where anything is not finite."""
    result = np.full(len(features), np.nan)
    if not np.isfinite(targets).all():
        return result
    usable = np.flatnonzero(np.isfinite(features).all(axis=1))
    centre = targets.mean(axis=0)  # Squares cancel less near the origin.
    features, targets = features - centre, targets - centre
    squares = np.square(targets).sum(axis=1)
    rows = max(1, _PAIRS // max(len(targets), 1))
    for start in range(0, len(usable), rows):
        chosen = usable[start : start + rows]
        block = features[chosen]
        distances = np.square(block).sum(axis=1)[:, None] + squares - 2 * block @ targets.T
        result[chosen] = reduce(np.maximum(distances, 0))
    return result
