"""Checks and metrics as both editions show them, and the table of checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.blocks import Cell, Table
from reports.facts import Pair
from reports.numbers import ABSENT, Numbers
from reports.runfolder import RunFolder
from reports.wording import metric_title, with_titles

__all__ = ["CheckFact", "MetricFact", "check_facts", "checks_table", "metric_facts"]


@dataclass(frozen=True, slots=True)
class MetricFact:
    """A metric without its free text."""

    name: str
    group: str | None
    value: float | None
    interval: Pair | None
    n: int
    unit: str
    state: str
    baseline: float | None


@dataclass(frozen=True, slots=True)
class CheckFact:
    """A check as a row of the table. `reason` is the gate's own sentence inside, a standard one outside."""

    metric: str
    group: str | None
    title: str
    status: str
    value: float | None
    interval: Pair | None
    bound: float | None
    limit: str
    baseline: float | None
    baseline_name: str
    unit: str
    n: int
    reason: str


def metric_facts(run: RunFolder) -> tuple[MetricFact, ...]:
    """All metrics of a run."""
    return tuple(MetricFact(m.name, m.group, m.value, m.interval, m.n, m.unit, m.state, m.baseline) for m in run.metrics)


def check_facts(run: RunFolder) -> tuple[CheckFact, ...]:
    """All checks of a run, the gravest first, blockers before others, each with its metric's baseline."""
    order = ("fail", "error", "invalid", "insufficient", "warn", "waived", "pass")
    metrics = {(m.name, m.group): m for m in run.metrics}
    found = []
    for check in sorted(run.decision.checks, key=lambda c: (order.index(c.status), not c.blocker)):
        metric = metrics.get((check.metric, check.group))
        found.append(
            CheckFact(
                metric=check.metric,
                group=check.group,
                title=metric_title(check.metric, check.group) if check.metric else check.title,
                status=check.status,
                value=check.value,
                interval=check.interval,
                bound=check.bound,
                limit=check.limit,
                baseline=metric.baseline if metric else None,
                baseline_name=metric.baseline_name if metric else "",
                unit=check.unit or (metric.unit if metric else ""),
                n=check.n,
                reason=with_titles(check.reason),
            )
        )
    return tuple(found)


def checks_table(checks: Sequence[CheckFact], numbers: Numbers) -> Table:
    """All checks, the gravest first."""
    return Table(
        caption=f"{len(checks)} checks, the gravest first. Limits are held against the one-sided 95\u00a0% bound.",
        header=("Check", "Status", "Value", "Bound", "Limit", "Baseline", "n"),
        rows=tuple(_check_row(check, numbers) for check in checks),
        right=(2, 3, 4, 5, 6),
        key="checks",
    )


def _check_row(check: CheckFact, numbers: Numbers) -> tuple[Cell, ...]:
    hidden = numbers.sensitive(check.value, check.unit, check.n)
    held = "share" if "%" in check.limit else check.unit
    baseline = numbers.of_unit(check.baseline, check.unit, check.n)
    return (
        Cell(check.title, under=check.reason.removeprefix(f"{check.title}: ")),
        Cell(status=check.status),
        Cell(
            numbers.of_unit(check.value, check.unit, check.n),
            under="" if hidden else numbers.interval(check.interval, check.unit),
        ),
        Cell("withheld" if hidden and check.bound is not None else numbers.of_unit(check.bound, held)),
        Cell(check.limit.replace(" %", "\u00a0%") or ABSENT),
        Cell(baseline, under=check.baseline_name if check.baseline is not None else ""),
        Cell(numbers.count(check.n) if check.n else ABSENT),
    )
