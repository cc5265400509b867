"""Markdown tables of the benchmark: outcomes of all seeds in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .experiment import OWN, RATES, Outcome
from .generated import GENERATED
from .measure import Count, expected_false, total
from .protocol import Method
from .transforms import TRANSFORMS

__all__ = ["report"]

_LEVELS = (*RATES, OWN)

Outcomes = Mapping[str, Sequence[Outcome]]
"""By method, one a seed."""


def report(title: str, note: str, outcomes: Outcomes, methods: Mapping[str, Method]) -> str:
    """All tables of one data set. Counts are summed over the seeds."""
    parts = [f"## {title}", note, _summary(outcomes, methods)]
    for level in _LEVELS:
        shown = {name: runs for name, runs in outcomes.items() if level in runs[0].false}
        if shown:
            parts += [f"### Recall with the right source in %, at {_words(level, outcomes)}", _recall(shown, methods, level)]
    parts += ["### Hard negatives called copies, in %", _hard(outcomes, methods)]
    masked = {name: runs for name, runs in outcomes.items() if any(runs[0].overlap.get("1 %", {}).values())}
    if masked:
        parts += ["### Copied area of the copies found at 1 %: mean intersection over union", _overlap(masked, methods)]
    return "\n\n".join(parts) + "\n"


def _summary(outcomes: Outcomes, methods: Mapping[str, Method]) -> str:
    header = [
        "method",
        *(f"recall at {_words(level, outcomes)}" for level in _LEVELS),
        *(f"false at {_words(level, outcomes)}" for level in _LEVELS),
        "average precision",
        "shipped threshold",
        "calibration scores",
        "fit, s",
        "query, ms",
    ]
    rows = []
    for name, runs in outcomes.items():
        false = {level: _pooled(run.false.get(level) for run in runs) for level in _LEVELS}
        row = [
            methods[name].title,
            *(_cell(_recalled(runs, level, TRANSFORMS)) for level in _LEVELS),
            *(_rate(false[level], runs, level) for level in _LEVELS),
            f"{np.mean([run.average_precision for run in runs]):.3f}",
            methods[name].shipped or "none",
            f"{runs[0].calibration}",
            f"{np.mean([run.seconds_fit for run in runs]):.1f}",
            f"{1000 * sum(run.seconds_query for run in runs) / sum(run.queries for run in runs):.1f}",
        ]
        rows.append(row)
    return _table(header, rows)


def _recall(outcomes: Outcomes, methods: Mapping[str, Method], level: str) -> str:
    rows = []
    for group, names in (("mean of the 18 transforms", TRANSFORMS), ("mean of the generator-made", GENERATED)):
        present = [name for name in names if any(name in run.recall[level] for runs in outcomes.values() for run in runs)]
        rows += [[name, *(_cell(_recalled(runs, level, [name]), 0) for runs in outcomes.values())] for name in present]
        if present:
            rows.append([f"**{group}**", *(_cell(_recalled(runs, level, present)) for runs in outcomes.values())])
    false = (_cell(_pooled(run.false.get(level) for run in runs), 2) for runs in outcomes.values())
    rows.append(["unseen photographs called copies", *false])
    return _table(["copies", *(methods[name].title for name in outcomes)], rows)


def _hard(outcomes: Outcomes, methods: Mapping[str, Method]) -> str:
    words = [_words(level, outcomes) for level in _LEVELS]
    header = ["method", *(f"nearest has the same diagnosis, at {level}" for level in words)]
    fellows = any(run.fellows for runs in outcomes.values() for run in runs)
    header += [f"same patient, other photograph, at {level}" for level in words if fellows]
    rows = []
    for name, runs in outcomes.items():
        row = [_cell(_pooled(run.alike.get(level) for run in runs)) for level in _LEVELS]
        row += [_cell(_pooled(run.fellows.get(level) for run in runs)) for level in _LEVELS if fellows]
        rows.append([methods[name].title, *row])
    return _table(header, rows)


def _overlap(outcomes: Outcomes, methods: Mapping[str, Method]) -> str:
    def mean(runs: Sequence[Outcome], names: Iterable[str]) -> str:
        found = [run.overlap["1 %"][name] for run in runs for name in names if name in run.overlap["1 %"]]
        n = sum(count for _, count in found)
        return f"{sum(value for value, _ in found) / n:.2f} (n {n})" if n else "-"

    rows = [[name, *(mean(runs, [name]) for runs in outcomes.values())] for name in (*TRANSFORMS, *GENERATED)]
    rows = [row for row in rows if set(row[1:]) != {"-"}]
    rows.append(["**all copies found of the 18**", *(mean(runs, TRANSFORMS) for runs in outcomes.values())])
    return _table(["copies", *(methods[name].title for name in outcomes)], rows)


def _recalled(runs: Sequence[Outcome], level: str, names: Iterable[str]) -> Count | None:
    return _pooled(run.recall.get(level, {}).get(name) for name in names for run in runs)


def _pooled(counts: Iterable[Count | None]) -> Count | None:
    there = [count for count in counts if count is not None]
    return total(there) if there else None


def _words(level: str, outcomes: Outcomes) -> str:
    if level == OWN:
        return "shipped threshold"
    beyond = any(run.thresholds[level].extrapolated for runs in outcomes.values() for run in runs)
    return f"{level} (extrapolated)" if beyond else level


def _cell(count: Count | None, digits: int = 1) -> str:
    """A share with its interval in percent."""
    if count is None or count.n == 0:
        return "-"
    share, low, high = (f"{100 * value:.{digits}f}" for value in (count.share, *count.interval))
    return f"{share} ({low} to {high})"


def _rate(count: Count | None, runs: Sequence[Outcome], level: str) -> str:
    """A realised rate with its counts; in bold where chance does not explain that it is not the nominal one."""
    if count is None:
        return "-"
    text = f"{_cell(count, 2)}, {count.hits} of {count.n}"
    if level == OWN:
        return text
    expected = expected_false(runs[0].calibration, RATES[level], [run.false[level].n for run in runs])
    low, high = count.interval
    usual = low <= RATES[level] <= high if expected is None else expected[0] <= count.hits <= expected[1]
    return text if usual else f"**{text}**"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
