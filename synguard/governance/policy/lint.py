"""What is wrong with a policy that can be read: limits that sample sizes can never satisfy, and days that have passed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from synguard.governance.policy.model import Check, Origin, Policy
from synguard.metrics.catalogue import CATALOGUE

__all__ = ["Sizes", "lint"]


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


def lint(policy: Policy, sizes: Sizes, today: date | None = None) -> tuple[str, ...]:
    """A line for each fail or invalid limit that even a perfectly clean release of these sizes could not satisfy.

    With `today`, also for the policy's review and for waivers that have run out or counts for nothing yet.
    """
    found = [*_out_of_date(policy, today)] if today else []
    for check in policy.checks:
        found += _unreachable(policy, check, sizes)
    return tuple(found)


def _unreachable(policy: Policy, check: Check, sizes: Sizes) -> Iterator[str]:
    """Of each level the strictest limit that speaks of the metric over all, or of all groups that are named."""
    spec = CATALOGUE[check.metric]
    given = sizes.of(spec.sample)
    if given is None or spec.held_on == "value" or check.each_group:
        return
    told: set[str] = set()
    for group in check.groups or (check.group,):
        form = check.forms(group)[-1]
        for level, limit in form.limits.items():
            confidence = form.confidence or policy.confidence
            needed = spec.smallest_n(limit.value, confidence)
            if level == "warn" or form.prove == "breach" or needed is None or given >= needed:
                continue
            rules = [rule for rule in check.rules if rule.concerns(group) and rule.limits.get(level) == limit]
            origin = (rules[-1] if rules else check).origin.of(level)
            if str(origin) not in told:
                what = f"found {given:,} {spec.sample}, expected at least {needed:,}"
                yield f"{origin}: {check.id}.{level}: {what}: with fewer, even a clean release is {limit}"
            told.add(str(origin))


def _out_of_date(policy: Policy, today: date) -> Iterator[str]:
    if policy.review_by and today > policy.review_by:
        origin = policy.origins.get("review_by", Origin(policy.file))
        yield f"{origin}: review_by: found {policy.review_by}, expected a day that has not passed"
    for waiver in policy.waivers:
        if today > waiver.expires:
            where = waiver.origin.of("expires")
            yield f"{where}: {waiver.id}.expires: found {waiver.expires}, expected a day that has not passed, or no waiver"
