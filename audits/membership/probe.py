"""What a membership probe is: something that gives each image a score, higher for what looks more like a member.

A new probe is a module of its own with a class that satisfies `Probe`; `judge` in `verdict.py` makes figures of its scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits.membership.features import appearance
from synguard.data.images import ImageSet
from synguard.protocols import Images

__all__ = ["Access", "Arm", "Probe", "Roles", "Schema", "Scores", "sample_patients"]

Floats = NDArray[np.float64]
Access = Literal["white box", "black box"]


class Roles(Protocol):
    """The holdout's three roles: sets of images that share no patient."""

    @property
    def calibration(self) -> ImageSet:
        """For standardising scores."""
        ...

    @property
    def evaluation(self) -> ImageSet:
        """The non-members of every verdict."""
        ...

    @property
    def reference(self) -> ImageSet:
        """The background that black-box probes measure against."""
        ...


class Schema(Protocol):
    """As much of a condition schema as the probes need."""

    def parse(self, metadata: pd.DataFrame, where: str) -> pd.DataFrame:
        """Typed conditions, one row an image."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """Images to be scored, with the conditions they have, if the model takes any, and their appearance (n, d)."""

    images: ImageSet
    conditions: pd.DataFrame | None
    looks: Floats

    @classmethod
    def of(cls, images: ImageSet, schema: Schema | None = None) -> Arm:
        """Typed conditions by `schema`; an InputError names what does not fit."""
        return cls(
            images, None if schema is None else schema.parse(images.metadata, images.name), appearance(images.pixels)[0]
        )

    @property
    def pixels(self) -> Images:
        """The images' pixels (n, s, s, 3)."""
        return self.images.pixels

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One score an image (n,), and the parts it was made of, kept as evidence and never judged."""

    score: Floats
    parts: Mapping[str, Floats] = field(default_factory=dict)


class Probe(Protocol):
    """A membership probe, fitted to whatever it needs beforehand; the score of an image depends on that image alone."""

    @property
    def name(self) -> str:
        """Short name, unique within an audit."""
        ...

    @property
    def access(self) -> Access:
        """What an attacker needs: the model's weights, or the released images."""
        ...

    @property
    def method(self) -> str:
        """One sentence: the score, fixed before any verdict image was seen."""
        ...

    def scores(self, arm: Arm) -> Scores:
        """Score every image of the arm."""
        ...


def sample_patients(images: ImageSet, limit: int, seed: int) -> NDArray[np.int64]:
    """Rows of whole patients drawn at random while they hold at most `limit` images, in row order; at least one patient."""
    names, codes = np.unique(images.patients, return_inverse=True)
    if len(images) <= limit:
        return np.arange(len(images))
    order = np.random.default_rng([seed, 0x3E3B]).permutation(len(names))
    taken = np.cumsum(np.bincount(codes)[order]) <= limit
    taken[0] = True
    return np.flatnonzero(np.isin(codes, order[taken]))
