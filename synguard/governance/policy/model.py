"""What the gate works with: a policy without faults, resolved with all that it extends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import date
from typing import Any, Literal

from synguard.governance.files import canonical
from synguard.governance.limits import Limit

__all__ = [
    "ATTEMPTS",
    "LEVELS",
    "Approval",
    "Base",
    "Check",
    "Level",
    "NotTested",
    "Origin",
    "Policy",
    "Prove",
    "Rule",
    "Waiver",
    "When",
    "concerns",
]

Level = Literal["fail", "invalid", "warn"]
LEVELS: tuple[Level, ...] = ("fail", "invalid", "warn")
"""The limits that a check may have, the weightiest first."""

When = Literal["always", "model released", "model held back"]
NotTested = Literal["insufficient", "warn"]
Prove = Literal["compliance", "breach"]

ATTEMPTS = "run.attempts"
"""The metric that caps on attempts are held against."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was written: the file's name without its folder, line and column, and those of each of its keys."""

    file: str = ""
    line: int = 0
    column: int = 0
    keys: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def of(self, key: str) -> Origin:
        """Where a key was written; the whole where it was not."""
        return Origin(self.file, *self.keys[key]) if key in self.keys else self

    def __str__(self) -> str:
        """Such as "policy.yaml:12:5"."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is asked of a check on top of the check itself, of all its groups or of those that `groups` names.

    None and 0 mean: as before.
    """

    limits: Mapping[Level, Limit] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    not_tested: NotTested | None = None
    prove: Prove | None = None
    confidence: float = 0.0
    reason: str = ""
    source: str = ""
    origin: Origin = field(default_factory=Origin)

    def concerns(self, group: str | None) -> bool:
        """Whether the rule speaks of this group of the metric."""
        return not self.groups or (group is not None and any(concerns(name, group) for name in self.groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check that the gate can hold against metrics. `limits` has at least one level.

    `confidence` of 0 is that of the policy. `rules` are held as well as the check itself; the strictest wins.
    """

    id: str
    title: str
    metric: str
    limits: Mapping[Level, Limit]
    reason: str
    source: str
    group: str | None = None
    groups: tuple[str, ...] = ()
    each_group: bool = False
    smallest_group: int = 0
    when: When = "always"
    not_tested: NotTested = "insufficient"
    prove: Prove = "compliance"
    blocker: bool = False
    confidence: float = 0.0
    rules: tuple[Rule, ...] = ()
    origin: Origin = field(default_factory=Origin)

    @property
    def target(self) -> str:
        """What it looks at, in words: "labels.agreement (each group)"."""
        which = self.group or ", ".join(self.groups) or ("each group" if self.each_group else "")
        return f"{self.metric} ({which})" if which else self.metric

    def applies(self, released: Sequence[str]) -> bool:
        """Whether it is asked of a release that consists of `released` ("images", "model")."""
        return self.when == "always" or (self.when == "model released") == ("model" in released)

    def forms(self, group: str | None) -> tuple[Check, ...]:
        """The check as it stands, and after each further rule that concerns `group`: all of them have to hold."""
        found = [self]
        for rule in self.rules:
            if rule.concerns(group):
                found.append(found[-1].tightened(rule))
        return tuple(found)

    def tightened(self, rule: Rule) -> Check:
        """The check with a rule on top: of each limit the stricter."""
        limits = dict(self.limits)
        for level, limit in rule.limits.items():
            if level not in limits or not limit.looser_than(limits[level]):
                limits[level] = limit
        return replace(
            self,
            limits=limits,
            not_tested=rule.not_tested or self.not_tested,
            prove=rule.prove or self.prove,
            confidence=max(self.confidence, rule.confidence),
            reason=rule.reason or self.reason,
            source=rule.source or self.source,
        )

    def lifted(self, ceiling: Limit) -> Check:
        """The check with its fail limit, if it has one, at the ceiling of a waiver."""
        return replace(self, limits={**self.limits, "fail": ceiling}) if "fail" in self.limits else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """How many people have to sign in a role. Distinct people, over all roles, and never the one who ran the generator."""

    role: str
    count: int
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """An exception for one check, or one group of it, up to a ceiling and until a day.

    `owner` asked for it and answers for it; `approver` is somebody else. Both days belong to the time in which it counts.
    """

    id: str
    check: str
    ceiling: Limit
    reason: str
    owner: str
    approver: str
    issued: date
    expires: date
    group: str | None = None
    origin: Origin = field(default_factory=Origin)

    def in_force(self, today: date) -> bool:
        """Whether it counts on that day."""
        return self.issued <= today <= self.expires

    def covers(self, check: str, group: str | None) -> bool:
        """Whether it is an exception for this check on this group of its metric."""
        return self.check == check and self.group == group


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A policy that another extends, pinned by the digest of its bytes."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy without faults, with all that it inherits.

    `file` is its name for people, without a folder; `sha256` is of its bytes. `digest` is of what it asks.
    """

    name: str
    version: str
    checks: tuple[Check, ...]
    releases: tuple[str, ...] = ("images",)
    confidence: float = 0.95
    title: str = ""
    review_by: date | None = None
    approvals: tuple[Approval, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    bases: tuple[Base, ...] = ()
    file: str = ""
    sha256: str = ""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Of the values that belong to the policy as a whole, by key."""

    @property
    def attempts(self) -> int | None:
        """How often the gate may have been asked; None where the policy sets no cap."""
        forms = [check.forms(None)[-1] for check in self.checks if check.metric == ATTEMPTS]
        caps = [form.limits["fail"].value for form in forms if "fail" in form.limits]
        return int(min(caps)) if caps else None

    @property
    def digest(self) -> str:
        """sha256 of `to_bytes`: what approvals are bound to. Comments and places in files do not change it."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The resolved policy as canonical JSON, without the places that its values come from."""
        asked = _placeless(self)
        for key in ("file", "sha256", "origins"):
            del asked[key]
        return canonical(asked)


def concerns(name: str, group: str) -> bool:
    """Whether a name of groups is this group's, or with a star at its end the beginning of it: `dx=*`."""
    return group.startswith(name[:-1]) if name.endswith("*") else group == name


def _placeless(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _placeless(getattr(value, each.name)) for each in fields(value) if each.name != "origin"}
    if isinstance(value, Mapping):
        return {key: _placeless(item) for key, item in value.items() if key != "origin"}
    return [_placeless(item) for item in value] if isinstance(value, list | tuple) else value
