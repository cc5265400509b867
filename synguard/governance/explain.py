"""What a policy asks and why (`explain`), and which of its limits given sample sizes can never satisfy (`lint`)."""

from __future__ import annotations

from dataclasses import dataclass

from synguard.governance.policy import LEVELS, Check, Level, Policy
from synguard.metrics.catalogue import CATALOGUE

__all__ = ["Explained", "Sizes", "explain", "lint"]

_EFFECTS: dict[Level, str] = {"fail": "fails", "invalid": "spoils the evidence", "warn": "warns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One value of the policy, with the file and line it comes from. `effect` says what `key` does: "fails"."""

    check: str
    key: str
    effect: str
    value: str
    metric: str
    reason: str
    source: str
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Images that an audit will have. None where it is not known. `nonmembers` are the holdout's images for verdicts."""

    candidates: int | None = None
    members: int | None = None
    nonmembers: int | None = None
    planted: int | None = None

    def of(self, sample: str) -> int | None:
        """How many of what a metric's n counts there are."""
        if sample == "images a side":
            sides = [n for n in (self.members, self.nonmembers) if n is not None]
            return min(sides) if sides else None
        return {"images": self.candidates, "members": self.members, "planted copies": self.planted}.get(sample)


def explain(policy: Policy) -> tuple[Explained, ...]:
    """Every limit of a policy, in the order of its file."""
    return tuple(_explained(policy, check, key) for check in policy.checks for key in LEVELS if key in check.limits)


def lint(policy: Policy, sizes: Sizes) -> tuple[str, ...]:
    """A line for each fail or invalid limit that even a perfectly clean release of these sizes could not satisfy."""
    problems = []
    for check in policy.checks:
        spec = CATALOGUE[check.metric]
        given = sizes.of(spec.sample)
        if given is None or spec.held_on == "value" or check.each_group:
            continue
        for level, limit in check.limits.items():
            needed = spec.smallest_n(limit.value, policy.confidence)
            if level == "warn" or needed is None or given >= needed:
                continue
            line = (check.lines or {}).get(level, check.line)
            problems.append(
                f"{policy.file}:{line}: {check.id}.{level}: found {given:,} {spec.sample}, expected at least {needed:,}: "
                f"with fewer, even a clean release is {limit}"
            )
    return tuple(problems)


def _explained(policy: Policy, check: Check, key: Level) -> Explained:
    limit = check.limits[key]
    which = check.group or ", ".join(check.groups) or ("each group" if check.each_group else "")
    return Explained(
        check=check.id,
        key=key,
        effect=_EFFECTS[key],
        value=str(limit) if check.when == "always" else f"{limit} ({check.when})",
        metric=f"{check.metric} ({which})" if which else check.metric,
        reason=check.reason,
        source=check.source,
        file=policy.file,
        line=(check.lines or {}).get(key, check.line),
    )
