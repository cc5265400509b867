"""One path for every image that is examined: search, alignment of the best candidates, sharp evidence.

Calibration images, planted copies and candidates all take it, so that the calibration covers every choice made on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audits.memorisation.blur import sharpness
from audits.memorisation.boxes import BoxSearch
from audits.memorisation.following import Aligned, Known, follow, negated
from audits.memorisation.geometry import inside
from audits.memorisation.null import DEFAULT_NULLS, Null
from audits.memorisation.pictures import Pictures
from audits.memorisation.score import FIGURES, NOWHERE, REGIONS, copied_area
from audits.memorisation.search import Named, Search
from audits.memorisation.store import PictureStore
from audits.memorisation.threads import Timer, in_threads

__all__ = ["BOX", "LANES", "NAMES", "NOTHING", "Matcher", "Matches"]

LANES: tuple[str, ...] = ("framed", "moved", *(f"part-{round(100 * share)}" for share in REGIONS))
"""Ways to match, each with a null of its own: in the frame of one of the eight dihedral views; moved (cropped, enlarged,
turned, shifted, as a negative); and in a part of the candidate, whatever the rest shows."""

BOX = "box"
"""One more way, where private images have boxes: what lies in the box, wherever the candidate shows it."""

NAMES: tuple[str, ...] = (*LANES, BOX)
"""All lanes that there may be, by number."""

_CHUNK = 64
_FRAMED_LEVELS = ((32, 3, 2), (64, 3, 2))
_MOVED_LEVELS = ((16, 8, 4), (32, 4, 2), (64, 3, 2))
_PART_LEVELS = ((32, 4, 4), (64, 4, 4))
"""Pyramids: side, Gauss-Newton steps, candidates kept."""
_BOX_LEVELS = ((32, 4, 4), (64, 4, 4))

_OVERLAP = {"moved": 0.4, BOX: 0.03}
"""Share of the candidate that a match must cover; of a box, that the box must."""

NOTHING = -10.0
"""Score of a query for which nothing was found."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The best match of each query in one lane, one entry a query.

    `image` is the private image's row (-1: none), `figures` (n, 5) the evidence and, last, the likeness of the search;
    `maps` (n, 2, 3) take the query's frame to the private image's; `inverted` where the query is its negative.
    """

    image: NDArray[np.int64]
    score: NDArray[np.float64]
    figures: NDArray[np.float64]
    maps: NDArray[np.float64]
    inverted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.image)

    @staticmethod
    def join(parts: list[Matches]) -> Matches:
        """Matches one after the other."""
        return Matches(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Matches)))

    def take(self, rows: NDArray[np.int64] | slice) -> Matches:
        """Those of some queries."""
        return Matches(*(getattr(self, f.name)[rows] for f in fields(Matches)))

    @staticmethod
    def choose(lanes: list[Matches], which: NDArray[np.int64]) -> Matches:
        """Of each query the match of lane `which[i]`."""
        row = np.arange(len(which))
        return Matches(*(np.stack([getattr(lane, f.name) for lane in lanes])[which, row] for f in fields(Matches)))

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Of the middle band, (n,)."""
        return np.tanh(self.figures[:, 1])

    @staticmethod
    def none(n: int) -> Matches:
        """Nothing found for n queries."""
        return Matches(
            np.full(n, -1, np.int64),
            np.full(n, NOTHING),
            np.full((n, FIGURES + 1), NOWHERE),
            np.tile(np.eye(2, 3), (n, 1, 1)),
            np.zeros(n, bool),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Matcher:
    """The private set, ready to be searched."""

    search: Search
    originals: PictureStore
    candidates: int
    nulls: tuple[Null, ...] = DEFAULT_NULLS
    boxes: BoxSearch | None = None

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that there are."""
        return LANES if self.boxes is None else NAMES

    def match(
        self,
        queries: Pictures | PictureStore,
        barred: NDArray[np.bool_] | None = None,
        timer: Timer | None = None,
        named: Sequence[Named] = (),
    ) -> list[Matches]:
        """The best match of n queries in each of the `lanes`. Images that experts `named` are aligned too.

        Works through fixed chunks, padded to full size, so that no result depends on how many images come at once.
        """

        def work(start: int) -> tuple[list[Matches], Timer]:
            spent = Timer()
            chunk = queries.take(slice(start, start + _CHUNK))
            n = len(chunk)
            bars = None
            if barred is not None:
                bars = np.zeros((_CHUNK, len(self.originals)), dtype=bool)
                bars[:n] = barred[start : start + n]
            seen = [part.take(slice(start, start + _CHUNK)).padded(_CHUNK) for part in named]
            found = self._match_chunk(chunk.padded(_CHUNK), bars, spent, seen)
            return [lane.take(slice(n)) for lane in found], spent

        done = in_threads(work, range(0, len(queries), _CHUNK))
        if timer is not None:
            timer.side_by_side(spent for _, spent in done)
        nothing = [Matches.none(0) for _ in self.lanes]
        return [Matches.join(list(lane)) for lane in zip(nothing, *(found for found, _ in done), strict=True)]

    def copied(
        self, queries: Pictures | PictureStore, matches: Matches, lane: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """The share of each cell of n queries that shows the private image they match, (n, 16, 16); 0 without a match.

        Of matches whose `lane` (n,) is that of boxes, the box alone.
        """

        def work(start: int) -> NDArray[np.float64]:
            chunk = queries.take(slice(start, start + _CHUNK))
            rows = slice(start, start + len(chunk))
            inverted = torch.from_numpy(matches.inverted[rows])
            image = torch.from_numpy(matches.image[rows])
            seen = Pictures(negated(chunk.grey, inverted), chunk.colour).padded(_CHUNK)
            originals = self.originals.take(image.clamp_min(0)).padded(_CHUNK)
            missing = _CHUNK - len(chunk)
            maps = functional.pad(torch.from_numpy(matches.maps[rows]).to(torch.float32), (0,) * 5 + (missing,))
            shown = copied_area(seen, originals, maps)[: len(chunk)]
            boxed = np.zeros(len(chunk), bool) if lane is None else lane[rows] == NAMES.index(BOX)
            if self.boxes is not None and boxed.any():
                places = functional.pad(self.boxes.boxes[image.clamp_min(0)], (0, 0, 0, missing))
                in_box = copied_area(seen, originals, maps, inside(places, seen.side, maps))[: len(chunk)]
                shown = torch.where(torch.from_numpy(boxed)[:, None, None], in_box, shown)
            return _float64(torch.where((image >= 0)[:, None, None], shown, torch.zeros_like(shown)))

        return np.concatenate([np.zeros((0, 16, 16)), *in_threads(work, range(0, len(queries), _CHUNK))])

    def _match_chunk(
        self,
        queries: Pictures,
        barred: NDArray[np.bool_] | None,
        timer: Timer,
        named: Sequence[Named],
    ) -> list[Matches]:
        framed, moved, parts = self.search.starts(queries.grey, self.candidates, barred, timer, named)
        sharp = sharpness(queries)
        known = Known.of(self.originals, framed, moved, parts)
        whole = self._best(follow(queries, known, framed, _FRAMED_LEVELS, held=True), 0, sharp)
        coarse = self._best(follow(queries, known, moved, _MOVED_LEVELS), 1, sharp)
        pointed = follow(queries, known, parts, _PART_LEVELS, regions=True)
        second = self._best(pointed, 1, sharp)
        either = Matches.choose([coarse, second], (second.score > coarse.score).astype(np.int64))
        found = [whole, either, *(self._best(pointed, lane, sharp) for lane in range(2, len(LANES)))]
        timer("align")
        if self.boxes is not None:
            starts = self.boxes.starts(queries.grey, barred)
            known = Known.of(self.originals, starts)
            boxed = follow(queries, known, starts, _BOX_LEVELS, boxes=self.boxes.boxes)
            found.append(self._best(boxed, NAMES.index(BOX), sharp))
            timer("boxes")
        return found

    def _best(self, aligned: Aligned, lane: int, sharp: NDArray[np.float64]) -> Matches:
        """Of each query, whose sharpness is given, the start that scores best in a lane."""
        starts = aligned.starts
        n, count = starts.image.shape
        name = NAMES[lane]
        figures = _float64(aligned.figures[0 if name == BOX else max(lane - 1, 0)])
        if name == "moved":
            # Two searches lead here, whose likenesses do not compare. What overlaps little is a part, and held as one.
            figures[:, -1] = 0.0
        valid = (starts.image >= 0) & (aligned.overlap >= _OVERLAP.get(name, 0.0))
        scored = torch.from_numpy(self.nulls[lane].score(figures, sharp.repeat(count))).reshape(n, count)
        nothing = torch.full((n, count), NOTHING, dtype=torch.float64)
        scores = torch.where(valid, scored.clamp_min(NOTHING), nothing)
        top = scores.argmax(1)
        row = torch.arange(n)
        return Matches(
            image=torch.where(valid[row, top], starts.image[row, top], -1).numpy(),
            score=_float64(scores[row, top]),
            figures=figures[(row * count + top).numpy()],
            maps=_float64(starts.maps[row, top]),
            inverted=starts.inverted[row, top].numpy(),
        )


def _float64(values: Tensor) -> NDArray[np.float64]:
    return values.numpy().astype(np.float64)
