"""Work on several cores: a thread a chunk, each with one core to itself, and what each phase of it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

__all__ = ["Timer", "in_threads", "one_blas_thread"]

T = TypeVar("T")
R = TypeVar("R")

_MOST = 16
"""Threads at most: each holds a chunk's images and maps in memory."""


class Timer:
    """Adds up the seconds of named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, phase: str) -> None:
        """Ends a phase, which began where the last one ended."""
        self._end({phase: 1.0})

    def side_by_side(self, parts: Iterable[Timer]) -> None:
        """Ends phases that ran in several threads: the seconds since the last one ended, shared out as the threads'."""
        spent: dict[str, float] = {}
        for part in parts:
            for phase, seconds in part.seconds.items():
                spent[phase] = spent.get(phase, 0.0) + seconds
        self._end(spent)

    def _end(self, shares: dict[str, float]) -> None:
        now, whole = time.perf_counter(), sum(shares.values())
        for phase, share in shares.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + (now - self._last) * share / (whole or 1.0)
        self._last = now


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` on each item, in order. As many at once as torch may use cores, each on one."""
    workers = min(torch.get_num_threads(), _MOST, len(items))
    if workers < 2:
        return [work(item) for item in items]
    with one_blas_thread, ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(work, items))


class _OneBlasThread:
    """The limit is the process's: the first inside sets it and the last puts it back, whichever threads these are."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limiter = _blas().limit(limits=1)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limiter.restore_original_limits()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


one_blas_thread = _OneBlasThread()
"""`with one_blas_thread:` the BLAS works on one core, as long as anybody is inside."""
