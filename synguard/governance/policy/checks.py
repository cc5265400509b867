"""Checks as a file writes them: their limits as numbers, and what the keys of a check must be to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from synguard.governance.limits import Limit, LimitError, parse_limit
from synguard.governance.policy.model import LEVELS, Check, Level, Origin
from synguard.governance.policy.shape import CheckFile
from synguard.governance.problems import Problems, suggestion
from synguard.governance.strict_yaml import Path
from synguard.metrics.catalogue import CATALOGUE

__all__ = ["origin_of", "read_checks", "read_limit", "read_limits"]


def read_checks(raw: Mapping[str, Any], problems: Problems, file: str) -> tuple[Check, ...]:
    """The checks of a file that have the right shape; the others have been reported by their shape."""
    rows = raw.get("checks")
    if not isinstance(rows, list):
        return ()
    found = []
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            continue
        path = ("checks", i)
        limits = read_limits(row, path, _known_metric(row, path, problems), problems)
        _within(row, path, limits, problems)
        check = _check(row, limits, origin_of(problems, path, file))
        found += [check] if check else []
    _across(rows, problems)
    return tuple(found)


def read_limits(row: Mapping[str, Any], path: Path, metric: str | None, problems: Problems) -> dict[Level, Limit]:
    """The limits of a check or of its tightening as numbers; none for an unknown metric."""
    found: dict[Level, Limit] = {}
    for level in LEVELS:
        limit = read_limit(row.get(level), (*path, level), metric, problems)
        if limit is not None:
            found[level] = limit
    return found


def read_limit(raw: Any, path: Path, metric: str | None, problems: Problems) -> Limit | None:
    """One limit such as `{above: 1%}` on a metric; None where it is wrong, which is then among the problems."""
    if metric is None or not isinstance(raw, dict):
        return None
    spec = CATALOGUE[metric]
    side: Literal["above", "below"] = "above" if spec.direction == "lower" else "below"
    other = "below" if side == "above" else "above"
    if other in raw:
        problems.add((*path, other), f"{other}", f"{side}, since {spec.direction} is better for {metric}", key=True)
        return None
    if side not in raw:
        problems.add(path, "no limit", side)
        return None
    try:
        limit = parse_limit(side, raw[side], spec)
    except LimitError as error:
        problems.say((*path, side), str(error))
        return None
    if limit.idle:
        problems.add((*path, side), f"{limit}, which no figure can be", "a limit that something could break")
    return limit


def origin_of(problems: Problems, path: Path, file: str) -> Origin:
    """Where the mapping at `path` was written, with its keys."""
    document = problems.document
    place = document.place(path)
    keys = {str(key[-1]): (at.line, at.column) for key, at in document.keys.items() if key[:-1] == path}
    return Origin(file, place.line, place.column, keys)


def _known_metric(row: Mapping[str, Any], path: Path, problems: Problems) -> str | None:
    name = row.get("metric")
    if not isinstance(name, str):  # reported by its shape
        return None
    if name not in CATALOGUE:
        known = suggestion(name, CATALOGUE)
        problems.add((*path, "metric"), f'the unknown metric "{name}"', f"{known}a metric of docs/metrics.md")
        return None
    return name


def _within(row: Mapping[str, Any], path: Path, limits: Mapping[Level, Limit], problems: Problems) -> None:
    """What the keys of one check must be to each other."""
    if not any(level in row for level in LEVELS):
        problems.add(path, "no limit", "at least one of: fail, invalid, warn")
    warn = limits.get("warn")
    for level in ("fail", "invalid"):
        hard = limits.get(level)
        if warn and hard and warn.looser_than(hard):
            problems.add((*path, "warn"), f"{warn}", f"nothing looser than {level}, which is {hard}")
    chosen = [key for key in ("group", "groups", "each_group") if row.get(key)]
    if len(chosen) > 1:
        problems.add((*path, chosen[1]), " and ".join(chosen), "one of the three", key=True)
    groups = row.get("groups")
    if isinstance(groups, list):
        for i, group in enumerate(groups):
            if group in groups[:i]:
                problems.add((*path, "groups", i), f'"{group}" twice', "each group once")
    if "smallest_group" in row:
        if not row.get("each_group"):
            problems.add((*path, "smallest_group"), "it without each_group", "each_group: true beside it", key=True)
        try:
            _images(row["smallest_group"])
        except LimitError as error:
            problems.say((*path, "smallest_group"), str(error))
    if row.get("blocker") is True and "fail" not in row:
        problems.add((*path, "blocker"), "a blocker without a fail limit", "a fail limit", key=True)
    if row.get("blocker") is True and row.get("prove") == "breach":
        problems.add((*path, "prove"), '"breach" for a blocker', '"compliance": what blocks must be shown to be kept')


def _across(rows: Sequence[Any], problems: Problems) -> None:
    """What the checks of one file must be to each other."""
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        name = row.get("id") if isinstance(row, dict) else None
        if not isinstance(name, str):
            continue
        if name in first:
            place = problems.document.place(("checks", first[name], "id"))
            problems.add(("checks", i, "id"), f'"{name}", first on line {place.line}', "an id of its own")
        first.setdefault(name, i)


def _images(raw: Any) -> int:
    return int(parse_limit("above", raw, CATALOGUE["memorisation.exact_copies"]).value)


def _check(row: Mapping[str, Any], limits: Mapping[Level, Limit], origin: Origin) -> Check | None:
    """The check of a row; None where its shape is wrong."""
    try:
        written = CheckFile.model_validate(row)
        smallest = _images(written.smallest_group) if written.smallest_group is not None else 0
    except (ValidationError, LimitError):  # reported already
        return None
    if not limits:
        return None
    return Check(
        id=written.id,
        title=written.title,
        metric=written.metric,
        limits=limits,
        reason=" ".join(written.reason.split()),
        source=" ".join(written.source.split()),
        group=written.group,
        groups=written.groups or (),
        each_group=written.each_group,
        smallest_group=smallest,
        when=written.when,
        not_tested=written.not_tested,
        prove=written.prove,
        blocker=written.blocker,
        origin=origin,
    )
