"""The order of candidates: seeds and queue independent of batches."""

from __future__ import annotations

from synguard.runs.plan import Attempt, Queue, attempt_seed


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
