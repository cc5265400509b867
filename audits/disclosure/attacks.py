"""The three attacks on features: who is singled out, whose views are linked, whose attribute is guessed.

Each is one yes or no a patient, for private patients (the attack) and for holdout patients (the control) in just the same
way, and a rate that needs no release at all (the naive baseline). After Giomi et al. 2023, arXiv:2211.10459, who defined
them for tables; here a predicate is "a photograph within this distance".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synguard.metrics.distances import nearest, squared_distances

__all__ = ["Gallery", "Successes", "infer", "link", "search_radius", "single_out"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
_BLOCK = 512
UNKNOWN = -1
"""The code of a label that is missing: it agrees with every other."""


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Images of some patients: features (n, d), the patient's number 0 to p - 1 (n,), and a label code (n,)."""

    features: Floats
    patients: Integers
    labels: Integers

    @property
    def people(self) -> int:
        """How many patients."""
        return int(self.patients.max()) + 1 if len(self.patients) else 0

    def of(self, chosen: Integers) -> Gallery:
        """The images of the chosen patients, who are numbered in the order given."""
        place = np.full(self.people, UNKNOWN)
        place[chosen] = np.arange(len(chosen))
        rows = np.flatnonzero(place[self.patients] != UNKNOWN)
        return Gallery(self.features[rows], place[self.patients[rows]], self.labels[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Successes:
    """One yes or no for each private patient attacked and each holdout patient, and the naive baseline's rate."""

    attack: Mask
    control: Mask
    naive: float


def search_radius(calibration: Gallery, alarms: float) -> float:
    """The distance within which a share `alarms` of unseen patients would find some other unseen patient.

    Each patient's first image searches all others of the same role; the quantile of the nearest distances.
    """
    first = np.unique(calibration.patients, return_index=True)[1]
    nearest_other = np.empty(len(first))
    for start in range(0, len(first), _BLOCK):
        rows = first[start : start + _BLOCK]
        squares = squared_distances(calibration.features[rows], calibration.features)
        squares[calibration.patients[rows, None] == calibration.patients] = np.inf
        nearest_other[start : start + _BLOCK] = squares.min(axis=1)
    return float(np.sqrt(np.quantile(nearest_other, alarms, method="lower")))


def single_out(
    private: Gallery, holdout: Gallery, synthetic: Gallery, reference: Gallery, radius: float, rng: np.random.Generator
) -> Successes:
    """Each synthetic image is a predicate: the patient with an image within `radius`, and with its label if there are more.

    A patient is singled out where some predicate holds for nobody else in a group of patients. Both sides are attacked in
    groups of one size, since in a larger crowd fewer are alone. Naive: as many predicates from reference images; where those
    are fewer, the rate is carried over to the same number.
    """
    size = min(private.people, holdout.people)
    drawn = rng.permutation(len(reference.features))[: len(synthetic.features)]
    guesses = Gallery(reference.features[drawn], reference.patients[drawn], reference.labels[drawn])
    naive = float(_alone_in_groups(private, guesses, radius, size, rng).mean())
    return Successes(
        attack=_alone_in_groups(private, synthetic, radius, size, rng),
        control=_alone_in_groups(holdout, synthetic, radius, size, rng),
        naive=1 - (1 - naive) ** (len(synthetic.features) / max(len(drawn), 1)),
    )


def link(
    private: tuple[Floats, Floats],
    holdout: tuple[Floats, Floats],
    synthetic: tuple[Floats, Floats],
    rng: np.random.Generator,
) -> Successes:
    """Two views (p, d) of each patient are linked where both have the same nearest synthetic image.

    Naive: one view of a patient and the other view of somebody else.
    """
    nearest_of = [
        tuple(nearest(view, made)[0] for view, made in zip(views, synthetic, strict=True)) for views in (private, holdout)
    ]
    first, second = nearest_of[0]
    shift = int(rng.integers(1, max(len(first), 2)))
    return Successes(
        attack=first == second,
        control=nearest_of[1][0] == nearest_of[1][1],
        naive=float((first == np.roll(second, shift)).mean()),
    )


def infer(
    private: tuple[Floats, Integers], holdout: tuple[Floats, Integers], synthetic: tuple[Floats, Integers]
) -> Successes:
    """An attribute, known in all rows, is guessed by that of the nearest synthetic image. Naive: its commonest level."""
    made, codes = synthetic
    values, counts = np.unique(codes, return_counts=True)
    commonest = values[counts.argmax()]
    hits = [codes[nearest(features, made)[0]] == truth for features, truth in (private, holdout)]
    return Successes(attack=hits[0], control=hits[1], naive=float((private[1] == commonest).mean()))


def _alone_in_groups(crowd: Gallery, predicates: Gallery, radius: float, size: int, rng: np.random.Generator) -> Mask:
    """Who is singled out (p,), in random groups of `size` patients; the last group is filled up from the others."""
    found = np.zeros(crowd.people, dtype=bool)
    for group, counted in _groups(crowd.people, size, rng):
        alone = _alone(crowd.of(group), predicates, radius)
        found[group[:counted]] = alone[:counted]
    return found


def _groups(people: int, size: int, rng: np.random.Generator) -> Iterator[tuple[Integers, int]]:
    """Groups of patients, with how many of each, its first ones, are counted there."""
    order = rng.permutation(people)
    for start in range(0, people, size):
        own = order[start : start + size]
        others = order[:start][: size - len(own)]
        yield np.concatenate([own, others]), len(own)


def _alone(group: Gallery, predicates: Gallery, radius: float) -> Mask:
    """Which of the group's patients (p,) some predicate holds for, and for nobody else of the group."""
    order = np.argsort(group.patients, kind="stable")
    starts = np.searchsorted(group.patients[order], np.arange(group.people))
    features, labels = group.features[order], group.labels[order]
    found = np.zeros(group.people, dtype=bool)
    for start in range(0, len(predicates.features), _BLOCK):
        rows = slice(start, start + _BLOCK)
        near = squared_distances(predicates.features[rows], features) <= radius**2
        asked = predicates.labels[rows, None]
        agrees = (asked == labels) | (asked == UNKNOWN) | (labels == UNKNOWN)
        for matches in (near, near & agrees):
            people = np.logical_or.reduceat(matches, starts, axis=1)
            single = people.sum(axis=1) == 1
            found |= people[single].any(axis=0)
    return found
