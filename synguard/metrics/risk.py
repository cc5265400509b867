"""What an attack on released images gains over the same attack on patients who cannot have leaked. Counts in, numbers out.

Every patient is attacked once. The rate among private patients is the attack's, the rate among holdout patients the
control's: what the population gives away by itself. The residual risk is how far the attack closes the gap between the
control and certainty.

Sources: Giomi et al. 2023, "A Unified Framework for Quantifying Privacy Risk in Synthetic Data", arXiv:2211.10459, equation
for the residual risk; Koopman 1984, doi:10.2307/2531405, and Miettinen and Nurminen 1985, doi:10.1002/sim.4780040211 (score
interval for a ratio of two shares, which holds at counts of 0, where propagated errors do not).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, hypergeom, norm

__all__ = ["Risk", "ratio_interval", "residual_risk"]

_FARTHEST = 1e6
"""Ratio beyond which an interval is said to be open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A residual risk in [0, 1], with two-sided 95 % `interval` and one-sided 95 % `bounds` each.

    `attainable` are the bounds that an attack which gains nothing has at these sizes, `minimum_detectable` the smallest risk
    that would have been told from none (5 %, one-sided) four times in five, `p_value` Fisher's exact one.
    """

    attack: float
    control: float
    risk: float
    interval: tuple[float, float]
    bounds: tuple[float, float]
    attainable: tuple[float, float]
    p_value: float
    minimum_detectable: float


def residual_risk(attacked: int, attack_n: int, controlled: int, control_n: int) -> Risk | None:
    """The residual risk of an attack that succeeds on `attacked` of `attack_n` and `controlled` of `control_n` patients.

    None where the control always succeeds: nothing is left to gain. ValueError where a side is empty.
    """
    if min(attack_n, control_n) < 1:
        raise ValueError(f"patients: found {attack_n} attacked and {control_n} as control, expected some of both")
    if controlled == control_n:
        return None
    attack, control = attacked / attack_n, controlled / control_n
    clean = round(attack_n * control)
    return Risk(
        attack=attack,
        control=control,
        risk=_clipped((attack - control) / (1 - control)),
        interval=_gained(attacked, attack_n, controlled, control_n, 0.95),
        bounds=_gained(attacked, attack_n, controlled, control_n, 0.90),
        attainable=_gained(clean, attack_n, controlled, control_n, 0.90),
        p_value=_fisher(attacked, attack_n, controlled, control_n),
        minimum_detectable=_minimum_detectable(attack_n, controlled, control_n),
    )


def ratio_interval(x1: int, n1: int, x2: int, n2: int, confidence: float) -> tuple[float, float]:
    """Two-sided score interval for (x1 / n1) / (x2 / n2), from 0 to infinity."""
    z = float(norm.ppf((1 + confidence) / 2))
    estimate = math.inf if x2 == 0 else (x1 / n1) / (x2 / n2)

    def excess(log_ratio: float, sign: float) -> float:
        return sign * _score(x1, n1, x2, n2, math.exp(log_ratio)) - z

    middle = math.log(min(max(estimate, 1 / _FARTHEST), _FARTHEST))
    end = math.log(_FARTHEST) + 1
    low = 0.0 if x1 == 0 else math.exp(brentq(excess, -end, middle, args=(1.0,))) if excess(-end, 1.0) > 0 else 0.0
    high = math.exp(brentq(excess, middle, end, args=(-1.0,))) if x2 and excess(end, -1.0) > 0 else math.inf
    return low, high


def _score(x1: int, n1: int, x2: int, n2: int, ratio: float) -> float:
    """The score statistic for p1 = ratio p2, with both shares at their most likely values under that constraint."""
    a, b, c = (n1 + n2) * ratio, -(n1 * ratio + x1 + n2 + x2 * ratio), x1 + x2
    # The smaller root, in the form that loses no digits.
    p2 = 2 * c / (-b + math.sqrt(max(b * b - 4 * a * c, 0.0)))
    p1 = min(ratio * p2, 1.0)
    spread = p1 * (1 - p1) / n1 + ratio**2 * p2 * (1 - p2) / n2
    gap = x1 / n1 - ratio * x2 / n2
    return gap / math.sqrt(spread) if spread > 0 else math.copysign(math.inf, gap) if gap else 0.0


def _gained(attacked: int, attack_n: int, controlled: int, control_n: int, confidence: float) -> tuple[float, float]:
    """1 - (share of attacks that fail) / (share of controls that fail)."""
    low, high = ratio_interval(attack_n - attacked, attack_n, control_n - controlled, control_n, confidence)
    return _clipped(1 - high), _clipped(1 - low)


def _fisher(attacked: int, attack_n: int, controlled: int, control_n: int) -> float:
    return float(hypergeom.sf(attacked - 1, attack_n + control_n, attacked + controlled, attack_n))


def _minimum_detectable(attack_n: int, controlled: int, control_n: int) -> float:
    """From the fewest successes that Fisher's test calls, and the rate that reaches these four times in five."""
    counts = np.arange(attack_n + 1)
    p_values = hypergeom.sf(counts - 1, attack_n + control_n, counts + controlled, attack_n)
    called = np.flatnonzero(p_values <= 0.05)
    if len(called) == 0:
        return 1.0
    needed = int(called[0])
    rate = float(beta.ppf(0.8, needed, attack_n - needed + 1)) if needed else 0.0
    control = controlled / control_n
    return _clipped((rate - control) / (1 - control))


def _clipped(value: float) -> float:
    return min(max(value, 0.0), 1.0)
