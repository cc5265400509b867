"""From the bytes of a policy file, and of those it extends, to one resolved `Policy`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synguard.errors import ConfigError, IntegrityError
from synguard.governance import strict_yaml
from synguard.governance.limits import LimitError, parse_share
from synguard.governance.policy.checks import origin_of, read_checks
from synguard.governance.policy.extend import inherited_checks, policy_bytes, read_base_bytes, tighten
from synguard.governance.policy.model import Base, Check, Origin, Policy
from synguard.governance.policy.people import read_approvals, read_day, read_waivers
from synguard.governance.policy.shape import SHAPES, PolicyFile
from synguard.governance.problems import Problems, shown

__all__ = ["load_policy", "parse_policy", "read_resolved"]

_USUAL_CONFIDENCE = 0.95
_LONGEST_CHAIN = 8


def load_policy(name_or_path: str | Path) -> Policy:
    """The built-in policy of that name, or the policy file at that path. Raises ConfigError with all problems."""
    data, where = policy_bytes(name_or_path)
    return parse_policy(data, where)


def read_resolved(data: bytes, where: str) -> Policy:
    """The policy that `Policy.to_bytes` wrote. Raises IntegrityError where the bytes are not exactly such."""
    try:
        policy = _resolved().validate_json(data)
    except ValidationError as error:
        raise IntegrityError(f"{where}: found no resolved policy, expected one as synguard writes it") from error
    if policy.to_bytes() != data:
        raise IntegrityError(f"{where}: found a policy in another form, expected it as synguard writes it")
    return policy


@cache
def _resolved() -> TypeAdapter[Policy]:
    """Made once: that takes longer than to read with it."""
    return TypeAdapter(Policy)


def parse_policy(data: bytes, where: str, *, chain: int = 1) -> Policy:
    """The policy in the bytes of a YAML file, resolved with its bases, which `extends` names beside `where`.

    Raises ConfigError with one line a problem, in the order of the file.
    """
    document = strict_yaml.parse(data, where)
    problems = Problems(document, where)
    raw = document.value
    if not isinstance(raw, dict):
        problems.add((), shown(raw), "a mapping with the keys of a policy")
        problems.raise_if_any()
    try:
        PolicyFile.model_validate(raw)
    except ValidationError as error:
        problems.add_validation(error, SHAPES)
    problems.add_empty(raw, SHAPES)
    base = _base(raw, problems, chain)
    whole = "extends" not in raw or base is not None
    file = Path(where).name

    confidence = _confidence(raw, base, problems)
    releases = _releases(raw, base, problems)
    review_by = _review_by(raw, base, problems)
    approvals = read_approvals(raw, base.approvals if base else (), problems, file)
    checks = _checks(raw, base, confidence, problems, file)
    named = {row.get("id") for row in raw.get("checks") or () if isinstance(row, dict)} if _is_list(raw, "checks") else set()
    complete = whole and named <= {check.id for check in checks}
    checks = tighten(raw, checks, problems, file, complete=complete)
    waivers = read_waivers(raw, checks, problems, file, complete=complete)
    problems.raise_if_any()

    written = PolicyFile.model_validate(raw)
    return Policy(
        name=written.name,
        version=written.version,
        title=written.title,
        releases=releases,
        confidence=confidence,
        review_by=review_by,
        approvals=approvals,
        checks=checks,
        waivers=waivers,
        bases=(*base.bases, Base(name=base.name, version=base.version, sha256=base.sha256)) if base else (),
        file=file,
        sha256=hashlib.sha256(data).hexdigest(),
        origins=_origins(raw, base, problems, file),
    )


def _base(raw: Mapping[str, Any], problems: Problems, chain: int) -> Policy | None:
    """The policy that this one extends; None where there is none or it cannot be had."""
    found = read_base_bytes(raw, problems)
    if found is None:
        return None
    if chain >= _LONGEST_CHAIN:
        problems.add(("extends",), f"more than {_LONGEST_CHAIN} policies, each extending the next", "fewer", key=True)
        return None
    try:
        return parse_policy(*found, chain=chain + 1)
    except ConfigError as error:
        first, *more = str(error).splitlines()
        others = f" (and {len(more)} more)" if more else ""
        problems.add(("extends", "policy"), f"a policy with problems: {first}{others}", "one without")
        return None


def _checks(
    raw: Mapping[str, Any], base: Policy | None, confidence: float, problems: Problems, file: str
) -> tuple[Check, ...]:
    """The checks of the base and those of the file itself."""
    inherited = inherited_checks(base, confidence) if base else ()
    ids = {check.id for check in inherited}
    rows = raw.get("checks")
    for i, row in enumerate(rows if isinstance(rows, list) else ()):
        if isinstance(row, dict) and row.get("id") in ids:
            found = f'"{row["id"]}", which {base.name if base else ""} has already'
            problems.add(("checks", i, "id"), found, "an id of its own, or an entry under tighten")
    if "extends" not in raw:
        for key in ("checks", "releases"):
            if key not in raw:
                problems.add((key,), "nothing", f"the key {key}")
        if _is_list(raw, "checks") and rows and not any(isinstance(row, dict) and "fail" in row for row in rows):
            problems.add(("checks",), "no fail limit in any check", "at least one, or the policy could refuse nothing")
    own = read_checks(raw, problems, file)
    return (*inherited, *(check for check in own if check.id not in ids))


def _confidence(raw: Mapping[str, Any], base: Policy | None, problems: Problems) -> float:
    least = base.confidence if base else _USUAL_CONFIDENCE
    if "confidence" not in raw:
        return least
    try:
        confidence = parse_share(raw["confidence"], '"95%"')
    except LimitError as error:
        problems.say(("confidence",), str(error))
        return least
    if not 0.5 < confidence < 1:
        problems.add(("confidence",), shown(raw["confidence"]), "more than 50% and less than 100%")
    elif base and confidence < least:
        problems.add(("confidence",), shown(raw["confidence"]), f"{100 * least:g}% or more, which {base.name} asks for")
    return confidence


def _releases(raw: Mapping[str, Any], base: Policy | None, problems: Problems) -> tuple[str, ...]:
    inherited = base.releases if base else ()
    if not _is_list(raw, "releases"):
        return inherited
    for i, what in enumerate(raw["releases"]):
        if base and isinstance(what, str) and what not in inherited:
            problems.add(("releases", i), shown(what), f"only what {base.name} decides on: {', '.join(inherited)}")
    return tuple(raw["releases"])


def _review_by(raw: Mapping[str, Any], base: Policy | None, problems: Problems) -> date | None:
    inherited = base.review_by if base else None
    day = read_day(raw.get("review_by"), ("review_by",), problems)
    if base and day and inherited and day > inherited:
        problems.add(("review_by",), f"{day}", f"{inherited} or before, which {base.name} asks for")
    return day or inherited


def _origins(raw: Mapping[str, Any], base: Policy | None, problems: Problems, file: str) -> Mapping[str, Origin]:
    """Where the values of the policy as a whole come from; none for those that nobody wrote."""
    whole = origin_of(problems, (), file)
    here = {key: whole.of(key) for key in ("confidence", "releases", "review_by") if key in raw}
    return {**(base.origins if base else {}), **here}


def _is_list(raw: Mapping[str, Any], key: str) -> bool:
    return isinstance(raw.get(key), list)
