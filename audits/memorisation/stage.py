"""The memorisation stage: prepare once for a private set and a holdout, then examine candidates in any number of batches."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from audits.memorisation.blur import blurred, roughened, sharpness
from audits.memorisation.exact import ExactLookup
from audits.memorisation.experts import Expert
from audits.memorisation.folder import is_index, load_index, save_index
from audits.memorisation.geometry import describe_transform
from audits.memorisation.identity import index_identity
from audits.memorisation.lanes import ExpertLane, ExpertNull, measured_lanes
from audits.memorisation.matching import LANES, Matcher
from audits.memorisation.null import DEFAULT_NULLS, STEPS, Null
from audits.memorisation.pictures import Pictures, working_pictures
from audits.memorisation.planted import TRANSFORMS, plant
from audits.memorisation.proximity import Proximity
from audits.memorisation.sealing import Key
from audits.memorisation.search import Named, Search
from audits.memorisation.verdict import ENOUGH, Calibration, Found, calibrate, strongest
from synguard.config import MemorisationConfig
from synguard.data.images import ImageSet
from synguard.errors import EvidenceError, IntegrityError

__all__ = ["Examined", "NearCopy", "Planted", "PlantedCount", "PreparedMemorisation", "measure_nulls", "prepare"]

Progress = Callable[[str, int, int], None]
"""Called with the phase, how much is done, and of how much."""

_BACKGROUND = 300
_PER_STEP = 150
"""Unseen images at each step of blur and noise."""
_HOSTS = 100
_PLANTED_AGAIN = 10
"""Planted copies a transform that are looked for again in an index that was prepared earlier."""
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

    `match` is one of `matching.LANES`, or the name of an expert's lane; `copied` (n, 16, 16) is the share of each cell that
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
        if not self.experts:
            return own
        return f"{own} Encoders brought along: {', '.join(lane.expert.describe() for lane in self.experts)}."

    def examine(self, pixels: NDArray[np.uint8], sha256: Sequence[str]) -> Examined:
        """Findings on pixels (n, size, size, 3) and the digests of their files."""
        if pixels.shape[1:] != self.private.pixels.shape[1:]:
            raise ValueError(f"pixels: found shape {pixels.shape[1:]}, expected {self.private.pixels.shape[1:]}")
        timer = _Timer()
        queries = working_pictures(pixels)
        exact = self.exact.find(sha256, pixels)
        timer("exact")
        found = _find(self.matcher, queries, None, _look(self.experts, pixels), self.experts, timer)
        near, verified = self.calibration.decide(found)
        p_values = self.calibration.p_values(found.score)
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
            match=np.array([*LANES, *(lane.expert.name for lane in self.experts)])[found.lane].reshape(-1),
            inverted=matches.inverted,
            copied=np.where(is_exact[:, None, None], 1.0, found.copied),
            closer_to=np.where(closer == 0.5, "tie", np.where(closer > 0.5, "private", "holdout")),
            cluster=cluster,
            maps=matches.maps,
            seconds=timer.seconds,
        )

    def search(self, pixels: NDArray[np.uint8], barred: NDArray[np.bool_] | None = None) -> Found:
        """The strongest matches of pixels (n, size, size, 3), without those private images that are barred (n, private)."""
        return _find(self.matcher, working_pictures(pixels), barred, _look(self.experts, pixels, barred), self.experts)

    def near_copies(self, images: ImageSet) -> list[NearCopy]:
        """Images of another set that show a private image: to be taken out of a holdout, since a twin blinds the test."""
        found = self.examine(images.pixels, images.sha256)
        return [self._pair(images.files[i], found, i) for i in np.flatnonzero(found.flagged)]

    def planted(self, seed: int | None = None) -> Planted:
        """How many planted copies are found, per transform, by the same path; those of `prepare` where `seed` is its own."""
        if self.planted_counts and seed in (None, self.seed):
            return self.planted_counts
        return tuple(self._plant(name, self.seed if seed is None else seed) for name in TRANSFORMS)

    def check_sight(self, where: Path) -> None:
        """IntegrityError where planted copies are not found as recorded: thresholds that were moved blind the audit."""
        for count in self.planted_counts:
            again = self._plant(count.transform, self.seed, most=_PLANTED_AGAIN)
            whole = len(count.scores) == count.n >= again.n
            alike = whole and np.isclose(again.scores, count.scores[: again.n], atol=0.05).mean() >= _ALIKE
            if not alike or count.found > sum(score > self.calibration.verified for score in count.scores):
                raise IntegrityError(
                    f"{where}: found an index that no longer sees its planted copies ({count.transform}) as it recorded, "
                    "expected one that nobody changed; build it anew"
                )

    def _plant(self, name: str, seed: int, most: int | None = None) -> PlantedCount:
        rng = np.random.default_rng([seed, 0x91A, int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")])
        n = min(self.config.planted_per_transform, len(self.private))
        rows = np.sort(rng.permutation(len(self.private))[:n])[:most]
        copies = plant(self.private.pixels[rows], name, rng, self.hosts)
        found_again = self.search(copies)
        matches = found_again.matches
        _, verified = self.calibration.decide(found_again)
        groups = self.exact.groups
        same = [m >= 0 and groups[m] == groups[row] for m, row in zip(matches.image, rows, strict=True)]
        found = int((verified & np.array(same)).sum())
        return PlantedCount(name, len(rows), found, tuple(np.round(found_again.score, 4).tolist()))

    def _pair(self, file: str, found: Examined, row: np.intp) -> NearCopy:
        private = self.private.files[found.nearest[row]]
        return NearCopy(file, private, float(found.score[row]), str(found.transform[row]))


def prepare(
    private: ImageSet,
    calibration: ImageSet,
    *,
    config: MemorisationConfig,
    seed: int,
    folder: Path | None,
    key: Key | None = None,
    comparison: ImageSet | None = None,
    progress: Progress | None = None,
    experts: tuple[Expert, ...] = (),
) -> PreparedMemorisation:
    """Indexes the private set, calibrates on unseen images, and plants copies; or loads all that from `folder`.

    With a `key` the folder is encrypted. `comparison` are the holdout images that the batch excess is measured against;
    without it, the calibration images are. `experts` are those that `config` names, loaded.
    Raises `IntegrityError` where `folder` holds an index of other images, another encoder, another configuration or seed,
    or one that was altered or no longer sees its planted copies; `EvidenceError` where the private set is empty.
    """
    if len(private) == 0:
        raise EvidenceError(f"{private.name}: found 0 images, expected at least 1 to audit against")
    if len(experts) != len(config.experts):
        raise ValueError(f"experts: found {len(experts)} loaded, expected the {len(config.experts)} that are configured")
    against = calibration if comparison is None else comparison
    identity = index_identity(private, calibration, against, config, seed, experts)
    timer = _Timer()
    report = progress or (lambda phase, done, total: None)
    originals = working_pictures(private.pixels)
    exact = ExactLookup(private.sha256, private.pixels)
    if folder is not None and is_index(folder):
        arrays, record = load_index(folder, identity, key)
        timer("load")
        try:
            restored = _restore(private, calibration, against, arrays, record, exact, config, seed, timer, experts)
            restored.check_sight(folder)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{folder}: found a record of another form, expected an index that nobody changed; build it anew"
            ) from error
        timer("planted again")
        return restored
    unseen = working_pictures(calibration.pixels)
    others = working_pictures(against.pixels)
    seen = [originals.grey, unseen.grey] + ([] if comparison is None else [others.grey])
    search = Search.build(originals.grey, torch.cat(seen), seed)
    matcher = Matcher(search, originals, config.candidates)
    lanes = tuple(ExpertLane.build(expert, private.pixels) for expert in experts)
    named = _look(lanes, calibration.pixels)
    timer("index")
    report("index", 1, 1)
    unrelated, barred, named_unrelated = unseen, None, named
    if few := len(unseen) < ENOUGH:
        rows, barred = _unrelated(private, exact, seed)
        unrelated = originals.take(torch.from_numpy(rows))
        named_unrelated = _look(lanes, private.pixels[rows], barred)
    matcher = replace(matcher, nulls=measure_nulls(matcher, unrelated, barred, seed, report, named_unrelated))
    lanes = measured_lanes(lanes, named_unrelated)
    timer("unrelated images")
    found = _find(matcher, unseen, None, named, lanes)
    calibrated = calibrate(found, _find(matcher, unrelated, barred, named_unrelated, lanes) if few else found)
    timer("calibration")
    report("calibration", len(unseen), len(unseen))
    copies = tuple(
        NearCopy(
            calibration.files[i],
            private.files[found.matches.image[i]],
            float(found.matches.score[i]),
            describe_transform(found.matches.maps[i], inverted=bool(found.matches.inverted[i])),
        )
        for i in calibrated.natural
    )
    proximity = Proximity.build(search.coarse, search.windows_bank, others.grey, seed) if len(others) else None
    prepared = PreparedMemorisation(
        private,
        matcher,
        exact,
        calibrated,
        proximity,
        copies,
        _hosts(calibration),
        config,
        seed,
        timer.seconds,
        experts=lanes,
    )
    counts = []
    for number, name in enumerate(TRANSFORMS):
        counts.append(prepared._plant(name, seed))
        report("planted copies", number + 1, len(TRANSFORMS))
    timer("planted")
    prepared = replace(prepared, planted_counts=tuple(counts))
    if folder is not None:
        save_index(
            folder,
            identity,
            {**search.arrays(), "calibration": calibrated.scores, **{lane.expert.name: lane.bank for lane in lanes}},
            _record(prepared),
            key,
        )
        timer("save")
    return prepared


def _look(
    lanes: Sequence[ExpertLane], pixels: NDArray[np.uint8], barred: NDArray[np.bool_] | None = None
) -> tuple[Named, ...]:
    """What each expert names for the images."""
    return tuple(lane.look(pixels, barred) for lane in lanes)


def _find(
    matcher: Matcher,
    queries: Pictures,
    barred: NDArray[np.bool_] | None,
    named: Sequence[Named],
    experts: Sequence[ExpertLane],
    timer: Callable[[str], None] = lambda phase: None,
) -> Found:
    """The strongest match of each query, what of it was copied, and the strongest of what the experts `named`."""
    if experts:
        timer("experts")
    matches, lane = strongest(matcher.match(queries, barred, timer, named))
    copied = matcher.copied(queries, matches)
    timer("align")
    if not experts:
        return Found(matches, lane, copied)
    theirs = [expert.matches(seen) for expert, seen in zip(experts, named, strict=True)]
    return Found(matches, lane, copied, *strongest(theirs))


def _unrelated(private: ImageSet, exact: ExactLookup, seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Some private images, and which ones each is not to be compared with: those of its patient, and its duplicates."""
    rows = np.sort(np.random.default_rng([seed, 0xBAC]).permutation(len(private))[:_BACKGROUND])
    _, groups = np.unique([group.hex() for group in exact.groups], return_inverse=True)
    _, patients = np.unique(private.patients, return_inverse=True)
    return rows, (patients[rows, None] == patients[None]) | (groups[rows, None] == groups[None])


def measure_nulls(
    matcher: Matcher,
    unseen: Pictures,
    barred: NDArray[np.bool_] | None,
    seed: int,
    report: Progress | None = None,
    named: Sequence[Named] = (),
) -> tuple[Null, ...]:
    """What unseen images show in each lane, blurred and roughened in steps. `barred` and `named` as in `Matcher.match`."""
    rows = np.sort(np.random.default_rng([seed, 0xB1]).permutation(len(unseen))[:_PER_STEP])
    chosen = unseen.take(torch.from_numpy(rows))
    levels: list[list[tuple[float, NDArray[np.float64]]]] = [[] for _ in LANES]
    for number, step in enumerate(STEPS if len(chosen) else ()):
        seen = blurred(roughened(chosen, step.noise, seed), step.blur)
        level = float(np.median(sharpness(seen)))
        bars = None if barred is None else barred[rows]
        for lane, found in zip(levels, matcher.match(seen, bars, named=[part.take(rows) for part in named]), strict=True):
            lane.append((level, found.figures[found.image >= 0]))
        if report is not None:
            report("unrelated images", number + 1, len(STEPS))
    return tuple(Null.measure(steps, default) for steps, default in zip(levels, DEFAULT_NULLS, strict=True))


def _record(prepared: PreparedMemorisation) -> dict[str, Any]:
    made = prepared.calibration
    nulls = [None if lane.null is None else asdict(lane.null) for lane in prepared.experts]
    return {
        **({"experts": nulls} if nulls else {}),
        "search": asdict(prepared.matcher.search.windows.note),
        "nulls": [asdict(null) for null in prepared.matcher.nulls],
        "calibration": {
            "near": None if math.isinf(made.near) else made.near,
            "verified": None if math.isinf(made.verified) else made.verified,
            "natural": made.natural,
            "held_on": made.held_on,
        },
        "copies": [[c.file, c.private, c.score, c.transform] for c in prepared.calibration_copies],
        "planted": [[c.transform, c.n, c.found, c.scores] for c in prepared.planted_counts],
        "seconds": dict(prepared.seconds),
    }


def _restore(
    private: ImageSet,
    calibration: ImageSet,
    against: ImageSet,
    arrays: dict[str, NDArray[Any]],
    record: dict[str, Any],
    exact: ExactLookup,
    config: MemorisationConfig,
    seed: int,
    timer: _Timer,
    experts: tuple[Expert, ...],
) -> PreparedMemorisation:
    search = Search.restore(arrays)
    nulls = tuple(Null(**{name: _nested(values) for name, values in null.items()}) for null in record["nulls"])
    matcher = Matcher(search, working_pictures(private.pixels), config.candidates, nulls)
    lanes = tuple(
        ExpertLane.of(
            expert, arrays[expert.name], None if null is None else ExpertNull(**{k: tuple(v) for k, v in null.items()})
        )
        for expert, null in zip(experts, record["experts"] if experts else (), strict=True)
    )
    made = dict(record["calibration"])
    made["natural"] = tuple(made["natural"])
    for name in ("near", "verified"):
        made[name] = math.inf if made[name] is None else float(made[name])
    others = working_pictures(against.pixels).grey
    proximity = Proximity.build(search.coarse, search.windows_bank, others, seed) if len(against) else None
    timer("load")
    return PreparedMemorisation(
        private,
        matcher,
        exact,
        Calibration(scores=arrays["calibration"], **made),
        proximity,
        tuple(NearCopy(*copy) for copy in record["copies"]),
        _hosts(calibration),
        config,
        seed,
        timer.seconds,
        tuple(PlantedCount(name, n, found, tuple(scores)) for name, n, found, scores in record["planted"]),
        lanes,
    )


def _hosts(calibration: ImageSet) -> NDArray[np.uint8]:
    """Images of other patients that planted copies are mixed with."""
    return calibration.pixels[:_HOSTS]


def _nested(values: list[Any]) -> tuple[Any, ...]:
    return tuple(tuple(part) if isinstance(part, list) else part for part in values)


class _Timer:
    """Adds up the seconds of named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
