"""synguard's own detector, in the form in which the audit runs it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audits.memorisation.preparation import prepare
from audits.memorisation.stage import PreparedMemorisation
from synguard.config import MemorisationConfig
from synguard.data.images import ImageSet

from .data import Photographs
from .protocol import Answer, Exclude, Material, Pixels, barred

__all__ = ["OwnSearch", "fit_ours", "image_set"]

_COPIED = 0.5
"""Share of a cell from which it counts as copied."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnSearch:
    """The prepared stage, asked as the audit asks it."""

    prepared: PreparedMemorisation

    def query(self, pixels: Pixels, exclude: Exclude = None) -> Answer:
        """Score, private image, verdict and copied area of the stage, without the lookup of exact copies."""
        bars = None if exclude is None else barred(exclude, self.prepared.private.patients)
        found = self.prepared.search(pixels, bars)
        _, verified = self.prepared.calibration.decide(found)
        return Answer(found.matches.score, found.matches.image, called=verified, mask=found.copied > _COPIED)


def fit_ours(material: Material) -> OwnSearch:
    """The stage prepared for the index, its thresholds set on the calibration images."""
    # The copies that the audit plants in itself are counted by the benchmark instead.
    config = MemorisationConfig(planted_per_transform=1)
    private, unseen = image_set(material.index, "index"), image_set(material.calibration, "calibration")
    return OwnSearch(prepare(private, unseen, config=config, seed=material.seed, folder=None))


def image_set(photographs: Photographs, name: str) -> ImageSet:
    """Photographs as an image set with the diagnosis in the column `label`."""
    files = tuple(f"{name}/{row:05d}.png" for row in range(len(photographs)))
    return ImageSet(
        name=name,
        files=files,
        sha256=_digests(photographs.pixels),
        pixels=photographs.pixels,
        patients=photographs.patient,
        metadata=pd.DataFrame({"file_name": files, "label": photographs.label.astype(object)}),
        has_patient_ids=True,
    )


def _digests(pixels: Pixels) -> tuple[str, ...]:
    return tuple(hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest() for image in pixels)
