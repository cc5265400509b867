"""What got looser, and what stricter, from one policy to another, in plain words.

Both are taken as resolved. Whatever one policy demands, the other has to demand at least as strictly, or it got looser; what
cannot be compared, such as a check that looks at another metric, counts as looser. Where nothing got looser, the new policy
stops whatever the old one stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from synguard.governance.limits import Limit
from synguard.governance.policy.model import LEVELS, Check, Level, Policy, Waiver

__all__ = ["Change", "Difference", "diff"]

_OTHER = "\0"
"""Stands for a group that nobody has named: it is in no file, since YAML cannot hold it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `about` is the id of a check or waiver, or the policy."""

    about: str
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        """Such as "near-copy-rate: the fail limit was above 1 %, is now above 2 %"."""
        return f"{self.about}: {self.what} was {self.before}, is now {self.after}"


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes from one policy to another."""

    looser: tuple[Change, ...]
    stricter: tuple[Change, ...]


def diff(old: Policy, new: Policy) -> Difference:
    """What got looser and what stricter from `old` to `new`."""
    # Stricter is what would get looser on the way back.
    back = [replace(change, before=change.after, after=change.before) for change in _looser(new, old)]
    return Difference(tuple(dict.fromkeys(_looser(old, new))), tuple(dict.fromkeys(back)))


def _looser(old: Policy, new: Policy) -> Iterator[Change]:
    yield from _whole(old, new)
    others = {check.id: check for check in new.checks}
    for check in old.checks:
        other = others.get(check.id)
        if other is None:
            yield Change(check.id, "the check", f"there ({_limits(check)})", "gone")
        else:
            yield from _selection(check, other)
            yield from _demands(_with_confidence(check, old), _with_confidence(other, new))
    yield from _waivers(old, new)


def _whole(old: Policy, new: Policy) -> Iterator[Change]:
    """Of the policy as a whole."""
    if set(new.releases) - set(old.releases):
        yield Change("policy", "what it decides on", ", ".join(old.releases), ", ".join(new.releases))
    for thing in old.releases:
        if not _asked(old, thing) and (asked := _asked(new, thing)):
            yield Change(
                "policy", f"what a release of {thing} is asked", "nothing, so that it never passes", ", ".join(asked)
            )
    if new.confidence < old.confidence:
        yield Change("policy", "the confidence", f"{100 * old.confidence:g} %", f"{100 * new.confidence:g} %")
    if old.review_by and (new.review_by is None or new.review_by > old.review_by):
        yield Change("policy", "the day of review", str(old.review_by), str(new.review_by or "none"))
    people = {approval.role: approval.count for approval in new.approvals}
    for approval in old.approvals:
        count = people.get(approval.role, 0)
        if count < approval.count:
            yield Change("policy", f"the number of approvals as {approval.role}", str(approval.count), str(count))


def _asked(policy: Policy, thing: str) -> list[str]:
    """Ids of the checks that apply to it. Where none does nothing passes the gate, so a first one lets something through."""
    # Images beside a model are asked what the model alone is: `Check.applies` has no more cases than these.
    return [check.id for check in policy.checks if check.applies([thing])]


def _selection(old: Check, new: Check) -> Iterator[Change]:
    """Of what a check looks at, and when."""
    looks = [(c.metric, c.group, c.each_group, bool(c.groups)) for c in (old, new)]
    if looks[0] != looks[1] or set(old.groups) - set(new.groups):
        yield Change(old.id, "what it looks at", old.target, new.target)
    if new.when not in ("always", old.when):
        yield Change(old.id, "when it applies", old.when, new.when)
    if old.blocker and not new.blocker:
        yield Change(old.id, "that nothing may excuse it", "true", "false")
    if new.smallest_group > old.smallest_group:
        yield Change(old.id, "the smallest group judged", f"{old.smallest_group:,} images", f"{new.smallest_group:,} images")


def _demands(old: Check, new: Check) -> Iterator[Change]:
    """Of the limits and of how they are held, group by group; what holds for all is said of none by name."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for group, name in _groups(old, new):
        forms = new.forms(group)
        for form in old.forms(group):
            for level, limit in form.limits.items():
                if not any(_covers(other, form, level, limit) for other in forms):
                    for change in _why(form, forms[-1], level, limit):
                        found.setdefault(change, []).append(name)
    for (what, before, after), names in found.items():
        every = "" in names or (old.groups and set(old.groups) <= set(names))
        yield Change(old.id, what if every else f"{what} for {', '.join(dict.fromkeys(names))}", before, after)


def _covers(new: Check, old: Check, level: Level, limit: Limit) -> bool:
    """Whether what breaks this limit of `old` is noticed by `new` at least as gravely."""
    for at_least in LEVELS[: LEVELS.index(level) + 1]:
        other = new.limits.get(at_least)
        shown = new.prove == "compliance" or (new.prove == old.prove and at_least == level)
        if other is not None and shown and _no_looser(other, limit):
            return not any(differs(old, new) for _, differs, _ in _MANNERS)
    return False


_MANNERS: tuple[tuple[str, Callable[[Check, Check], bool], Callable[[Check], str]], ...] = (
    ("what has to be proven", lambda old, new: (old.prove, new.prove) == ("compliance", "breach"), lambda c: c.prove),
    (
        "what an audit that could not run means",
        lambda old, new: (old.not_tested, new.not_tested) == ("insufficient", "warn"),
        lambda c: c.not_tested,
    ),
    ("the confidence", lambda old, new: new.confidence < old.confidence, lambda c: f"{100 * c.confidence:g} %"),
)
"""How limits are held: in words, whether it got looser, and what it is."""


def _why(old: Check, new: Check, level: Level, limit: Limit) -> Iterator[tuple[str, str, str]]:
    """Why `new` does not cover a limit of `old`."""
    other = new.limits.get(level)
    manners = [(what, show(old), show(new)) for what, differs, show in _MANNERS if differs(old, new)]
    if other is None or not _no_looser(other, limit) or not manners:
        yield f"the {level} limit", str(limit), str(other or "none")
    yield from manners


def _groups(old: Check, new: Check) -> Iterator[tuple[str | None, str]]:
    """A group for each set of rules that can meet, with its name for people; groups that nobody named have none."""
    if not (old.groups or old.each_group):
        yield old.group, ""
        return
    if old.each_group:
        yield _OTHER, ""
    names = [name for check in (old, new) for rule in check.rules for name in rule.groups]
    for name in dict.fromkeys((*old.groups, *names)):
        yield (name[:-1] + _OTHER if name.endswith("*") else name), name


def _waivers(old: Policy, new: Policy) -> Iterator[Change]:
    """Exceptions that the old policy did not make, or not as far or as long."""
    for waiver in new.waivers:
        before = [other for other in old.waivers if other.covers(waiver.check, waiver.group)]
        if not any(_as_far(other, waiver) for other in before):
            yield Change(waiver.id, f"the waiver of {waiver.check}", _told(before), _told([waiver]))


def _as_far(old: Waiver, new: Waiver) -> bool:
    return old.issued <= new.issued and new.expires <= old.expires and _no_looser(new.ceiling, old.ceiling)


def _told(waivers: list[Waiver]) -> str:
    words = [f"up to {w.ceiling}{f' for {w.group}' if w.group else ''} from {w.issued} to {w.expires}" for w in waivers]
    return " and ".join(words) or "none"


def _with_confidence(check: Check, policy: Policy) -> Check:
    """With a confidence of its own only where it is not that of the policy, which is compared as a whole."""
    own = check.confidence if check.confidence != policy.confidence else 0.0
    return replace(check, confidence=own)


def _no_looser(limit: Limit, other: Limit) -> bool:
    comparable = (limit.side, limit.unit, limit.of_n) == (other.side, other.unit, other.of_n)
    return comparable and not limit.looser_than(other)


def _limits(check: Check) -> str:
    return "; ".join(f"{level} {check.limits[level]}" for level in LEVELS if level in check.limits)
