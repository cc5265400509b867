"""Boxes around what is marked in private images (a lesion): a search of their own for what is pasted out of them.

A box of a tenth of the area holds some four of the keypoints that stand for a whole image, and their windows reach
beyond it. So keypoints are taken closer together and with smaller windows, in private images inside the boxes alone. The
other searches do not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audits.memorisation.folder import StoredIndex
from audits.memorisation.keypoints import KeypointBank, KeypointDesign, KeypointEncoder, KeypointIndex, fit_keypoints
from audits.memorisation.rows import MakeRows, unnamed_rows
from audits.memorisation.search import Starts
from audits.memorisation.store import Joined, PictureStore
from audits.memorisation.vectors import VectorNote
from audits.memorisation.voting import vote
from synguard.data.images import ImageSet

__all__ = ["BOXES", "BoxSearch", "marked"]

_IN_BOXES = KeypointDesign(octaves=(1,), counts=(16,), radius=2, spacing=0.7)
"""Keypoints of a box. Twenty pixels of 64 across hold ten."""
_IN_CANDIDATES = KeypointDesign(octaves=(1,), counts=(128,), radius=2, spacing=0.7)
"""Keypoints of a candidate, which may show a box anywhere."""
_STARTS = 4
_KEPT = "boxes"
"""Stands before the names of stored arrays."""

BOXES = {"version": 1, "private": _IN_BOXES.identity, "candidate": _IN_CANDIDATES.identity}
"""Identity of the search in boxes; belongs to that of an index only where there are boxes."""


def marked(images: ImageSet) -> NDArray[np.float32] | None:
    """The boxes (n, 4) of a set, NaN for none; None where no image has one."""
    return None if images.boxes is None or np.isnan(images.boxes).all() else images.boxes


@dataclass(frozen=True, slots=True, eq=False)
class BoxSearch:
    """The boxes (n, 4) of the private images, NaN for none, and the keypoints in them."""

    boxes: Tensor
    encoder: KeypointEncoder
    keypoints: KeypointIndex

    @staticmethod
    def build(
        boxes: NDArray[np.float32], originals: PictureStore, known: Joined, seed: int, make: MakeRows = unnamed_rows
    ) -> BoxSearch:
        """Of private images, of which a chunk is in memory at a time; the encoder is fitted on a sample of `known`."""
        encoder = fit_keypoints(known, seed, _IN_CANDIDATES)
        inner = KeypointEncoder(encoder.projection, _IN_BOXES)
        places = torch.from_numpy(boxes)
        total = first = 0
        for chunk in originals.chunks():
            total += inner.count(chunk.grey, places[first : first + len(chunk)])
            first += len(chunk)
        bank = KeypointBank.build(inner, originals, total, make, f"{_KEPT}-keypoints", places)
        return BoxSearch(places, encoder, KeypointIndex(bank))

    def starts(self, images: Tensor, barred: NDArray[np.bool_] | None) -> Starts:
        """Where to start for images (n, 1, s, s)."""
        points = self.encoder.keypoints(images, mirrored=True)
        found = self.keypoints.search(points, barred)
        guesses = vote(points, self.keypoints.bank, *found, count=_STARTS, side=images.shape[-1], barred=barred)
        return Starts(guesses.image, guesses.maps, guesses.maps, guesses.support / 10, guesses.inverted)

    def describe(self) -> str:
        """What is searched, in a sentence for the report."""
        count = int((~torch.isnan(self.boxes[:, 0])).sum())
        return f"Boxes of {count:,} private images: {self.keypoints.vectors.describe()}."

    def arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """All there is to keep beside what `build` wrote, by name; `restore` takes both back."""
        yield f"{_KEPT}-projection", self.encoder.projection
        yield from ((f"{_KEPT}-{name}", array) for name, array in self.keypoints.bank.arrays().items())
        if (lists := self.keypoints.vectors.lists) is not None:
            yield f"{_KEPT}-lists", lists

    @property
    def note(self) -> dict[str, Any]:
        """How it searches, for the record."""
        return asdict(self.keypoints.vectors.note)

    @staticmethod
    def restore(boxes: NDArray[np.float32], stored: StoredIndex, note: Mapping[str, Any]) -> BoxSearch:
        """The search whose arrays and `note` were stored. KeyError or TypeError where something is missing."""
        small = (stored.array(f"{_KEPT}-{name}") for name in ("image", "place", "angle", "scale", "sign"))
        lists = stored.array(f"{_KEPT}-lists") if f"{_KEPT}-lists" in stored.arrays else None
        bank = KeypointBank(stored.arrays[f"{_KEPT}-keypoints"], *small)
        encoder = KeypointEncoder(stored.array(f"{_KEPT}-projection"), _IN_CANDIDATES)
        return BoxSearch(torch.from_numpy(boxes), encoder, KeypointIndex(bank, lists, VectorNote(**note)))
