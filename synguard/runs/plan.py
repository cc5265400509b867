"""The order in which candidates are made: a slot an image of the release, a seed an attempt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Attempt", "Queue", "attempt_seed"]


def attempt_seed(seed: int, slot: int, attempt: int) -> int:
    """The seed of one image: 63 bits from run seed, slot and attempt, so that no batch or order can change it."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{slot}/{attempt}".encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """One candidate to be made: the `attempt`-th try (from 0) for `slot`."""

    slot: int
    attempt: int


class Queue:
    """Attempts in the order in which they are made.

    Batch k is composed from the verdicts up to batch k - 2, so that it can be generated while batch k - 1 is examined, and
    so that the composition is the same whether or not the two overlap, and after a resume.
    """

    def __init__(self, slots: int, batch_size: int, limit: int) -> None:
        """`slots` images to be accepted, in batches of `batch_size`, with at most `limit` candidates in all."""
        self._pending = [Attempt(slot, 0) for slot in range(slots)]
        self._batch_size = batch_size
        self._left = limit

    def next_batch(self) -> tuple[Attempt, ...]:
        """The next attempts, taken off the queue; empty when nothing is pending or the limit is reached."""
        size = min(self._batch_size, self._left)
        batch, self._pending = tuple(self._pending[:size]), self._pending[size:]
        self._left -= len(batch)
        return batch

    def refuse(self, attempts: Iterable[Attempt]) -> None:
        """Put refused attempts back, each with its next number."""
        self._pending.extend(Attempt(a.slot, a.attempt + 1) for a in attempts)

    @property
    def exhausted(self) -> bool:
        """Whether the limit is reached while slots are still open: the circuit breaker."""
        return self._left == 0 and bool(self._pending)
