"""All methods on all splits of one data set."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .data import PARTS, Split, load, split
from .experiment import Copies, Outcome, examine, plant, sample
from .generated import GENERATED, made, trained
from .protocol import Method

__all__ = ["COPIES", "Settings", "run"]

COPIES: Mapping[str, int] = {"ham10000": 200, "fundus600": 100}
"""Copies a transform and seed, unless `--copies` says otherwise."""

_REPORTED = 250
"""Steps of the generator's training between two lines of progress."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says. `cache` is where trained generators are kept; without it, nothing is generated."""

    data: Path
    size: int
    seeds: int
    copies: int | None
    cache: Path | None


def run(name: str, chosen: Mapping[str, Method], settings: Settings) -> dict[str, list[Outcome]]:
    """The outcomes of all seeds by method."""
    photographs = load(name, settings.data, settings.size)
    copies = settings.copies or COPIES[name]
    outcomes: dict[str, list[Outcome]] = {method: [] for method in chosen}
    for seed in range(settings.seeds):
        parts = split(photographs, PARTS[name], seed, copies)
        positives = plant(parts, copies, seed)
        if seed == 0 and settings.cache is not None:
            folder = settings.cache / f"{name}-{settings.size}"
            positives |= _redone(parts, np.unique(photographs.label), settings.copies or max(COPIES.values()), folder)
        sizes = ", ".join(f"{part} {len(getattr(parts, part))}" for part in Split.__slots__)
        _say(f"{name} {settings.size} px seed {seed}: {sizes}")
        for method, how in chosen.items():
            outcome = examine(method, how, parts, positives, seed)
            outcomes[method].append(outcome)
            _say(f"  {method}: fit {outcome.seconds_fit:.0f} s, {outcome.queries} queries {outcome.seconds_query:.0f} s")
    return outcomes


def _redone(parts: Split, labels: NDArray[np.str_], copies: int, folder: Path) -> dict[str, Copies]:
    """Private images, redone by a model of all of them."""
    begun = time.perf_counter()
    model = trained(parts.index, labels, folder, progress=_progress)
    _say(f"generator: {time.perf_counter() - begun:.0f} s")
    redone = {}
    for name, strength in GENERATED.items():
        rows, _ = sample(parts.index, name, copies, seed=0)
        chosen = parts.index.take(rows)
        redone[name] = Copies(made(model, chosen, strength, seed=0), rows, np.ones(chosen.pixels.shape[:3], bool))
    return redone


def _progress(phase: str, done: int, total: int) -> None:
    if done == total or done % _REPORTED == 0:
        _say(f"  generator, {phase}: {done} of {total}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
