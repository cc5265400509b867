"""What an index belongs to: the sets it was made from, by digest, the encoder, the configuration and the seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from audits.memorisation.boxes import BOXES, marked
from audits.memorisation.experts import Expert
from audits.memorisation.margins import MARGINS
from audits.memorisation.search import ENCODERS
from synguard.config import MemorisationConfig
from synguard.data.images import ImageSet

__all__ = ["holdout_identity", "index_identity", "private_identity"]


def index_identity(
    private: ImageSet,
    calibration: ImageSet,
    comparison: ImageSet,
    config: MemorisationConfig,
    seed: int,
    experts: Sequence[Expert] = (),
) -> dict[str, Any]:
    """All that must be the same for an index to be used again."""
    # Experts count by their content, not by where their files lie.
    configuration = config.model_dump(exclude={"batch_size", "index_key", "experts"})
    if experts:
        configuration["experts"] = [expert.identity for expert in experts]
    return {
        **private_identity(private),
        **holdout_identity(calibration, comparison),
        "configuration": configuration,
        "seed": seed,
    }


def private_identity(private: ImageSet) -> dict[str, Any]:
    """The part that the private set alone decides."""
    digest = _digest(private, with_boxes=True)
    return {"encoders": ENCODERS, "margins": MARGINS, "image size": private.size, "private set": digest}


def holdout_identity(calibration: ImageSet, comparison: ImageSet) -> dict[str, Any]:
    """The part that the holdout decides."""
    return {"calibration set": _digest(calibration), "comparison set": _digest(comparison)}


def _digest(images: ImageSet, *, with_boxes: bool = False) -> str:
    """Over names, files, patients and what was decoded of them; over boxes where there are any."""
    pixels = hashlib.sha256()
    # In order: the rows of the index are those of the set.
    for file, image in zip(images.files, images.pixels, strict=True):
        pixels.update(file.encode() + b"\0" + image.tobytes())
    if with_boxes and (boxes := marked(images)) is not None:
        # Only then, so that indexes of sets without boxes stay of use.
        pixels.update(json.dumps(BOXES, sort_keys=True).encode() + boxes.astype("<f4").tobytes())
    return hashlib.sha256(f"{images.digest} {pixels.hexdigest()}".encode()).hexdigest()
