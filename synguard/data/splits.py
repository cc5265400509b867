"""Holdout roles: calibration sets thresholds, evaluation gives verdicts, reference is what both are compared with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synguard.data._identity import groups, pixel_digests
from synguard.data.images import ImageSet
from synguard.errors import EvidenceError

__all__ = ["ROLES", "HoldoutRoles", "split_holdout"]

ROLES = ("calibration", "evaluation", "reference")
_STREAM = 4101


@dataclass(frozen=True, slots=True)
class HoldoutRoles:
    """The holdout in three parts that share no patient and no picture, and the seed that made them."""

    calibration: ImageSet
    evaluation: ImageSet
    reference: ImageSet
    seed: int

    def roles_table(self) -> pd.DataFrame:
        """The record of the split: columns `file`, `patient`, `role`, sorted by file."""
        rows = [
            (file, str(patient), role)
            for role in ROLES
            for file, patient in zip(getattr(self, role).files, getattr(self, role).patients, strict=True)
        ]
        return pd.DataFrame(sorted(rows), columns=["file", "patient", "role"], dtype="string")

    @property
    def digest(self) -> str:
        """sha256 of the record."""
        return hashlib.sha256(self.roles_table().to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def split_holdout(images: ImageSet, seed: int) -> HoldoutRoles:
    """Thirds of the holdout by patient, as equal in images as patients allow.

    A patient, and patients who share a picture (the same file, or the same decoded pixels), stay together. Patients are
    shuffled, then given in order of size to the role that has fewest images, so sizes differ by at most one patient's. The
    split depends on names and contents, not on the order of rows, which each role keeps.

    Raises EvidenceError with fewer than three separable patients.
    """
    keys = [images.patients.tolist(), images.sha256, pixel_digests(images.pixels)]
    number = groups(keys, len(images))
    members: dict[int, list[int]] = {}
    for row, group in enumerate(number.tolist()):
        members.setdefault(group, []).append(row)
    if len(members) < len(ROLES):
        found = f"{len(members)} patients that share no picture"
        raise EvidenceError(f"{images.name}: found {found}, expected at least {len(ROLES)}, one for each holdout role")
    by_name = sorted(members.values(), key=lambda rows: min(images.files[row] for row in rows))
    order = np.random.default_rng([seed, _STREAM]).permutation(len(by_name))
    shuffled = sorted((by_name[i] for i in order), key=len, reverse=True)  # stable: the shuffle decides between equals
    roles: list[list[int]] = [[] for _ in ROLES]
    for rows in shuffled:
        min(roles, key=len).extend(rows)
    calibration, evaluation, reference = (
        images.take(sorted(rows), name=f"{images.name}:{role}") for role, rows in zip(ROLES, roles, strict=True)
    )
    return HoldoutRoles(calibration=calibration, evaluation=evaluation, reference=reference, seed=seed)
