"""What readers said about pairs. A verdict is an entry of the ledger, and so is taking one back: nothing is removed. Pure.

A pair is settled when two readers, neither of whom saw the other's verdict, said the same of it and were sure. Where two
disagree, or are unsure, the pair goes to a third.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from synguard.errors import InputError, IntegrityError

__all__ = [
    "KIND",
    "NEEDS_REASON",
    "UNDONE",
    "VERDICTS",
    "Decision",
    "Standing",
    "Verdict",
    "check_reason",
    "contested",
    "payload",
    "read_decisions",
    "reader_id",
    "settled",
    "standing",
]

KIND = "review"
"""The kind of these entries in the ledger."""
Verdict = Literal["copy", "same patient", "alike by chance", "unsure"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
UNDONE = "undone"
NEEDS_REASON = frozenset({"copy", "same patient"})
_PAGE = 1
"""Version of the page that people decide on; another may show pairs otherwise."""
_LONGEST_NAME = 300
_REASON = range(3, 1001)


class Row(Protocol):
    """An entry of the ledger."""

    @property
    def at(self) -> str:
        """When it was written."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """What was written."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One reader's word on one pair. `verdict` is None where an earlier one was taken back."""

    reader: str
    name: str
    pair: str
    verdict: Verdict | None
    reason: str
    at: str


Standing = Mapping[str, Mapping[str, Decision]]
"""Decisions that hold, by pair and reader; the readers of a pair in the order in which they decided."""


def reader_id(name: str) -> str:
    """Who a name stands for: letter case, blanks and unseen signs make no second reader. InputError for no name."""
    seen = "".join(" " if sign.isspace() else sign for sign in unicodedata.normalize("NFKC", name))
    seen = "".join(sign for sign in seen if unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    if not re.search(r"\w", seen) or len(name) > _LONGEST_NAME:
        raise InputError.of("--reviewer", repr(name[:40]), f"a name of 1 to {_LONGEST_NAME} characters")
    return " ".join(seen.casefold().split())


def check_reason(verdict: str, reason: str) -> tuple[Verdict, str]:
    """A verdict and its reason as they are written down. InputError for no verdict, or where a reason is missing."""
    if verdict not in VERDICTS:
        raise InputError.of("verdict", repr(verdict[:40]), ", ".join(VERDICTS))
    told = " ".join(reason.split())
    if len(told) >= _REASON.stop or (verdict in NEEDS_REASON and len(told) < _REASON.start):
        expected = f"what makes you say {verdict!r}, in {_REASON.start} to {_REASON.stop - 1} characters"
        raise InputError.of("reason", f"{len(told)} characters", expected)
    return verdict, told


def payload(run: str, name: str, pair: str, verdict: Verdict | None, reason: str = "") -> dict[str, Any]:
    """The entry of a decision; `verdict` None takes the reader's last one on the pair back."""
    said = {"verdict": verdict or UNDONE, "reason": reason, "page": _PAGE}
    return {"run": run, "reviewer": name, "pair": pair, **said}


def read_decisions(rows: Iterable[Row]) -> tuple[Decision, ...]:
    """The decisions in entries of the ledger, oldest first. IntegrityError for one that is none."""
    found = []
    for row in rows:
        said = row.payload
        verdict = said.get("verdict")
        if verdict not in (*VERDICTS, UNDONE) or not all(isinstance(said.get(key), str) for key in ("reviewer", "pair")):
            raise IntegrityError(f"ledger: found a review of {row.at} without reviewer, pair or verdict, expected all three")
        name, taken_back = said["reviewer"], verdict == UNDONE
        reason = str(said.get("reason", ""))
        found.append(Decision(reader_id(name), name, said["pair"], None if taken_back else verdict, reason, row.at))
    return tuple(found)


def standing(decisions: Iterable[Decision]) -> Standing:
    """What holds of decisions that come oldest first."""
    found: dict[str, dict[str, Decision]] = {}
    for decision in decisions:
        of_pair = found.setdefault(decision.pair, {})
        of_pair.pop(decision.reader, None)
        if decision.verdict is not None:
            of_pair[decision.reader] = decision
    return found


def settled(said: Mapping[str, Decision]) -> Verdict | None:
    """What readers settled on: a sure verdict of two or more, and of more than any other; None while the pair is open."""
    counts = Counter(decision.verdict for decision in said.values() if decision.verdict != "unsure").most_common(2)
    if not counts or counts[0][1] < 2 or (len(counts) == 2 and counts[1][1] == counts[0][1]):
        return None
    return counts[0][0]


def contested(said: Mapping[str, Decision]) -> bool:
    """Whether two or more readers looked and the pair is still open."""
    return len(said) >= 2 and settled(said) is None
