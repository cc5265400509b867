"""`extends` and `tighten`: what a policy inherits, and what it asks on top. Nothing inherited is ever taken away.

Looser values would have no effect, since the base is held all the same; they are refused, so that nobody believes in them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synguard.errors import ConfigError
from synguard.governance import strict_yaml
from synguard.governance.policy.checks import origin_of, read_limits
from synguard.governance.policy.model import LEVELS, Check, Policy, Rule, concerns
from synguard.governance.policy.shape import TightenFile
from synguard.governance.problems import DIGEST_PATTERN, Problems, suggestion
from synguard.governance.strict_yaml import Path as YamlPath

__all__ = ["BUILT_IN", "inherited_checks", "policy_bytes", "read_base_bytes", "tighten"]

BUILT_IN = ("public-release", "controlled-access", "internal-research")
"""Policies that come with the package, the strictest first."""


def policy_bytes(name_or_path: str | Path) -> tuple[bytes, str]:
    """The bytes of a built-in policy or of a file, and its name for messages. Raises ConfigError."""
    if str(name_or_path) in BUILT_IN:
        file = resources.files("synguard.governance") / "policies" / f"{name_or_path}.yaml"
        return file.read_bytes(), f"{name_or_path}.yaml"
    path = Path(name_or_path)
    try:
        with path.open("rb") as stream:  # no more than is needed to see that it is too much
            return stream.read(strict_yaml.MAX_BYTES + 1), str(path)
    except (OSError, ValueError) as error:
        what = "a folder" if path.is_dir() else "no file that can be read"
        raise ConfigError(f"{path}: found {what}, expected a policy file or one of: {', '.join(BUILT_IN)}") from error


def read_base_bytes(raw: Mapping[str, Any], problems: Problems) -> tuple[bytes, str] | None:
    """The bytes of the base that `extends` names, if they are those that it is pinned to.

    A file cannot hold its own digest, so that no chain of bases comes back to itself.
    """
    extends = raw.get("extends")
    if not isinstance(extends, dict) or not all(isinstance(extends.get(key), str) for key in ("policy", "sha256")):
        return None  # reported by its shape
    name = extends["policy"]
    try:
        data, where = policy_bytes(name if name in BUILT_IN else Path(problems.where).parent / name)
    except ConfigError as error:
        problems.say(("extends", "policy"), str(error)[str(error).index("found ") :])
        return None
    digest = hashlib.sha256(data).hexdigest()
    if not re.fullmatch(DIGEST_PATTERN, extends["sha256"]):
        return None  # as above
    if digest != extends["sha256"]:
        problems.add(("extends", "sha256"), f'"{extends["sha256"]}"', f"{digest}, which is that of {where}")
        return None
    return data, where


def inherited_checks(base: Policy, confidence: float) -> tuple[Check, ...]:
    """The checks of a base, held at its own confidence and at that of the policy that extends it."""
    kept = []
    for check in base.checks:
        own = check.confidence or base.confidence
        more = (Rule(confidence=confidence),) if confidence > own else ()
        kept.append(replace(check, confidence=own, rules=(*check.rules, *more)))
    return tuple(kept)


def tighten(
    raw: Mapping[str, Any], checks: Sequence[Check], problems: Problems, file: str, *, complete: bool
) -> tuple[Check, ...]:
    """The checks with the rules of `tighten`. `complete`: `checks` are all that there are, so that any other id is wrong."""
    found = {check.id: check for check in checks}
    rows = raw.get("tighten")
    for i, row in enumerate(rows if isinstance(rows, list) else ()):
        path: YamlPath = ("tighten", i)
        name = row.get("check") if isinstance(row, dict) else None
        if not isinstance(name, str):
            continue
        check = found.get(name)
        if check is None:
            if complete:
                near = suggestion(name, found)
                problems.add((*path, "check"), f'the unknown check "{name}"', f"{near}the id of a check")
            continue
        limits = read_limits(row, path, check.metric, problems)
        rule = _rule(row, limits, origin_of(problems, path, file))
        if rule is None:
            continue
        _fits(row, path, check, rule, problems)
        found[name] = replace(check, rules=(*check.rules, rule), blocker=check.blocker or bool(row.get("blocker")))
    return tuple(found.values())


def _rule(row: Mapping[str, Any], limits: Any, origin: Any) -> Rule | None:
    try:
        written = TightenFile.model_validate(row)
    except ValidationError:  # reported already
        return None
    return Rule(
        limits=limits,
        groups=written.groups or (),
        not_tested=written.not_tested,
        prove=written.prove,
        reason=" ".join(written.reason.split()),
        source=" ".join(written.source.split()),
        origin=origin,
    )


def _fits(row: Mapping[str, Any], path: YamlPath, check: Check, rule: Rule, problems: Problems) -> None:
    """Whether a rule asks for more, of groups that the check has."""
    if not any(key in row for key in (*LEVELS, "blocker", "not_tested", "prove")):
        problems.add(path, "nothing that is tighter", "one of: fail, invalid, warn, blocker, not_tested, prove")
    has_groups = bool(check.groups) or check.each_group
    for j, name in enumerate(rule.groups):
        known = any(concerns(name, group) for group in check.groups) if check.groups else check.each_group
        if not known:
            has = f"groups of {check.id}: {', '.join(check.groups)}"
            expected = has if has_groups else f"no such key: {check.id} has no groups"
            problems.add((*path, "groups", j), f'"{name}"', expected)
    now = [form.limits for group in rule.groups or (None,) for form in check.forms(group)[-1:]]
    for level, limit in rule.limits.items():
        for limits in now:
            if level in limits and limit.looser_than(limits[level]):
                problems.add((*path, level), f"{limit}", f"nothing looser than {limits[level]}, which holds already")
                break
    if row.get("blocker") is True:
        _blocks(row, path, check, rule, problems)


def _blocks(row: Mapping[str, Any], path: YamlPath, check: Check, rule: Rule, problems: Problems) -> None:
    if rule.groups:
        problems.add((*path, "groups"), "groups beside blocker", "a blocker for the whole check", key=True)
    if "fail" not in check.limits and "fail" not in row:
        problems.add((*path, "blocker"), "a blocker without a fail limit", "a fail limit", key=True)
    if check.forms(None)[-1].tightened(rule).prove == "breach":
        problems.add((*path, "blocker"), "a blocker that proves a breach", "prove: compliance beside it", key=True)
