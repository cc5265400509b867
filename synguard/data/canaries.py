"""Canaries: patients whose place in the private set a coin decides, drawn and committed to before any training.

The coins come from the operating system's generator, not from a seed that somebody chose. The commitment is a sha256 over a
secret salt, the set and all coins: published in the model card before the training starts, it tells nobody who is in and
lets nobody change it later. The file with the coins is private data.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from synguard.data.images import ImageSet
from synguard.errors import InputError, IntegrityError

__all__ = ["Canaries", "draw_canaries"]

_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Canaries:
    """Who is a canary, and how the coin fell. `population` is the digest of the set with all of them in it."""

    population: str
    patients: tuple[str, ...]
    included: tuple[bool, ...]
    salt: str

    @property
    def commitment(self) -> str:
        """sha256 that binds to set, patients and coins, and tells nothing without the salt."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def trained_on(self, images: ImageSet) -> ImageSet:
        """The set without the patients whose coin fell out."""
        self._check(images)
        return images.take(np.flatnonzero(~self._is(images, included=False)))

    def left_out(self, images: ImageSet) -> ImageSet:
        """The patients whose coin fell out."""
        self._check(images)
        return images.take(np.flatnonzero(self._is(images, included=False)), name="canaries left out")

    def put_in(self, images: ImageSet) -> ImageSet:
        """The patients whose coin fell in."""
        self._check(images)
        return images.take(np.flatnonzero(self._is(images, included=True)), name="canaries put in")

    def save(self, path: Path) -> None:
        """Write the coins, whole or not at all, readable by their owner only."""
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(self._text())
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, commitment: str | None = None) -> Canaries:
        """The coins in a file. IntegrityError where they are not those that `commitment` binds to, or cannot be read."""
        try:
            value = json.loads(path.read_bytes())
            found = cls(
                population=str(value["population"]),
                patients=tuple(map(str, value["patients"])),
                included=tuple(map(bool, value["included"])),
                salt=str(value["salt"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{path}: found no readable coins, expected the file that was written with them") from error
        if len(found.patients) != len(found.included):
            raise IntegrityError(f"{path}: found {len(found.included)} coins, expected {len(found.patients)}, one a canary")
        if commitment is not None and found.commitment != commitment:
            raise IntegrityError(f"{path}: found other coins, expected those that the model card is committed to")
        return found

    def _text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def _is(self, images: ImageSet, *, included: bool) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        names = [name for name, coin in zip(self.patients, self.included, strict=True) if coin is included]
        return np.isin(images.patients, names)

    def _check(self, images: ImageSet) -> None:
        if images.digest != self.population:
            raise InputError.of(images.name, "another image set", "the one that the canaries were drawn from")


def draw_canaries(images: ImageSet, count: int, *, coin: Callable[[], bool] = lambda: bool(secrets.randbits(1))) -> Canaries:
    """`count` patients drawn at random, each put in with probability one half. InputError where there are not as many.

    `coin` is for tests; whoever can choose the coins can make the bound say anything.
    """
    patients = sorted(set(images.patients.tolist()))
    if not _FEWEST <= count <= len(patients):
        raise InputError.of("canaries", count, f"{_FEWEST} to {len(patients)}, the patients of the private set")
    chosen = tuple(sorted(secrets.SystemRandom().sample(patients, count)))
    return Canaries(images.digest, chosen, tuple(coin() for _ in chosen), secrets.token_hex(32))
