"""A result as it shows itself in a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from reports.editions import environment
from reports.numbers import ABSENT, Numbers
from reports.wording import SIGNS, STATUS_WORDS, VERDICT_WORDS, metric_title
from synguard.results import Decision, Metric

__all__ = ["result_html"]

# Colours that hold 4.5:1 on white and, being backed by their own ground, in a dark notebook too.
_TONES = {
    "pass": "#17693f",
    "warn": "#7a4f00",
    "fail": "#a3201b",
    "insufficient": "#5b4a8a",
    "invalid": "#5b4a8a",
    "error": "#a3201b",
    "waived": "#565d66",
}


def result_html(decision: Decision, metrics: Sequence[Metric]) -> str:
    """The verdict, its reasons and the checks as a fragment of HTML, styled inline since notebooks drop style sheets."""
    exact = Numbers()
    baselines = {(m.name, m.group): m for m in metrics}
    found = []
    for check in decision.checks:
        metric = baselines.get((check.metric, check.group))
        unit = check.unit or (metric.unit if metric else "")
        baseline = exact.of_unit(metric.baseline, unit) if metric and metric.baseline is not None else ABSENT
        found.append(
            {
                "title": metric_title(check.metric, check.group) if check.metric else check.title,
                "status": check.status,
                "value": exact.of_unit(check.value, unit),
                "interval": exact.interval(check.interval, unit),
                "limit": check.limit or ABSENT,
                "baseline": baseline,
                "reason": check.reason,
            }
        )
    return (
        environment()
        .get_template("notebook.html")
        .render(decision=decision, rows=found, tones=_TONES, signs=SIGNS, words=STATUS_WORDS, verdict=VERDICT_WORDS)
    )
