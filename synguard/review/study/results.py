"""What follows from a plan and the answers: who told what from what, and what was seen. Pure.

The verdict is that on the mean AUC of the first readers who finished, as many as the plan names: further readers are shown
and do not move it, so nobody can go on asking until it is the one that was wanted. Where one of these readers alone told the
sides apart beyond the margin (Bonferroni over them), the study is not equivalent, whatever the mean: two readers who are
sure of opposite things have both seen a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from synguard.metrics.clusters import clustered_share, confidence_of_each
from synguard.metrics.intervals import clopper_pearson
from synguard.review.study.answers import Answer, Standing, finished, standing
from synguard.review.study.numbers import Spread, Verdict, cohens_kappa, f1_of_level, mean_auc, verdict
from synguard.review.study.plan import Condition, Item, Plan, Terms

__all__ = ["Agreement", "Figure", "LevelFigure", "ReaderFigures", "Results", "results"]

Floats = NDArray[np.float64]
Counts = tuple[tuple[int, int], tuple[int, int]]
"""Rows: real, synthetic. Columns: called real, called synthetic."""

_AUC = "DeLong 1988 over images"
_F1 = "Bayesian bootstrap over images"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its two-sided interval at 95 %, n and method; both None where there is nothing to measure."""

    value: float | None
    interval: tuple[float, float] | None
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class ReaderFigures:
    """One reader. `counted` are those whose answers the verdict rests on; figures are there once all images are answered."""

    name: str
    answered: int
    counted: bool
    confusion: Counts
    accuracy: Figure
    auc: Figure
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class LevelFigure:
    """F1 for one level of a condition, over all counted readers' answers.

    `told`: synthetic images told from real ones among images of that level, 0.5 by guessing. `synthetic` and `real`: the
    level seen where it was asked of the generator, and where it is the image's label.
    """

    condition: str
    level: str
    told: Figure
    synthetic: Figure
    real: Figure


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cohen's kappa of two counted readers on what is real."""

    readers: tuple[str, str]
    kappa: Figure


@dataclass(frozen=True, slots=True)
class Results:
    """All that is known by now. `waiting` is how many readers still have to finish before there is a verdict."""

    plan: str
    terms: Terms
    balanced: str
    verdict: Verdict
    waiting: int
    auc: Figure
    auc_bounds: tuple[float, float] | None
    accuracy: Figure
    confusion: Counts
    readers: tuple[ReaderFigures, ...]
    levels: tuple[LevelFigure, ...]
    agreement: tuple[Agreement, ...]


def results(plan: Plan, answers: Sequence[Answer]) -> Results:
    """The results of a study from its plan and the ledger's answers, oldest first."""
    held, done = standing(answers), finished(plan, answers)
    counted = done[: plan.terms.readers]
    names: dict[str, str] = {}
    for answer in answers:
        names.setdefault(answer.reader, answer.name)
    readers = tuple(_reader(plan, held, reader, names[reader], reader in done, reader in counted) for reader in names)
    waiting = plan.terms.readers - len(counted)
    found = _auc(plan, held, counted)
    said = "undecided" if waiting or found.bounds is None else verdict(found.bounds, plan.terms.margin)
    if not waiting and _one_tells(plan, held, counted):
        said = "not equivalent"
    return Results(
        plan=plan.digest,
        terms=plan.terms,
        balanced=plan.balanced,
        verdict=said,
        waiting=waiting,
        auc=_figure(found, len(plan.items), f"mean of readers; {_AUC}"),
        auc_bounds=found.bounds,
        accuracy=_accuracy(plan, held, counted),
        confusion=_confusion(plan, held, counted),
        readers=readers,
        levels=tuple(one for condition in plan.conditions for one in _levels(plan, held, counted, condition)),
        agreement=tuple(
            Agreement((names[first], names[second]), _agreement(plan, held, first, second))
            for first, second in combinations(counted, 2)
        ),
    )


def _reader(plan: Plan, held: Standing, reader: str, name: str, done: bool, counted: bool) -> ReaderFigures:
    """Until all images are answered no figure is told: it could be looked at, and the rest answered by it."""
    measured = (reader,) if done else ()
    found = _auc(plan, held, measured)
    counts, n = _confusion(plan, held, measured), len(plan.items) if done else 0
    hits = counts[0][0] + counts[1][1]
    accuracy = Figure(hits / n if done else None, clopper_pearson(hits, n) if done else None, n, "Clopper-Pearson, exact")
    own = "undecided" if found.bounds is None else verdict(found.bounds, plan.terms.margin)
    return ReaderFigures(name, len(held.get(reader, ())), counted, counts, accuracy, _figure(found, n, _AUC), own)


def _one_tells(plan: Plan, held: Standing, readers: Sequence[str]) -> bool:
    """Whether any of these readers is beyond the margin, all of them held together at 95 %."""
    confidence = confidence_of_each(1, len(readers))
    alone = [_auc(plan, held, (reader,), confidence).bounds for reader in readers]
    return any(bounds is not None and verdict(bounds, plan.terms.margin) == "not equivalent" for bounds in alone)


def _auc(plan: Plan, held: Standing, readers: Sequence[str], confidence: float = 0.95) -> Spread:
    """Ratings are the confidence, negative where the reader said real."""
    if not readers:
        return Spread(None, None, None)

    def ratings(real: bool) -> Floats:
        items = [item for item in plan.items if item.real == real]
        return np.array([[_rating(held, reader, item) for item in items] for reader in readers])

    return mean_auc(ratings(False), ratings(True), confidence)


def _accuracy(plan: Plan, held: Standing, readers: Sequence[str]) -> Figure:
    method = "share of all answers, errors by image"
    if not readers:
        return Figure(None, None, 0, method)
    right = [(_rating(held, reader, item) < 0) == item.real for reader in readers for item in plan.items]
    found = clustered_share(np.array(right, float), np.tile(np.arange(len(plan.items)), len(readers)))
    return Figure(found.value, (found.low, found.high), len(right), method)


def _confusion(plan: Plan, held: Standing, readers: Sequence[str]) -> Counts:
    counts = np.zeros((2, 2), np.int64)
    for reader in readers:
        for item in plan.items:
            counts[int(not item.real), int(_rating(held, reader, item) > 0)] += 1
    (a, b), (c, d) = counts.tolist()
    return (a, b), (c, d)


def _levels(plan: Plan, held: Standing, readers: Sequence[str], condition: Condition) -> list[LevelFigure]:
    """One figure a level that any image of the study has."""
    codes = {level: float(number) for number, level in enumerate(condition.levels)}
    rows = [(reader, number) for reader in readers for number in range(len(plan.items))]
    items = np.array([number for _, number in rows], np.int64)
    synthetic = np.array([not plan.items[number].real for _, number in rows], bool)
    true = np.array([codes.get(plan.items[n].levels.get(condition.name, ""), np.nan) for _, n in rows])
    seen = np.array([codes.get(_seen(held, reader, plan.items[n], condition.name), np.nan) for reader, n in rows])
    called = np.array([float(_rating(held, reader, plan.items[n]) > 0) for reader, n in rows])
    found = []
    for number, level in enumerate(condition.levels):
        if not any(item.levels.get(condition.name) == level for item in plan.items):
            continue
        of_level = true == number
        told = f1_of_level(synthetic[of_level].astype(float), called[of_level], 2, 1, items[of_level])
        sides = [f1_of_level(true[s], seen[s], len(codes), number, items[s]) for s in (synthetic, ~synthetic)]
        ns = [int((of_level & s).sum()) for s in (synthetic, ~synthetic)]
        figures = (_figure(side, n, _F1) for side, n in zip(sides, ns, strict=True))
        found.append(LevelFigure(condition.name, level, _figure(told, sum(ns), _F1), *figures))
    return found


def _agreement(plan: Plan, held: Standing, first: str, second: str) -> Figure:
    called = [np.array([float(_rating(held, reader, item) > 0) for item in plan.items]) for reader in (first, second)]
    return _figure(cohens_kappa(*called), len(plan.items), "Cohen 1960; Bayesian bootstrap over images")


def _rating(held: Standing, reader: str, item: Item) -> float:
    given = held[reader][item.id].given
    assert given is not None, "only answers that hold stand"  # noqa: S101 # `standing` leaves out those taken back
    return float(given.confidence if given.said == "synthetic" else -given.confidence)


def _seen(held: Standing, reader: str, item: Item, name: str) -> str:
    given = held[reader][item.id].given
    return "" if given is None else given.seen.get(name, "")


def _figure(found: Spread, n: int, method: str) -> Figure:
    return Figure(found.value, found.interval, n, method)
