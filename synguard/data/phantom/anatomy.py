"""What stays the same in all photographs of one eye: pigment, disc, macula, vessel tree, texture, places of lesions.

Coordinates are of a right eye: x to the right, which is towards the nose, y down; the visible retina is the unit disc.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Anatomy", "Colour", "draw_anatomy"]

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

_EYE = 7103
_STEPS = 9


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One eye. Lengths are in units of the retina's radius.

    `vessels` are curves (24, 10, 2), trunks first, with their widths and whether each is an artery; `lesions` are places for
    diabetic lesions, in order of use; `variation` are numbers from 0 to 1 that vary the signs of disease.
    """

    pigment: Floats
    texture: NDArray[np.uint8]
    disc: Floats
    disc_radius: tuple[float, float]
    cup: float
    macula: Floats
    vessels: Floats
    widths: Floats
    arteries: NDArray[np.bool_]
    lesions: Floats
    variation: Floats


def draw_anatomy(seed: int, patient: int, right: bool) -> Anatomy:
    """The eye of a patient, the same for the same arguments. Both eyes share the pigment; each has its own tree."""
    rng = np.random.default_rng([seed, _EYE, patient])
    tone, warmth = rng.random(2)
    pigment = np.array([165 + 70 * tone, 58 + 60 * tone * (0.6 + 0.6 * warmth), 24 + 50 * tone * (1 - 0.7 * warmth)])
    rng = np.random.default_rng([seed, _EYE, patient, 1 + int(right)])
    disc = np.array([0.5, 0.0]) + rng.uniform(-1, 1, 2) * (0.1, 0.2)
    radius = rng.uniform(0.145, 0.205)
    macula = np.array([-0.2, 0.05]) + rng.uniform(-1, 1, 2) * (0.08, 0.12)
    vessels, widths, arteries = _tree(rng, disc)
    return Anatomy(
        pigment=pigment,
        texture=_texture(rng),
        disc=disc,
        disc_radius=(radius * rng.uniform(0.85, 1), radius * rng.uniform(1, 1.1)),
        cup=float(rng.uniform(0.28, 0.42)),
        macula=macula,
        vessels=vessels,
        widths=widths,
        arteries=arteries,
        lesions=_places(rng, disc, macula),
        variation=rng.random(32),
    )


def _texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Choroid and nerve fibres as a coarse grey picture (20, 20), 128 where there is nothing."""
    coarse = np.repeat(np.repeat(rng.normal(size=(5, 5)), 4, axis=0), 4, axis=1)
    values = 128 + 26 * coarse + 24 * rng.normal(size=(20, 20))
    return np.clip(values, 0, 255).astype(np.uint8)


def _tree(rng: np.random.Generator, disc: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Arcades above and below, both towards the macula and towards the nose, each as vein and artery, with branches."""
    # Angle at which each leaves the disc, and how it bends: the temporal arcades curve around the macula.
    start = np.radians([-118, 118, -50, 50, -142, 146]) + rng.normal(0, 0.28, 6)
    bend = np.array([-1.15, 1.15, 0.5, -0.5, -0.4, 0.4]) + rng.normal(0, 0.45, 6)
    length = np.array([1.35, 1.35, 0.75, 0.75, 0.9, 0.9]) * rng.uniform(0.8, 1.1, 6)
    width = np.array([0.085, 0.085, 0.06, 0.06, 0.05, 0.05]) * rng.uniform(0.8, 1.2, 6)
    trunks = _paths(rng, np.repeat(disc[None], 6, axis=0), start, bend, length)
    at = rng.integers(2, _STEPS - 2, (6, 3))
    parent = np.repeat(np.arange(6), 3)
    points = trunks[parent, at.ravel()]
    heading = trunks[parent, at.ravel() + 1] - points
    side = rng.choice([-1.0, 1.0], 18)
    angle = np.arctan2(heading[:, 1], heading[:, 0]) + side * rng.uniform(0.4, 1.1, 18)
    branches = _paths(rng, points, angle, -side * rng.uniform(0, 0.9, 18), rng.uniform(0.3, 0.75, 18))
    artery = rng.random(6) < 0.5
    widths = np.concatenate([width, 0.6 * width[parent]])
    return np.concatenate([trunks, branches]), widths, np.concatenate([artery, artery[parent]])


def _paths(rng: np.random.Generator, start: Floats, angle: Floats, bend: Floats, length: Floats) -> Floats:
    """Curves (n, steps + 1, 2): a heading that bends evenly and wanders a little."""
    part = np.arange(_STEPS) / _STEPS
    wander = np.cumsum(rng.normal(0, 0.16, (len(angle), _STEPS)), axis=1)
    heading = angle[:, None] + bend[:, None] * part + wander
    steps = (length / _STEPS)[:, None, None] * np.stack([np.cos(heading), np.sin(heading)], axis=2)
    return np.concatenate([start[:, None], start[:, None] + np.cumsum(steps, axis=1)], axis=1)


def _places(rng: np.random.Generator, disc: Floats, macula: Floats) -> Floats:
    """Places (k, 2) for lesions, away from disc, macula and each other."""
    tried = rng.uniform(-0.82, 0.82, (100, 2))
    free = (
        (_apart(tried, np.zeros((1, 2))) < 0.84) & (_apart(tried, disc[None]) > 0.36) & (_apart(tried, macula[None]) > 0.3)
    )
    tried = tried[free[:, 0]]
    far = _apart(tried, tried) > 0.24
    left = np.ones(len(tried), dtype=bool)
    places = []
    while left.any():
        place = int(left.argmax())
        places.append(place)
        left &= far[place]
    return tried[places]


def _apart(a: Floats, b: Floats) -> Floats:
    """Distances (n, m) of points (n, 2) and (m, 2)."""
    return np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])
