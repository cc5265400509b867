"""What people answer for: approvals, waivers and the days on which they count."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from pydantic import ValidationError

from synguard.governance.limits import LimitError, parse_people
from synguard.governance.policy.checks import origin_of, read_limit
from synguard.governance.policy.model import Approval, Check, Waiver, concerns
from synguard.governance.policy.shape import WaiverFile
from synguard.governance.problems import Problems, shown, suggestion
from synguard.governance.strict_yaml import Path

__all__ = ["LONGEST_WAIVER", "read_approvals", "read_day", "read_waivers"]

LONGEST_WAIVER = timedelta(days=90)
"""From the day of issue to the last day on which a waiver counts."""


def read_day(raw: Any, path: Path, problems: Problems) -> date | None:
    """A day of the calendar; None where there is none, which has been or is now among the problems."""
    if not isinstance(raw, str) or len(raw) != 10:  # reported by its shape
        return None
    try:
        return date.fromisoformat(raw)
    except ValueError:
        problems.add(path, shown(raw), "a day of the calendar, such as 2027-06-01")
        return None


def read_approvals(
    raw: Mapping[str, Any], inherited: Sequence[Approval], problems: Problems, file: str
) -> tuple[Approval, ...]:
    """The approvals that a policy needs: of each role as many as this file or its base asks for, whichever is more."""
    found = {approval.role: approval for approval in inherited}
    first: dict[str, int] = {}
    rows = raw.get("approvals")
    for i, row in enumerate(rows if isinstance(rows, list) else ()):
        path: Path = ("approvals", i)
        role = row.get("role") if isinstance(row, dict) else None
        if not isinstance(role, str) or "count" not in row:
            continue
        try:
            count = parse_people(row["count"])
        except LimitError as error:
            problems.say((*path, "count"), str(error))
            continue
        if role in first:
            line = problems.document.place(("approvals", first[role], "role")).line
            problems.add((*path, "role"), f'"{role}", first on line {line}', "each role once")
        elif role in found and count < found[role].count:
            asked = found[role]
            problems.add((*path, "count"), shown(row["count"]), f"{asked.count} or more, which {asked.origin.file} asks for")
        else:
            found[role] = Approval(role=role, count=count, origin=origin_of(problems, path, file))
        first.setdefault(role, i)
    return tuple(found.values())


def read_waivers(
    raw: Mapping[str, Any], checks: Sequence[Check], problems: Problems, file: str, *, complete: bool
) -> tuple[Waiver, ...]:
    """The waivers of a file. They are not inherited: who tightens a policy does not take over its exceptions."""
    known = {check.id: check for check in checks}
    rows = raw.get("waivers")
    found: list[Waiver] = []
    for i, row in enumerate(rows if isinstance(rows, list) else ()):
        if not isinstance(row, dict):
            continue
        path: Path = ("waivers", i)
        name = row.get("check")
        check = known.get(name) if isinstance(name, str) else None
        if isinstance(name, str) and check is None and complete:
            near = suggestion(name, known)
            problems.add((*path, "check"), f'the unknown check "{name}"', f"{near}the id of a check")
        _answered_for(row, path, problems)
        waiver = _waiver(row, path, check, problems, file)
        if waiver is None or check is None:
            continue
        _may_be_waived(path, waiver, check, problems)
        for other in found:
            if other.id == waiver.id:
                problems.add((*path, "id"), f'"{waiver.id}", first on line {other.origin.line}', "an id of its own")
            if other.covers(waiver.check, waiver.group):
                problems.add((*path, "check"), f"{name} waived by {other.id} already", "one waiver for the same limit")
        found.append(waiver)
    return tuple(found)


def _answered_for(row: Mapping[str, Any], path: Path, problems: Problems) -> None:
    """Two people, and not for long."""
    owner, approver = row.get("owner"), row.get("approver")
    if isinstance(owner, str) and isinstance(approver, str) and _person(owner) == _person(approver):
        problems.add((*path, "approver"), f'"{approver}", who is the owner', "somebody other than the owner")
    issued, expires = (read_day(row.get(key), (*path, key), problems) for key in ("issued", "expires"))
    if issued is None or expires is None:
        return
    if expires < issued:
        problems.add((*path, "expires"), f"{expires}", f"a day after it was issued, {issued}")
    elif expires - issued > LONGEST_WAIVER:
        last = issued + LONGEST_WAIVER
        problems.add((*path, "expires"), f"{expires}", f"{last} or before: a waiver counts for {LONGEST_WAIVER.days} days")


def _waiver(row: Mapping[str, Any], path: Path, check: Check | None, problems: Problems, file: str) -> Waiver | None:
    """The waiver of a row; None where its shape is wrong."""
    ceiling = read_limit(row.get("ceiling"), (*path, "ceiling"), check.metric if check else None, problems)
    try:
        written = WaiverFile.model_validate(row)
        issued, expires = (date.fromisoformat(day) for day in (written.issued, written.expires))
    except (ValidationError, ValueError):  # reported already
        return None
    if ceiling is None:
        return None
    return Waiver(
        id=written.id,
        check=written.check,
        group=written.group,
        ceiling=ceiling,
        reason=" ".join(written.reason.split()),
        owner=written.owner,
        approver=written.approver,
        issued=issued,
        expires=expires,
        origin=origin_of(problems, path, file),
    )


def _may_be_waived(path: Path, waiver: Waiver, check: Check, problems: Problems) -> None:
    """What a check must be so that this waiver can be an exception to it."""
    if check.blocker:
        problems.add((*path, "check"), f"{check.id}, which is a blocker", "a check that is none: nothing excuses a blocker")
    form = check.forms(waiver.group)[-1]
    limit = form.limits.get("fail")
    if limit is None:
        problems.add((*path, "check"), f"{check.id}, which has no fail limit", "a check with one: nothing else is waived")
    elif not waiver.ceiling.looser_than(limit):
        problems.add((*path, "ceiling"), f"{waiver.ceiling}", f"a ceiling looser than the limit, which is {limit}")
    if check.each_group or check.groups:
        if waiver.group is None:
            problems.add(path, "no group", f"the one group of {check.id} that it is for")
        elif check.groups and not any(concerns(group, waiver.group) for group in check.groups):
            problems.add((*path, "group"), f'"{waiver.group}"', f"a group of {check.id}: {', '.join(check.groups)}")
    elif waiver.group not in (None, check.group):
        expected = f'"{check.group}", or no such key' if check.group else f"no such key: {check.id} has no groups"
        problems.add((*path, "group"), f'"{waiver.group}"', expected)


def _person(name: str) -> str:
    """A name as it is compared: the same letters, however they are written."""
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()
