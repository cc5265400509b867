"""What changed between two runs: verdict, checks, figures, what went in. Every figure exactly, so it stays in the house.

A figure counts as changed where its two 95 % intervals do not overlap, or where it has none and is another: with two
overlapping intervals one cannot say so. Statuses and limits count as changed where they are others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reports.blocks import Cell, Table
from reports.editions import environment, style_sheet, write
from reports.numbers import ABSENT, Numbers
from reports.runfolder import RunFolder, mapping, read_run, text
from reports.wording import STATUS_WORDS, VERDICT_WORDS, metric_title
from synguard.governance.wording import in_markdown
from synguard.results import CheckResult, Metric, Status

__all__ = ["Change", "Comparison", "Side", "compare"]

_EXACT = Numbers()
_INSIDE = ("private", "holdout")
"""Sets whose digests are compared."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the runs says, ready to read, with the gate's word for it where it has one."""

    said: str
    status: Status | None = None

    def __str__(self) -> str:
        """Such as "Pass: 0, limit above 0"."""
        return f"{STATUS_WORDS[self.status]}: {self.said}" if self.status else self.said

    def cell(self) -> Cell:
        """For a table of the page."""
        return Cell(status=self.status, under=self.said) if self.status else Cell(self.said)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was."""

    what: str
    before: Side
    after: Side


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one run to another, part by part; `unchanged` counts checks that are as they were."""

    before: str
    after: str
    verdict: Change
    checks: tuple[Change, ...]
    figures: tuple[Change, ...]
    inputs: tuple[Change, ...]
    unchanged: int

    @property
    def headline(self) -> str:
        """The whole in a sentence."""
        before, after = self.verdict.before, self.verdict.after
        ended = f"Both runs ended with {after}" if before == after else f"From {before} to {after}"
        return f"{ended}; {len(self.checks)} checks are not as they were."

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"headline": self.headline, **asdict(self)}

    def lines(self) -> list[str]:
        """As Markdown."""
        lines = [f"# {in_markdown(self.before)} and {in_markdown(self.after)}", "", self.headline]
        for title, changes in self._parts():
            lines += ["", f"## {title}", ""]
            lines += ["| what | before | after |", "|---|---|---|"] if changes else ["Nothing."]
            for change in changes:
                cells = (in_markdown(str(part)) for part in (change.what, change.before, change.after))
                lines.append(f"| {' | '.join(cells)} |")
        return lines

    def write(self, target: Path) -> Path:
        """The page, readable by its owner only: one file, no request, no script."""
        style, policy = style_sheet("internal")
        page = environment().get_template("compare.html")
        tables = [(title, _table(title, changes)) for title, changes in self._parts()]
        write(target, page.render(view=self, parts=tables, style=style, policy=policy, status_words=STATUS_WORDS))
        return target

    def _parts(self) -> tuple[tuple[str, Sequence[Change]], ...]:
        return (
            ("Verdict", (self.verdict,)),
            (f"Checks that changed; {self.unchanged} did not", self.checks),
            ("Figures beyond chance", self.figures),
            ("What went in", self.inputs),
        )


def compare(before: Path, after: Path) -> Comparison:
    """What changed from one run folder to another. Raises InputError where one holds no results that can be read."""
    one, two = read_run(before), read_run(after)
    checks = tuple(_checks(one, two))
    total = len({_key(check) for run in (one, two) for check in run.decision.checks})
    return Comparison(
        before=_title(one),
        after=_title(two),
        verdict=Change("verdict", _verdict(one), _verdict(two)),
        checks=checks,
        figures=tuple(_figures(one, two)),
        inputs=tuple(_inputs(one, two)),
        unchanged=total - len(checks),
    )


def _checks(one: RunFolder, two: RunFolder) -> Iterator[Change]:
    ours, theirs = ({_key(check): check for check in run.decision.checks} for run in (one, two))
    for key in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(key), theirs.get(key)
        if a is None or b is None or a.status != b.status or a.limit != b.limit or _apart(a, b):
            title = metric_title(key[1], key[2]) if key[1] else next(c.title for c in (a, b) if c is not None)
            yield Change(title, _check(a), _check(b))


def _figures(one: RunFolder, two: RunFolder) -> Iterator[Change]:
    """Of all metrics that both runs have."""
    ours, theirs = ({(m.name, m.group): m for m in run.metrics} for run in (one, two))
    for key in sorted(set(ours) & set(theirs), key=lambda key: (key[0], key[1] or "")):
        a, b = ours[key], theirs[key]
        if a.state != b.state or _apart(a, b):
            yield Change(metric_title(*key), Side(_figure(a)), Side(_figure(b)))


def _inputs(one: RunFolder, two: RunFolder) -> Iterator[Change]:
    ours, theirs = (dict(_given(run)) for run in (one, two))
    for key in sorted(set(ours) | set(theirs)):
        if ours.get(key, "") != theirs.get(key, ""):
            yield Change(key, Side(ours.get(key, ABSENT)), Side(theirs.get(key, ABSENT)))


def _given(run: RunFolder) -> Iterator[tuple[str, str]]:
    """What a run was made of, by name."""
    data = mapping(run.results.get("data"))
    for name in _INSIDE:
        yield f"images of the {name} set (sha256)", text(mapping(data.get(name)).get("sha256"))[:16]
    policy = mapping(run.results.get("policy"))
    yield "policy", f"{text(policy.get('name'))} {text(policy.get('version'))} ({text(policy.get('digest'))[:16]})"
    yield from _flat("configuration", run.run.get("config"))
    yield from _flat("version", run.run.get("versions"))


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Every value of nested mappings and lists, by its dotted name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{name}.{key}", item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, item in enumerate(value):
            yield from _flat(f"{name}.{number}", item)
    elif value is not None:
        yield name, str(value)


def _key(check: CheckResult) -> tuple[str, str, str | None]:
    return check.id, check.metric, check.group


def _apart(a: CheckResult | Metric, b: CheckResult | Metric) -> bool:
    """Whether two figures differ by more than chance."""
    if a.interval is None or b.interval is None:
        return a.value != b.value
    return a.interval[1] < b.interval[0] or b.interval[1] < a.interval[0]


def _verdict(run: RunFolder) -> Side:
    return Side(f"{VERDICT_WORDS[run.decision.status]} (exit {run.decision.exit_code})")


def _check(check: CheckResult | None) -> Side:
    if check is None:
        return Side("not asked")
    value = _EXACT.of_unit(check.value, check.unit, check.n)
    return Side(f"{value}, limit {check.limit}" if check.limit else value, check.status)


def _figure(metric: Metric) -> str:
    if metric.state != "measured":
        return metric.state.replace("_", " ")
    value, interval = _EXACT.of_unit(metric.value, metric.unit, metric.n), _EXACT.interval(metric.interval, metric.unit)
    return f"{value} ({interval}), n = {metric.n:,}" if interval else f"{value}, n = {metric.n:,}"


def _title(run: RunFolder) -> str:
    return text(mapping(run.run.get("config")).get("name")) or run.path.name


def _table(title: str, changes: Sequence[Change]) -> Table:
    rows = tuple((Cell(change.what), change.before.cell(), change.after.cell()) for change in changes)
    return Table(caption=title, header=("What", "Before", "After"), rows=rows)
