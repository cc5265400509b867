"""One reader at work on a study. An answer is in the ledger before the next one is taken: it can be killed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synguard.errors import InputError
from synguard.review.decisions import reader_id
from synguard.review.pictures import plain_png
from synguard.review.study.answers import CLOSED, KIND, Answer, check_answer, closed, payload, read_answers, standing
from synguard.review.study.plan import Book, Condition, Plan, load_picture

__all__ = ["State", "StudySession"]


@dataclass(frozen=True, slots=True)
class State:
    """Where the reader is: images done, of how many, the name of the one to look at ("" at the end), and whether an answer
    can be taken back.
    """

    done: int
    total: int
    item: str
    can_undo: bool


class StudySession:
    """A reader's images in the reader's own order, under names that nobody else has for them."""

    def __init__(self, run: Path, plan: Plan, name: str, book: Book) -> None:
        self._run, self._plan, self._name, self._book = run, plan, name, book
        self._reader = reader_id(name)
        self._items = plan.for_reader(self._reader)
        self._answering = threading.Lock()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What readers are asked about beside real or synthetic."""
        return self._plan.conditions

    def state(self) -> State:
        """Where the reader is by now."""
        own = self._own()
        waiting = [name for name, item in self._items.items() if item.id not in own]
        return State(len(own), len(self._items), waiting[0] if waiting else "", bool(own) and not self._closed())

    def answer(self, name: str, said: str, confidence: str, seen: Mapping[str, str]) -> None:
        """Writes an answer into the ledger. InputError for an image that is not the one shown, or for no answer."""
        with self._answering:
            if not name or name != self.state().item:
                raise InputError.of("image", "one that is not waiting for you", "the image that the page shows")
            self._refuse_closed()
            given = check_answer(self._plan.conditions, said, confidence, seen)
            self._book.append(KIND, payload(self._plan, self._name, self._items[name].id, given))

    def undo(self) -> None:
        """Takes the reader's last answer back by a further entry. InputError where there is none, or results were made."""
        with self._answering:
            own = self._own()
            if not own:
                raise InputError.of("undo", "no answer of yours", "one to take back")
            self._refuse_closed()
            last = max(own.values(), key=lambda answer: answer.number)
            self._book.append(KIND, payload(self._plan, self._name, last.item, None))

    def picture(self, name: str) -> bytes | None:
        """A picture by the name that it has for this reader; None for any other text."""
        item = self._items.get(name)
        return None if item is None else plain_png(load_picture(self._run, item))

    def _own(self) -> Mapping[str, Answer]:
        answers = read_answers(self._plan, self._book.entries(KIND, self._plan.run))
        return standing(answers).get(self._reader, {})

    def _closed(self) -> bool:
        return self._reader in closed(self._book.entries(CLOSED, self._plan.run))

    def _refuse_closed(self) -> None:
        if self._closed():
            raise InputError.of("answer", "a reader whose answers results were made of", "one who is still reading")
