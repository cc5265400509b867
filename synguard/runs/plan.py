"""What the generator is asked for: conditions drawn from the private set, a slot an image, a seed an attempt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError

__all__ = ["SHARED_BY", "Attempt", "Queue", "attempt_seed", "plan_conditions", "refuse_private_texts"]

SHARED_BY = 5
"""A combination of conditions is asked for as it stands only where at least this many private patients share it."""


def plan_conditions(conditions: pd.DataFrame, patients: Sequence[str], n: int, seed: int) -> pd.DataFrame:
    """Draw `n` rows of conditions with the private set's distribution, but no rare combination of a single patient.

    A private row is drawn at random; where fewer than `SHARED_BY` patients share its combination of values, each attribute
    is drawn anew on its own from the values that at least that many patients have. Otherwise the table of conditions alone
    would single patients out, however good the images are. Columns keep their types.
    """
    rng = np.random.default_rng([seed, 101])
    if conditions.columns.empty:
        return pd.DataFrame(index=range(n))
    owners = pd.Series(list(patients), index=conditions.index)
    # NA is a value of its own here: "unknown" is something many patients share.
    keys = conditions.astype("string").fillna("\x00").agg("\x1f".join, axis=1)
    shared = owners.groupby(keys).nunique()
    common = keys.map(shared).to_numpy() >= SHARED_BY
    pools = {name: _shared_rows(conditions[name], owners) for name in conditions.columns}
    rows = rng.integers(len(conditions), size=n)
    columns = {}
    for name in conditions.columns:
        own = pools[name][rng.integers(len(pools[name]), size=n)]
        columns[name] = conditions[name].iloc[np.where(common[rows], rows, own)].reset_index(drop=True)
    return pd.DataFrame(columns)


def _shared_rows(column: pd.Series, owners: pd.Series) -> np.ndarray:
    """Rows of `column` whose value at least `SHARED_BY` patients have; all rows where no value is shared so widely."""
    keys = column.astype("string").fillna("\x00")
    counts = keys.map(owners.groupby(keys).nunique())
    rows = np.flatnonzero(counts.to_numpy() >= SHARED_BY)
    return rows if len(rows) else np.arange(len(column))


def refuse_private_texts(
    asked: pd.DataFrame, private: pd.DataFrame, patients: Sequence[str], schema: ConditionSchema
) -> None:
    """InputError where a text asked of the generator is one that fewer than `SHARED_BY` private patients have.

    Texts are released beside the images as they stand, and no audit reads them. Case and spacing make no other text.
    """
    for name in (attribute.name for attribute in schema.attributes if attribute.kind == "text"):
        owners = pd.Series(list(patients), index=private.index).groupby(_plain(private[name])).nunique()
        rare = owners.index[owners < SHARED_BY]
        if copied := int(_plain(asked[name]).isin(rare).sum()):
            found = f"{copied} texts that fewer than {SHARED_BY} private patients have"
            raise InputError.of(f"conditions.{name}", found, "texts that tell of nobody, since they are released")


def _plain(texts: pd.Series) -> pd.Series:
    return texts.astype("string").str.casefold().str.split().str.join(" ")


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
