"""What a policy asks and why: every value with the file and line that it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synguard.governance.policy.model import LEVELS, Check, Level, Origin, Policy, Rule, Waiver

__all__ = ["Explained", "explain"]

_EFFECTS: dict[Level, str] = {"fail": "fails", "invalid": "spoils the evidence", "warn": "warns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One value of the policy, with the file and line it comes from; line 0 is a default that nobody wrote.

    `check` is empty for values of the policy as a whole. `effect` says what `key` does: "fails".
    """

    check: str
    key: str
    effect: str
    value: str
    metric: str
    reason: str
    source: str
    file: str
    line: int

    @property
    def words(self) -> str:
        """Such as "fails where memorisation.near_copy_rate is above 1 %"."""
        if self.key in LEVELS:
            return f"{self.effect} where {self.metric} is {self.value}"
        return f"{self.key} {self.effect} {self.value}"


def explain(policy: Policy) -> tuple[Explained, ...]:
    """Every value of a policy: of the whole first, then of each check what it asks itself and what is asked on top."""
    found = [*_of_the_whole(policy)]
    for check in policy.checks:
        found += _of_a_check(check)
    return (*found, *(_of_a_waiver(waiver) for waiver in policy.waivers))


def _of_the_whole(policy: Policy) -> Iterator[Explained]:
    for key, value, why in (
        ("releases", ", ".join(policy.releases), "what the policy can decide on"),
        ("confidence", f"{100 * policy.confidence:g} %", "least confidence of the bounds that limits are held against"),
        ("review_by", str(policy.review_by or ""), "the last day on which the policy decides"),
    ):
        if value:
            yield _row("", key, "is", value, "", why, "", policy.origins.get(key, Origin(policy.file)))
    for approval in policy.approvals:
        people = "1 person" if approval.count == 1 else f"{approval.count} people"
        why = "distinct people over all roles, and none who ran the generator"
        yield _row("", "approvals", "needs", f"{people} as {approval.role}", "", why, "", approval.origin, "count")


def _of_a_check(check: Check) -> Iterator[Explained]:
    when = "" if check.when == "always" else f" ({check.when})"
    for level in LEVELS:
        if level in check.limits:
            value = f"{check.limits[level]}{when}"
            yield _row(check.id, level, _EFFECTS[level], value, check.target, check.reason, check.source, check.origin)
    manner = {"not_tested": check.not_tested, "prove": check.prove, "blocker": str(check.blocker).lower()}
    manner["smallest_group"] = f"{check.smallest_group:,} images"
    for key, value in manner.items():
        if key in check.origin.keys:
            yield _row(check.id, key, "is", value, check.target, check.reason, check.source, check.origin)
    for rule in check.rules:
        yield from _of_a_rule(check, rule, when)


def _of_a_rule(check: Check, rule: Rule, when: str) -> Iterator[Explained]:
    named = f"{check.metric} ({', '.join(rule.groups)})" if rule.groups else check.target
    for level in LEVELS:
        if level in rule.limits:
            value = f"{rule.limits[level]}{when}"
            yield _row(check.id, level, _EFFECTS[level], value, named, rule.reason, rule.source, rule.origin)
    manner = {"not_tested": str(rule.not_tested), "prove": str(rule.prove), "blocker": "true"}
    for key, value in manner.items():
        if key in rule.origin.keys:
            yield _row(check.id, key, "is", value, named, rule.reason, rule.source, rule.origin)


def _of_a_waiver(waiver: Waiver) -> Explained:
    metric = f"{waiver.check} ({waiver.group})" if waiver.group else waiver.check
    source = f"asked for by {waiver.owner}, granted by {waiver.approver}, {waiver.issued} to {waiver.expires}"
    value = f"{waiver.ceiling} until {waiver.expires}"
    return _row(
        waiver.check, "ceiling", f"of the waiver {waiver.id} is", value, metric, waiver.reason, source, waiver.origin
    )


def _row(
    check: str, key: str, effect: str, value: str, metric: str, reason: str, source: str, origin: Origin, at: str = ""
) -> Explained:
    return Explained(
        check=check,
        key=key,
        effect=effect,
        value=value,
        metric=metric,
        reason=reason,
        source=source,
        file=origin.file,
        line=origin.of(at or key).line,
    )
