"""The memorisation stage: what `preparation` made of a private set and a holdout examines candidates, batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits.memorisation.boxes import marked
from audits.memorisation.exact import ExactLookup
from audits.memorisation.geometry import describe_transform
from audits.memorisation.lanes import ExpertLane
from audits.memorisation.margins import without_margins
from audits.memorisation.matching import NAMES, Matcher
from audits.memorisation.pictures import Pictures, working_pictures
from audits.memorisation.planted import LESION, RECOGNISABLE, TRANSFORMS, plant, plant_lesions
from audits.memorisation.proximity import Proximity
from audits.memorisation.search import Named
from audits.memorisation.store import PictureStore
from audits.memorisation.threads import Timer
from audits.memorisation.verdict import Calibration, Found, strongest
from synguard.config import MemorisationConfig
from synguard.data.images import ImageSet
from synguard.errors import IntegrityError

__all__ = ["Examined", "NearCopy", "Planted", "PlantedCount", "PreparedMemorisation", "find", "look"]

_PLANTED_AGAIN = 5
"""Planted copies a transform that are looked for again in an index that was prepared earlier."""
_AT_ONCE = 1000
"""Images that are searched for margins at once."""
_ALIKE = 0.8
"""Share of them whose scores must be as recorded. Another processor may round one over an edge."""


@dataclass(frozen=True, slots=True)
class NearCopy:
    """A pair of one image of another set and one private image that show the same photograph."""

    file: str
    private: str
    score: float
    transform: str


@dataclass(frozen=True, slots=True)
class PlantedCount:
    """What the audit found of the copies that it planted under one transform."""

    transform: str
    n: int
    found: int
    scores: tuple[float, ...]


Planted = tuple[PlantedCount, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """The findings on n candidates, one entry a candidate. `nearest` is a row of the private set, -1 where nothing is near.

    `match` is one of `matching.NAMES`, or the name of an expert's lane; `copied` (n, 16, 16) is the share of each cell that
    shows the private image.
    `closer_to` is "private", "holdout" or "tie"; `cluster` numbers the nearest image of either subset.
    """

    flagged: NDArray[np.bool_]
    lane: NDArray[np.str_]
    score: NDArray[np.float64]
    p_value: NDArray[np.float64]
    nearest: NDArray[np.int64]
    transform: NDArray[np.str_]
    copied_area: NDArray[np.float64]
    correlation: NDArray[np.float64]
    near_copy: NDArray[np.bool_]
    match: NDArray[np.str_]
    inverted: NDArray[np.bool_]
    copied: NDArray[np.float64]
    closer_to: NDArray[np.str_]
    cluster: NDArray[np.int64]
    maps: NDArray[np.float64]
    seconds: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.flagged)

    def columns(self, private: ImageSet) -> pd.DataFrame:
        """The `memorisation.*` columns of `images.parquet`."""
        files = np.array([*private.files, ""], dtype=object)
        table = {
            "flagged": self.flagged,
            "lane": self.lane.astype(object),
            "score": self.score,
            "p_value": self.p_value,
            "nearest": files[self.nearest],
            "transform": self.transform.astype(object),
            "copied_area": self.copied_area,
            "near_copy": self.near_copy,
            "closer_to": self.closer_to.astype(object),
        }
        return pd.DataFrame({f"memorisation.{name}": column for name, column in table.items()})

    def take(self, rows: NDArray[np.int64]) -> Examined:
        """The findings on some of the candidates."""
        arrays: dict[str, Any] = {f.name: getattr(self, f.name)[rows] for f in fields(Examined) if f.name != "seconds"}
        return Examined(**arrays, seconds=self.seconds)

    @staticmethod
    def join(parts: Sequence[Examined]) -> Examined:
        """The findings of several batches, one after the other."""
        seconds: dict[str, float] = {}
        for part in parts:
            for phase, spent in part.seconds.items():
                seconds[phase] = seconds.get(phase, 0.0) + spent
        arrays = [f.name for f in fields(Examined) if f.name != "seconds"]
        joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
        return Examined(**joined, seconds=seconds)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedMemorisation:
    """An indexed private set with its calibration and its planted copies."""

    private: ImageSet
    matcher: Matcher
    exact: ExactLookup
    calibration: Calibration
    proximity: Proximity | None
    calibration_copies: tuple[NearCopy, ...]
    hosts: NDArray[np.uint8]
    config: MemorisationConfig
    seed: int
    seconds: Mapping[str, float]
    planted_counts: Planted = ()
    experts: tuple[ExpertLane, ...] = ()

    def describe_search(self) -> str:
        """How it searches, in sentences for the report."""
        own = self.matcher.search.describe()
        if self.matcher.boxes is not None:
            own += f" {self.matcher.boxes.describe()}"
        if not self.experts:
            return own
        return f"{own} Encoders brought along: {', '.join(lane.expert.describe() for lane in self.experts)}."

    def examine(
        self, pixels: NDArray[np.uint8], sha256: Sequence[str], sources: NDArray[np.int64] | None = None
    ) -> Examined:
        """Findings on pixels (n, size, size, 3) and the digests of their files.

        `sources` (n,) are rows of the private images that candidates were made from, -1 for none: each is aligned with its
        candidate, whatever the search finds.
        """
        if pixels.shape[1:] != self.private.pixels.shape[1:]:
            raise ValueError(f"pixels: found shape {pixels.shape[1:]}, expected {self.private.pixels.shape[1:]}")
        timer = Timer()
        queries = working_pictures(pixels)
        exact = self.exact.find(sha256, pixels)
        timer("exact")
        found = find(self.matcher, queries, pixels, None, look(self.experts, pixels), self.experts, timer, sources)
        near, verified = self.calibration.decide(found)
        p_values = self.calibration.p_values(found.score, found.image)
        found = found.told(near)
        matches = found.matches
        is_exact = exact >= 0
        nearest = np.where(is_exact, exact, matches.image)
        closer, cluster = np.full(len(pixels), 0.5), np.full(len(pixels), -1, np.int64)
        if self.proximity is not None:
            closer, cluster = self.proximity.compare(queries.grey)
            timer("proximity")
        words = [
            describe_transform(m, inverted=bool(negative)) if row >= 0 else ""
            for m, negative, row in zip(matches.maps, matches.inverted, nearest, strict=True)
        ]
        return Examined(
            flagged=is_exact | verified,
            lane=np.where(is_exact, "exact", np.where(verified, "verified", "none")),
            score=matches.score,
            p_value=p_values,
            nearest=nearest,
            transform=np.array(words, dtype=np.str_).reshape(-1),
            copied_area=np.where(is_exact, 1.0, found.area),
            correlation=matches.correlation,
            near_copy=is_exact | near,
            match=np.array([*NAMES, *(lane.expert.name for lane in self.experts)])[found.lane].reshape(-1),
            inverted=matches.inverted,
            # In steps of 1/255, as rows of a batch keep it.
            copied=np.where(is_exact[:, None, None], 1.0, np.rint(found.copied * 255) / 255),
            closer_to=np.where(closer == 0.5, "tie", np.where(closer > 0.5, "private", "holdout")),
            cluster=cluster,
            maps=matches.maps,
            seconds=timer.seconds,
        )

    @property
    def transforms(self) -> tuple[str, ...]:
        """Under which copies are planted."""
        return (*TRANSFORMS, LESION) if self.matcher.boxes is not None else tuple(TRANSFORMS)

    def search(self, pixels: NDArray[np.uint8], barred: NDArray[np.bool_] | None = None) -> Found:
        """The strongest matches of pixels (n, size, size, 3), without those private images that are barred (n, private)."""
        named = look(self.experts, pixels, barred)
        return find(self.matcher, working_pictures(pixels), pixels, barred, named, self.experts)

    def near_copies(self, images: ImageSet) -> list[NearCopy]:
        """Images of another set that show a private image: to be taken out of a holdout, since a twin blinds the test."""
        found = self.examine(images.pixels, images.sha256)
        return [self._pair(images.files[i], found, i) for i in np.flatnonzero(found.flagged)]

    def planted(self, seed: int | None = None) -> Planted:
        """How many planted copies are found, per transform, by the same path; those of `prepare` where `seed` is its own."""
        if self.planted_counts and seed in (None, self.seed):
            return self.planted_counts
        return self.plant(self.seed if seed is None else seed)

    def check_sight(self, where: Path) -> None:
        """IntegrityError where planted copies are not found as recorded: thresholds that were moved blind the audit."""
        planted = {count.transform: count for count in self.plant(self.seed, most=_PLANTED_AGAIN)}
        for count in self.planted_counts:
            again = planted[count.transform]
            whole = len(count.scores) == count.n >= again.n
            alike = whole and np.isclose(again.scores, count.scores[: again.n], atol=0.05).mean() >= _ALIKE
            if not alike or count.found > sum(score > self.calibration.verified for score in count.scores):
                raise IntegrityError(
                    f"{where}: found an index that no longer sees its planted copies ({count.transform}) as it recorded, "
                    "expected one that nobody changed; build it anew"
                )

    def plant(self, seed: int, most: int | None = None) -> Planted:
        """Plants copies of private images, at `most` that many a transform, and counts those that are found.

        All are searched at once: the search fills its chunks.
        """
        names = self.transforms
        sources, copies = zip(*(self._copies(name, seed, most) for name in names), strict=True)
        found = self.search(np.concatenate(copies))
        _, verified = self.calibration.decide(found)
        rows, named = np.concatenate(sources), found.matches.image
        groups = np.array([group.hex() for group in self.exact.groups])
        right = verified & (named >= 0) & (groups[named] == groups[rows])
        scores = np.round(found.score, 4)
        cuts = np.cumsum([len(part) for part in sources])[:-1]
        return tuple(
            PlantedCount(name, len(hits), int(hits.sum()), tuple(values.tolist()))
            for name, hits, values in zip(names, np.split(right, cuts), np.split(scores, cuts), strict=True)
        )

    def known_copies(self, count: int, seed: int) -> tuple[NDArray[np.uint8], Examined]:
        """At most `count` planted copies that a person can recognise, with the findings on them, in random order.

        Pixels (n, size, size, 3). Only copies of which the audit names the right private image: the pair shows a copy then.
        """
        each = -(-count // len(RECOGNISABLE))
        sources, copies = zip(*(self._copies(name, seed, each) for name in RECOGNISABLE), strict=True)
        rows, pixels = np.concatenate(sources), np.concatenate(copies)
        found = self.examine(pixels, [""] * len(pixels))
        groups = np.array([group.hex() for group in self.exact.groups])
        right = np.flatnonzero((found.nearest >= 0) & (groups[found.nearest] == groups[rows]))
        chosen = np.random.default_rng([seed, 0x5EE]).permutation(right)[:count]
        return pixels[chosen], found.take(chosen)

    def _copies(self, name: str, seed: int, most: int | None) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Rows of the private images that are copied under a transform, and the copies."""
        rng = np.random.default_rng([seed, 0x91A, int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")])
        able = np.arange(len(self.private))
        boxes = marked(self.private)
        if name == LESION and boxes is not None:
            able = able[~np.isnan(boxes[:, 0])]
        rows = np.sort(rng.permutation(able)[: self.config.planted_per_transform])[:most]
        pixels = self.private.pixels[rows]
        if name == LESION and boxes is not None:
            return rows, plant_lesions(pixels, boxes[rows], rng, self.hosts if len(self.hosts) else pixels[::-1])
        return rows, plant(pixels, name, rng, self.hosts)

    def _pair(self, file: str, found: Examined, row: np.intp) -> NearCopy:
        private = self.private.files[found.nearest[row]]
        return NearCopy(file, private, float(found.score[row]), str(found.transform[row]))


def look(
    lanes: Sequence[ExpertLane], pixels: NDArray[np.uint8], barred: NDArray[np.bool_] | None = None
) -> tuple[Named, ...]:
    """What each expert names for the images."""
    return tuple(lane.look(pixels, barred) for lane in lanes)


def find(
    matcher: Matcher,
    queries: Pictures | PictureStore,
    pixels: NDArray[np.uint8],
    barred: NDArray[np.bool_] | None,
    named: Sequence[Named],
    experts: Sequence[ExpertLane],
    timer: Timer | None = None,
    sources: NDArray[np.int64] | None = None,
) -> Found:
    """The strongest match of each query, what of it was copied, and the strongest of what the experts `named`.

    The queries' `pixels` (n, size, size, 3) are searched for margins; what is inside those counts where it matches better.
    `sources` are further rows that the queries are aligned with, one each.
    """
    timer = timer or Timer()
    if experts:
        timer("experts")
    told = () if sources is None else (Named(sources, np.zeros_like(sources), np.zeros((len(sources), 2))),)
    whole = _find(matcher, queries, barred, timer, (*named, *told))
    parts = [
        _inside(matcher, pixels, whole, slice(start, start + _AT_ONCE), barred, timer)
        for start in range(0, len(pixels), _AT_ONCE)
    ]
    found = Found.join(parts) if parts else whole
    if not experts:
        return found
    theirs = [expert.matches(seen) for expert, seen in zip(experts, named, strict=True)]
    best, expert = strongest(theirs)
    return replace(found, named=best, expert=expert)


def _find(
    matcher: Matcher,
    queries: Pictures | PictureStore,
    barred: NDArray[np.bool_] | None,
    timer: Timer,
    named: Sequence[Named] = (),
) -> Found:
    matches, lane = strongest(matcher.match(queries, barred, timer, named))
    copied = matcher.copied(queries, matches, lane)
    timer("align")
    return Found(matches, lane, copied, np.ones(len(queries)))


def _inside(
    matcher: Matcher,
    pixels: NDArray[np.uint8],
    whole: Found,
    rows: slice,
    barred: NDArray[np.bool_] | None,
    timer: Timer,
) -> Found:
    """What was found of some queries, or of the pictures inside their margins where these match better."""
    inner = without_margins(pixels[rows])
    places = np.arange(len(pixels))[rows]
    if not len(inner):
        return whole.take(places)
    chosen = places[inner.rows]
    found = _find(matcher, working_pictures(inner.pixels), None if barred is None else barred[chosen], timer)
    return whole.take(places).better(inner.rows, found.seen_through(inner.maps))
