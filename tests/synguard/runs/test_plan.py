"""The plan: distribution kept, no single patient's combination, seeds and queue independent of batches."""

from __future__ import annotations

import pandas as pd
import pytest

from synguard.config import AttributeConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError
from synguard.runs.plan import Attempt, Queue, attempt_seed, plan_conditions, refuse_private_texts


def conditions(rows: list[tuple[str, int | None]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["dx", "flag"])
    return frame.astype({"dx": "string", "flag": "Int8"})


def test_the_private_distribution_is_kept():
    frame = conditions([("nv", 0)] * 700 + [("mel", 1)] * 300)
    planned = plan_conditions(frame, [str(i) for i in range(1000)], 5000, seed=1)
    assert (planned["dx"] == "mel").mean() == pytest.approx(0.3, abs=0.03)
    assert ((planned["dx"] == "mel") == (planned["flag"] == 1)).all()
    assert planned.dtypes.equals(frame.dtypes)


def test_a_combination_that_one_patient_has_is_never_asked_for():
    frame = conditions([("nv", 0)] * 500 + [("mel", 1)] * 500 + [("mel", 0)])
    # One patient with many photographs still is one patient.
    frame = pd.concat([frame] + [conditions([("rare", 1)])] * 50, ignore_index=True)
    patients = [str(i) for i in range(1001)] + ["same"] * 50
    planned = plan_conditions(frame, patients, 5000, seed=2)
    assert "rare" not in set(planned["dx"])
    assert len(planned) == 5000


TEXT = ConditionSchema((AttributeConfig(name="dx", kind="text"),))


def test_a_text_that_one_patient_has_is_never_released():
    """Where no text is shared, the plan has only single patients' texts to draw from."""
    private = conditions([(f"Mr Smith, seen on day {i}", 0) for i in range(30)])
    patients = [str(i) for i in range(30)]
    planned = plan_conditions(private, patients, 10, seed=1)
    with pytest.raises(
        InputError, match=r"conditions\.dx: found 10 texts that fewer than 5 private patients have"
    ) as caught:
        refuse_private_texts(planned, private, patients, TEXT)
    assert "Smith" not in str(caught.value)
    with pytest.raises(InputError, match="found 1 texts"):
        refuse_private_texts(conditions([("mr  smith, seen on day 3", 0), ("a fundus", 0)]), private, patients, TEXT)


def test_texts_that_many_share_or_nobody_has_are_released():
    private = conditions([("a fundus photograph", 0)] * 5 + [(None, 0)] * 2)
    asked = conditions([("a fundus photograph", 0), ("a drawing", 0), (None, 0)])
    refuse_private_texts(asked, private, list("abcdefg"), TEXT)
    with pytest.raises(InputError, match="found 1 texts"):
        refuse_private_texts(asked, private, list("aaaaefg"), TEXT)


def test_missing_values_stay_possible():
    frame = conditions([("nv", None)] * 50 + [("mel", 1)] * 50)
    planned = plan_conditions(frame, [str(i) for i in range(100)], 400, seed=3)
    assert planned["flag"].isna().mean() == pytest.approx(0.5, abs=0.1)


def test_same_seed_same_plan_other_seed_other_plan():
    frame = conditions([("nv", 0), ("mel", 1)] * 20)
    patients = [str(i) for i in range(40)]
    first = plan_conditions(frame, patients, 50, seed=4)
    pd.testing.assert_frame_equal(first, plan_conditions(frame, patients, 50, seed=4))
    assert not first.equals(plan_conditions(frame, patients, 50, seed=5))


def test_an_unlabelled_release_has_rows_without_columns():
    planned = plan_conditions(pd.DataFrame(index=range(3)), ["a", "b", "c"], 7, seed=0)
    assert planned.shape == (7, 0)


def test_seeds_differ_by_run_slot_and_attempt_and_fit_torch():
    seeds = {attempt_seed(run, slot, attempt) for run in range(3) for slot in range(30) for attempt in range(3)}
    assert len(seeds) == 270
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_refused_slots_come_back_with_the_next_attempt():
    queue = Queue(slots=3, batch_size=2, limit=10)
    assert queue.next_batch() == (Attempt(0, 0), Attempt(1, 0))
    queue.refuse([Attempt(0, 0)])
    assert queue.next_batch() == (Attempt(2, 0), Attempt(0, 1))
    assert queue.next_batch() == ()
    assert not queue.exhausted


def test_the_circuit_breaker_trips_at_the_limit():
    queue = Queue(slots=2, batch_size=2, limit=3)
    queue.refuse(queue.next_batch())
    assert len(queue.next_batch()) == 1
    assert queue.next_batch() == ()
    assert queue.exhausted
