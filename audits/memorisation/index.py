"""The embedding index: which private images are nearest to a query. Exact; approximate where that loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audits.memorisation.engines import make_engine
from audits.memorisation.lists import Lists, build_lists
from audits.memorisation.rows import Rows, as_rows

__all__ = ["APPROXIMATE_FROM", "EmbeddingIndex", "SearchNote"]

APPROXIMATE_FROM = {"cpu": 1_000_000, "gpu": 200_000_000}
"""Stored vectors from which an approximate search is tried."""

_RECALL = 0.99
_PROBES = (8, 16, 32, 64, 128, 256)
_MARGIN = 8
"""Images beyond those asked for that are scored again, so that rounding in the first look decides nothing."""
_LISTED = 64
"""Images that the approximate search hands on to be scored again, at least."""
_DEPTH = 64
_DEPTH_BARRED = 512
"""Vectors that the lists are asked for, for each query view."""
_AT_ONCE = 1024
"""Queries of one search of the lists."""

Sample = Callable[[], tuple[NDArray[np.float32], NDArray[np.int64]]]
"""Makes copies of known images: queries (m, views, dimension) and the image that each of them shows."""

Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class SearchNote:
    """How a bank is searched, for the record. `probes` 0 is the exact search.

    Of `sample` copies of known images, `right` had their image among what approximate search found and `right_exact` among
    what the exact one did; 0 of 0 where the bank is too small for an approximate one to be tried.
    """

    images: int
    windows: int
    dimension: int
    lists: int = 0
    probes: int = 0
    sample: int = 0
    right: int = 0
    right_exact: int = 0

    @property
    def recall(self) -> float:
        """Share of what exact search finds that approximate search finds too."""
        return 1.0 if self.right_exact == 0 else min(self.right / self.right_exact, 1.0)

    def describe(self) -> str:
        """One sentence for the report."""
        bank = f"{self.images * self.windows:,} vectors ({self.images:,} images x {self.windows} windows)"
        tried = f"{self.right} of the {self.right_exact} copies that exact search found of {self.sample}"
        if self.probes:
            return (
                f"approximate search of {bank} in {self.probes} of {self.lists:,} lists, with exact re-ranking; "
                f"it found {tried}"
            )
        refused = f"; approximate search was refused, since it found only {tried}" if self.sample else ""
        return f"exact search of {bank}{refused}"


class EmbeddingIndex:
    """Search over a bank of descriptors (images, windows, dimension), in memory or on disk, float32 or float16.

    The likeness of a query and an image is the largest inner product over the query's views and the image's windows.
    Exact unless `lists` are given, with the note that `choose` made of them; ValueError where it tells of another bank.
    """

    def __init__(
        self,
        bank: NDArray[np.float32] | NDArray[np.float16] | Rows,
        *,
        lists: NDArray[np.uint8] | None = None,
        note: SearchNote | None = None,
        device: str = "auto",
    ) -> None:
        rows = as_rows(bank)
        self.images, self.windows, self.dimension = rows.shape
        self.note = note or SearchNote(self.images, self.windows, self.dimension)
        self._engine = make_engine(rows, device)
        self._lists = None if lists is None else Lists.load(lists, rows)
        told = (self.note.images, self.note.windows, self.note.dimension, self.note.probes > 0)
        if told != (*rows.shape, lists is not None):
            raise ValueError(f"found a note of another bank or another search ({self.note}), expected one of {rows.shape}")

    @staticmethod
    def choose(
        bank: NDArray[np.float32] | NDArray[np.float16] | Rows,
        sample: Sample,
        count: int,
        *,
        seed: int = 0,
        above: int | None = None,
        device: str = "auto",
    ) -> EmbeddingIndex:
        """Exact for a bank of up to `above` vectors (default: APPROXIMATE_FROM). Beyond, approximate with twice as many
        probes as find 99 % of the sample's images that exact search finds among `count`; exact where no number does.
        """
        exact = EmbeddingIndex(bank, device=device)
        vectors = exact.images * exact.windows
        if vectors <= (APPROXIMATE_FROM[exact.device] if above is None else above):
            return exact
        queries, right = sample()
        lists = build_lists(as_rows(bank), _lists_for(vectors), seed)
        note = replace(exact.note, lists=lists.lists, sample=len(right), right_exact=exact._hits(queries, right, count))

        def tried(probes: int) -> EmbeddingIndex:
            quick = copy(exact)
            quick._lists, quick.note = lists, replace(note, probes=probes)
            quick.note = replace(quick.note, right=quick._hits(queries, right, count))
            return quick

        for probes in _PROBES:
            quick = tried(probes)
            if note.right_exact and quick.note.recall >= _RECALL:
                return max(tried(2 * probes), quick, key=lambda index: index.note.recall)
        exact.note = replace(quick.note, probes=0)
        return exact

    @property
    def device(self) -> str:
        """Where it searches: "cpu" or "gpu"."""
        return self._engine.device

    @property
    def lists(self) -> NDArray[np.uint8] | None:
        """What an approximate index has to keep beside the bank; None for an exact one."""
        return None if self._lists is None else self._lists.stored

    def describe(self) -> str:
        """How it searches, in one sentence."""
        return f"{self.note.describe()}, on the {self.device.upper()}"

    def candidates(self, queries: NDArray[np.float32], count: int, barred: NDArray[np.bool_] | None = None) -> Found:
        """The `count` nearest different images of each query: image, query view, bank window and likeness, each (n, count).

        `barred[i, j]` keeps image j out of the answer for query i. Image -1 where there are fewer than `count`. Images of
        the same likeness come in the order of the bank.
        """
        if self._lists is None:
            _, listed = self._engine.nearest(queries, min(count + _MARGIN, self.images), barred)
        else:
            listed = self._listed(self._lists, queries, max(_LISTED, 2 * count), barred)
        listed = np.sort(listed, axis=1)
        if listed.shape[1] < count:
            listed = np.pad(listed, ((0, 0), (0, count - listed.shape[1])), constant_values=-1)
        likeness, view, window = self._engine.score(queries, listed)
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :count]
        listed, view, window = (np.take_along_axis(part, order, 1) for part in (listed, view, window))
        return listed, view, window, np.take_along_axis(likeness, order, 1)

    def compare(self, queries: NDArray[np.float32], images: NDArray[np.int64]) -> Found:
        """Best view, window and likeness of given images (n, m), as `candidates` has them; of image -1 they mean nothing."""
        likeness, view, window = self._engine.score(queries, images)
        return images, view, window, likeness

    def _hits(self, queries: NDArray[np.float32], right: NDArray[np.int64], count: int) -> int:
        """For how many queries the right image is among the candidates."""
        return int((self.candidates(queries, count)[0] == right[:, None]).any(1).sum())

    def _listed(
        self, lists: Lists, queries: NDArray[np.float32], count: int, barred: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """The `count` images that look nearest by the lists, in no order; -1 where fewer."""
        n, _, dimension = queries.shape
        # An image that is barred fills many places with its own windows.
        depth = _DEPTH if barred is None else _DEPTH_BARRED
        parts = []
        for start in range(0, n, _AT_ONCE):
            some = queries[start : start + _AT_ONCE]
            likeness, vectors = lists.search(some.reshape(-1, dimension), depth, self.note.probes)
            likeness, image = likeness.reshape(len(some), -1), vectors.reshape(len(some), -1) // self.windows
            if barred is not None:
                image = np.where(barred[np.arange(start, start + len(some))[:, None], image], -1, image)
            parts.append(_different(likeness, image, count))
        return np.concatenate(parts) if parts else np.empty((0, count), np.int64)


def _different(likeness: NDArray[np.float32], image: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The `count` different images with the largest likeness of each row (n, m); -1 where fewer."""
    by_likeness = np.argsort(-likeness, axis=1, kind="stable")
    ranked = np.take_along_axis(image, by_likeness, 1)
    by_image = np.argsort(ranked, axis=1, kind="stable")
    grouped = np.take_along_axis(ranked, by_image, 1)
    first = np.ones(grouped.shape, dtype=bool)
    first[:, 1:] = grouped[:, 1:] != grouped[:, :-1]
    rank = np.where(first & (grouped >= 0), by_image, image.shape[1])
    order = np.argsort(rank, axis=1, kind="stable")[:, :count]
    return np.where(np.take_along_axis(rank, order, 1) < image.shape[1], np.take_along_axis(grouped, order, 1), -1)


def _lists_for(vectors: int) -> int:
    """A power of two near four times the root of how many vectors there are."""
    return int(2 ** round(np.log2(4 * np.sqrt(vectors))))
