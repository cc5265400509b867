"""Do private set and holdout hold the same classes? A class that only one of them has cannot be compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import hypergeom

__all__ = ["Level", "class_mix", "missing_in_words"]

_MOST_LEVELS = 20
P_VALUE = 0.01


@dataclass(frozen=True, slots=True)
class Level:
    """One class: patients on either side who have an image of it, and how likely such an absence is by chance.

    `p_missing` is 1 unless one side has none; else the chance that a random split by patient would have left it out there.
    """

    attribute: str
    level: str
    members: int
    nonmembers: int
    p_missing: float


def class_mix(
    private: pd.DataFrame, holdout: pd.DataFrame, members: NDArray[np.str_], others: NDArray[np.str_]
) -> list[Level]:
    """All levels of the attributes that both tables have, by patient; numbers of more than 20 values are left out."""
    sizes = len(np.unique(members)), len(np.unique(others))
    found = []
    for name in private.columns:
        if name not in holdout.columns:
            continue
        sides = [side[name] for side in (private, holdout)]
        levels = sorted(pd.concat(sides, ignore_index=True).dropna().unique(), key=str)
        if not 2 <= len(levels) <= _MOST_LEVELS:
            continue
        for level in levels:
            counts = [
                len(np.unique(patients[(column == level).fillna(False).to_numpy(dtype=bool)]))
                for column, patients in zip(sides, (members, others), strict=True)
            ]
            absent = [size for size, count in zip(sizes, counts, strict=True) if count == 0]
            chance = float(hypergeom.pmf(0, sum(sizes), sum(counts), absent[0])) if absent else 1.0
            found.append(Level(str(name), str(level), counts[0], counts[1], chance))
    return found


def missing_in_words(levels: list[Level]) -> tuple[str, str]:
    """Two sentences, each empty where it does not apply: absences that chance does not explain, and those that it may.

    The level of 0.01 is shared by all classes.
    """
    limit = P_VALUE / max(len(levels), 1)
    absent = [level for level in levels if min(level.members, level.nonmembers) == 0]
    told = [_named(level) for level in absent if level.p_missing < limit]
    open_ = [_named(level) for level in absent if level.p_missing >= limit]
    return (
        f"classes that one side lacks: {', '.join(told)}" if told else "",
        f"nothing is said about classes that one side lacks: {', '.join(open_)}" if open_ else "",
    )


def _named(level: Level) -> str:
    where = "holdout" if level.nonmembers == 0 else "private set"
    return f"{level.attribute} {level.level} (none in the {where})"
