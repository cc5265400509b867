"""One reader at work on one run. A verdict is in the ledger before the next one is taken: it can be killed."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from synguard.errors import InputError
from synguard.review.decisions import (
    KIND,
    Decision,
    Row,
    check_reason,
    payload,
    read_decisions,
    reader_id,
    settled,
    standing,
)
from synguard.review.pictures import PANELS, panels, plain_png
from synguard.review.queue import Pair, load, read_pairs, shuffled

__all__ = ["Book", "Session", "Shown", "State"]

_KEPT = 4
"""Pairs whose pictures are kept in memory: the one that is shown, the next, and those just left."""

_ON_THE_PAGE = ("candidate", "private", "private", "difference", "matched")
"""Pictures as often as the page has them: the private image also lies over the synthetic one, to blink and wipe."""


class Book(Protocol):
    """The ledger, as far as readers need it."""

    def append(self, kind: str, payload: Mapping[str, Any]) -> object:
        """Adds an entry."""

    def entries(self, kind: str | None = None, run: str | None = None) -> Iterable[Row]:
        """Entries of a kind and run, oldest first."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair as the page has it. `pictures` are random ids by name, `following` those of the pair after it."""

    id: str
    pictures: Mapping[str, str]
    following: Sequence[str]


@dataclass(frozen=True, slots=True)
class State:
    """Where the reader is: pairs done, of how many, the pair to look at, and whether a verdict can be taken back."""

    done: int
    total: int
    shown: Shown | None
    can_undo: bool


class Session:
    """A reader's queue. All ids are random and new with each session."""

    def __init__(self, folder: Path, run: str, name: str, book: Book) -> None:
        self._folder, self._run, self._name, self._book = folder, run, name, book
        self._reader = reader_id(name)
        self._pairs = shuffled(read_pairs(folder), run, self._reader)
        self._by_id = {secrets.token_urlsafe(12): pair for pair in self._pairs}
        self._ids = {pair.digest: token for token, pair in self._by_id.items()}
        self._panels = {secrets.token_urlsafe(12): (pair, name) for pair in self._pairs for name in PANELS}
        self._panel_ids = {(pair.digest, name): token for token, (pair, name) in self._panels.items()}
        self._drawn: OrderedDict[str, dict[str, bytes]] = OrderedDict()
        self._deciding, self._drawing = threading.Lock(), threading.Lock()

    def state(self, after: str = "") -> State:
        """Where the reader is by now, other readers' decisions included; or will be after a verdict on the pair `after`."""
        decisions = self._decisions()
        waiting = self._waiting(decisions)
        rest = [pair for pair in waiting if self._ids[pair.digest] != after]
        done = len(self._own(decisions)) + len(waiting) - len(rest)
        waiting = rest
        shown = None
        if waiting:
            following = [self._panel_ids[pair.digest, name] for pair in waiting[1:2] for name in _ON_THE_PAGE]
            pictures = {name: self._panel_ids[waiting[0].digest, name] for name in PANELS}
            shown = Shown(self._ids[waiting[0].digest], pictures, following)
        return State(done, done + len(waiting), shown, done > 0)

    def decide(self, pair_id: str, verdict: str, reason: str) -> None:
        """Writes a verdict into the ledger. InputError for a pair that is not in the queue, or without its reason."""
        pair = self._by_id.get(pair_id)
        with self._deciding:
            if pair is None or pair not in self._waiting(self._decisions()):
                raise InputError.of("pair", "one that is not waiting for you", "the pair that the page shows")
            said, told = check_reason(verdict, reason)
            self._book.append(KIND, payload(self._run, self._name, pair.digest, said, told))

    def undo(self) -> None:
        """Takes the reader's last verdict back by a further entry. InputError where there is none."""
        with self._deciding:
            own = self._own(self._decisions())
            if not own:
                raise InputError.of("undo", "no verdict of yours", "one to take back")
            self._book.append(KIND, payload(self._run, self._name, own[-1].pair, None))

    def picture(self, picture_id: str) -> bytes | None:
        """A picture by its random id; None for any other text."""
        pair, name = self._panels.get(picture_id, (None, ""))
        return None if pair is None else self._drawn_of(pair)[name]

    def _decisions(self) -> tuple[Decision, ...]:
        return read_decisions(self._book.entries(KIND, self._run))

    def _own(self, decisions: Sequence[Decision]) -> list[Decision]:
        """The reader's decisions that hold, in the order in which they were made."""
        held = [said[self._reader] for said in standing(decisions).values() if self._reader in said]
        order = {id(decision): number for number, decision in enumerate(decisions)}
        return sorted((d for d in held if d.pair in self._ids), key=lambda decision: order[id(decision)])

    def _waiting(self, decisions: Sequence[Decision]) -> list[Pair]:
        """Pairs that this reader has not judged: controls and known copies, and flagged ones that are still open."""
        said = standing(decisions)

        def waits(pair: Pair) -> bool:
            of_pair = said.get(pair.digest, {})
            return self._reader not in of_pair and (pair.kind != "flagged" or settled(of_pair) is None)

        return [pair for pair in self._pairs if waits(pair)]

    def _drawn_of(self, pair: Pair) -> dict[str, bytes]:
        with self._drawing:
            if pair.digest not in self._drawn:
                shown = panels(*load(self._folder, pair))
                self._drawn[pair.digest] = {name: plain_png(pixels) for name, pixels in shown.items()}
            found = self._drawn[pair.digest]
            while len(self._drawn) > _KEPT:
                self._drawn.popitem(last=False)
        return found
