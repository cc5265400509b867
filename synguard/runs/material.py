"""Reading and checking what the user gives: private set, holdout, conditions, overlap. Nothing is written here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits.epsilon import Drawn
from synguard.config import DataSource, RunConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.data.overlap import Duplicate, Overlap, duplicates, find_overlap
from synguard.data.readers import read_images
from synguard.data.squares import Squares
from synguard.errors import EvidenceError, InputError
from synguard.runs.progress import Progress

__all__ = [
    "NO_CANARIES",
    "Material",
    "check_different_folders",
    "labels_digest",
    "read_material",
    "read_synthetic",
    "without",
]


NO_CANARIES = "the training drew no canaries"


@dataclass(frozen=True, slots=True)
class Material:
    """The real images of a run. `holdout` is without what it shared with the private set by patient, bytes or pixels."""

    private: ImageSet
    holdout: ImageSet
    schema: ConditionSchema
    private_conditions: pd.DataFrame
    overlap: Overlap
    duplicates: tuple[Duplicate, ...]
    unseen: ImageSet
    """The holdout as it was given: real patients too, and none of them may be released."""
    drawn: Drawn | str = NO_CANARIES
    """The canaries of the training, or why there are none. Those left out are no part of `private`."""
    wider: ImageSet | None = None
    """What copies are looked for of, where it is more than `private`."""

    @property
    def searched(self) -> ImageSet:
        """What copies are looked for of: every private image, whoever of the patients the training left out, and behind them
        what their centred squares leave out (`data.squares`)."""
        return self.private if self.wider is None else self.wider

    @property
    def members(self) -> NDArray[np.int64]:
        """Rows of `searched` that the training learned from: those of `private`."""
        return np.flatnonzero(np.isin(self.searched.files, self.private.files))

    @property
    def labels_digest(self) -> str:
        """sha256 of the typed conditions of all real images, which the digests of the sets leave out."""
        return labels_digest(self.private_conditions, self.conditions_of(self.holdout))

    @property
    def searched_classes(self) -> NDArray[np.str_] | None:
        """The class of each image of `searched`, as "attribute=level", by the first attribute with levels; "" if missing."""
        if not self.schema.discrete:
            return None
        name = self.schema.discrete[0].name
        levels = self.schema.levels(name)
        codes = self.schema.codes(self.conditions_of(self.searched), name)
        return np.array(["" if np.isnan(code) else f"{name}={levels[int(code)]}" for code in codes], dtype=np.str_)

    def conditions_of(self, images: ImageSet) -> pd.DataFrame:
        """The typed conditions of real images."""
        return self.schema.parse(images.metadata, images.name)


def read_material(config: RunConfig, base: Path, progress: Progress) -> Material:
    """Read private set and holdout at the run's size, parse their conditions, and find what they share.

    No private image is ever skipped: its copies could not be searched for, and would pass unseen. Both sets name their
    patients or neither does, or a patient who is in both could not be told.
    """
    for one, other in (("private", config.holdout), ("holdout", config.private)):
        if other.patient is not None and getattr(config, one).patient is None:
            raise InputError.of(f"{one}.patient", "nothing", "a metadata column with the patient id, as the other set has")
    squares = Squares(config.image_size)
    private = _read(config, config.private, "private", base, progress, skip_unreadable=False, squares=squares)
    holdout = _read(config, config.holdout, "holdout", base, progress, skip_unreadable=config.skip_unreadable)
    schema = ConditionSchema(config.conditions)
    private_conditions = schema.parse(private.metadata, f"private ({config.private.path})")
    schema.parse(holdout.metadata, f"holdout ({config.holdout.path})")
    overlap = find_overlap(private, holdout)
    clean = without(holdout, overlap.files)
    if len(clean) == 0:
        raise EvidenceError(f"holdout: found no image that is not in the private set too: {overlap.describe()}")
    found = duplicates(private)
    wider = squares.beside(private) if squares else None
    return Material(private, clean, schema, private_conditions, overlap, found, holdout, wider=wider)


def read_synthetic(config: RunConfig, path: str, base: Path, progress: Progress) -> ImageSet:
    """Read the images that are to be released; each file has to be one picture that is examined whole."""
    source = DataSource(path=path)
    return _read(config, source, "synthetic", base, progress, skip_unreadable=config.skip_unreadable, released=True)


def labels_digest(*frames: pd.DataFrame) -> str:
    """sha256 of typed conditions, in the order of their rows."""
    return hashlib.sha256("\f".join(frame.to_csv(index=False) for frame in frames).encode()).hexdigest()


def check_different_folders(config: RunConfig, base: Path, synthetic: str | None) -> None:
    """InputError where two of private set, holdout and synthetic images are the same folder or file (and split)."""
    named = {"private": config.private.path, "holdout": config.holdout.path, "synthetic": synthetic}
    seen: dict[str, str] = {}
    for name, path in named.items():
        if path is None:
            continue
        head, _, split = path.partition("#")
        key = f"{(base / head).resolve()}#{split}"
        if key in seen:
            raise InputError.of(name, f"the same images as {seen[key]} ({path})", f"other images than {seen[key]}")
        seen[key] = name


def without(images: ImageSet, files: tuple[str, ...] | set[str]) -> ImageSet:
    """The set without the named files."""
    drop = set(files)
    if not drop:
        return images
    return images.take(np.array([row for row, file in enumerate(images.files) if file not in drop], dtype=np.int64))


def _read(
    config: RunConfig,
    source: DataSource,
    name: str,
    base: Path,
    progress: Progress,
    *,
    skip_unreadable: bool,
    released: bool = False,
    squares: Squares | None = None,
) -> ImageSet:
    progress(f"read {name} images", 0, 1)
    images = read_images(
        source,
        size=config.image_size,
        name=name,
        base=base,
        skip_unreadable=skip_unreadable,
        released=released,
        squares=squares,
    )
    progress(f"read {name} images", 1, 1)
    return images
