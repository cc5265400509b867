"""One path for every image that is examined: search, alignment of the best candidates, sharp evidence.

Calibration images, planted copies and candidates all take it, so that the calibration covers every choice made on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audits.memorisation.alignment import refine
from audits.memorisation.blur import gaussian_blur, sharpness
from audits.memorisation.geometry import reduce
from audits.memorisation.null import DEFAULT_NULLS, Null
from audits.memorisation.pictures import Pictures
from audits.memorisation.score import FIGURES, NOWHERE, REGIONS, copied_area, measure
from audits.memorisation.search import Named, Search, Starts
from audits.memorisation.store import PictureStore

__all__ = ["LANES", "NOTHING", "Matcher", "Matches"]

LANES: tuple[str, ...] = ("framed", "moved", *(f"part-{round(100 * share)}" for share in REGIONS))
"""Ways to match, each with a null of its own: in the frame of one of the eight dihedral views; moved (cropped, enlarged,
turned, shifted, as a negative); and in a part of the candidate, whatever the rest shows."""

_CHUNK = 64
_FRAMED_LEVELS = ((32, 3, 4), (64, 3, 4))
_MOVED_LEVELS = ((16, 8, 4), (32, 4, 2), (64, 3, 2))
_PART_LEVELS = ((32, 4, 4), (64, 4, 4))
"""Pyramids: side, Gauss-Newton steps, candidates kept."""

_STRUCTURE = 4.0
"""Pixels of the working size: coarser structure does not steer the alignment of parts."""

_OVERLAP = 0.4
"""Share of the candidate that a moved match must cover."""

_CERTAIN = 0.999
"""Correlations of the coarse descriptor beyond it count as this one."""

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

    def match(
        self,
        queries: Pictures | PictureStore,
        barred: NDArray[np.bool_] | None = None,
        timer: Callable[[str], None] = lambda phase: None,
        named: Sequence[Named] = (),
    ) -> list[Matches]:
        """The best match of n queries in each of the `LANES`. Images that experts `named` are aligned too.

        Works through fixed chunks, padded to full size, so that no result depends on how many images come at once.
        """
        parts: list[list[Matches]] = [[Matches.none(0)] for _ in LANES]
        for start in range(0, len(queries), _CHUNK):
            chunk = queries.take(slice(start, start + _CHUNK))
            n = len(chunk)
            bars = None
            if barred is not None:
                bars = np.zeros((_CHUNK, len(self.originals)), dtype=bool)
                bars[:n] = barred[start : start + n]
            seen = [part.take(slice(start, start + _CHUNK)).padded(_CHUNK) for part in named]
            for lane, found in zip(parts, self._match_chunk(chunk.padded(_CHUNK), bars, timer, seen), strict=True):
                lane.append(found.take(slice(n)))
        return [Matches.join(lane) for lane in parts]

    def copied(self, queries: Pictures | PictureStore, matches: Matches) -> NDArray[np.float64]:
        """The share of each cell of n queries that shows the private image they match, (n, 16, 16); 0 without a match."""
        parts = [np.zeros((0, 16, 16))]
        for start in range(0, len(queries), _CHUNK):
            chunk = queries.take(slice(start, start + _CHUNK))
            rows = slice(start, start + len(chunk))
            inverted = torch.from_numpy(matches.inverted[rows])
            image = torch.from_numpy(matches.image[rows])
            shown = copied_area(
                Pictures(_negated(chunk.grey, inverted), chunk.colour).padded(_CHUNK),
                self.originals.take(image.clamp_min(0)).padded(_CHUNK),
                functional.pad(torch.from_numpy(matches.maps[rows]).to(torch.float32), (0,) * 5 + (_CHUNK - len(chunk),)),
            )[: len(chunk)]
            parts.append(_float64(torch.where((image >= 0)[:, None, None], shown, torch.zeros_like(shown))))
        return np.concatenate(parts)

    def _match_chunk(
        self,
        queries: Pictures,
        barred: NDArray[np.bool_] | None,
        timer: Callable[[str], None],
        named: Sequence[Named],
    ) -> list[Matches]:
        framed, moved, parts = self.search.starts(queries.grey, self.candidates, barred, timer, named)
        sharp = sharpness(queries)
        known = _Known.of(self.originals, framed, moved, parts)
        whole = self._best(_follow(queries, known, framed, _FRAMED_LEVELS, held=True), 0, sharp)
        coarse = self._best(_follow(queries, known, moved, _MOVED_LEVELS), 1, sharp)
        pointed = _follow(queries, known, parts, _PART_LEVELS, regions=True)
        second = self._best(pointed, 1, sharp)
        either = Matches.choose([coarse, second], (second.score > coarse.score).astype(np.int64))
        timer("align")
        return [whole, either, *(self._best(pointed, lane, sharp) for lane in range(2, len(LANES)))]

    def _best(self, aligned: _Aligned, lane: int, sharp: NDArray[np.float64]) -> Matches:
        """Of each query, whose sharpness is given, the start that scores best in a lane."""
        starts = aligned.starts
        n, count = starts.image.shape
        figures = _float64(aligned.figures[max(lane - 1, 0)])
        valid = starts.image >= 0
        if LANES[lane] == "moved":
            # Two searches lead here, whose likenesses do not compare. What overlaps little is a part, and held as one.
            figures[:, -1] = 0.0
            valid = valid & (aligned.overlap >= _OVERLAP)
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


@dataclass(frozen=True, slots=True, eq=False)
class _Aligned:
    """What was aligned, with its evidence: figures of the whole overlap, then of each region."""

    starts: Starts
    figures: list[Tensor]
    overlap: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """The private pictures that the starts of a chunk name, each once."""

    rows: Tensor
    pictures: Pictures

    @staticmethod
    def of(originals: PictureStore, *starts: Starts) -> _Known:
        rows = torch.from_numpy(np.unique(torch.cat([part.image.clamp_min(0).flatten() for part in starts]).numpy()))
        return _Known(rows, originals.take(rows))

    def take(self, image: Tensor) -> Pictures:
        """Those of rows (n, k), one after the other; some picture where there is none."""
        return self.pictures.take(self._places(image))

    def grey(self, image: Tensor) -> Tensor:
        """The same, without colour."""
        return self.pictures.grey[self._places(image)]

    def _places(self, image: Tensor) -> Tensor:
        return torch.searchsorted(self.rows, image.clamp_min(0).flatten())


def _follow(
    queries: Pictures,
    known: _Known,
    starts: Starts,
    levels: tuple[tuple[int, int, int], ...],
    *,
    held: bool = False,
    regions: bool = False,
) -> _Aligned:
    """Aligns the starts of n queries, narrows them down, and measures what is left."""
    n = len(queries)
    for level, steps, kept in levels:
        count = starts.image.shape[1]
        side = min(level, queries.side)
        template = _negated(reduce(queries.grey, side).repeat_interleave(count, 0), starts.inverted)
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
            None if starts.weight is None else reduce(starts.weight.flatten(0, 1), side),
        )
        ranked = torch.where(starts.image >= 0, found.reshape(n, count), torch.full((n, count), -2.0))
        best = ranked.topk(min(kept, count), 1).indices
        starts = starts.moved(refined.reshape(n, count, 2, 3)).take(best)
    count = starts.image.shape[1]
    flat = starts.maps.flatten(0, 1)
    repeated = queries.take(torch.arange(n).repeat_interleave(count))
    evidence = measure(
        Pictures(_negated(repeated.grey, starts.inverted), _negated(repeated.colour, starts.inverted)),
        known.take(starts.image),
        flat,
        regions=regions,
    )
    likeness = torch.atanh(starts.likeness.clamp(-_CERTAIN, _CERTAIN)).flatten()[:, None]
    return _Aligned(
        starts,
        figures=[torch.cat([part, likeness], 1) for part in (evidence.whole, *evidence.regions.unbind(1))],
        overlap=evidence.overlap.reshape(n, count),
    )


def _negated(images: Tensor, inverted: Tensor) -> Tensor:
    chosen = inverted.flatten()[:, None, None, None]
    return torch.where(chosen, 1 - images, images) if bool(chosen.any()) else images


def _detail(images: Tensor, ratio: float) -> Tensor:
    return images - gaussian_blur(images, _STRUCTURE * ratio) + 0.5


def _float64(values: Tensor) -> NDArray[np.float64]:
    return values.numpy().astype(np.float64)
