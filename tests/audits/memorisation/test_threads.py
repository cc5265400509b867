"""Work on several cores: in order, one core each, and the process as it was before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Barrier

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from audits.memorisation.threads import Timer, in_threads, one_blas_thread
from tests.support.textures import digests, textures


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def blas() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_results_are_in_order_and_each_thread_has_one_core(two_threads: None):
    before, meet = blas(), Barrier(2)

    def work(number: int) -> tuple[int, int, list[int]]:
        if number < 2:
            meet.wait(20)  # so that both threads are inside
        return number, torch.get_num_threads(), blas()

    done = in_threads(work, range(7))
    assert [number for number, _, _ in done] == list(range(7))
    assert {threads for _, threads, _ in done} == {1}
    assert {count for _, _, counts in done for count in counts} <= {1}
    assert blas() == before
    assert torch.get_num_threads() == 2


def test_the_last_one_out_puts_the_limit_back(two_threads: None):
    before = blas()
    with one_blas_thread:
        with one_blas_thread:
            pass
        assert set(blas()) <= {1}
    assert blas() == before


def test_an_error_in_a_thread_is_the_callers(two_threads: None):
    before = blas()
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda number: 1 // (number - 3), range(6))
    assert blas() == before


def test_phases_side_by_side_add_up_to_the_time_that_passed():
    timer, parts = Timer(), [Timer(), Timer()]
    time.sleep(0.2)
    for part in parts:
        part.seconds = {"search": 3.0, "align": 1.0}
    timer.side_by_side(parts)
    assert sum(timer.seconds.values()) == pytest.approx(0.2, abs=0.1)
    assert timer.seconds["search"] == pytest.approx(3 * timer.seconds["align"])


def test_findings_do_not_depend_on_the_number_of_threads(prepared, two_threads: None):
    pixels = textures(150, 3)
    both = prepared.examine(pixels, digests(pixels))
    torch.set_num_threads(1)
    alone = prepared.examine(pixels, digests(pixels))
    assert np.array_equal(both.nearest, alone.nearest)
    assert both.score == pytest.approx(alone.score, abs=1e-4)
