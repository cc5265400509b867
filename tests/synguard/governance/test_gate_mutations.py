"""The truth table is sharp: a gate that is broken on purpose, in any of many ways, gets some row of it wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synguard.governance import gate
from synguard.governance.limits import Limit
from synguard.governance.policy import Check, load_policy
from synguard.results import ExitCode


def mutate(monkeypatch, name):
    """Breaks one part of the gate."""
    if name == "no limit ever breaks":
        monkeypatch.setattr(Limit, "breaks", lambda self, figure: False)
    elif name == "a limit breaks where it is met":
        monkeypatch.setattr(Limit, "breaks", lambda self, f: f >= self.value if self.side == "above" else f <= self.value)
    elif name == "points are held instead of bounds":
        monkeypatch.setattr(gate, "_held", lambda metric, spec, limit: (metric.value or 0) / (metric.n if limit.of_n else 1))
    elif name == "the wrong bound is held":
        wrong = {"upper": 0, "lower": 1, "value": 0}
        held = gate._held
        monkeypatch.setattr(
            gate, "_held", lambda m, s, x: held(m, s, x) if s.held_on == "value" else m.bounds[wrong[s.held_on]]
        )
    elif name == "shares of n are read as counts":
        held = gate._held
        monkeypatch.setattr(gate, "_held", lambda m, s, x: m.value if x.of_n else held(m, s, x))
    elif name == "small samples fail":
        monkeypatch.setattr(gate, "_too_small", lambda *args: False)
    elif name == "all breaches are put down to small samples":
        monkeypatch.setattr(gate, "_too_small", lambda *args: True)
        monkeypatch.setattr(gate, "_proven", lambda *args: False)
    elif name == "a small sample excuses a clear breach":
        monkeypatch.setattr(gate, "_proven", lambda *args: False)
    elif name == "a spoilt audit hides the copies it saw":
        monkeypatch.setattr(gate, "_census_breach", lambda *args: None)
    elif name == "a missing metric passes":
        missing = gate._missing
        monkeypatch.setattr(gate, "_missing", lambda *args: replace(missing(*args), status="pass"))
    elif name == "states are ignored":
        monkeypatch.setattr(gate, "_unusable", lambda *args: None)
    elif name == "what is not tested passes":
        unusable = gate._unusable
        monkeypatch.setattr(gate, "_unusable", lambda c, m, s, x: None if m.state == "not_tested" else unusable(c, m, s, x))
    elif name == "every check applies":
        monkeypatch.setattr(Check, "applies", lambda *args: True)
    elif name == "the model is always taken as held back":
        monkeypatch.setattr(Check, "applies", lambda check, released: check.when != "model released")
    elif name == "evidence outweighs failure":
        order = ExitCode.precedence()
        swapped = (*order[:3], order[5], order[4], order[3], *order[6:])
        monkeypatch.setattr(ExitCode, "precedence", staticmethod(lambda: swapped))
    elif name == "errors pass":
        monkeypatch.setitem(gate._EXIT, "error", ExitCode.PASS)
    elif name == "invalid evidence passes":
        monkeypatch.setitem(gate._EXIT, "invalid", ExitCode.PASS)
    elif name == "warnings fail":
        monkeypatch.setitem(gate._EXIT, "warn", ExitCode.FAIL)
    elif name == "proof of a breach is asked everywhere":
        judge = gate._judge
        monkeypatch.setattr(gate, "_judge", lambda c, m, x: judge(replace(c, prove="breach"), m, x))
    elif name == "proof of a breach is never asked":
        judge = gate._judge
        monkeypatch.setattr(gate, "_judge", lambda c, m, x: judge(replace(c, prove="compliance"), m, x))
    elif name == "groups are not looked into":
        monkeypatch.setattr(gate, "_hold_each_group", lambda *args: [])
    elif name.startswith("level off: "):
        level = name.removeprefix("level off: ")
        monkeypatch.setattr(gate, "LEVELS", tuple(x for x in gate.LEVELS if x != level))
    else:
        raise AssertionError(name)
    return gate.decide


MUTATIONS = (
    "no limit ever breaks",
    "a limit breaks where it is met",
    "points are held instead of bounds",
    "the wrong bound is held",
    "shares of n are read as counts",
    "small samples fail",
    "all breaches are put down to small samples",
    "a small sample excuses a clear breach",
    "a spoilt audit hides the copies it saw",
    "a missing metric passes",
    "states are ignored",
    "what is not tested passes",
    "every check applies",
    "the model is always taken as held back",
    "evidence outweighs failure",
    "errors pass",
    "invalid evidence passes",
    "warnings fail",
    "proof of a breach is asked everywhere",
    "proof of a breach is never asked",
    "groups are not looked into",
    "level off: invalid",
    "level off: warn",
)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_gate_is_noticed(monkeypatch, table, name):
    broken = mutate(monkeypatch, name)

    def decide(*args, **kwargs):
        return broken(*args, **kwargs)

    try:
        wrong = table(decide)
    except (TypeError, StopIteration, ZeroDivisionError) as error:  # a gate that falls over is noticed too
        wrong = [repr(error)]
    assert wrong


@pytest.mark.parametrize("lane", [check.id for check in load_policy("public-release").checks])
def test_a_lane_that_is_switched_off_is_noticed(table, lane):
    def without(policy, metrics, **kwargs):
        return gate.decide(replace(policy, checks=tuple(c for c in policy.checks if c.id != lane)), metrics, **kwargs)

    assert table(without)


LIMITS = [(check.id, level) for check in load_policy("public-release").checks for level in check.limits]


@pytest.mark.parametrize(("check_id", "level"), LIMITS)
def test_a_limit_that_is_ignored_is_noticed(table, check_id, level):
    """Moved to where nothing breaks it."""

    def loosened(policy, metrics, **kwargs):
        return gate.decide(
            replace(policy, checks=tuple(_loose(c, check_id, level) for c in policy.checks)), metrics, **kwargs
        )

    assert table(loosened)


def _loose(check, check_id, level):
    if check.id != check_id:
        return check
    limit = check.limits[level]
    beyond = replace(limit, value=float("inf") if limit.side == "above" else float("-inf"))
    return replace(check, limits={**check.limits, level: beyond})


@pytest.mark.parametrize("check", load_policy("public-release").checks, ids=lambda check: check.id)
def test_a_metric_that_always_passes_is_noticed(table, check):
    """An audit whose figure is replaced by a perfect one before the gate sees it."""

    def flattered(policy, metrics, **kwargs):
        decision = gate.decide(policy, metrics, **kwargs)
        kept = tuple(replace(c, status="pass") if c.id == check.id else c for c in decision.checks)
        return gate._combine(policy, kept, kwargs["fail_on_warn"])

    assert table(flattered)
