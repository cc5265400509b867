"""Limits from real against real: what audits say of releases that are real images which the generator never saw.

Such a release is clean by construction, so its figures are what chance, the images and the audit itself make of a clean
release of that size. The proposed limit is one that a further such audit keeps with a chance of 95 %:

- from 19 audits on, by rank: with k audits the r-th of the mildest figures is kept by the next one with a chance of
  r / (k + 1), whatever their distribution (conformal prediction: Fontana et al. 2023, doi:10.3150/21-BEJ1447);
- from 3 to 18, by the one-sided prediction limit of a normal distribution, mean + t s sqrt(1 + 1/k), t with k - 1 degrees of
  freedom (Hahn 1970, doi:10.2307/2284349), and never stricter than the worst figure that was seen.

Figures are those that the gate holds (the bound, or the value of a count), so that a proposal holds for audits of the same
size. It is rounded away from the figures to two digits. No sensible limit is stricter; whether it is strict enough is
another question, which a leaking release has to answer.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from synguard.errors import InputError
from synguard.governance.gate import held_figure
from synguard.governance.limits import COUNTS, Limit, shown
from synguard.governance.policy.model import Check, Policy
from synguard.governance.record import metrics_of, verify_results
from synguard.metrics.catalogue import CATALOGUE
from synguard.results import Metric

__all__ = ["CHANCE", "FEWEST", "Proposal", "as_tightening", "calibrate", "prediction_limit", "read_audits"]

CHANCE = 0.95
FEWEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A limit for one metric and group. `current` are the fail limits of the policy's checks on it, by check id.

    `figures` are those of the audits, `n` the smallest and largest of what they were measured on.
    """

    metric: str
    group: str | None
    limit: Limit
    figures: tuple[float, ...]
    n: tuple[int, int]
    current: tuple[tuple[str, Limit], ...] = ()

    @property
    def unreachable(self) -> tuple[str, ...]:
        """Checks whose limit clean releases miss more often than once in twenty."""
        return tuple(name for name, limit in self.current if self.limit.looser_than(limit))

    @property
    def method(self) -> str:
        """The way the limit was found, for its `source`."""
        how = "by rank" if len(self.figures) >= 19 else "by the normal prediction limit"
        size = f"{self.n[0]:,}" if self.n[0] == self.n[1] else f"{self.n[0]:,} to {self.n[1]:,}"
        return f"{len(self.figures)} audits of unseen real images, n = {size}, {how}, chance {100 * CHANCE:g} %"


def read_audits(paths: Sequence[Path]) -> tuple[tuple[Metric, ...], ...]:
    """The metrics of each audit, from run folders or their results.json; their signatures are verified.

    Raises InputError for fewer than three audits or one that was given twice, IntegrityError for changed ones.
    """
    seen: dict[str, Path] = {}
    audits = []
    for path in paths:
        folder = path if path.is_dir() else path.parent
        document = verify_results(folder)
        digest = hashlib.sha256((folder / "results.json").read_bytes()).hexdigest()
        if digest in seen:
            raise InputError.of(path, f"the same results as in {seen[digest]}", "audits of different draws of images")
        seen[digest] = path
        audits.append(metrics_of(document))
        copies = max((metric.value or 0 for metric in audits[-1] if metric.name == "memorisation.exact_copies"), default=0)
        if copies:
            raise InputError.of(path, f"{copies:g} exact copies of private images", "an audit of unseen images")
    if len(audits) < FEWEST:
        raise InputError.of("audits", f"{len(audits)}", f"at least {FEWEST} of unseen real images; 19 need no assumption")
    return tuple(audits)


def calibrate(policy: Policy, audits: Sequence[Sequence[Metric]]) -> tuple[Proposal, ...]:
    """A proposal for each metric and group that all audits measured, but not for counts of which none is tolerable.

    Metrics that the policy says nothing about have one as well: for distances there is no other way to a limit.
    """
    found: dict[tuple[str, str | None], list[Metric]] = defaultdict(list)
    for audit in audits:
        for metric in audit:
            spec = CATALOGUE.get(metric.name)
            if spec and metric.state == "measured" and metric.unit == spec.unit and _finite(held_figure(metric, spec)):
                found[metric.name, metric.group].append(metric)
    proposals = (
        _proposal(policy, name, group, metrics)
        for (name, group), metrics in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or ""))
        if len(metrics) == len(audits) and not _sacrosanct(policy, name, group)
    )
    return tuple(proposal for proposal in proposals if not proposal.limit.idle)


def prediction_limit(figures: Sequence[float], *, high: bool) -> float:
    """What a further figure keeps with a chance of 95 %, an upper limit if `high`. ValueError for fewer than three."""
    if len(figures) < FEWEST:
        raise ValueError(f"found {len(figures)} figures, expected at least {FEWEST}")
    sign = 1.0 if high else -1.0
    x = np.sort(sign * np.asarray(figures, dtype=float))
    rank = math.ceil(CHANCE * (len(x) + 1) - 1e-9)
    if rank <= len(x):
        return sign * float(x[rank - 1])
    spread = float(t.ppf(CHANCE, len(x) - 1)) * float(x.std(ddof=1)) * math.sqrt(1 + 1 / len(x))
    return sign * max(float(x.mean()) + spread, float(x[-1]))


def as_tightening(policy: Policy, base: str, proposals: Sequence[Proposal]) -> str:
    """A policy file that extends `policy`, which is called `base` there, by the proposals that are stricter than its limits.

    Empty where none is. Limits that clean releases miss are no tightening; they are in `Proposal.unreachable`.
    """
    checks = {check.id: check for check in policy.checks}
    rows = []
    for proposal in proposals:
        for name, limit in proposal.current:
            if limit.looser_than(proposal.limit):
                one = checks[name].groups or checks[name].each_group
                rows += [f"  - check: {name}"]
                rows += [f"    groups: [{json.dumps(proposal.group, ensure_ascii=False)}]"] if one else []
                written = shown(proposal.limit.value, proposal.limit.unit, 12).replace(" %", "%")
                rows += [f"    fail: {{{proposal.limit.side}: {written}}}"]
                rows += ["    reason: Audits of unseen real images keep this limit nineteen times of twenty."]
                rows += [f"    source: {proposal.method}"]
    if not rows:
        return ""
    head = ["schema: synguard/policy/v1", f"name: {policy.name}-calibrated", "version: 1.0.0"]
    head += [f"extends: {{policy: {json.dumps(base)}, sha256: {policy.sha256}}}", "tighten:"]
    return "\n".join([*head, *rows]) + "\n"


def _proposal(policy: Policy, name: str, group: str | None, metrics: Sequence[Metric]) -> Proposal:
    spec = CATALOGUE[name]
    high = spec.direction == "lower"
    figures = tuple(figure for metric in metrics if (figure := held_figure(metric, spec)) is not None)
    value = _rounded(prediction_limit(figures, high=high), spec.unit, high=high)
    sizes = [metric.n for metric in metrics]
    return Proposal(
        metric=name,
        group=group,
        limit=Limit(side="above" if high else "below", value=value, unit=spec.unit),
        figures=figures,
        n=(min(sizes), max(sizes)),
        current=tuple(
            (check.id, form.limits["fail"])
            for check in policy.checks
            if check.metric == name and _looks_at(check, group) and "fail" in (form := check.forms(group)[-1]).limits
        ),
    )


def _looks_at(check: Check, group: str | None) -> bool:
    if check.each_group:
        return group is not None
    return group in (check.groups or (check.group,))


def _sacrosanct(policy: Policy, name: str, group: str | None) -> bool:
    """A count that a blocker holds. Rates that one holds, such as recall, may be held tighter."""
    counted = CATALOGUE[name].held_on == "value"
    return counted and any(check.metric == name and check.blocker and _looks_at(check, group) for check in policy.checks)


def _finite(figure: Any) -> bool:
    return figure is not None and math.isfinite(figure)


def _rounded(value: float, unit: str, *, high: bool) -> float:
    """Two digits, away from the figures, within what the unit can be."""
    if value == 0:
        return 0.0
    if unit in COUNTS:
        return float(math.ceil(value - 1e-9) if high else math.floor(value + 1e-9))
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    steps = math.ceil(value / step - 1e-9) if high else math.floor(value / step + 1e-9)
    rounded = float(f"{steps * step:.12g}")
    return min(1.0, rounded) if unit in ("share", "AUC") else rounded
