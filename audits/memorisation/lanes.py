"""Lanes of the experts: what an expert takes for the nearest private image, in units of what unseen images show.

An expert sees likeness, not copies: it has no alignment and no area, so its match is never called a copy. It does two
things. The image that it names is handed to the alignment, whose sharp score may then verify it; and its score joins the
p-values, so that what it finds alone comes on the review list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audits.memorisation.calibration import tail_line
from audits.memorisation.experts import Expert
from audits.memorisation.index import EmbeddingIndex
from audits.memorisation.matching import NOTHING, Matches
from audits.memorisation.rows import MakeRows, Rows, unnamed_rows
from audits.memorisation.score import FIGURES, NOWHERE
from audits.memorisation.search import FRAMES, Named

__all__ = ["ExpertLane", "ExpertNull", "measured_lanes"]

_BESIDE = 9
"""Next nearest images that a likeness is held against."""
_EMBEDDED = 4096
"""Private images that are embedded before the embeddings are written."""
_FEWEST = 20
_TAIL = (0.60, 0.92)
"""As in `null`: a few twins among the unseen images do not move it."""


@dataclass(frozen=True, slots=True)
class ExpertNull:
    """Centre and spread of the upper tail of both figures on unseen images."""

    centre: tuple[float, ...]
    spread: tuple[float, ...]

    @staticmethod
    def measure(figures: NDArray[np.float64]) -> ExpertNull | None:
        """From figures (n, 2) of unseen images; None where they are few."""
        if len(figures) < _FEWEST:
            return None
        lines = [tail_line(column, _TAIL) for column in figures.T]
        return ExpertNull(tuple(line[0] for line in lines), tuple(line[1] for line in lines))

    def score(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """The larger of both figures (n, 2) in units of the null: about standard normal in its upper tail."""
        standard = (figures - np.array(self.centre)) / np.array(self.spread)
        return np.asarray(standard.max(1), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class ExpertLane:
    """An expert, an index of its embeddings of the private images, and its null; without one it does not score."""

    expert: Expert
    index: EmbeddingIndex
    null: ExpertNull | None = None

    @staticmethod
    def build(expert: Expert, pixels: NDArray[np.uint8], make: MakeRows = unnamed_rows) -> ExpertLane:
        """Of private pixels (n, s, s, 3); `make` starts the array (n, 1, dimension) of embeddings that is written."""
        writer = make(expert.name, (len(pixels), 1, expert.dimension), np.float16)
        for start in range(0, len(pixels), _EMBEDDED):
            writer.append(expert.embed(pixels[start : start + _EMBEDDED])[:, None])
        return ExpertLane.of(expert, writer.finish())

    @staticmethod
    def of(expert: Expert, bank: Rows, null: ExpertNull | None = None) -> ExpertLane:
        """With embeddings that were made earlier."""
        return ExpertLane(expert, EmbeddingIndex(bank), null)

    def look(self, pixels: NDArray[np.uint8], barred: NDArray[np.bool_] | None = None) -> Named:
        """The private image that each of n images looks most like, in the best of eight views. Figures: likeness, and by how
        much it exceeds the mean of the next nine images: likeness to everything is no likeness (Jegou et al. 2011)."""
        queries = self.expert.embed_views(pixels)
        image, view, _, likeness = self.index.candidates(queries, 1 + _BESIDE, barred)
        nearest = likeness[:, 0].astype(np.float64)
        there = image[:, 1:] >= 0
        beside = np.where(there, likeness[:, 1:].astype(np.float64), 0.0).sum(1) / there.sum(1).clip(1)
        margin = np.where(there.any(1), nearest - beside, 0.0)
        return Named(image[:, 0], view[:, 0], np.stack([nearest, margin], 1))

    def matches(self, named: Named) -> Matches:
        """What was named, as matches of this lane."""
        n = len(named.image)
        nothing = Matches.none(n)
        if self.null is None:
            return nothing
        found = named.image >= 0
        scores = np.where(found, self.null.score(named.figures).clip(NOTHING), NOTHING)
        figures = np.full((n, FIGURES + 1), NOWHERE)
        figures[:, -1] = np.where(found, named.figures[:, 0], NOWHERE)
        return replace(nothing, image=named.image, score=scores, figures=figures, maps=FRAMES[named.view])


def measured_lanes(lanes: Sequence[ExpertLane], named: Sequence[Named]) -> tuple[ExpertLane, ...]:
    """The lanes with nulls from what each of them named for unseen images."""
    return tuple(
        replace(lane, null=ExpertNull.measure(seen.figures[seen.image >= 0]))
        for lane, seen in zip(lanes, named, strict=True)
    )
