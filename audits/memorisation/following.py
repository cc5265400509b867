"""From starts to evidence: each start is aligned on a pyramid, the best are kept, and what they show is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audits.memorisation.alignment import MIN_OVERLAP, refine
from audits.memorisation.blur import gaussian_blur
from audits.memorisation.geometry import inside, reduce
from audits.memorisation.pictures import Pictures
from audits.memorisation.score import measure
from audits.memorisation.search import Starts
from audits.memorisation.store import PictureStore

__all__ = ["Aligned", "Known", "follow", "negated"]

_STRUCTURE = 4.0
"""Pixels of the working size: coarser structure does not steer the alignment of parts."""

_CERTAIN = 0.999
"""Correlations of the coarse descriptor beyond it count as this one."""

_BORDER = 1.0
"""Pixels of the working size inside the border of a box that do not count: it seldom lies between two of them."""

_LEAST_IN_BOX = 0.01
"""Share of the candidate that a box must cover to be aligned at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """What was aligned, with its evidence: figures of the whole overlap, then of each region."""

    starts: Starts
    figures: list[Tensor]
    overlap: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The private pictures that the starts of a chunk name, each once."""

    rows: Tensor
    pictures: Pictures

    @staticmethod
    def of(originals: PictureStore, *starts: Starts) -> Known:
        """Those that any of the starts names."""
        rows = torch.from_numpy(np.unique(torch.cat([part.image.clamp_min(0).flatten() for part in starts]).numpy()))
        return Known(rows, originals.take(rows))

    def take(self, image: Tensor) -> Pictures:
        """Those of rows (n, k), one after the other; some picture where there is none."""
        return self.pictures.take(self._places(image))

    def grey(self, image: Tensor) -> Tensor:
        """The same, without colour."""
        return self.pictures.grey[self._places(image)]

    def _places(self, image: Tensor) -> Tensor:
        return torch.searchsorted(self.rows, image.clamp_min(0).flatten())


def follow(
    queries: Pictures,
    known: Known,
    starts: Starts,
    levels: tuple[tuple[int, int, int], ...],
    *,
    held: bool = False,
    regions: bool = False,
    boxes: Tensor | None = None,
) -> Aligned:
    """Aligns the starts of n queries, narrows them down, and measures what is left.

    With `boxes` of the private images (private, 4), only what lies in them steers and counts.
    """
    n = len(queries)
    for level, steps, kept in levels:
        count = starts.image.shape[1]
        side = min(level, queries.side)
        template = negated(reduce(queries.grey, side).repeat_interleave(count, 0), starts.inverted)
        original = reduce(known.grey(starts.image), side)
        if regions:
            # Where only a part was copied, what lies around it must not pull.
            template, original = (_detail(part, side / queries.side) for part in (template, original))
        refined, found = refine(
            template,
            original,
            starts.maps.flatten(0, 1),
            steps,
            starts.frames.flatten(0, 1) if held else None,
            _focus(starts, boxes, side, queries.side),
            MIN_OVERLAP if boxes is None else _LEAST_IN_BOX,
        )
        ranked = torch.where(starts.image >= 0, found.reshape(n, count), torch.full((n, count), -2.0))
        best = ranked.topk(min(kept, count), 1).indices
        starts = starts.moved(refined.reshape(n, count, 2, 3)).take(best)
    count = starts.image.shape[1]
    flat = starts.maps.flatten(0, 1)
    repeated = queries.take(torch.arange(n).repeat_interleave(count))
    within = None if boxes is None else inside(_inner(boxes, starts, _BORDER / queries.side), queries.side, flat)
    evidence = measure(
        Pictures(negated(repeated.grey, starts.inverted), negated(repeated.colour, starts.inverted)),
        known.take(starts.image),
        flat,
        regions=regions,
        within=within,
    )
    likeness = torch.atanh(starts.likeness.clamp(-_CERTAIN, _CERTAIN)).flatten()[:, None]
    return Aligned(
        starts,
        figures=[torch.cat([part, likeness], 1) for part in (evidence.whole, *evidence.regions.unbind(1))],
        overlap=evidence.overlap.reshape(n, count),
    )


def _focus(starts: Starts, boxes: Tensor | None, side: int, working: int) -> Tensor | None:
    """Where points of n x k candidates steer the alignment, (n k, 1, side, side); everywhere where None."""
    if boxes is not None:
        # One point further in, since the change from point to point at the border is that to what lies around it.
        return inside(_inner(boxes, starts, _BORDER / working + 1 / side), side, starts.maps.flatten(0, 1))
    return None if starts.weight is None else reduce(starts.weight.flatten(0, 1), side)


def _inner(boxes: Tensor, starts: Starts, border: float) -> Tensor:
    """The boxes (n k, 4) of the private images that n x k starts name, without a border of that share of an image's side."""
    margin = torch.tensor([1.0, 1.0, -1.0, -1.0]) * (2 * border)
    return boxes[starts.image.clamp_min(0).flatten()] + margin


def negated(images: Tensor, inverted: Tensor) -> Tensor:
    """Images (n, c, s, s), those that are `inverted` (n values) as negatives."""
    chosen = inverted.flatten()[:, None, None, None]
    return torch.where(chosen, 1 - images, images) if bool(chosen.any()) else images


def _detail(images: Tensor, ratio: float) -> Tensor:
    return images - gaussian_blur(images, _STRUCTURE * ratio) + 0.5
