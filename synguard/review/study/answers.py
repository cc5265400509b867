"""What readers of a study said. An answer is an entry of the ledger, and so is taking one back: nothing is removed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from synguard.errors import InputError, IntegrityError
from synguard.review.decisions import UNDONE, Row, reader_id
from synguard.review.study.plan import Condition, Plan

__all__ = [
    "CLOSED",
    "CONFIDENCE",
    "KIND",
    "SIDES",
    "Answer",
    "Given",
    "check_answer",
    "closed",
    "finished",
    "level_of",
    "payload",
    "read_answers",
    "standing",
]

KIND = "study-answer"
"""The kind of these entries in the ledger."""
CLOSED = "study-results"
"""The kind of the entry that says whose answers results were made of: these can no longer be changed."""
Said = Literal["real", "synthetic"]
SIDES: tuple[Said, ...] = get_args(Said)
CONFIDENCE = (1, 2, 3, 4, 5)
"""From guessing to certain."""
_PAGE = 1
"""Version of the page that people answer on."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a reader says of one image. `seen` has the level of each condition that the reader could tell."""

    said: Said
    confidence: int
    seen: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """One entry: `given` is None where an earlier answer was taken back. `number` counts the entries."""

    reader: str
    name: str
    item: str
    given: Given | None
    at: str
    number: int


Standing = Mapping[str, Mapping[str, Answer]]
"""Answers that hold, by reader and item; the items of a reader in the order in which they were answered."""


def check_answer(conditions: Sequence[Condition], said: str, confidence: str, seen: Mapping[str, str]) -> Given:
    """An answer from texts, as a form or a table has them; "" in `seen` is "cannot tell". InputError for what is none."""
    word = said.strip().casefold()
    if word not in SIDES:
        raise InputError.of("answer", _shown(said), " or ".join(SIDES))
    digits = confidence.strip()
    if digits not in {str(grade) for grade in CONFIDENCE}:
        raise InputError.of("confidence", _shown(confidence), f"a whole number from {CONFIDENCE[0]} to {CONFIDENCE[-1]}")
    levels = {condition.name: level_of(condition, seen.get(condition.name, "")) for condition in conditions}
    return Given(word, int(digits), {name: level for name, level in levels.items() if level})


def level_of(condition: Condition, text: str) -> str:
    """The level that a text means, "" for none. InputError for any other text."""
    word = text.strip()
    if not word or text in condition.levels:
        return text if word else ""
    for level in condition.levels:
        if level.strip().casefold() == word.casefold():
            return level
    raise InputError.of(f"condition.{condition.name}", _shown(text), f"{', '.join(condition.levels)}, or nothing")


def payload(plan: Plan, name: str, item: str, given: Given | None) -> dict[str, Any]:
    """The entry of an answer; `given` None takes the reader's last one on the item back."""
    said = {"answer": UNDONE} if given is None else _written(given)
    return {"run": plan.run, "plan": plan.digest, "reviewer": name, "item": item, "page": _PAGE, **said}


def read_answers(plan: Plan, rows: Iterable[Row]) -> tuple[Answer, ...]:
    """The answers in entries of the ledger, oldest first. IntegrityError for one that is none, or of another plan."""
    return tuple(_read(plan, number, row) for number, row in enumerate(rows))


def standing(answers: Iterable[Answer]) -> Standing:
    """What holds of answers that come oldest first."""
    found: dict[str, dict[str, Answer]] = {}
    for answer in answers:
        own = found.setdefault(answer.reader, {})
        own.pop(answer.item, None)
        if answer.given is not None:
            own[answer.item] = answer
    return found


def finished(plan: Plan, answers: Sequence[Answer]) -> tuple[str, ...]:
    """Readers who have answered on every image, in the order in which they finished."""
    done = [(own, reader) for reader, own in standing(answers).items() if len(own) == len(plan.items)]
    return tuple(reader for _, reader in sorted((max(a.number for a in own.values()), reader) for own, reader in done))


def closed(rows: Iterable[Row]) -> frozenset[str]:
    """Readers whose answers results were made of, from the ledger's `CLOSED` entries."""
    return frozenset(reader for row in rows for reader in row.payload.get("readers", ()))


def _written(given: Given) -> dict[str, Any]:
    return {"answer": given.said, "confidence": given.confidence, "seen": dict(given.seen)}


def _read(plan: Plan, number: int, row: Row) -> Answer:
    said = row.payload
    name, item, word = said.get("reviewer"), said.get("item"), said.get("answer")
    if said.get("plan") != plan.digest:
        raise IntegrityError(f"ledger: found an answer of {row.at} under another plan, expected {plan.digest[:16]}")
    if not isinstance(name, str) or not isinstance(item, str) or item not in plan.by_id:
        raise IntegrityError(f"ledger: found an answer of {row.at} without reader or image of the plan, expected both")
    given = None
    if word != UNDONE:
        seen = said.get("seen")
        try:
            levels = {str(k): str(v) for k, v in seen.items()} if isinstance(seen, Mapping) else {}
            given = check_answer(plan.conditions, str(word), str(said.get("confidence")), levels)
        except InputError as error:
            raise IntegrityError(f"ledger: found an answer of {row.at} that is none: {error}") from error
    return Answer(reader_id(name), name, item, given, row.at, number)


def _shown(text: str) -> str:
    return repr(text[:40]) if text.strip() else "nothing"
