"""One path for every image that is examined: coarse search, alignment of the best candidates, sharp score.

Calibration images, planted copies and candidates all take it, so that the calibration covers every choice made on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audits.memorisation.alignment import in_frame, refine
from audits.memorisation.descriptor import BANK, VIEWS, Encoder, pair_map
from audits.memorisation.geometry import DIHEDRAL, reduce
from audits.memorisation.index import EmbeddingIndex
from audits.memorisation.pictures import Pictures
from audits.memorisation.score import BANDS, measure

__all__ = ["DEFAULT_SCALE", "NOTHING", "Matcher", "Matches", "Scale"]

_CHUNK = 64
_FRAMED_LEVELS = ((32, 3, 3), (64, 3, 3))
_MOVED_LEVELS = ((16, 8, 4), (32, 4, 2), (64, 3, 2))
"""Pyramids: side, Gauss-Newton steps, candidates kept."""

_CERTAIN = 0.999
"""Correlations of the coarse descriptor beyond it count as this one."""

NOTHING = -10.0
"""Score of a query for which nothing was found."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What unrelated images of this kind score: centre and spread of each figure of the evidence, and of its two sums.

    The figures are those of `score.Evidence.figures` and, last, the likeness of the search. `detail` is the mean of the
    bands. `joint` weighs it equally with the likeness in colour, which a copy that was made brighter has lost, and with the
    likeness of the search, which sees through blur and compression. The score is the larger of the two.
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    detail: tuple[float, float] = (0.0, 0.85)
    joint: tuple[float, float] = (0.0, 0.7)

    def score(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """The score (n,) of figures (n, 5), in spreads of the better of the two sums."""
        detail, joint = self._sums(figures)
        return np.maximum((detail - self.detail[0]) / self.detail[1], (joint - self.joint[0]) / self.joint[1])

    def _sums(self, figures: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        standard = (figures - np.array(self.centre)) / np.array(self.spread)
        detail, colour, likeness = standard[:, : len(BANDS)].mean(1), standard[:, -2], standard[:, -1]
        return detail, (detail + colour + likeness) / 3

    @staticmethod
    def measure(figures: NDArray[np.float64]) -> Scale:
        """By median and median deviation over figures (n, 5) of unrelated images."""
        centre, spread = _robust(figures)
        single = Scale(tuple(centre.tolist()), tuple(spread.tolist()), (0.0, 1.0), (0.0, 1.0))
        (middle, width), (joint_middle, joint_width) = (_robust(part[:, None]) for part in single._sums(figures))
        return Scale(
            single.centre,
            single.spread,
            (float(middle[0]), float(width[0])),
            (float(joint_middle[0]), float(joint_width[0])),
        )


def _robust(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centre = np.median(values, axis=0)
    spread: NDArray[np.float64] = np.maximum(1.4826 * np.median(np.abs(values - centre), axis=0), 0.01)
    return centre, spread


DEFAULT_SCALE = Scale((0.03, 0.18, 0.55, 2.6, 0.8), (0.025, 0.085, 0.2, 0.4, 0.25))
"""Serves only to choose among candidates before the scale of the images at hand is known."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The best match of each query, one entry a query: the private image's row (-1: none), the evidence, the map."""

    image: NDArray[np.int64]
    score: NDArray[np.float64]
    figures: NDArray[np.float64]
    correlation: NDArray[np.float64]
    area: NDArray[np.float64]
    maps: NDArray[np.float64]
    likeness: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.image)

    @staticmethod
    def join(parts: list[Matches]) -> Matches:
        """Matches one after the other."""
        return Matches(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Matches)))

    def where(self, mask: NDArray[np.bool_], other: Matches) -> Matches:
        """These where `mask` holds, the other ones elsewhere."""
        chosen = []
        for field in fields(Matches):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            chosen.append(np.where(mask.reshape(-1, *[1] * (mine.ndim - 1)), mine, theirs))
        return Matches(*chosen)

    def with_score(self, score: NDArray[np.float64]) -> Matches:
        """The same matches under another score."""
        return replace(self, score=score)


@dataclass(frozen=True, slots=True, eq=False)
class Matcher:
    """The private set, ready to be searched."""

    encoder: Encoder
    index: EmbeddingIndex
    originals: Pictures
    candidates: int
    scale: Scale = DEFAULT_SCALE

    def match(
        self,
        queries: Pictures,
        barred: NDArray[np.bool_] | None = None,
        timer: Callable[[str], None] = lambda phase: None,
    ) -> tuple[Matches, Matches]:
        """Of n queries, the best match in the same frame, and the best one that was moved.

        The same frame: one of the eight dihedral views, within a hair. Moved: cropped, enlarged, turned or shifted.

        Works through fixed chunks, padded to full size, so that no result depends on how many images come at once.
        """
        framed, moved = [], []
        for start in range(0, len(queries), _CHUNK):
            chunk = queries.take(slice(start, start + _CHUNK))
            n = len(chunk)
            bars = None
            if barred is not None:
                bars = np.zeros((_CHUNK, len(self.originals)), dtype=bool)
                bars[:n] = barred[start : start + n]
            first, second = self._match_chunk(chunk.padded(_CHUNK), bars, timer)
            framed.append(_head(first, n))
            moved.append(_head(second, n))
        return (Matches.join(framed), Matches.join(moved)) if framed else (_empty(), _empty())

    def _match_chunk(
        self, queries: Pictures, barred: NDArray[np.bool_] | None, timer: Callable[[str], None]
    ) -> tuple[Matches, Matches]:
        embedded = self.encoder.queries(queries.grey)
        timer("embed")
        image, view, window, likeness = self.index.candidates(embedded, self.candidates, barred)
        timer("search")
        images, valid = torch.from_numpy(image.clip(0)), torch.from_numpy(image >= 0)
        near = torch.from_numpy(likeness)
        frames = torch.from_numpy(_FRAMES[view // len(VIEWS)]).to(torch.float32)
        framed = self._follow(queries, images, valid, frames, near, _FRAMED_LEVELS, held=True)
        starts = torch.from_numpy(_PAIR_MAPS[view, window]).to(torch.float32)
        moved = self._follow(queries, images, valid, starts, near, _MOVED_LEVELS, held=False)
        timer("align")
        return framed, moved

    def _follow(
        self,
        queries: Pictures,
        images: Tensor,
        valid: Tensor,
        maps: Tensor,
        near: Tensor,
        levels: tuple[tuple[int, int, int], ...],
        *,
        held: bool,
    ) -> Matches:
        """Aligns candidates (n, k) from `maps` (n, k, 2, 3), narrows them down, and scores what is left."""
        n = len(queries)
        row = torch.arange(n)[:, None]
        frames = maps
        for level, steps, kept in levels:
            side = min(level, queries.side)
            count = images.shape[1]
            template = reduce(queries.grey, side).repeat_interleave(count, 0)
            original = reduce(self.originals.grey[images.flatten()], side)
            frame = frames.reshape(-1, 2, 3) if held else None
            refined, found = refine(template, original, maps.reshape(-1, 2, 3), steps, frame)
            ranked = torch.where(valid, found.reshape(n, count), torch.full((n, count), -2.0))
            best = ranked.topk(min(kept, count), 1).indices
            maps, frames = refined.reshape(n, count, 2, 3)[row, best], frames[row, best]
            images, valid, near = images[row, best], valid[row, best], near[row, best]
        count = images.shape[1]
        flat = maps.reshape(-1, 2, 3)
        evidence = measure(
            queries.take(torch.arange(n).repeat_interleave(count)), self.originals.take(images.flatten()), flat
        )
        if not held:
            valid = valid & ~_any_frame(flat, queries.side).reshape(n, count)
        likeness = torch.atanh(near.clamp(-_CERTAIN, _CERTAIN)).flatten()
        figures = _float64(torch.cat([evidence.figures, likeness[:, None]], 1))
        scores = torch.where(
            valid,
            torch.from_numpy(self.scale.score(figures)).reshape(n, count),
            torch.full((n, count), NOTHING, dtype=torch.float64),
        )
        top = scores.argmax(1)
        pick = torch.arange(n) * count + top
        found_any = valid[torch.arange(n), top]
        return Matches(
            image=torch.where(found_any, images.flatten()[pick], -1).numpy(),
            score=_float64(scores[torch.arange(n), top]),
            figures=figures[pick.numpy()],
            correlation=_float64(evidence.correlation[pick]),
            area=_float64(evidence.area[pick]),
            maps=_float64(flat[pick]),
            likeness=_float64(near.flatten()[pick]),
        )


def _any_frame(maps: Tensor, side: int) -> Tensor:
    """Which maps (n, 2, 3) are within a hair of one of the eight dihedral views."""
    frames = torch.from_numpy(_FRAMES).to(maps.dtype)
    return torch.stack([in_frame(maps, frame.expand(len(maps), 2, 3), side) for frame in frames]).any(0)


def _float64(values: Tensor) -> NDArray[np.float64]:
    return values.numpy().astype(np.float64)


def _head(matches: Matches, n: int) -> Matches:
    return Matches(*(getattr(matches, f.name)[:n] for f in fields(Matches)))


def _empty() -> Matches:
    none = np.zeros(0)
    return Matches(np.zeros(0, np.int64), none, np.zeros((0, len(BANDS) + 2)), none, none, np.zeros((0, 2, 3)), none)


_PAIR_MAPS: NDArray[np.float64] = np.stack(
    [np.stack([pair_map(view, window) for window in range(len(BANK))]) for view in range(8 * len(VIEWS))]
)
_FRAMES: NDArray[np.float64] = np.concatenate([np.linalg.inv(DIHEDRAL), np.zeros((8, 2, 1))], axis=2)
