"""Corrected claims, and what is said where too few were there."""

import numpy as np
import pytest

from audits.membership.detection import detected, low_rate, p_value


def test_claims_are_corrected_for_all_probes_and_rows_without_figures_stay():
    rows = [{"name": "a", "p_value": 0.01}, {"name": "b"}, {"name": "c", "p_value": 0.04}, {"name": "d", "p_value": 0.03}]
    made = detected(rows)
    assert [row.get("p_holm") for row in made] == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert [row.get("detected") for row in made] == [True, None, False, False]
    assert detected([]) == []
    assert rows[0] == {"name": "a", "p_value": 0.01}


def test_a_rate_needs_one_false_alarm_at_least():
    few = low_rate(0.01, 0.05, (0.0, 0.1), people=500, unseen=99)
    assert (few.state, few.tpr, few.interval, few.provable) == ("insufficient", None, None, None)
    enough = low_rate(0.01, 0.05, (0.0, 0.1), people=500, unseen=100)
    assert (enough.state, enough.tpr) == ("measured", 0.05)
    assert 0.01 < enough.provable < 0.07


def test_a_few_who_are_named_count_as_well_as_a_little_on_everybody():
    rng = np.random.default_rng(0)
    others = rng.normal(size=300)
    a, b = (np.array([f"{side}{i}" for i in range(300)]) for side in "ab")
    named = np.concatenate([np.full(20, 9.0), rng.normal(size=280) - 0.1])
    everybody = rng.normal(0.35, 1, 300)
    for members in (named, everybody):
        assert p_value(members, others, a, b, fpr=0.01, seed=0) < 0.01
    assert p_value(rng.normal(size=300), others, a, b, fpr=0.01, seed=0) > 0.05
