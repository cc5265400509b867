"""How much privacy was lost, as epsilon: at most by the accountant of private training, at least by canaries.

    training.epsilon_upper_bound     what DP-SGD's accountant vouches for, as the model card has it
    membership.epsilon_lower_bound   what an attack on canaries proves; group steinke: by the older theorem, which pays more
                                     for delta; group gaussian: if the mechanism is nearly Gaussian

Without canaries the membership audit gives an epsilon equivalent instead, which is no bound.

A canary's score is the mean over its patient's images, of a white-box statistic standardised on unseen images (calibration
role), mean over the sets of weights. Nothing in it looks at who is a canary or how a coin fell. The statistics, the numbers
of guesses and their sides are fixed beforehand, and trying several is paid for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audits.membership.choose import choose, turns_of
from audits.membership.difficulty import Difficulty
from audits.membership.equivalent import FEWEST
from audits.membership.probe import Arm, Roles, Schema
from audits.membership.statistics import Statistic, measure
from audits.membership.target import Shown, Target
from synguard.config import MembershipConfig
from synguard.data.images import ImageSet
from synguard.metrics.one_run import PLANS, Form, OneRun, best_possible, default_delta, lower_bound
from synguard.metrics.ranks import auc
from synguard.protocols import Denoiser
from synguard.results import AuditResult, Metric

__all__ = ["Drawn", "Spent", "delta_of", "run"]

_UPPER, _LOWER = "training.epsilon_upper_bound", "membership.epsilon_lower_bound"
_DELTA = 1e-5
"""Where no accountant says at which delta; a larger one could only hide part of what the canaries prove."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a model card says of private training. `not_covered` are the names of what the bound leaves out."""

    epsilon: float
    delta: float
    unit: str
    patients: int
    method: str
    covers: str
    not_covered: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Canaries by how their coin fell, and what the model card was committed to before the training."""

    put_in: ImageSet
    left_out: ImageSet
    commitment: str


def run(
    private: ImageSet,
    roles: Roles,
    *,
    drawn: Drawn | str,
    spent: Spent | str,
    conditions: Schema | None,
    denoiser: Denoiser | None,
    closed: str,
    config: MembershipConfig,
    seed: int,
) -> AuditResult:
    """The figures above. `drawn` and `spent` are texts that say why there is none, `closed` why there is no denoiser.

    Where the canaries prove more than the accountant's bound, that bound is invalid for this model.
    """
    started = time.perf_counter()
    delta = delta_of(spent, private)
    upper = _upper(spent)
    found: list[Metric] = []
    evidence: dict[str, Any] = {"delta": delta, "upper": _told(spent)}
    if not isinstance(drawn, Drawn) or denoiser is None:
        found.append(_absent(_LOWER, closed if denoiser is None else str(drawn)))
    else:
        arms = Arm.of(roles.calibration, conditions)
        scorer = _Scorer.of(denoiser, arms, conditions, config, seed)
        lower, evidence["lower"] = _lower(drawn, scorer, delta, seed)
        found += lower
        upper = _refuted(upper, lower[0])
    return AuditResult(
        name="epsilon",
        metrics=(upper, *found),
        evidence=evidence,
        public=("delta", "upper", "lower"),
        seconds=time.perf_counter() - started,
    )


def delta_of(spent: Spent | str, private: ImageSet) -> float:
    """The delta at which epsilon is given: the accountant's, where there is one."""
    patients = len(np.unique(private.patients))
    return spent.delta if isinstance(spent, Spent) else min(_DELTA, default_delta(patients))


@dataclass(frozen=True, slots=True, eq=False)
class _Scorer:
    """Statistics of one model, ready to score patients."""

    denoiser: Denoiser
    statistics: tuple[Statistic, ...]
    calibration: Arm
    schema: Schema | None
    turns: tuple[int, ...]

    @classmethod
    def of(cls, denoiser: Denoiser, calibration: Arm, schema: Schema | None, config: MembershipConfig, seed: int) -> _Scorer:
        chosen = choose(denoiser, calibration, config, reference=None, seed=seed)
        return cls(denoiser, chosen.statistics, calibration, schema, turns_of(denoiser, config))

    @property
    def names(self) -> str:
        """What the statistics are called."""
        return ", ".join(statistic.name for statistic in self.statistics)

    def patients(self, inside: ImageSet, outside: ImageSet) -> tuple[Floats, NDArray[np.bool_]]:
        """Scores (statistics, patients) and which of the patients are inside; a patient's is the mean of the images'."""
        images = inside.joined(outside, "canaries")
        arm = Arm.of(images, self.schema)
        scores = np.zeros((len(self.statistics), len(images)))
        seen, unseen = (Shown.of(one, self.denoiser, self.turns) for one in (arm, self.calibration))
        for weights in self.denoiser.weights:
            target = Target(self.denoiser, weights, self.turns)
            for row, statistic in enumerate(self.statistics):
                known = measure(statistic, target, unseen)
                found = measure(statistic, target, seen)
                beyond = Difficulty.fit(known.beside, known.figures).standardise(found.beside, found.figures)
                scores[row] -= beyond.mean(axis=1) / len(self.denoiser.weights)
        names, codes = np.unique(images.patients, return_inverse=True)
        means = np.stack([np.bincount(codes, weights=row) / np.bincount(codes) for row in scores])
        return means, np.isin(names, np.unique(inside.patients))


def _upper(spent: Spent | str) -> Metric:
    if isinstance(spent, str):
        return _absent(_UPPER, spent)
    return Metric(
        name=_UPPER,
        value=spent.epsilon,
        n=spent.patients,
        unit="epsilon",
        method=f"{spent.method}; at delta {spent.delta:.3g}, for each {spent.unit}; covers {spent.covers}",
        interval=(0.0, spent.epsilon),
        bounds=(0.0, spent.epsilon),
        note=f"not covered: {', '.join(spent.not_covered)}",
    )


def _told(spent: Spent | str) -> dict[str, Any]:
    if isinstance(spent, str):
        return {"reason": spent}
    return {
        "epsilon": spent.epsilon,
        "delta": spent.delta,
        "unit": spent.unit,
        "patients": spent.patients,
        "not_covered": list(spent.not_covered),
    }


def _lower(drawn: Drawn, scorer: _Scorer, delta: float, seed: int) -> tuple[list[Metric], dict[str, Any]]:
    scores, included = scorer.patients(drawn.put_in, drawn.left_out)
    if not np.isfinite(scores).all():
        note = f"found {int((~np.isfinite(scores)).any(axis=0).sum())} canaries with scores that are not finite"
        broken = Metric(name=_LOWER, value=None, n=len(included), unit="epsilon", method="", state="error", note=note)
        return [replace(broken, group=group) for group in _FORMS.values()], {"reason": note}
    found = {form: lower_bound(scores, included, delta=delta, form=form, seed=seed) for form in _FORMS}
    ceiling = best_possible(len(included), delta=delta, probes=len(scores))
    made = [_bound(found[form], group, scorer.names, ceiling) for form, group in _FORMS.items()]
    told = {
        "canaries": len(included),
        "included": int(included.sum()),
        "commitment": drawn.commitment,
        "most": ceiling,
        "auc": max(auc(row[included], row[~included]) for row in scores) if 0 < included.sum() < len(included) else None,
        "forms": {form: _row(one) for form, one in found.items()},
        "state": made[0].state,
    }
    return made, told


_FORMS: Mapping[Form, str | None] = {"f-dp": None, "approximate": "steinke", "gaussian": "gaussian"}
_SOURCES: Mapping[str, str] = {
    "f-dp": "one-run audit (Steinke et al. 2023; bounded by the recursion of Mahloujifar et al. 2024)",
    "approximate": "one-run audit (Steinke et al. 2023, theorem 5.2)",
    "gaussian": "one-run audit (Mahloujifar et al. 2024), a bound if the mechanism's trade-off curve is Gaussian",
}


def _bound(found: OneRun, group: str | None, names: str, ceiling: float) -> Metric:
    few = found.canaries < FEWEST
    return Metric(
        name=_LOWER,
        group=group,
        value=found.epsilon,
        n=found.canaries,
        unit="epsilon",
        method=(
            f"{_SOURCES[found.form]} on {found.canaries} patients whom coins put in or left out: {found.correct} of "
            f"{found.guesses} guesses right, the best of {found.plans} fixed ways to guess ({names}; {len(PLANS)} numbers "
            f"of guesses each), each at {100 * found.each:.3g} % so that all hold at {100 * found.confidence:g} %; at delta "
            f"{found.delta:.3g}; so many canaries can show at most {ceiling:.3g} at delta"
        ),
        interval=(found.epsilon, math.inf),
        bounds=(found.epsilon, math.inf),
        confidence=found.confidence,
        state="insufficient" if few else "measured",
        note=f"found {found.canaries} canaries, expected at least {FEWEST}" if few else "",
    )


def _row(found: OneRun) -> dict[str, Any]:
    return {"epsilon": found.epsilon, "guesses": found.guesses, "correct": found.correct, "plans": found.plans}


def _refuted(upper: Metric, lower: Metric) -> Metric:
    """The upper bound, invalid where the canaries prove more."""
    if upper.value is None or lower.value is None or lower.value <= upper.value:
        return upper
    note = (
        f"canaries prove an epsilon of at least {lower.value:.3g} with {100 * lower.confidence:g} % confidence: through "
        "what is not covered, or because the training was not as private as claimed"
    )
    return replace(upper, state="invalid", note=f"{note}; {upper.note}")


def _absent(name: str, reason: str) -> Metric:
    return Metric(name=name, value=None, n=0, unit="epsilon", method="", state="not_tested", note=reason)
