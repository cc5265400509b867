"""Preparation of the stage: index, nulls, calibration and planted copies, made anew or read from a folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audits.memorisation.blur import blurred, roughened, sharpness
from audits.memorisation.boxes import BoxSearch, marked
from audits.memorisation.exact import ExactLookup
from audits.memorisation.experts import Expert
from audits.memorisation.folder import IndexWriter, StoredIndex, is_index, open_index
from audits.memorisation.geometry import describe_transform
from audits.memorisation.identity import index_identity
from audits.memorisation.lanes import ExpertLane, ExpertNull, measured_lanes
from audits.memorisation.matching import Matcher
from audits.memorisation.null import DEFAULT_NULLS, STEPS, Null
from audits.memorisation.pictures import Pictures
from audits.memorisation.proximity import Proximity
from audits.memorisation.rows import unnamed_rows
from audits.memorisation.sealing import Key
from audits.memorisation.search import Named, Search
from audits.memorisation.stage import NearCopy, PlantedCount, PreparedMemorisation, find, look
from audits.memorisation.store import Joined, PictureStore
from audits.memorisation.threads import Timer
from audits.memorisation.verdict import ENOUGH, Calibration, calibrate
from synguard.config import MemorisationConfig
from synguard.data.images import ImageSet
from synguard.errors import EvidenceError, IntegrityError

__all__ = ["Progress", "measure_nulls", "prepare"]

Progress = Callable[[str, int, int], None]
"""Called with the phase, how much is done, and of how much."""

_BACKGROUND = 300
_PER_STEP = 150
"""Unseen images at each step of blur and noise."""
_HOSTS = 100


def prepare(
    private: ImageSet,
    calibration: ImageSet,
    *,
    config: MemorisationConfig,
    seed: int,
    folder: Path | None,
    key: Key | None = None,
    comparison: ImageSet | None = None,
    classes: NDArray[np.str_] | None = None,
    progress: Progress | None = None,
    experts: tuple[Expert, ...] = (),
    members: NDArray[np.int64] | None = None,
) -> PreparedMemorisation:
    """Indexes the private set, calibrates on unseen images, and plants copies; or loads all that from `folder`.

    With a `key` the folder is encrypted. `comparison` are the holdout images that the batch excess is measured against;
    without it, the calibration images are. `classes` holds one label per private image, "" for none: p-values are drawn by
    the class of the private image that is matched, where that has enough calibration images. The folder does not depend
    on them, since it records which private image each calibration image matches.
    `experts` are those that `config` names, loaded. `members` are the rows of the private images that the model learned
    from, by default all: the batch excess is about them.
    Raises `IntegrityError` where `folder` holds an index of other images, another encoder, another configuration or seed,
    or one that was altered or no longer sees its planted copies; `EvidenceError` where the private set is empty.
    """
    if len(private) == 0:
        raise EvidenceError(f"{private.name}: found 0 images, expected at least 1 to audit against")
    if classes is not None and len(classes) != len(private):
        raise ValueError(f"classes: found {len(classes)} labels, expected {len(private)}, one per private image")
    if len(experts) != len(config.experts):
        raise ValueError(f"experts: found {len(experts)} loaded, expected the {len(config.experts)} that are configured")
    against = calibration if comparison is None else comparison
    identity = index_identity(private, calibration, against, config, seed, experts)
    timer = Timer()
    report = progress or (lambda phase, done, total: None)
    exact = ExactLookup(private.sha256, private.pixels)
    if folder is not None and is_index(folder):
        stored = open_index(folder, identity, key)
        timer("load")
        try:
            restored = _restore(private, calibration, against, stored, exact, config, seed, timer, experts, members)
            restored.check_sight(folder)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{folder}: found a record of another form, expected an index that nobody changed; build it anew"
            ) from error
        timer("planted again")
        return replace(restored, calibration=replace(restored.calibration, classes=classes))
    sets = (private, calibration, against)
    with ExitStack() as stack:
        made = None if folder is None else stack.enter_context(IndexWriter(folder, identity, key))
        prepared = _build(*sets, exact, config, seed, timer, report, made, experts, members)
        if made is not None:
            for name, array in prepared.matcher.search.arrays():
                made.add(name, array)
            if prepared.matcher.boxes is not None:
                for name, array in prepared.matcher.boxes.arrays():
                    made.add(name, array)
            made.add("calibration", prepared.calibration.scores)
            made.add("calibration_images", prepared.calibration.images)
            made.record = _record(prepared)
    if folder is not None:
        timer("save")
    return replace(prepared, calibration=replace(prepared.calibration, classes=classes))


def _build(
    private: ImageSet,
    calibration: ImageSet,
    against: ImageSet,
    exact: ExactLookup,
    config: MemorisationConfig,
    seed: int,
    timer: Timer,
    report: Progress,
    made: IndexWriter | None,
    experts: tuple[Expert, ...],
    members: NDArray[np.int64] | None,
) -> PreparedMemorisation:
    """Everything anew; the large arrays go into the folder that is being made, or into files without a name."""
    originals, unseen = PictureStore(private.pixels), PictureStore(calibration.pixels)
    others = unseen if against is calibration else PictureStore(against.pixels)
    make = unnamed_rows if made is None else made.rows
    known = Joined([originals, unseen] + ([] if others is unseen else [others]))
    search = Search.build(
        originals,
        known,
        seed,
        make=make,
        count=config.candidates,
        report=report,
    )
    places = marked(private)
    boxes = None if places is None else BoxSearch.build(places, originals, known, seed, make)
    matcher = Matcher(search, originals, config.candidates, boxes=boxes)
    lanes = tuple(ExpertLane.build(expert, private.pixels, make) for expert in experts)
    named = look(lanes, calibration.pixels)
    timer("index")
    unrelated: Pictures | PictureStore = unseen
    pixels, barred = calibration.pixels, None
    named_unrelated = named
    if few := len(unseen) < ENOUGH:
        rows, barred = _unrelated(private, exact, seed)
        unrelated, pixels = originals.take(torch.from_numpy(rows)), private.pixels[rows]
        named_unrelated = look(lanes, pixels, barred)
    matcher = replace(matcher, nulls=measure_nulls(matcher, unrelated, barred, seed, report, named_unrelated))
    lanes = measured_lanes(lanes, named_unrelated)
    timer("unrelated images")
    found = find(matcher, unseen, calibration.pixels, None, named, lanes)
    calibrated = calibrate(found, find(matcher, unrelated, pixels, barred, named_unrelated, lanes) if few else found)
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
    proximity = Proximity.build(search.coarse, search.windows_bank, others, seed, members) if len(others) else None
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
    counts = prepared.plant(seed)
    timer("planted")
    report("planted copies", len(counts), len(counts))
    return replace(prepared, planted_counts=counts)


def _unrelated(private: ImageSet, exact: ExactLookup, seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Some private images, and which ones each is not to be compared with: those of its patient, and its duplicates."""
    rows = np.sort(np.random.default_rng([seed, 0xBAC]).permutation(len(private))[:_BACKGROUND])
    _, groups = np.unique([group.hex() for group in exact.groups], return_inverse=True)
    _, patients = np.unique(private.patients, return_inverse=True)
    return rows, (patients[rows, None] == patients[None]) | (groups[rows, None] == groups[None])


def measure_nulls(
    matcher: Matcher,
    unseen: Pictures | PictureStore,
    barred: NDArray[np.bool_] | None,
    seed: int,
    report: Progress | None = None,
    named: Sequence[Named] = (),
) -> tuple[Null, ...]:
    """What unseen images show in each lane, blurred and roughened in steps. `barred` and `named` as in `Matcher.match`."""
    rows = np.sort(np.random.default_rng([seed, 0xB1]).permutation(len(unseen))[:_PER_STEP])
    chosen = unseen.take(torch.from_numpy(rows))
    levels: list[list[tuple[float, NDArray[np.float64]]]] = [[] for _ in matcher.lanes]
    for number, step in enumerate(STEPS if len(chosen) else ()):
        seen = blurred(roughened(chosen, step.noise, seed), step.blur)
        level = float(np.median(sharpness(seen)))
        bars = None if barred is None else barred[rows]
        for lane, found in zip(levels, matcher.match(seen, bars, named=[part.take(rows) for part in named]), strict=True):
            lane.append((level, found.figures[found.image >= 0]))
        if report is not None:
            report("unrelated images", number + 1, len(STEPS))
    return tuple(Null.measure(steps, default) for steps, default in zip(levels, DEFAULT_NULLS[: len(levels)], strict=True))


def _record(prepared: PreparedMemorisation) -> dict[str, Any]:
    made = prepared.calibration
    nulls = [None if lane.null is None else asdict(lane.null) for lane in prepared.experts]
    return {
        **({"experts": nulls} if nulls else {}),
        "search": prepared.matcher.search.notes,
        **({} if prepared.matcher.boxes is None else {"boxes": prepared.matcher.boxes.note}),
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
    stored: StoredIndex,
    exact: ExactLookup,
    config: MemorisationConfig,
    seed: int,
    timer: Timer,
    experts: tuple[Expert, ...],
    members: NDArray[np.int64] | None,
) -> PreparedMemorisation:
    record = stored.record
    search = Search.restore(stored, record["search"])
    nulls = tuple(Null(**_tuples(null)) for null in record["nulls"])
    places = marked(private)
    boxes = None if places is None else BoxSearch.restore(places, stored, record["boxes"])
    matcher = Matcher(search, PictureStore(private.pixels), config.candidates, nulls, boxes)
    lanes = tuple(
        ExpertLane.of(expert, stored.arrays[expert.name], None if null is None else ExpertNull(**_tuples(null)))
        for expert, null in zip(experts, record["experts"] if experts else (), strict=True)
    )
    made = dict(record["calibration"])
    made["natural"] = tuple(made["natural"])
    for name in ("near", "verified"):
        made[name] = math.inf if made[name] is None else float(made[name])
    others = PictureStore(against.pixels)
    proximity = Proximity.build(search.coarse, search.windows_bank, others, seed, members) if len(against) else None
    timer("load")
    return PreparedMemorisation(
        private,
        matcher,
        exact,
        Calibration(scores=stored.array("calibration"), images=stored.array("calibration_images"), **made),
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


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of a record, and lists in them, as tuples."""
    return {
        name: tuple(tuple(part) if isinstance(part, list) else part for part in values) for name, values in fields.items()
    }
