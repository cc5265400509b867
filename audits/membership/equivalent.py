"""Where no coin decided who takes part: the one-run audit's arithmetic on private against holdout patients. No bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audits.membership.ensemble import ENSEMBLE
from audits.membership.probe import Arm
from audits.membership.split import Validity
from audits.membership.verdict import Outcome
from synguard.metrics.one_run import lower_bound
from synguard.results import Metric, MetricState

__all__ = ["FEWEST", "equivalent"]

FEWEST = 100
"""Patients (or canaries) below which a low bound says nothing: with all guesses right they could hardly show more than 3."""
_MOST = 500
"""Patients a side."""

Floats = NDArray[np.float64]


def equivalent(
    outcomes: Sequence[Outcome], members: Arm, nonmembers: Arm, split: Validity, delta: float, seed: int
) -> tuple[Metric, dict[str, Any]]:
    """`membership.epsilon_equivalent` at `delta` from what white-box probes found, and its evidence.

    As if coins had put the private patients in and left the holdout's out; as many of either, drawn at random. A patient's
    score is the mean over the images, one a probe, mean over the sets of weights; the ensemble, which has seen who is in,
    has none.
    """
    arms = (members, nonmembers)
    count = min(_MOST, *(len(np.unique(arm.images.patients)) for arm in arms))
    state: MetricState = "measured" if split.state == "valid" else split.state
    note = "not a bound: no coin decided who is in" + ("" if state == "measured" else f"; {split.reason}")
    empty = Metric(
        name="membership.epsilon_equivalent", value=None, n=2 * count, unit="epsilon", method="", state="error", note=note
    )
    probes = [outcome for outcome in outcomes if not outcome.name.startswith(ENSEMBLE)]
    if any(outcome.scores is None for outcome in probes):
        reason = next(outcome.note for outcome in probes if outcome.scores is None)
        return replace(empty, note=reason), {"reason": reason}
    rng = np.random.default_rng([seed, 0xE951])
    sides = [_by_patient(probes, side, arm) for side, arm in enumerate(arms)]
    scores = np.concatenate([side[:, np.sort(rng.choice(side.shape[1], count, replace=False))] for side in sides], axis=1)
    included = np.arange(2 * count) < count
    found = lower_bound(scores, included, delta=delta, seed=seed)
    metric = replace(
        empty,
        value=found.epsilon,
        method=(
            f"the arithmetic of the one-run audit on {count} private and {count} holdout patients: {found.correct} of "
            f"{found.guesses} guesses right, the best of {found.plans} fixed ways to guess ({', '.join(_bases(probes))}), "
            f"at delta {found.delta:.3g}"
        ),
        state="insufficient" if 2 * count < FEWEST else state,
    )
    told = {"epsilon": found.epsilon, "guesses": found.guesses, "correct": found.correct, "plans": found.plans}
    return metric, {"patients": count, "state": metric.state, **told}


def _bases(probes: Sequence[Outcome]) -> list[str]:
    """Names without the weights, each once."""
    return list(dict.fromkeys(probe.name.partition(" (")[0] for probe in probes))


def _by_patient(probes: Sequence[Outcome], side: int, arm: Arm) -> Floats:
    """Scores (statistics, patients) of one side, patients in the order of their names."""
    codes = np.unique(arm.images.patients.astype(str), return_inverse=True)[1]
    counts = np.bincount(codes)
    rows = []
    for base in _bases(probes):
        seen = [probe.scores[side] for probe in probes if probe.scores and probe.name.partition(" (")[0] == base]
        rows.append(np.bincount(codes, weights=np.mean(seen, axis=0)) / counts)
    return np.stack(rows)
