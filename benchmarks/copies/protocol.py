"""What a method of copy detection is to this benchmark: something fitted on an index that answers queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .data import Photographs

__all__ = ["BLOCK", "Answer", "Material", "Method", "Search", "barred", "in_blocks"]

Pixels = NDArray[np.uint8]
Exclude = NDArray[np.str_] | None

BLOCK = 256
"""Queries compared at once, so that a matrix of queries by private images stays small."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One entry a query.

    `score`: more is more alike, on a scale without upper end, so that the tail of unrelated images can be extended in a
    straight line. `nearest`: row of the private image, -1 for none. `called`: what the method itself calls a copy at the
    threshold it is shipped with, where it is shipped with one. `mask` (n, m, m): where the query shows the private image.
    """

    score: NDArray[np.float64]
    nearest: NDArray[np.int64]
    called: NDArray[np.bool_] | None = None
    mask: NDArray[np.bool_] | None = None

    @staticmethod
    def join(parts: Sequence[Answer]) -> Answer:
        """The answers of several batches, one after the other."""
        called = [part.called for part in parts if part.called is not None]
        masks = [part.mask for part in parts if part.mask is not None]
        return Answer(
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.nearest for part in parts]),
            np.concatenate(called) if called else None,
            np.concatenate(masks) if masks else None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What every method is given: private images, further images to learn from, unseen images to set thresholds on."""

    index: Photographs
    background: Photographs
    calibration: Photographs
    seed: int


class Search(Protocol):
    """A fitted method."""

    def query(self, pixels: Pixels, exclude: Exclude = None) -> Answer:
        """The best match of each image (n, size, size, 3) among the private ones, those of patient exclude[i] left out."""
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """`shipped` says in words what threshold the method comes with; empty where it comes with none.

    `learns`: it fits something to the private images, so that they score less among the others than unseen images do, and
    cannot stand in for calibration images.
    """

    title: str
    shipped: str
    fit: Callable[[Material], Search]
    learns: bool = False


def barred(exclude: Exclude, patients: NDArray[np.str_]) -> NDArray[np.bool_] | None:
    """Which private images (columns) may not be the answer to which query (rows)."""
    return None if exclude is None else exclude[:, None] == patients[None]


def in_blocks(pixels: Pixels, exclude: Exclude, answer: Callable[[Pixels, Exclude], Answer]) -> Answer:
    """`answer` applied to blocks of at most BLOCK queries."""
    starts = range(0, max(len(pixels), 1), BLOCK)
    return Answer.join(
        [answer(pixels[at : at + BLOCK], None if exclude is None else exclude[at : at + BLOCK]) for at in starts]
    )
