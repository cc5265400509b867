"""Two views of each patient: two photographs, or where patients have one only, two parts of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audits.spaces import embed_all
from synguard.data.images import ImageSet
from synguard.protocols import Embedder, Images

__all__ = ["Views", "one_of_each", "views"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Two views (p, d) of each of some patients (p,), of private patients and of holdout patients, and of the release."""

    private: tuple[Floats, Floats]
    holdout: tuple[Floats, Floats]
    synthetic: tuple[Floats, Floats]
    private_patients: NDArray[np.str_]
    holdout_patients: NDArray[np.str_]
    words: str


def views(
    private: ImageSet, holdout: ImageSet, synthetic: ImageSet, space: Embedder, *, fewest: int, rng: np.random.Generator
) -> Views:
    """Two photographs of each patient who has them, if there are `fewest` such patients on both sides; else two quarters."""
    rows = [_two_of_each(images, rng) for images in (private, holdout)]
    if min(len(pair[0]) for pair in rows) >= fewest:
        made = embed_all(space, synthetic.pixels)
        pairs = [
            tuple(features[chosen] for chosen in pair)
            for features, pair in zip((embed_all(space, s.pixels) for s in (private, holdout)), rows, strict=True)
        ]
        names = [images.patients.astype(str)[pair[0]] for images, pair in zip((private, holdout), rows, strict=True)]
        words = "two photographs of the patient"
        return Views((pairs[0][0], pairs[0][1]), (pairs[1][0], pairs[1][1]), (made, made), names[0], names[1], words)
    single = [one_of_each(images, rng) for images in (private, holdout)]
    parts = [
        tuple(embed_all(space, part) for part in _quarters(pixels))
        for pixels in (private.pixels[single[0]], holdout.pixels[single[1]], synthetic.pixels)
    ]
    return Views(
        (parts[0][0], parts[0][1]),
        (parts[1][0], parts[1][1]),
        (parts[2][0], parts[2][1]),
        private.patients.astype(str)[single[0]],
        holdout.patients.astype(str)[single[1]],
        "two parts of one photograph of the patient, since too few patients have two",
    )


def one_of_each(images: ImageSet, rng: np.random.Generator) -> Integers:
    """A row for each patient, drawn at random, in the order of patients' names; whatever the order of the rows."""
    return np.array([rng.choice(rows) for rows in _by_patient(images)], dtype=np.int64)


def _two_of_each(images: ImageSet, rng: np.random.Generator) -> tuple[Integers, Integers]:
    pairs = [rng.permutation(rows)[:2] for rows in _by_patient(images) if len(rows) >= 2]
    drawn = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return drawn[:, 0], drawn[:, 1]


def _by_patient(images: ImageSet) -> list[Integers]:
    """Rows of each patient, patients by name, a patient's rows by file."""
    order = np.lexsort((np.array(images.files), images.patients.astype(str)))
    sorted_patients = images.patients.astype(str)[order]
    starts = np.flatnonzero(np.append(True, sorted_patients[1:] != sorted_patients[:-1]))
    return [np.asarray(rows, dtype=np.int64) for rows in np.split(order, starts[1:])]


def _quarters(pixels: Images) -> tuple[Images, Images]:
    """The upper left and the lower right quarter."""
    half = pixels.shape[1] // 2
    return np.ascontiguousarray(pixels[:, :half, :half]), np.ascontiguousarray(pixels[:, -half:, -half:])
