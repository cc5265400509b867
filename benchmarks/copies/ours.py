"""synguard's own detector, in the form in which the audit runs it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audits.memorisation.blur import sharpness
from audits.memorisation.pictures import working_pictures
from audits.memorisation.stage import PreparedMemorisation, prepare
from synguard.config import MemorisationConfig
from synguard.data.images import ImageSet

from .data import Photographs
from .protocol import Answer, Exclude, Material, Pixels, barred

__all__ = ["OwnSearch", "fit_ours", "image_set"]


@dataclass(frozen=True, slots=True, eq=False)
class OwnSearch:
    """The prepared stage, asked as the audit asks it."""

    prepared: PreparedMemorisation

    def query(self, pixels: Pixels, exclude: Exclude = None) -> Answer:
        """Score, private image and verdict of the stage; no mask, since it gives none yet."""
        if exclude is None:
            found = self.prepared.examine(pixels, _digests(pixels))
            return Answer(found.score, found.nearest, called=found.flagged)
        # The stage leaves no patients out: the same path, step by step, without the lookup of exact copies.
        pictures = working_pictures(pixels)
        framed, moved = self.prepared.matcher.match(pictures, barred(exclude, self.prepared.private.patients))
        matches, by_move = self.prepared.calibration.combine(framed, moved, sharpness(pictures))
        _, verified = self.prepared.calibration.decide(matches, by_move)
        return Answer(matches.score, matches.image, called=verified)


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
