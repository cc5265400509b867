"""The calibrated verdict on matches: one score, its p-value, and the lanes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audits.memorisation.calibration import class_p_values, classes_of_their_own, conformal_p_values, tail_threshold
from audits.memorisation.matching import BOX, NAMES, Matches

__all__ = ["ENOUGH", "Calibration", "ClassCount", "Found", "calibrate", "strongest"]

VERIFIED_RATE = 1e-8
"""Chance at which an unseen image would be called a verified copy, by the model of the tail.

Far below what any release needs, since the tail is heavier where photographs share a vignette or a ruler: of 2,496 unseen
lesions one reached 5.4, where copies begin at 8.
"""

NEAR_RATE = 1e-6
"""The same for near copies."""

_MARGIN = 0.3
_MIN_CORRELATION = 0.35
_MIN_AREA = {"framed": 0.5, "moved": 0.3, BOX: 0.03}
_MIN_AREA_PART = 0.06
ENOUGH = 20
"""Calibration images from which thresholds are drawn; with fewer, private images stand in."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The strongest match of each query over all lanes: the match, its lane, the area (n, 16, 16) that was copied.

    Verdicts come from these. `within` is the share of the query that was looked at: all of it, or what its margins leave.
    `named` is the strongest match over the lanes of the experts, of lane `expert`; without an alignment it is never a copy,
    however large its score, and it never hides a match that is one.
    """

    matches: Matches
    lane: NDArray[np.int64]
    copied: NDArray[np.float64]
    within: NDArray[np.float64]
    named: Matches | None = None
    expert: NDArray[np.int64] | None = None

    @property
    def score(self) -> NDArray[np.float64]:
        """The largest score over all lanes, those of the experts too (n,): p-values are drawn from it."""
        own = self.matches.score
        return own if self.named is None else np.maximum(own, self.named.score)

    @property
    def image(self) -> NDArray[np.int64]:
        """The private image that the largest score is of, -1 for none (n,)."""
        own = self.matches
        return own.image if self.named is None else np.where(own.score >= self.named.score, own.image, self.named.image)

    def told(self, near: NDArray[np.bool_]) -> Found:
        """What is told of each query: of those that are no near copies, an expert's match where its score is larger."""
        if self.named is None or self.expert is None:
            return self
        theirs = ~near & (self.named.score > self.matches.score)
        matches = Matches.choose([self.matches, self.named], theirs.astype(np.int64))
        copied = np.where(theirs[:, None, None], 0.0, self.copied)
        return Found(matches, np.where(theirs, len(NAMES) + self.expert, self.lane), copied, self.within)

    @property
    def area(self) -> NDArray[np.float64]:
        """Share of the candidate that shows the private image, (n,)."""
        return np.asarray(self.copied.mean((1, 2)), dtype=np.float64)

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Where a match is one: content agrees, and over enough of the candidate."""
        least = np.array([_MIN_AREA.get(lane, _MIN_AREA_PART) for lane in NAMES])
        own = self.lane < len(NAMES)  # Lanes beyond are those of experts, which never call a copy by themselves.
        enough = own & (self.area >= self.within * least[np.where(own, self.lane, 0)])
        return np.asarray(
            (self.matches.image >= 0) & (self.matches.correlation >= _MIN_CORRELATION) & enough, dtype=np.bool_
        )

    def take(self, rows: NDArray[np.int64]) -> Found:
        """Those of some queries."""
        named = None if self.named is None else self.named.take(rows)
        expert = None if self.expert is None else self.expert[rows]
        return Found(self.matches.take(rows), self.lane[rows], self.copied[rows], self.within[rows], named, expert)

    def seen_through(self, maps: NDArray[np.float64]) -> Found:
        """As found of whole images that the queries are a part of: `maps` (n, 2, 3) go from a query's frame to theirs."""
        back = np.linalg.inv(_square(maps))
        matches = replace(self.matches, maps=(_square(self.matches.maps) @ back)[:, :2])
        copied = np.stack([_laid(area, one) for area, one in zip(self.copied, back, strict=True)])
        return replace(self, matches=matches, copied=copied, within=self.within * np.abs(np.linalg.det(maps[:, :, :2])))

    def better(self, rows: NDArray[np.int64], others: Found) -> Found:
        """With others' matches of some rows where these score higher, or are sound where this one is not."""
        mine = self.take(rows)
        theirs = np.where(mine.sound == others.sound, others.matches.score > mine.matches.score, others.sound)
        taken = rows[theirs]
        order = np.arange(len(self.lane))
        order[taken] = len(order) + np.flatnonzero(theirs)
        return Found.join([self, others]).take(order)

    @staticmethod
    def join(parts: list[Found]) -> Found:
        """One after the other."""
        lane, copied, within = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("lane", "copied", "within")
        )
        named = [part.named for part in parts if part.named is not None]
        expert = [part.expert for part in parts if part.expert is not None]
        return Found(
            Matches.join([part.matches for part in parts]),
            lane,
            copied,
            within,
            Matches.join(named) if named else None,
            np.concatenate(expert) if expert else None,
        )


def _laid(area: NDArray[np.float64], back: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area (k, k) of a part of an image on the cells of the image; `back` (3, 3) takes its frame to the part's."""
    k = len(area)
    axis = (np.arange(k) + 0.5) * 2 / k - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    places = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    columns, rows = np.floor((back @ places)[:2] / 2 * k + k / 2).astype(int)
    inside = (columns >= 0) & (columns < k) & (rows >= 0) & (rows < k)
    return np.where(inside, area[rows.clip(0, k - 1), columns.clip(0, k - 1)], 0.0).reshape(k, k)


def _square(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Affine maps (n, 2, 3) as matrices (n, 3, 3)."""
    last = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (len(maps), 1, 3))
    return np.concatenate([maps, last], axis=1)


def strongest(lanes: list[Matches]) -> tuple[Matches, NDArray[np.int64]]:
    """Of each query the match with the largest score, and its lane."""
    lane = np.argmax(np.stack([found.score for found in lanes]), axis=0)
    return Matches.choose(lanes, lane), lane


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How many calibration images match a private image of a class, and whether that class has p-values of its own."""

    name: str
    images: int
    own: bool


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What unseen images score, and the thresholds drawn from it.

    `scores` are those of the calibration images, sorted; `natural` are the ones left out because they show a private image
    themselves. `held_on` says which images were used: "calibration", or "private" where these are too few. `images` are the
    private images that the scores are of matches with, -1 for none, and `classes` the class of each private image, if known.
    """

    scores: NDArray[np.float64]
    near: float
    verified: float
    natural: tuple[int, ...]
    held_on: str
    images: NDArray[np.int64]
    classes: NDArray[np.str_] | None = None

    def p_values(self, scores: NDArray[np.float64], images: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Conformal p-values (n,): valid for images drawn like the calibration images.

        Where classes are known and `images` are the private images matched, within the class of that private image, if it
        has enough calibration images.
        """
        if self.classes is None or images is None:
            return conformal_p_values(scores, self.scores)
        of_scores, of_calibration = (_matched(self.classes, rows) for rows in (images, self.images))
        return class_p_values(scores, of_scores, self.scores, of_calibration)

    def by_class(self) -> tuple[ClassCount, ...]:
        """Every class of the private set with its calibration images, sorted; none where no classes are known."""
        if self.classes is None:
            return ()
        matched = _matched(self.classes, self.images)
        own = classes_of_their_own(matched)
        names = sorted({*self.classes.tolist(), *matched.tolist()})
        return tuple(ClassCount(name, int((matched == name).sum()), name in own) for name in names)

    @property
    def smallest_p_value(self) -> float:
        """The smallest that any image can have."""
        counts = self.by_class()
        sizes = [count.images for count in counts if count.own]
        if not counts or not all(count.own for count in counts):
            sizes.append(len(self.scores))
        return 1 / (max(sizes) + 1)

    def decide(self, found: Found) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which matches are near copies, and which are verified ones."""
        score = found.matches.score
        return found.sound & (score > self.near), found.sound & (score > self.verified)


def _matched(classes: NDArray[np.str_], images: NDArray[np.int64]) -> NDArray[np.str_]:
    """The classes of private images by row; "" for -1."""
    return np.append(classes, "")[images]


def calibrate(unseen: Found, background: Found) -> Calibration:
    """Thresholds from calibration images; from private ones searched without themselves, where those are too few."""
    enough = len(unseen.lane) >= ENOUGH
    scores = unseen.matches.score
    source = scores if enough else background.matches.score
    near, verified = _tails(source)
    # A tail that reaches far although its bulk does not is made of real twins: they would blind the test.
    twins = unseen.sound & (scores > verified)
    if enough and twins.any():
        near, verified = _tails(scores[~twins])
    kept, images = unseen.score[~twins], unseen.image[~twins]
    order = np.argsort(kept, kind="stable")
    # Matches that are not sound are never called, however large their score.
    largest = scores[~twins & unseen.sound].max(initial=-np.inf)
    near, verified = max(near, float(largest)), max(verified, float(largest) + _MARGIN)
    return Calibration(
        scores=kept[order],
        near=near,
        verified=max(verified, near),
        natural=tuple(np.flatnonzero(twins).tolist()),
        held_on="calibration" if enough else "private",
        images=images[order],
    )


def _tails(scores: NDArray[np.float64]) -> tuple[float, float]:
    """The thresholds of near and of verified copies, by the tail of the scores of unseen images."""
    return tail_threshold(scores, NEAR_RATE), tail_threshold(scores, VERIFIED_RATE)
