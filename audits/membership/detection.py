"""Did a probe tell members from others at all? P-values corrected for the number of probes, and what could have been proven.

Limits and detection are two questions. A limit is held against an upper bound: all of them must hold, so that more probes
can only make it harder to pass, and nothing has to be corrected. That a probe *found* members is a claim, and of many claims
some come true by chance: these are corrected after Holm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synguard.metrics.significance import best_of_each, holm, permutation_test, rate_p_value, smallest_provable_rate
from synguard.results import MetricState

__all__ = ["DETECTED", "LOW_RATES", "LowRate", "detected", "low_rate", "p_value"]

Floats = NDArray[np.float64]
Labels = NDArray[np.str_]
LOW_RATES = (0.001, 0.01)
"""Shares of false alarms at which the share of members named is reported."""
DETECTED = 0.05
"""Corrected p-value below which a probe is said to have told members from others."""
_PERMUTATIONS = 1999
"""Enough for a p-value that stands after correction for a few dozen probes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRate:
    """What was named at one small share of false alarms, and the least that would have been proven (4 times in 5).

    `state` is "insufficient" where the non-members are too few to measure that share at all; then there are no figures.
    """

    fpr: float
    state: MetricState
    tpr: float | None
    interval: tuple[float, float] | None
    provable: float | None


def low_rate(target: float, tpr: float, interval: tuple[float, float], people: int, unseen: int) -> LowRate:
    """The rate `tpr` at `target` with its interval; no figures with fewer non-member patients than one false alarm takes."""
    if unseen < round(1 / target):
        return LowRate(fpr=target, state="insufficient", tpr=None, interval=None, provable=None)
    provable = smallest_provable_rate(people, unseen, target)
    return LowRate(fpr=target, state="measured", tpr=tpr, interval=interval, provable=provable)


def p_value(inside: Floats, outside: Floats, members: Labels, others: Labels, *, fpr: float, seed: int) -> float:
    """One-sided, of the AUC or of the rate at `fpr`: twice the smaller of the two (Bonferroni), by patient.

    An average can hide a few members who are named for certain, and a weak leak on everybody names nobody: either counts.
    """
    area = permutation_test(inside, outside, members, others, permutations=_PERMUTATIONS, seed=seed)
    rate = rate_p_value(best_of_each(inside, members), best_of_each(outside, others), fpr)
    return min(1.0, 2 * min(area, rate))


def detected(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The probes' rows of evidence with `p_holm`, corrected for all of them, and `detected`. Rows without figures stay."""
    corrected = iter(holm([row["p_value"] for row in rows if "p_value" in row]))
    made = []
    for row in rows:
        more: dict[str, Any] = {}
        if "p_value" in row:
            p_holm = next(corrected)
            more = {"p_holm": p_holm, "detected": p_holm < DETECTED}
        made.append(dict(row) | more)
    return made
