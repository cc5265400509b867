"""The gate: holds every check of a policy against the metrics of a run and decides on the release. Pure.

How one limit is held against one metric:

- Counts over everything there is (`held_on` "value" in the catalogue) are held on the value, all else on its bound.
- A limit is broken strictly beyond it. A broken `fail` limit is a fail, unless even a perfectly clean release of the same
  size would have broken it and the opposite bound does not prove the breach: then the evidence is too small.
- That evidence is spoilt is said where the opposite bound proves it: a broken `invalid` limit that the interval reaches back
  over is too little evidence. Both end as 22, but only one of them says something against the data.
- A check may ask for proof of a breach instead (`prove: breach`, for many small groups, of which a clean release would break
  some by chance). It fails only where the opposite bound breaks the limit, and too little evidence is a warning there.
- No evidence is no pass: a metric that is absent, insufficient, invalid or errored leaves its check undecided (exit 22).
  An audit that errored is missing evidence too, not an internal error: the run is whole, its record is signed, and
  a fail elsewhere still decides (20 before 22). Exit 1 is left for runs that could not write their results.
- A copy that was seen is a breach, even where the holdout is spoilt: broken limits on a census fail in every state.
- A copy in what would be released fails under any policy, also under one that does not ask for copies; one that two readers
  confirmed counts like one that the audit verified.
- Where a policy asks more of a check, or of single groups of it, all of that is held, and the weightiest result counts.
- A waiver in force lifts a fail limit to its ceiling, never further: what keeps the ceiling is `waived`, a warning.
- A policy that nobody has reviewed by its day fails. Where the day is not known, nothing that depends on it can pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Literal

from synguard.governance import wording
from synguard.governance.limits import Limit
from synguard.governance.policy import LEVELS, Check, Policy, Waiver
from synguard.metrics.catalogue import CATALOGUE, MetricSpec
from synguard.metrics.sample_size import clean_bound
from synguard.results import CheckResult, Decision, ExitCode, Metric, Status

__all__ = ["SEVERITY", "decide", "held_figure", "holds_until"]

SEVERITY: tuple[Status, ...] = ("fail", "error", "invalid", "insufficient", "warn", "waived", "pass")
"""Statuses from the one that weighs most."""

_EXIT: dict[Status, ExitCode] = {
    "fail": ExitCode.FAIL,
    "error": ExitCode.EVIDENCE,
    "invalid": ExitCode.EVIDENCE,
    "insufficient": ExitCode.EVIDENCE,
    "warn": ExitCode.WARN,
    "waived": ExitCode.WARN,
    "pass": ExitCode.PASS,
}
_COPIES = (
    "memorisation.exact_copies",
    "memorisation.verified_copies",
    "memorisation.holdout_copies",
    "review.copies_confirmed",
)
"""Of these no policy may let one into the release."""
_SIDE = {"lower": 0, "upper": 1}
"""Which of a metric's two bounds is the unfavourable one, by what the catalogue holds it on."""

_DECIDED: dict[Status, Literal["pass", "warn", "fail", "insufficient", "error"]] = {
    "fail": "fail",
    "error": "error",
    "invalid": "insufficient",
    "insufficient": "insufficient",
    "warn": "warn",
    "waived": "warn",
    "pass": "pass",
}


def decide(
    policy: Policy,
    metrics: Sequence[Metric],
    *,
    released: Sequence[str],
    today: date | None = None,
    fail_on_warn: bool = False,
) -> Decision:
    """The decision on a release that consists of `released` ("images", "model"), from the metrics of its audits.

    Every check that applies gives one result for each metric it looks at; the weightiest decides. A policy of which no check
    applies, or a release of something that the policy does not speak of, is never a pass. How often the gate was asked comes
    as the metric `run.attempts`. `today` is the day of the decision; without it, no waiver counts.
    """
    waivers = [waiver for waiver in policy.waivers if today is not None and waiver.in_force(today)]
    results: list[CheckResult] = []
    for check in policy.checks:
        if check.applies(released):
            results += _hold(replace(check, confidence=check.confidence or policy.confidence), metrics, waivers)
    if not results:
        results = [_about_policy("no-check", "the policy has no check that applies, and nothing passes unchecked")]
    unspoken = [what for what in released if what not in policy.releases]
    if unspoken or not released:
        what = f"a release of {' and '.join(unspoken)}" if unspoken else "a release of nothing"
        results.append(_about_policy("release-covered", f"the policy {policy.name} says nothing about {what}"))
    results += _copies_let_through(metrics, results)
    results += _days(policy, today)
    return _combine(policy, results, fail_on_warn)


def holds_until(policy: Policy, decision: Decision) -> date | None:
    """The last day on which the decision stands: that of the policy's review, or of the first waiver in use to run out."""
    used = {check.waiver for check in decision.checks if check.waiver}
    days = [waiver.expires for waiver in policy.waivers if waiver.id in used]
    return min([*days, *([policy.review_by] if policy.review_by else [])], default=None)


def held_figure(metric: Metric, spec: MetricSpec) -> float | None:
    """What limits on a metric are held against: its value, or the bound on the unfavourable side; None without one."""
    if spec.held_on == "value" or metric.value is None:
        return metric.value
    return metric.bounds[_SIDE[spec.held_on]] if metric.bounds else None


def _days(policy: Policy, today: date | None) -> list[CheckResult]:
    """What the day of the decision makes of the policy itself."""
    if today is None:
        dated = policy.review_by is not None or policy.waivers
        return [_about_policy("policy-day", "the policy depends on the day, and the day was not given")] if dated else []
    found = []
    if policy.review_by is not None and today > policy.review_by:
        reason = f"the policy {policy.name} was to be reviewed by {policy.review_by}; nobody has stood by its limits since"
        found.append(replace(_about_policy("policy-review", reason, "fail"), blocker=True))
    for waiver in policy.waivers:
        if not waiver.in_force(today):
            when = f"ran out on {waiver.expires}" if today > waiver.expires else f"does not count before {waiver.issued}"
            reason = f"the waiver {waiver.id} for {waiver.check} {when} and was not used"
            found.append(_about_policy(f"waiver-{waiver.id}", reason, "warn"))
    return found


def _copies_let_through(metrics: Sequence[Metric], results: Sequence[CheckResult]) -> list[CheckResult]:
    """A fail for each kind of copy in what would be released that no check of the policy fails."""
    failed = {(result.metric, result.group) for result in results if result.status == "fail"}
    return [
        CheckResult(
            id="copies-in-release",
            metric=metric.name,
            group=metric.group,
            status="fail",
            reason=wording.copies_let_through(metric),
            value=metric.value,
            interval=metric.interval,
            bound=metric.value,
            limit="above 0 images",
            unit=metric.unit,
            n=metric.n,
            blocker=True,
            title="No copy in what would be released",
        )
        for metric in metrics
        if metric.name in _COPIES and metric.group == "accepted" and (metric.value or 0) > 0
        if (metric.name, metric.group) not in failed
    ]


def _hold(check: Check, metrics: Sequence[Metric], waivers: Sequence[Waiver]) -> list[CheckResult]:
    """One check against all metrics that it names."""
    named = [metric for metric in metrics if metric.name == check.metric]
    if check.each_group:
        return _hold_each_group(check, [m for m in named if m.group is not None], named, waivers)
    results = []
    for group in check.groups or (check.group,):
        found = [metric for metric in named if metric.group == group]
        results += [_strictest(check, metric, waivers) for metric in found] or [_missing(check, group)]
    return results


def _hold_each_group(
    check: Check, grouped: Sequence[Metric], named: Sequence[Metric], waivers: Sequence[Waiver]
) -> list[CheckResult]:
    small = [metric for metric in grouped if all(_not_judged(form, metric) for form in check.forms(metric.group))]
    results = [_strictest(check, metric, waivers) for metric in grouped if metric not in small]
    if small:
        results.append(replace(_blank(check, None, "warn"), reason=wording.small_groups(check, small)))
    if not results:
        # An audit that could not run has no groups to speak of, but says so once for all of them.
        whole = [metric for metric in named if metric.state == "not_tested"]
        results = [_strictest(check, metric, waivers) for metric in whole] or [_missing(check, None)]
    return results


def _strictest(check: Check, metric: Metric, waivers: Sequence[Waiver]) -> CheckResult:
    """The weightiest result of a check and all that is asked on top of it, unless a waiver excuses it."""
    forms = check.forms(metric.group)
    result = _weightiest([_judge(form, metric, form.confidence) for form in forms])
    waiver = next((waiver for waiver in waivers if waiver.covers(check.id, metric.group)), None)
    if waiver is None or check.blocker or result.status not in ("fail", "insufficient"):
        return result
    lifted = [form.lifted(waiver.ceiling) for form in forms]
    excused = _weightiest([_judge(form, metric, form.confidence) for form in lifted])
    if excused.status not in ("pass", "warn"):
        return replace(result, reason=wording.not_waived(result.reason, waiver))
    return replace(result, status="waived", waiver=waiver.id, reason=wording.waived(result.reason, waiver))


def _weightiest(results: Sequence[CheckResult]) -> CheckResult:
    """Of equally weighty ones the last, which was held against the strictest limit."""
    return min(reversed(results), key=lambda result: SEVERITY.index(result.status))


def _not_judged(check: Check, metric: Metric) -> bool:
    """Whether a group is only named: below the smallest group, or too little to show a breach."""
    if metric.state == "insufficient":
        return check.prove == "breach"
    return metric.state == "measured" and metric.n < check.smallest_group


def _judge(check: Check, metric: Metric, confidence: float) -> CheckResult:
    """One check against one metric."""
    spec = CATALOGUE[check.metric]
    seen = _census_breach(check, metric, spec)
    if seen is not None:
        return _result(check, metric, "fail", seen, seen)
    unusable = _unusable(check, metric, spec, confidence)
    if unusable is not None:
        status, problem = unusable
        return _result(check, metric, status, None, _heaviest(check), problem=problem)
    for level in LEVELS:
        limit = check.limits.get(level)
        if limit is None or not limit.breaks(_held(metric, spec, limit)):
            continue
        if level == "warn":
            return _result(check, metric, "warn", limit, limit)
        proven = _proven(metric, spec, limit)
        if check.prove == "breach" and not proven:
            continue
        if not proven and (level == "invalid" or _too_small(metric, spec, limit, confidence)):
            return _result(check, metric, "insufficient", limit, limit)
        return _result(check, metric, level, limit, limit)
    return _result(check, metric, "pass", None, _heaviest(check))


def _census_breach(check: Check, metric: Metric, spec: MetricSpec) -> Limit | None:
    """The fail limit that a full count breaks, whatever the state of the evidence otherwise."""
    limit = check.limits.get("fail")
    if limit is None or spec.held_on != "value" or spec.family != "census" or metric.unit != spec.unit:
        return None
    if metric.value is None or math.isnan(metric.value) or (limit.of_n and metric.n <= 0):
        return None
    return limit if limit.breaks(_held(metric, spec, limit)) else None


def _unusable(check: Check, metric: Metric, spec: MetricSpec, confidence: float) -> tuple[Status, str] | None:
    """Why the metric cannot be held against a limit, and what that makes of the check."""
    note = f": {metric.note}" if metric.note else ""
    if metric.state == "not_tested":
        return check.not_tested, f"not tested{note}"
    if metric.state == "insufficient":
        return "warn" if check.prove == "breach" else "insufficient", f"too little evidence{note}"
    if metric.state == "invalid":
        return "invalid", f"the evidence is invalid{note}"
    if metric.state != "measured":
        return "error", f"the audit ended with an error{note}"
    if metric.unit != spec.unit:
        return "error", f'the audit reports it in "{metric.unit}", the catalogue in "{spec.unit}"'
    if metric.value is None or math.isnan(metric.value):
        return "error", "the audit reports no value"
    if metric.n <= 0:
        return "insufficient", f"measured on no {spec.sample}"
    if spec.held_on == "value":
        return None
    if metric.bounds is None or any(math.isnan(bound) for bound in metric.bounds) or metric.bounds[0] > metric.bounds[1]:
        return "error", "the audit reports no confidence bounds"
    if metric.confidence < confidence:
        return "insufficient", f"bounds at {100 * metric.confidence:g} %, and the policy asks for {100 * confidence:g} %"
    return None


def _held(metric: Metric, spec: MetricSpec, limit: Limit) -> float:
    """The figure that the limit is held against; only asked of metrics that are usable."""
    if limit.of_n:
        return (metric.value or 0.0) / metric.n
    figure = held_figure(metric, spec)
    return math.nan if figure is None else figure


def _proven(metric: Metric, spec: MetricSpec, limit: Limit) -> bool:
    """Whether the whole interval is beyond the limit."""
    if spec.held_on == "value" or metric.bounds is None:
        return True
    return limit.breaks(metric.bounds[1 - _SIDE[spec.held_on]])


def _too_small(metric: Metric, spec: MetricSpec, limit: Limit, confidence: float) -> bool:
    """Whether a perfectly clean release with the same samples would have broken the limit as well."""
    if spec.held_on == "value":
        return False
    if metric.attainable is not None:
        return limit.breaks(metric.attainable[_SIDE[spec.held_on]])
    if spec.family not in ("rate", "recall", "share_half"):  # for the others, n alone does not tell the bound
        return False
    bound = clean_bound(spec.family, metric.n, confidence)
    return bound is not None and limit.breaks(bound)


def _combine(policy: Policy, results: Sequence[CheckResult], fail_on_warn: bool) -> Decision:
    weightiest = min((result.status for result in results), key=SEVERITY.index)
    codes = {_EXIT[result.status] for result in results}
    if not fail_on_warn:
        codes = {ExitCode.PASS if code is ExitCode.WARN else code for code in codes}
    open_ = [result for result in results if result.status != "pass"]
    open_.sort(key=lambda result: (SEVERITY.index(result.status), not result.blocker))
    reasons = tuple(dict.fromkeys(result.reason for result in open_))
    return Decision(
        status=_DECIDED[weightiest],
        exit_code=int(next(code for code in ExitCode.precedence() if code in codes)),
        reasons=reasons or (wording.all_passed(policy, len(results)),),
        checks=tuple(results),
    )


def _heaviest(check: Check) -> Limit:
    return next(check.limits[level] for level in LEVELS if level in check.limits)


def _blank(check: Check, group: str | None, status: Status) -> CheckResult:
    return CheckResult(
        id=check.id,
        metric=check.metric,
        group=group,
        status=status,
        reason="",
        limit=str(_heaviest(check)),
        unit=CATALOGUE[check.metric].unit,
        blocker=check.blocker,
        title=check.title,
    )


def _missing(check: Check, group: str | None) -> CheckResult:
    """Absent is worse than not tested: nobody even said why, so `not_tested` does not excuse it."""
    return replace(_blank(check, group, "insufficient"), reason=wording.missing(check, group))


def _about_policy(name: str, reason: str, status: Status = "insufficient") -> CheckResult:
    return CheckResult(id=name, metric="", status=status, reason=f"{reason[0].upper()}{reason[1:]}.", title=reason)


def _result(
    check: Check, metric: Metric, status: Status, broken: Limit | None, limit: Limit, *, problem: str = ""
) -> CheckResult:
    spec = CATALOGUE[check.metric]
    usable = not problem and metric.value is not None
    proof = check.prove == "breach" and status in ("fail", "invalid") and spec.held_on != "value"
    bound = (
        None
        if not usable
        else metric.bounds[1 - _SIDE[spec.held_on]]
        if proof and metric.bounds
        else _held(metric, spec, limit)
    )
    return replace(
        _blank(check, metric.group, status),
        value=metric.value,
        interval=metric.interval,
        bound=bound,
        limit=str(limit),
        n=metric.n,
        reason=wording.sentence(check, metric, status, broken, limit, problem, proof=proof),
    )
