"""Lower bounds on epsilon from one training run with randomised canaries. Pure functions: numbers in, numbers out.

m canaries were put in or left out by fair coins of their own. Who sees the model guesses r of the coins, and v guesses are
right. Under differential privacy v cannot be large, so a large v disproves every epsilon below the bound. The number of
guesses and their split between "in" and "out" are fixed before the scores are seen; where several are tried, each is held to
its share of the error (Bonferroni), so that the best of them is still a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, expit, ndtr, ndtri

__all__ = [
    "PLANS",
    "Form",
    "OneRun",
    "best_possible",
    "correct_guesses",
    "default_delta",
    "epsilon_bound",
    "gaussian_mu",
    "lower_bound",
]

Floats = NDArray[np.float64]
Form = Literal["f-dp", "approximate", "gaussian"]
"""What is disproved.

f-dp: (epsilon, delta), by the recursion of Mahloujifar et al. 2024, arXiv:2410.22235. approximate: the same by Steinke et
al. 2023, arXiv:2305.08846, theorem 5.2, which pays more for delta; with delta 0 it is the exact binomial bound of Clopper
and Pearson. gaussian: by the recursion, being as private as the Gaussian mechanism that has (epsilon, delta); tighter, and
a bound only for mechanisms whose trade-off curve is Gaussian, as that of DP-SGD nearly is after many steps.
"""

PLANS: tuple[tuple[float, float], ...] = ((0.05, 0), (0.2, 0), (0.4, 0), (0.1, 0.1), (0.25, 0.25), (0.4, 0.4))
"""Shares of the canaries that are guessed "in" (highest scores) and "out" (lowest), fixed before any score is seen."""
_HIGHEST = 60.0
"""Epsilon beyond which nothing is looked for; a bound that high says all there is to say."""
_TOLERANCE = 1e-7
"""The bound is found by halving, and given from below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneRun:
    """The best of the guessing plans. `epsilon` is 0 where nothing is shown; `each` is the confidence of every plan."""

    epsilon: float
    canaries: int
    guesses: int
    correct: int
    plans: int
    each: float
    confidence: float
    delta: float
    form: Form


def lower_bound(
    scores: Floats,
    included: NDArray[np.bool_],
    *,
    delta: float,
    confidence: float = 0.95,
    form: Form = "f-dp",
    plans: tuple[tuple[float, float], ...] = PLANS,
    seed: int = 0,
) -> OneRun:
    """The one-run bound from scores (m,) or, for several probes, (k, m), higher for what looks more included.

    Every probe with every plan counts as one hypothesis. ValueError for scores that are not finite or of another length than
    `included`, and without canaries.
    """
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    canaries = len(included)
    if canaries == 0 or table.shape[1] != canaries:
        raise ValueError(f"scores: found {table.shape}, expected one a canary, of {canaries}")
    if not np.isfinite(table).all():
        raise ValueError("scores: found some that are not finite, expected numbers")
    hypotheses = len(table) * len(plans)
    if not hypotheses:
        raise ValueError("plans: found none, expected at least one")
    each = 1 - (1 - confidence) / hypotheses
    best = OneRun(
        epsilon=0.0,
        canaries=canaries,
        guesses=0,
        correct=0,
        plans=hypotheses,
        each=each,
        confidence=confidence,
        delta=delta,
        form=form,
    )
    for row in table:
        for ins, outs in plans:
            up, down = max(1, round(ins * canaries)), round(outs * canaries)
            down = min(down, canaries - up)
            correct = correct_guesses(row, included, up, down, seed)
            found = epsilon_bound(canaries, up + down, correct, delta=delta, confidence=each, form=form, beyond=best.epsilon)
            if found > best.epsilon or not best.guesses:
                best = replace(best, epsilon=found, guesses=up + down, correct=correct)
    return best


def best_possible(canaries: int, *, delta: float, confidence: float = 0.95, probes: int = 1) -> float:
    """The bound that `lower_bound` would give if every guess of every plan were right: more it cannot show."""
    truth = np.arange(canaries) >= canaries // 2
    scores = np.repeat(np.linspace(0, 1, canaries)[None], probes, axis=0)
    return lower_bound(scores, truth, delta=delta, confidence=confidence).epsilon


def default_delta(patients: int) -> float:
    """A tenth of one in the number of patients: delta is the chance of giving everything away, and must be far below 1/n."""
    return 0.1 / patients


def correct_guesses(scores: Floats, included: NDArray[np.bool_], ins: int, outs: int, seed: int) -> int:
    """How many guesses are right when the `ins` highest scores are called in and the `outs` lowest out.

    Ties are broken by chance: in the order of rows they would follow the coins wherever the included come first.
    """
    chance = np.random.default_rng([seed, 0x0E5]).permutation(len(scores))
    order = np.lexsort((chance, scores))
    return int(included[order[len(order) - ins :]].sum()) + int((~included[order[:outs]]).sum())


def epsilon_bound(
    canaries: int,
    guesses: int,
    correct: int,
    *,
    delta: float,
    confidence: float = 0.95,
    form: Form = "f-dp",
    beyond: float = 0.0,
) -> float:
    """Largest epsilon that `correct` right ones of `guesses` guesses disprove at `confidence`.

    `beyond` (0 where nothing is known yet) is what comes back where they disprove no more than that.
    No more than 60 is looked for. ValueError for counts that cannot be.
    """
    if not 0 <= correct <= guesses <= canaries or guesses == 0:
        raise ValueError(f"guesses: found {correct} right of {guesses} of {canaries}, expected counts that rise")
    if not 0 <= delta < 1:
        raise ValueError(f"delta: found {delta}, expected a number from 0 to 1")
    tail = 1 - confidence
    if form == "approximate":

        def disproved(epsilon: float) -> bool:
            return _p_value(canaries, guesses, correct, epsilon, delta) < tail
    else:

        def disproved(epsilon: float) -> bool:
            curve = _gaussian(epsilon, delta) if form == "gaussian" else _approximate(epsilon, delta)
            return _beyond(canaries, guesses, correct, tail, curve)

    if not disproved(beyond):
        return beyond
    low, high = beyond, max(1.0, 2 * beyond)
    while disproved(high):
        low, high = high, 2 * high
        if high > _HIGHEST:
            return low
    while high - low > _TOLERANCE:
        middle = (low + high) / 2
        low, high = (middle, high) if disproved(middle) else (low, middle)
    return low


def _p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """The chance of as many right guesses under (epsilon, delta), at most (Steinke et al. 2023, theorem 5.2)."""
    share = float(expit(epsilon))
    tail = float(bdtrc(correct - 1, guesses, share))
    if delta == 0:
        return tail
    fewer = np.arange(1, correct + 1)
    more = (bdtrc(correct - fewer - 1, guesses, share) - tail) / fewer
    return min(1.0, tail + 2 * canaries * delta * float(np.max(more, initial=0.0)))


def _beyond(canaries: int, guesses: int, correct: int, tail: float, curve: Callable[[float], float]) -> bool:
    """Whether as many right guesses have a chance below `tail` (Mahloujifar et al. 2024, the bounded adversary's recursion).

    `right` and `wrong` carry the mass of right and wrong guesses over the outcomes so far; each step down the number of
    right guesses needs as much wrong mass as the curve asks of the right. The claim fails where that is more than there is.
    """
    right, wrong = tail * correct / canaries, tail * (guesses - correct) / canaries
    for still in range(correct - 1, -1, -1):
        needed = max(wrong, curve(right))
        if needed == wrong:
            break
        right, wrong = min(1.0, right + still / (guesses - still) * (needed - wrong)), needed
    return right + wrong > guesses / canaries


def _approximate(epsilon: float, delta: float) -> Callable[[float], float]:
    """Least probability under the one hypothesis of what has probability y under the other, for (epsilon, delta)."""
    growth = math.exp(epsilon)
    return lambda y: max(0.0, (y - delta) / growth, 1 - delta - growth * (1 - y))


def _gaussian(epsilon: float, delta: float) -> Callable[[float], float]:
    """The same for the Gaussian mechanism that has (epsilon, delta)."""
    mu = gaussian_mu(epsilon, delta)
    return lambda y: float(ndtr(ndtri(y) - mu))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Distance mu of two unit Gaussians that are exactly (epsilon, delta) apart (Balle and Wang 2018, theorem 8)."""
    if not 0 < delta < 1:
        raise ValueError(f"delta: found {delta}, expected a number between 0 and 1: no Gaussian mechanism has delta 0")

    def loss(mu: float) -> float:
        return float(ndtr(-epsilon / mu + mu / 2) - math.exp(min(epsilon, 700.0)) * ndtr(-epsilon / mu - mu / 2))

    low, high = 1e-12, 1.0
    while loss(high) < delta:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if loss(middle) < delta else (low, middle)
    return high
