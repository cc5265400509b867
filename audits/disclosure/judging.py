"""From successes to figures: one `Attack` for each attack and attribute, and the three metrics that the gate sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from audits.disclosure.attacks import Successes
from audits.membership.detection import detected
from audits.membership.split import Validity
from synguard.metrics.catalogue import CATALOGUE
from synguard.metrics.risk import Risk, residual_risk
from synguard.results import Metric, MetricState

__all__ = ["FEWEST", "Attack", "attack_of", "evidence", "metrics", "untested"]

FEWEST = 20
"""Patients a side below which no rate says anything."""
_HOW = (
    "residual risk (attack - control) / (1 - control), one attack a patient; score interval for the ratio of the shares "
    "that fail (Koopman)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack on every patient. `risk` is None where it is not measured; `note` says why."""

    name: str
    attribute: str | None
    method: str
    state: MetricState
    note: str
    attacked: int
    controlled: int
    naive: float = math.nan
    risk: Risk | None = None


def attack_of(name: str, found: Successes, method: str, attribute: str | None = None) -> Attack:
    """What the successes come to: insufficient with too few patients, not tested where the control never fails."""
    sizes = len(found.attack), len(found.control)
    base: dict[str, Any] = {"name": name, "attribute": attribute, "method": method}
    base |= {"attacked": sizes[0], "controlled": sizes[1]}
    if min(sizes) < FEWEST:
        note = f"found {sizes[0]} private and {sizes[1]} holdout patients to attack, expected at least {FEWEST} each"
        return Attack(**base, state="insufficient", note=note)
    risk = residual_risk(int(found.attack.sum()), sizes[0], int(found.control.sum()), sizes[1])
    if risk is None:
        return Attack(**base, state="not_tested", note="the attack always succeeds on unseen patients too: nothing to gain")
    return Attack(**base, state="measured", note="", naive=found.naive, risk=risk)


def untested(name: str, note: str) -> Attack:
    """An attack that could not be made."""
    return Attack(name=name, attribute=None, method="", state="not_tested", note=note, attacked=0, controlled=0)


def metrics(attacks: Sequence[Attack], split: Validity) -> tuple[Metric, ...]:
    """`disclosure.*`: per attack the worst of its attributes, and each attribute in a group of its own."""
    found = []
    for name in dict.fromkeys(attack.name for attack in attacks):
        own = [attack for attack in attacks if attack.name == name]
        found.append(_metric(_worst(own), split, group=None))
        found += [_metric(attack, split, group=attack.attribute) for attack in own if attack.attribute is not None]
    return tuple(found)


def evidence(attacks: Sequence[Attack], split: Validity) -> list[dict[str, Any]]:
    """A row for each attack, with p-values corrected for all of them (Holm)."""
    return detected([_row(attack, split) for attack in attacks])


def _worst(attacks: Sequence[Attack]) -> Attack:
    """The one with the highest upper bound: all limits must hold. What is not measured counts where nothing is."""
    measured = [attack for attack in attacks if attack.risk is not None]
    if measured:
        return max(measured, key=lambda attack: attack.risk.bounds[1] if attack.risk else 0.0)
    return next((attack for attack in attacks if attack.state == "insufficient"), attacks[0])


def _state(attack: Attack, split: Validity) -> tuple[MetricState, str]:
    """A control on a holdout that can be told apart is no control."""
    if attack.state != "measured" or split.state == "valid":
        return attack.state, attack.note
    return split.state, split.reason


def _metric(attack: Attack, split: Validity, group: str | None) -> Metric:
    name = f"disclosure.{attack.name}"
    state, note = _state(attack, split)
    risk = attack.risk
    if risk is None:
        return Metric(
            name=name,
            group=group,
            value=None,
            n=min(attack.attacked, attack.controlled),
            unit=CATALOGUE[name].unit,
            method=attack.method,
            state=state,
            note=note,
        )
    about = f" ({attack.attribute})" if attack.attribute and group is None else ""
    sizes = f"{attack.attacked} private patients against {attack.controlled} of the evaluation role"
    return Metric(
        name=name,
        group=group,
        value=risk.risk,
        n=min(attack.attacked, attack.controlled),
        unit=CATALOGUE[name].unit,
        method=f"{attack.method}{about} {sizes}; {_HOW}",
        interval=risk.interval,
        bounds=risk.bounds,
        attainable=risk.attainable,
        baseline=0.0,
        baseline_name="nothing gained",
        state=state,
        note=note,
    )


def _row(attack: Attack, split: Validity) -> dict[str, Any]:
    state, note = _state(attack, split)
    row: dict[str, Any] = {
        "name": attack.name,
        "attribute": attack.attribute,
        "role": "evaluation",
        "method": attack.method,
        "state": state,
        "note": note,
        "attacked": attack.attacked,
        "controlled": attack.controlled,
    }
    if attack.risk is None:
        return row
    figures = asdict(attack.risk)
    return row | {
        "naive": attack.naive,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in figures.items()},
    }
