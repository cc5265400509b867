"""Why the verdict is what it is, in as few lines as say it: what stops the release first, and no matter twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.checks import CheckFact
from reports.wording import SPLIT

__all__ = ["Reason", "leading"]

_COPIES = frozenset({"memorisation.exact_copies", "memorisation.verified_copies", "memorisation.near_copy_rate"})


@dataclass(frozen=True, slots=True)
class Reason:
    """A line under the verdict, with the status of the checks that it is about."""

    status: str
    words: str


def leading(checks: Sequence[CheckFact], words: Callable[[CheckFact], str]) -> tuple[Reason, ...]:
    """One line for each matter that is open, of `checks` with the gravest first; `words` says a check's own sentence.

    Checks of one status are one matter where they are about the same images, spoilt by one unfit split, or said in the same
    words. How many further checks are about the same is told with it.
    """
    matters: dict[tuple[str, str], list[CheckFact]] = {}
    for check in checks:
        if check.status not in {"pass", "waived"}:
            matters.setdefault((check.status, _matter(check, words)), []).append(check)
    return tuple(Reason(status, words(_first(found)) + _more(len(found) - 1)) for (status, _), found in matters.items())


def _matter(check: CheckFact, words: Callable[[CheckFact], str]) -> str:
    if check.status == "fail" and check.metric in _COPIES:
        return "copies"
    if check.status == "invalid" and check.metric.startswith("membership."):
        return "split"
    return words(check)


def _first(checks: Sequence[CheckFact]) -> CheckFact:
    """What the others follow from."""
    return next((check for check in checks if check.metric == SPLIT), checks[0])


def _more(count: int) -> str:
    return "" if not count else f" {count} further {'check is' if count == 1 else 'checks are'} about the same."
