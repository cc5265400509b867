"""The sentences of a decision: what was found, on how many images, against which limit, and what it means."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from synguard.governance.limits import COUNTS, Limit, shown
from synguard.governance.policy import Check, Policy, Waiver
from synguard.metrics.catalogue import CATALOGUE, MetricSpec
from synguard.results import CheckResult, Metric, Status

__all__ = [
    "all_passed",
    "copies_let_through",
    "figure",
    "in_markdown",
    "missing",
    "not_waived",
    "sentence",
    "small_groups",
    "waived",
    "without_names",
]


def sentence(
    check: Check, metric: Metric, status: Status, broken: Limit | None, limit: Limit, problem: str, *, proof: bool = False
) -> str:
    """One check's result on one metric, as a whole sentence. `proof` shows the favourable bound, which proves it."""
    name = _name(check.metric, metric.group)
    if problem:
        end = "." if status == "warn" else ", and a check without evidence does not pass."
        return f"{name}: {problem}{end}" if status != "error" else f"{name}: {problem}, and what errored does not pass."
    spec = CATALOGUE[check.metric]
    text = f"{name}: {figure(metric, spec)}{_bound(metric, spec, limit, proof)}"
    if broken is None:
        return f"{text}; it may not be {limit}."
    if status == "insufficient" and limit == check.limits.get("invalid"):
        return f"{text}; it may not be {limit}, and {_sample(metric.n, spec.sample)} neither show nor exclude that it is."
    if status == "insufficient":
        return f"{text}; it may not be {limit}. {_too_few(metric, spec, limit)}"
    verb = {"fail": "fails", "warn": "warns", "invalid": "spoils the evidence"}.get(status, "breaks")
    note = f" ({metric.note})" if metric.note else ""
    return f"{text}; {verb} {broken}{note}."


def figure(metric: Metric, spec: MetricSpec) -> str:
    """The value with its n: "15 of 1,000 images", "12 of 1,000 images (1.2 %)", "0.521 on 900 images a side"."""
    if metric.value is None:
        return "no value"
    sample = _sample(metric.n, spec.sample)
    if spec.unit in COUNTS:
        return f"{metric.value:,.0f} of {sample}" if spec.unit == "images" and metric.n else shown(metric.value, spec.unit)
    count = metric.value * metric.n
    if spec.unit == "share" and spec.family in ("rate", "recall", "census") and abs(count - round(count)) < 1e-6 * metric.n:
        percent = f" ({shown(metric.value, 'share')})" if 0 < round(count) < metric.n else ""
        return f"{round(count):,} of {sample}{percent}"
    return f"{shown(metric.value, spec.unit)} on {sample}"


def missing(check: Check, group: str | None) -> str:
    """For a metric that is not among the results."""
    which = "any group of it" if check.each_group else "it"
    return f"{_name(check.metric, group)}: the results do not have {which}, and a check without evidence does not pass."


def copies_let_through(metric: Metric) -> str:
    """For copies in what would be released that the policy did not stop."""
    found = figure(metric, CATALOGUE[metric.name])
    return f"{_name(metric.name, metric.group)}: {found}; a copy in what would be released fails under any policy."


def small_groups(check: Check, small: Sequence[Metric]) -> str:
    """For groups that are below the policy's smallest group, or that the audit could not judge."""
    unread = [metric for metric in small if metric.state == "insufficient"]
    few = [metric for metric in small if metric.state != "insufficient"]
    parts = []
    if few:
        parts.append(f"with fewer than {check.smallest_group:,} images {_listed(few)}")
    if unread:
        notes = "; ".join(dict.fromkeys(metric.note for metric in unread[:3] if metric.note))
        parts.append(f"with too little evidence {_listed(unread)}{f' ({notes})' if notes else ''}")
    return f"{check.metric}: not judged by themselves: {'; '.join(parts)}."


def waived(reason: str, waiver: Waiver) -> str:
    """For a broken limit that a waiver excuses."""
    return f"{reason} Waived up to {waiver.ceiling} and until {waiver.expires} ({waiver.id}): {waiver.reason}"


def not_waived(reason: str, waiver: Waiver) -> str:
    """For a broken limit that is beyond the ceiling of its waiver as well."""
    return f"{reason} The waiver {waiver.id} does not excuse it: its ceiling is {waiver.ceiling}."


def all_passed(policy: Policy, checks: int) -> str:
    """For a decision with nothing to complain of; says what was found, never that a release is safe."""
    return f"All {checks} checks of {policy.name} {policy.version} hold, at the power that the audit shows for itself."


def without_names(result: CheckResult) -> str:
    """A check's result from its figures alone. Reasons may quote an audit's note, which may name patients' files."""
    value = "no figure" if result.value is None else shown(result.value, result.unit)
    held = f", held against the limit at {shown(result.bound, _unit_held(result))}" if result.bound is not None else ""
    limit = f"; the limit is {result.limit}" if result.limit else ""
    limit += f"; waived by {result.waiver}" if result.waiver else ""
    return f"{_name(result.metric or result.id, result.group)}: {result.status}: {value} (n = {result.n:,}{held}){limit}."


def in_markdown(text: str) -> str:
    """`text` as it is, in one line of Markdown, a cell of a table included, and in the HTML made of that.

    Names of groups and files come from the user's data: neither signs of Markdown and HTML nor invisible ones may act.
    """
    plain = "".join(sign if sign.isprintable() else " " for sign in text.replace("\u00a0", " "))
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", html.escape(" ".join(plain.split()), quote=False))


def _listed(metrics: Sequence[Metric]) -> str:
    some = ", ".join(f"{metric.group} ({metric.n:,})" for metric in metrics[:8])
    return f"{some} and {len(metrics) - 8} more" if len(metrics) > 8 else some


def _unit_held(result: CheckResult) -> str:
    return "share" if "%" in result.limit else result.unit


def _name(metric: str, group: str | None) -> str:
    return f"{metric} ({group})" if group else metric


def _sample(n: int, sample: str) -> str:
    """The n in words; "images a side" and the like only have a plural."""
    return f"{n:,} {COUNTS[sample] if n == 1 and sample in COUNTS else sample}"


def _bound(metric: Metric, spec: MetricSpec, limit: Limit, proof: bool) -> str:
    if spec.held_on == "value" or metric.bounds is None:
        return ""
    side = 1 if (spec.held_on == "upper") != proof else 0
    bound = metric.bounds[side]
    text = shown(bound, spec.unit)
    if text == shown(limit.value, limit.unit) and bound != limit.value:  # so near that three digits hide the difference
        text = shown(bound, spec.unit, 6)
    return f", one-sided {('lower', 'upper')[side]} {100 * metric.confidence:g} % bound {text}"


def _too_few(metric: Metric, spec: MetricSpec, limit: Limit) -> str:
    needed = spec.smallest_n(limit.value, metric.confidence)
    few = f"{_sample(metric.n, spec.sample)} {'is' if metric.n == 1 else 'are'} too few to decide"
    if needed is None:
        return f"{few}: even a clean release would break it."
    return f"{few}: even a clean release needs at least {needed:,} {spec.sample}."
