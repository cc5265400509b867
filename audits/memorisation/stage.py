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

from audits.memorisation.blur import blurred, sharpness
from audits.memorisation.calibration import tail_line
from audits.memorisation.descriptor import Encoder, fit_encoder
from audits.memorisation.exact import ExactLookup
from audits.memorisation.focus import STEPS, Focus
from audits.memorisation.folder import is_index, load_index, save_index
from audits.memorisation.geometry import describe_transform
from audits.memorisation.identity import index_identity
from audits.memorisation.index import EmbeddingIndex
from audits.memorisation.matching import DEFAULT_SCALE, Matcher, Matches, Scale
from audits.memorisation.pictures import Pictures, working_pictures
from audits.memorisation.planted import TRANSFORMS, plant
from audits.memorisation.proximity import Proximity
from audits.memorisation.sealing import Key
from audits.memorisation.verdict import Calibration, calibrate
from synguard.config import MemorisationConfig
from synguard.data.images import ImageSet
from synguard.errors import EvidenceError, IntegrityError

__all__ = ["Examined", "NearCopy", "Planted", "PlantedCount", "PreparedMemorisation", "prepare"]

Progress = Callable[[str, int, int], None]
"""Called with the phase, how much is done, and of how much."""

_BACKGROUND = 300
_BLURRED = 300
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
    moved: NDArray[np.bool_]
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
    config: MemorisationConfig
    seed: int
    seconds: Mapping[str, float]
    planted_counts: Planted = ()

    def examine(self, pixels: NDArray[np.uint8], sha256: Sequence[str]) -> Examined:
        """Findings on pixels (n, size, size, 3) and the digests of their files."""
        if pixels.shape[1:] != self.private.pixels.shape[1:]:
            raise ValueError(f"pixels: found shape {pixels.shape[1:]}, expected {self.private.pixels.shape[1:]}")
        timer = _Timer()
        queries = working_pictures(pixels)
        exact = self.exact.find(sha256, pixels)
        timer("exact")
        framed, moved = self.matcher.match(queries, timer=timer)
        matches, by_move = self.calibration.combine(framed, moved, sharpness(queries))
        near, verified = self.calibration.decide(matches, by_move)
        is_exact = exact >= 0
        nearest = np.where(is_exact, exact, matches.image)
        closer, cluster = np.full(len(pixels), 0.5), np.full(len(pixels), -1, np.int64)
        if self.proximity is not None:
            closer, cluster = self.proximity.compare(queries.grey)
            timer("proximity")
        words = [describe_transform(m) if row >= 0 else "" for m, row in zip(matches.maps, nearest, strict=True)]
        return Examined(
            flagged=is_exact | verified,
            lane=np.where(is_exact, "exact", np.where(verified, "verified", "none")),
            score=matches.score,
            p_value=self.calibration.p_values(matches.score),
            nearest=nearest,
            transform=np.array(words, dtype=np.str_).reshape(-1),
            copied_area=np.where(is_exact, 1.0, matches.area),
            correlation=matches.correlation,
            near_copy=is_exact | near,
            moved=by_move,
            closer_to=np.where(closer == 0.5, "tie", np.where(closer > 0.5, "private", "holdout")),
            cluster=cluster,
            maps=matches.maps,
            seconds=timer.seconds,
        )

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
        copies = plant(self.private.pixels[rows], name, rng)
        queries = working_pictures(copies)
        framed, moved = self.matcher.match(queries)
        matches, by_move = self.calibration.combine(framed, moved, sharpness(queries))
        _, verified = self.calibration.decide(matches, by_move)
        groups = self.exact.groups
        same = [m >= 0 and groups[m] == groups[row] for m, row in zip(matches.image, rows, strict=True)]
        found = int((verified & np.array(same)).sum())
        return PlantedCount(name, len(rows), found, tuple(np.round(matches.score, 4).tolist()))

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
) -> PreparedMemorisation:
    """Indexes the private set, calibrates on unseen images, and plants copies; or loads all that from `folder`.

    With a `key` the folder is encrypted. `comparison` are the holdout images that the batch excess is measured against;
    without it, the calibration images are.
    Raises `IntegrityError` where `folder` holds an index of other images, another encoder, another configuration or seed,
    or one that was altered or no longer sees its planted copies; `EvidenceError` where the private set is empty.
    """
    if len(private) == 0:
        raise EvidenceError(f"{private.name}: found 0 images, expected at least 1 to audit against")
    against = calibration if comparison is None else comparison
    identity = index_identity(private, calibration, against, config, seed)
    timer = _Timer()
    report = progress or (lambda phase, done, total: None)
    originals = working_pictures(private.pixels)
    exact = ExactLookup(private.sha256, private.pixels)
    if folder is not None and is_index(folder):
        arrays, record = load_index(folder, identity, key)
        timer("load")
        try:
            restored = _restore(private, against, arrays, record, exact, config, seed, timer)
            restored.check_sight(folder)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{folder}: found a record of another form, expected an index that nobody changed; build it anew"
            ) from error
        timer("planted again")
        return restored
    unseen = working_pictures(calibration.pixels)
    others = working_pictures(against.pixels)
    known = [originals.grey, unseen.grey] + ([] if comparison is None else [others.grey])
    encoder = fit_encoder(torch.cat(known), seed)
    bank = encoder.bank(originals.grey)
    index = EmbeddingIndex(bank)
    timer("index")
    report("index", 1, 1)
    matcher = Matcher(encoder, index, originals, config.candidates)
    background, scale = _background(matcher, private, exact, seed)
    matcher = replace(matcher, scale=scale)
    timer("background")
    framed, moved = matcher.match(unseen)
    calibrated = calibrate(framed, moved, background)
    timer("calibration")
    calibrated = _focused(calibrated, matcher, unseen, (framed, moved), seed)
    timer("blurred calibration")
    report("calibration", len(unseen), len(unseen))
    copies = tuple(
        NearCopy(
            calibration.files[i], private.files[framed.image[i]], float(framed.score[i]), describe_transform(framed.maps[i])
        )
        for i in calibrated.natural
    )
    proximity = Proximity.build(encoder, bank, others.grey, seed) if len(others) else None
    prepared = PreparedMemorisation(private, matcher, exact, calibrated, proximity, copies, config, seed, timer.seconds)
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
            {"projection": encoder.projection, "bank": bank, "calibration": calibrated.scores},
            _record(prepared),
            key,
        )
        timer("save")
    return prepared


def _background(matcher: Matcher, private: ImageSet, exact: ExactLookup, seed: int) -> tuple[tuple[Matches, Matches], Scale]:
    """Private images searched among the other patients' images: what unrelated images of this kind score."""
    rng = np.random.default_rng([seed, 0xBAC])
    rows = np.sort(rng.permutation(len(private))[:_BACKGROUND])
    _, groups = np.unique([group.hex() for group in exact.groups], return_inverse=True)
    _, patients = np.unique(private.patients, return_inverse=True)
    barred = (patients[rows, None] == patients[None]) | (groups[rows, None] == groups[None])
    framed, moved = matcher.match(matcher.originals.take(torch.from_numpy(rows)), barred)
    found = framed.figures[framed.image >= 0]
    scale = Scale.measure(found) if len(found) >= 2 else DEFAULT_SCALE
    rescored = tuple(m.with_score(np.where(m.image >= 0, scale.score(m.figures), m.score)) for m in (framed, moved))
    return (rescored[0], rescored[1]), scale


def _focused(
    calibrated: Calibration, matcher: Matcher, unseen: Pictures, found: tuple[Matches, Matches], seed: int
) -> Calibration:
    """The calibration with what blur does to the scores of unseen images; as it is where these are too few to tell."""
    if calibrated.held_on != "calibration":
        return calibrated
    kept = np.setdiff1d(np.arange(len(unseen)), calibrated.natural)
    rows = np.sort(np.random.default_rng([seed, 0xB1]).permutation(kept)[:_BLURRED])
    steps = [(float(np.median(sharpness(unseen.take(torch.from_numpy(kept))))), *tail_line(calibrated.scores))]
    for sigma in STEPS:
        seen = blurred(unseen.take(torch.from_numpy(rows)), sigma)
        matches, _ = calibrated.combine(*matcher.match(seen), sharpness(seen))
        steps.append((float(np.median(sharpness(seen))), *tail_line(matches.score)))
    focused = replace(calibrated, focus=Focus(*zip(*steps, strict=True)))
    corrected, _ = focused.combine(*found, sharpness(unseen))
    return replace(focused, scores=np.sort(corrected.score[kept]))


def _record(prepared: PreparedMemorisation) -> dict[str, Any]:
    made = prepared.calibration
    return {
        "search": asdict(prepared.matcher.index.note),
        "scale": asdict(prepared.matcher.scale),
        "calibration": {
            "near": made.near,
            "verified": made.verified,
            "penalty": None if math.isinf(made.penalty) else made.penalty,
            "natural": made.natural,
            "natural_moved": made.natural_moved,
            "held_on": made.held_on,
            "focus": asdict(made.focus),
        },
        "copies": [[c.file, c.private, c.score, c.transform] for c in prepared.calibration_copies],
        "planted": [[c.transform, c.n, c.found, c.scores] for c in prepared.planted_counts],
        "seconds": dict(prepared.seconds),
    }


def _restore(
    private: ImageSet,
    against: ImageSet,
    arrays: dict[str, NDArray[Any]],
    record: dict[str, Any],
    exact: ExactLookup,
    config: MemorisationConfig,
    seed: int,
    timer: _Timer,
) -> PreparedMemorisation:
    encoder = Encoder(arrays["projection"])
    scale = Scale(**{name: tuple(values) for name, values in record["scale"].items()})
    matcher = Matcher(encoder, EmbeddingIndex(arrays["bank"]), working_pictures(private.pixels), config.candidates, scale)
    made = dict(record["calibration"])
    made["penalty"] = math.inf if made["penalty"] is None else made["penalty"]
    made["natural"] = tuple(made["natural"])
    made["focus"] = Focus(**{name: tuple(values) for name, values in made["focus"].items()})
    proximity = (
        Proximity.build(encoder, arrays["bank"], working_pictures(against.pixels).grey, seed) if len(against) else None
    )
    timer("load")
    return PreparedMemorisation(
        private,
        matcher,
        exact,
        Calibration(scores=arrays["calibration"], **made),
        proximity,
        tuple(NearCopy(*copy) for copy in record["copies"]),
        config,
        seed,
        timer.seconds,
        tuple(PlantedCount(name, n, found, tuple(scores)) for name, n, found, scores in record["planted"]),
    )


class _Timer:
    """Adds up the seconds of named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
