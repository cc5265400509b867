"""White box: every statistic on every set of weights, standardised by unseen images, judged, and all of them together.

A figure is standardised against what non-members of the calibration role with that appearance have (`Difficulty`), which
the verdict does not use. The score of a statistic is the mean of its standardised figures, equal weights.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audits.membership.difficulty import Difficulty
from audits.membership.ensemble import Table, ensemble
from audits.membership.probe import Scores
from audits.membership.statistics import Measured, Statistic, measure
from audits.membership.target import Shown, Target
from audits.membership.verdict import Outcome, compare

__all__ = ["Calibrated", "probe"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A statistic on one set of weights, and what it is expected to be on unseen images of each look."""

    statistic: Statistic
    target: Target
    expected: Difficulty

    @classmethod
    def of(cls, statistic: Statistic, target: Target, unseen: Measured) -> Calibrated:
        """Standardised by what was measured on the calibration role."""
        return cls(statistic, target, Difficulty.fit(unseen.beside, unseen.figures))

    @property
    def name(self) -> str:
        """Name with the weights that were probed."""
        return f"{self.statistic.name} ({self.target.weights})"

    @property
    def method(self) -> str:
        """What the score is."""
        said = self.statistic.method
        turns = f" Over {len(self.target.turns)} turns, as in training." if len(self.target.turns) > 1 else ""
        return (
            f"{said[:1].upper()}{said[1:]}, against that expected for the image's appearance ({self.expected.source}), mean "
            f"of the standardised figures, weights {self.target.weights}.{turns}"
        )

    def standardised(self, found: Measured) -> Floats:
        """Figures (n, k), higher where they are lower than those of unseen images that look alike."""
        return -self.expected.standardise(found.beside, found.figures)

    def scores(self, found: Measured) -> Scores:
        """The score, and beside it each figure, and the mean of the figures as they are, as published."""
        standard = self.standardised(found)
        parts = {"as published": -found.figures.mean(axis=1)}
        if standard.shape[1] > 1:
            parts |= {name: standard[:, i] for i, name in enumerate(self.statistic.columns)}
        return Scores(standard.mean(axis=1), parts)


def probe(
    statistics: Sequence[Statistic],
    target: Target,
    calibration: Shown,
    members: Shown,
    nonmembers: Shown,
    *,
    resamples: int,
    seed: int,
) -> list[Outcome]:
    """One outcome a statistic on one set of weights, and that of the ensemble last."""
    outcomes, tables = [], []
    for statistic in statistics:
        begun = time.perf_counter()
        unseen, inside, outside = (measure(statistic, target, shown) for shown in (calibration, members, nonmembers))
        seconds = time.perf_counter() - begun
        fitted = Calibrated.of(statistic, target, unseen)
        named = {"name": fitted.name, "access": "white box", "method": fitted.method}
        found = compare(fitted.scores(inside), fitted.scores(outside), members.arm, nonmembers.arm, named, resamples, seed)
        outcomes.append(replace(found, calls=statistic.calls(target), seconds=seconds))
        tables.append(Table(statistic.name, fitted.standardised(inside), fitted.standardised(outside)))
    begun = time.perf_counter()
    calls = sum(statistic.calls(target) for statistic in statistics)
    together = ensemble(
        tables, members.arm, nonmembers.arm, weights=target.weights, calls=calls, resamples=resamples, seed=seed
    )
    spent = sum(outcome.seconds for outcome in outcomes) + time.perf_counter() - begun
    return [*outcomes, replace(together, seconds=spent)]
