"""From the scores of a probe to figures with intervals, and to the metrics that the gate sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audits.membership.detection import LOW_RATES, LowRate, low_rate, p_value
from audits.membership.probe import Access, Arm, Probe, Scores
from audits.membership.split import Validity
from synguard.metrics.catalogue import CATALOGUE
from synguard.metrics.intervals import clopper_pearson, clopper_pearson_bounds
from synguard.metrics.ranks import (
    auc,
    clustered_auc,
    minimum_detectable_auc,
    null_bounds,
    resample,
    roc,
    tpr_at_fpr,
)
from synguard.results import Metric, MetricState

__all__ = [
    "Outcome",
    "auc_metric",
    "compare",
    "evidence",
    "judge",
    "metrics",
    "not_tested",
    "split_evidence",
    "split_metrics",
]

Floats = NDArray[np.float64]
FPR = 0.01
SMALLEST = 20
"""Patients a side below which neither a resample nor a normal approximation means anything."""
_CURVE_POINTS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one probe found. `state` is "error" with a sentence where its scores were unusable; then the figures are NaN.

    Intervals are two-sided 95 %, bounds one-sided 95 % each, `*_attainable` the bounds of a score that knows nothing.
    """

    name: str
    access: Access
    method: str
    state: MetricState
    tpr_state: MetricState
    note: str
    n_members: int
    n_nonmembers: int
    member_patients: int
    nonmember_patients: int
    auc: float = math.nan
    auc_interval: tuple[float, float] = (0.0, 1.0)
    auc_bounds: tuple[float, float] = (0.0, 1.0)
    auc_attainable: tuple[float, float] = (0.0, 1.0)
    minimum_detectable_auc: float = 1.0
    placebo_auc: float = math.nan
    tpr: float = math.nan
    tpr_interval: tuple[float, float] = (0.0, 1.0)
    tpr_bounds: tuple[float, float] = (0.0, 1.0)
    tpr_attainable: tuple[float, float] = (0.0, 1.0)
    p_value: float = 1.0
    """Of telling members from others at all, by the AUC or by the rate at 1 %: twice the smaller of the two."""
    low_rates: tuple[LowRate, ...] = ()
    parts: tuple[tuple[str, float], ...] = ()
    curve: tuple[tuple[float, ...], ...] = ()
    """Rows fpr, tpr, low, high."""
    calls: int | None = None
    """Passes through the model an image, where it was asked."""
    seconds: float = 0.0
    """Spent on all images."""
    scores: tuple[Floats, Floats] | None = None
    """Of every member and non-member, where they can be used."""


def judge(probe: Probe, members: Arm, nonmembers: Arm, *, resamples: int, seed: int) -> Outcome:
    """Score both arms and compare them, with errors by patient."""
    named = {"name": probe.name, "access": probe.access, "method": probe.method}
    return compare(probe.scores(members), probe.scores(nonmembers), members, nonmembers, named, resamples, seed)


def compare(
    inside: Scores,
    outside: Scores,
    members: Arm,
    nonmembers: Arm,
    named: Mapping[str, str],
    resamples: int,
    seed: int,
) -> Outcome:
    """Compare the scores of both arms, with errors by patient. `named` holds name, access and method of what scored them."""
    patients = (members.images.patients.astype(str), nonmembers.images.patients.astype(str))
    base: dict[str, Any] = {
        **named,
        "n_members": len(members),
        "n_nonmembers": len(nonmembers),
        "member_patients": len(np.unique(patients[0])),
        "nonmember_patients": len(np.unique(patients[1])),
    }
    bad = sum(int((~np.isfinite(s.score)).sum()) for s in (inside, outside))
    if bad:
        note = f"probe {base['name']}: found {bad} of {len(members) + len(nonmembers)} scores not finite"
        return Outcome(**base, state="error", tpr_state="error", note=note)
    if np.ptp(np.concatenate([inside.score, outside.score])) == 0:
        # It would measure exactly a half without any spread, and pass.
        note = f"probe {base['name']}: found one and the same score for all images"
        return Outcome(**base, state="error", tpr_state="error", note=note)
    scores = (inside.score, outside.score)
    fewest = min(base["member_patients"], base["nonmember_patients"])
    if fewest < SMALLEST:
        note = f"probe {base['name']}: found {fewest} patients on a side, expected at least {SMALLEST}"
        return Outcome(**base, state="insufficient", tpr_state="insufficient", note=note, scores=scores)
    return Outcome(**base, **_figures(inside, outside, patients, resamples, seed), scores=scores)


def _figures(
    inside: Scores, outside: Scores, patients: tuple[NDArray[np.str_], NDArray[np.str_]], resamples: int, seed: int
) -> dict[str, Any]:
    m, n = len(inside.score), len(outside.score)
    rates = _rates(n)
    spread = resample(inside.score, outside.score, *patients, fpr=rates, resamples=resamples, seed=seed)
    effect = clustered_auc(inside.score, outside.score, *patients).design_effect
    people, unseen, needed = len(np.unique(patients[0])), len(np.unique(patients[1])), round(1 / FPR)
    enough = unseen >= needed

    def at(target: float) -> tuple[float, int, Floats]:
        """The rate found, the patients it stands for, and the rate in each resample."""
        found = tpr_at_fpr(inside.score, outside.score, target)
        return found, round(found * people), spread.tpr[:, np.searchsorted(rates, target)]

    def ends(target: float, tail: float, exact: Callable[[int, int], tuple[float, float]]) -> tuple[float, float]:
        """Where no resample names anybody, the spread is 0 although the evidence is finite: never narrower than exact."""
        _, named, drawn = at(target)
        return _wider(_quantiles(drawn, tail), exact(named, people))

    fpr, tpr = roc(inside.score, outside.score)
    return {
        "state": "measured",
        "tpr_state": "measured" if enough else "insufficient",
        "note": "" if enough else f"found {unseen} non-member patients, expected at least {needed} for a rate of {FPR:.0%}",
        "auc": auc(inside.score, outside.score),
        "auc_interval": spread.auc_interval(),
        "auc_bounds": spread.auc_bounds(),
        "auc_attainable": null_bounds(m, n, effect),
        "minimum_detectable_auc": minimum_detectable_auc(m, n, effect),
        "placebo_auc": _placebo(inside.score, patients[0], seed),
        "tpr": at(FPR)[0] if enough else math.nan,
        "tpr_interval": ends(FPR, 0.025, clopper_pearson),
        "tpr_bounds": ends(FPR, 0.05, clopper_pearson_bounds),
        "tpr_attainable": _wider(
            _attainable(tuple(patients[0].tolist()), tuple(patients[1].tolist()), resamples, seed),
            clopper_pearson_bounds(round(FPR * people), people),
        ),
        "p_value": p_value(inside.score, outside.score, *patients, fpr=FPR, seed=seed),
        "low_rates": tuple(
            low_rate(target, at(target)[0], ends(target, 0.025, clopper_pearson), people, unseen) for target in LOW_RATES
        ),
        "parts": tuple((name, auc(part, outside.parts[name])) for name, part in inside.parts.items()),
        "curve": tuple(
            tuple(float(value) for value in row)
            for row in (
                rates,
                tpr[np.searchsorted(fpr, rates + 1e-12, side="right") - 1],
                spread.tpr_quantile(0.025),
                spread.tpr_quantile(0.975),
            )
        ),
    }


@lru_cache(maxsize=4)
def _attainable(members: tuple[str, ...], others: tuple[str, ...], resamples: int, seed: int) -> tuple[float, float]:
    """Bounds of the rate at 1 % of a score that knows nothing, in its most typical draw: the same for every probe."""
    m, n = len(members), len(others)
    typical = np.random.default_rng([seed, 0x7AB1])
    null = resample(
        typical.permutation((np.arange(m) + 0.5) / m),
        typical.permutation((np.arange(n) + 0.5) / n),
        np.array(members),
        np.array(others),
        fpr=np.array([FPR]),
        resamples=resamples,
        seed=seed,
    )
    return _quantiles(null.tpr[:, 0], 0.05)


def _rates(nonmembers: int) -> Floats:
    """False positive rates that can be attained, spread evenly on a log axis, with the low ones and both ends among them."""
    counts = np.geomspace(1, nonmembers, _CURVE_POINTS).round()
    return np.unique(np.concatenate([[0.0], counts / nonmembers, LOW_RATES]))


def _quantiles(values: Floats, tail: float) -> tuple[float, float]:
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _wider(ends: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(ends[0], other[0]), max(ends[1], other[1])


def _placebo(score: Floats, patients: NDArray[np.str_], seed: int) -> float:
    """The same scores for one random half of the members against the other."""
    names, codes = np.unique(patients, return_inverse=True)
    first = (np.random.default_rng([seed, 0x91AC]).permutation(len(names)) < len(names) / 2)[codes]
    return auc(score[first], score[~first])


def metrics(prefix: str, outcomes: Sequence[Outcome], validity: Validity) -> tuple[Metric, Metric]:
    """`<prefix>.auc` and `<prefix>.tpr_at_fpr_0.01` of the primary probe; of several sets of weights the worse counts.

    A split that is not valid passes its state on, with the figures still shown. An unusable probe counts before the others.
    """
    rate = f"{prefix}.tpr_at_fpr_{FPR}"
    auc_found = auc_metric(f"{prefix}.auc", outcomes, validity)
    broken = _broken(rate, outcomes)
    if broken is not None:
        return auc_found, broken
    worst = max(outcomes, key=lambda o: o.tpr_bounds[1])
    value = None if math.isnan(worst.tpr) else worst.tpr
    figures = _Figures(value, worst.tpr_interval, worst.tpr_bounds, worst.tpr_attainable, worst.tpr_state, FPR)
    return auc_found, _measured(rate, worst, figures, validity, _RATE)


def auc_metric(name: str, outcomes: Sequence[Outcome], validity: Validity) -> Metric:
    """The AUC under `name`: that of the worst outcome. A split that is not valid passes its state on."""
    broken = _broken(name, outcomes)
    if broken is not None:
        return broken
    worst = max(outcomes, key=lambda o: o.auc_bounds[1])
    figures = _Figures(worst.auc, worst.auc_interval, worst.auc_bounds, worst.auc_attainable, worst.state, 0.5)
    return _measured(name, worst, figures, validity, _BOOTSTRAP)


@dataclass(frozen=True, slots=True)
class _Figures:
    value: float | None
    interval: tuple[float, float]
    bounds: tuple[float, float]
    attainable: tuple[float, float]
    state: MetricState
    chance: float


def _measured(name: str, outcome: Outcome, figures: _Figures, validity: Validity, how: str) -> Metric:
    own = figures.state
    state: MetricState = own if own != "measured" or validity.state == "valid" else validity.state
    return Metric(
        name=name,
        value=figures.value,
        n=_smaller(outcome),
        unit=CATALOGUE[name].unit,
        method=f"{outcome.method} {_sizes(outcome)}; {how}",
        interval=figures.interval,
        bounds=figures.bounds,
        attainable=figures.attainable,
        baseline=figures.chance,
        baseline_name="chance",
        state=state,
        note=outcome.note if own != "measured" else validity.reason if state != "measured" else "",
    )


def _broken(name: str, outcomes: Sequence[Outcome]) -> Metric | None:
    """The metric without a figure where one of the outcomes has none."""
    broken = next((o for o in outcomes if o.state != "measured"), None)
    if broken is None:
        return None
    return Metric(
        name=name,
        value=None,
        n=_smaller(broken),
        unit=CATALOGUE[name].unit,
        method=broken.method,
        state=broken.state,
        note=broken.note,
    )


_BOOTSTRAP = "percentile bootstrap of members and non-members by patient"
_RATE = (
    f"{_BOOTSTRAP}, the threshold taken anew in each resample, no interpolation, at least as wide as the exact binomial one "
    "of the members' patients"
)


def not_tested(prefix: str, reason: str, state: MetricState = "not_tested") -> tuple[Metric, Metric]:
    """The two metrics of an access level that could not be probed; `insufficient` where there was nobody to probe."""
    auc_metric, tpr_metric = (
        Metric(name=name, value=None, n=0, unit=CATALOGUE[name].unit, method="", state=state, note=reason)
        for name in (f"{prefix}.auc", f"{prefix}.tpr_at_fpr_{FPR}")
    )
    return auc_metric, tpr_metric


def split_metrics(validity: Validity) -> tuple[Metric, Metric]:
    """`membership.split.auc` and `membership.placebo.auc`."""
    state: MetricState = "measured" if validity.state == "valid" else validity.state
    smaller = min(validity.n_members, validity.n_nonmembers)
    sizes = f"{validity.n_members} private images against {validity.n_nonmembers} of the holdout, all roles"
    split = Metric(
        name="membership.split.auc",
        value=validity.auc,
        n=smaller,
        unit="AUC",
        method=(
            f"best of {len(validity.each)} model-free classifiers ({validity.classifier}), tested on other patients, "
            f"{sizes}; p = {validity.p_value:.3g} by {validity.permutations} permutations of patients; normal interval by "
            "patient, the whole procedure done anew (jackknife), its lower end corrected for taking the best"
        ),
        interval=validity.interval,
        bounds=validity.bounds,
        attainable=(0.0, validity.excludes),
        baseline=validity.placebo_auc,
        baseline_name="placebo",
        state=state,
        note=validity.reason,
    )
    placebo = Metric(
        name="membership.placebo.auc",
        value=validity.placebo_auc,
        n=validity.n_members,
        unit="AUC",
        method="the same classifier on random cuts of the private set by patient, their mean and the spread of one cut",
        interval=validity.placebo_interval,
        bounds=validity.placebo_bounds,
        baseline=0.5,
        baseline_name="chance",
        state="insufficient" if validity.classifier == "none" else "measured",
    )
    return split, placebo


def evidence(outcome: Outcome, metric: str | None) -> dict[str, Any]:
    """One row of `probes` for the report; `metric` is the verdict the probe stands for, None where it only informs."""
    row: dict[str, Any] = {
        "name": outcome.name,
        "role": "evaluation",
        "access": outcome.access,
        "metric": metric,
        "method": outcome.method,
        "state": outcome.state,
        "note": outcome.note,
        "n_members": outcome.n_members,
        "n_nonmembers": outcome.n_nonmembers,
        "member_patients": outcome.member_patients,
        "nonmember_patients": outcome.nonmember_patients,
        "calls": outcome.calls,
        "seconds": outcome.seconds,
    }
    if outcome.state != "measured":
        return row
    return row | {
        "auc": outcome.auc,
        "interval": list(outcome.auc_interval),
        "bound": outcome.auc_bounds[1],
        "attainable": outcome.auc_attainable[1],
        "placebo_auc": outcome.placebo_auc,
        "minimum_detectable_auc": outcome.minimum_detectable_auc,
        "tpr": None if math.isnan(outcome.tpr) else outcome.tpr,
        "tpr_interval": list(outcome.tpr_interval),
        "tpr_bound": outcome.tpr_bounds[1],
        "tpr_attainable": outcome.tpr_attainable[1],
        "p_value": outcome.p_value,
        "low_rates": [asdict(rate) for rate in outcome.low_rates],
        "parts": [{"name": name, "auc": value} for name, value in outcome.parts],
        "roc": dict(zip(("fpr", "tpr", "low", "high"), (list(row) for row in outcome.curve), strict=True)),
    }


def split_evidence(validity: Validity) -> dict[str, Any]:
    """The `split` part of the evidence."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(validity).items()}


def _smaller(outcome: Outcome) -> int:
    return min(outcome.n_members, outcome.n_nonmembers)


def _sizes(outcome: Outcome) -> str:
    return (
        f"{outcome.n_members} members ({outcome.member_patients} patients) against {outcome.n_nonmembers} non-members "
        f"of the evaluation role ({outcome.nonmember_patients} patients)"
    )
