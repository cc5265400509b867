"""One method on one split: what it finds of the planted copies, and what it calls copies that are none."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .data import Photographs, Split
from .measure import Count, Threshold, average_precision, overlaps, reduced, threshold
from .protocol import Answer, Material, Method, Search
from .transforms import TRANSFORMS, planted

__all__ = ["OWN", "RATES", "Copies", "Outcome", "examine", "plant", "sample"]

RATES: Mapping[str, float] = {"1 %": 0.01, "0.1 %": 0.001}
OWN = "shipped"
"""Beside the thresholds set here for RATES: the one that a method is shipped with."""

Levels = Mapping[str, Count]


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Planted copies: pixels, the rows of the index that they show, and where (n, size, size)."""

    pixels: NDArray[np.uint8]
    source: NDArray[np.int64]
    truth: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One method on one split. By level, RATES' names and OWN, the latter where the method ships a threshold.

    `recall` and `overlap` by transform as well; the latter is the sum over the copies found and their number. `alike` are
    the negatives whose nearest private image has the same diagnosis, `fellows` other photographs of private patients.
    """

    method: str
    seed: int
    calibration: int
    thresholds: Mapping[str, Threshold]
    recall: Mapping[str, Levels]
    overlap: Mapping[str, Mapping[str, tuple[float, int]]]
    false: Levels
    alike: Levels
    fellows: Levels
    average_precision: float
    seconds_fit: float
    seconds_query: float
    queries: int


def plant(split: Split, copies: int, seed: int) -> dict[str, Copies]:
    """Private images under each of the transforms, at most `copies` each, drawn anew for each."""
    return {name: _plant(split, name, copies, seed) for name in TRANSFORMS}


def sample(index: Photographs, name: str, copies: int, seed: int) -> tuple[NDArray[np.int64], np.random.Generator]:
    """Rows of the index to plant under `name`, and the generator that drew them."""
    # By name, so that no transform depends on which others there are.
    rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")])
    return rng.permutation(len(index))[:copies], rng


def examine(name: str, method: Method, split: Split, positives: Mapping[str, Copies], seed: int) -> Outcome:
    """Fits the method, sets its thresholds, and asks it everything."""
    begun = time.perf_counter()
    search = method.fit(Material(split.index, split.background, split.calibration, seed))
    fitted = time.perf_counter()
    calibration = _calibration(search, split, method.learns)
    thresholds = {level: threshold(calibration, rate) for level, rate in RATES.items()}
    unseen = search.query(split.negatives.pixels)
    answers = {transform: search.query(copies.pixels) for transform, copies in positives.items()}
    fellows = _called(search.query(split.fellows.pixels), thresholds) if len(split.fellows) else {}
    done = time.perf_counter()
    right = {transform: _right(split.index, answers[transform], positives[transform]) for transform in positives}
    called = {transform: _called(answer, thresholds) for transform, answer in answers.items()}
    false = _called(unseen, thresholds)
    same_label = (unseen.nearest >= 0) & (split.index.label[unseen.nearest] == split.negatives.label)
    queries = len(calibration) + len(unseen.score) + sum(len(a.score) for a in answers.values()) + len(split.fellows)
    return Outcome(
        method=name,
        seed=seed,
        calibration=len(calibration),
        thresholds=thresholds,
        recall={level: {t: Count.of(called[t][level] & right[t]) for t in positives} for level in false},
        overlap={
            level: {
                t: _overlap(answers[t], positives[t], called[t][level] & right[t])
                for t in positives
                if answers[t].mask is not None
            }
            for level in false
        },
        false={level: Count.of(flags) for level, flags in false.items()},
        alike={level: Count.of(flags[same_label]) for level, flags in false.items()},
        fellows={level: Count.of(flags) for level, flags in fellows.items()},
        average_precision=_average_precision(unseen, answers, right),
        seconds_fit=fitted - begun,
        seconds_query=done - fitted,
        queries=queries,
    )


def _plant(split: Split, name: str, copies: int, seed: int) -> Copies:
    rows, rng = sample(split.index, name, copies, seed)
    hosts = split.hosts.pixels[rng.permutation(np.resize(np.arange(len(split.hosts)), len(rows)))]
    pixels, truth = planted(split.index.pixels[rows], hosts, name, rng)
    return Copies(pixels, rows, truth)


def _calibration(search: Search, split: Split, learns: bool) -> NDArray[np.float64]:
    """Scores of the calibration images; where these are few, also those of private images among all other patients'."""
    scores = search.query(split.calibration.pixels).score
    if learns or (len(scores) + 1) * min(RATES.values()) >= 1:
        return scores
    return np.concatenate([scores, search.query(split.index.pixels, split.index.patient).score])


def _called(answer: Answer, thresholds: Mapping[str, Threshold]) -> dict[str, NDArray[np.bool_]]:
    flags = {level: answer.score > limit.value for level, limit in thresholds.items()}
    return flags if answer.called is None else flags | {OWN: answer.called}


def _right(index: Photographs, answer: Answer, copies: Copies) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = (answer.nearest >= 0) & (index.same[answer.nearest] == index.same[copies.source])
    return right


def _overlap(answer: Answer, copies: Copies, found: NDArray[np.bool_]) -> tuple[float, int]:
    assert answer.mask is not None
    truth = reduced(copies.truth[found], answer.mask.shape[1])
    return float(overlaps(answer.mask[found], truth).sum()), int(found.sum())


def _average_precision(unseen: Answer, answers: Mapping[str, Answer], right: Mapping[str, NDArray[np.bool_]]) -> float:
    """Over the eighteen transforms; what a generator made is not there for every seed."""
    names = [name for name in answers if name in TRANSFORMS]
    scores = np.concatenate([unseen.score, *(answers[name].score for name in names)])
    hits = np.concatenate([np.zeros(len(unseen.score), bool), *(right[name] for name in names)])
    return average_precision(scores, hits, len(scores) - len(unseen.score))
