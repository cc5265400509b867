"""Running the command line as users do: a process of its own, most often forked from one that has the imports behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

import pandas as pd

from tests.support.warm import Command, can_be_warm

__all__ = ["Outcome", "Process", "Recorded", "environment", "own_ledger", "results", "side_by_side", "start", "synguard"]

T = TypeVar("T")
Process = subprocess.Popen[bytes] | Command


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def environment(threads: int | None = None) -> dict[str, str]:
    """The environment of a command: the checkout's own packages, wherever it is started; so many threads."""
    root = str(Path(__file__).resolve().parents[2])
    found = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    return found if threads is None else found | {"OMP_NUM_THREADS": str(threads)}


def start(*arguments: object, stdout: int, stderr: int, threads: int | None = None, cold: bool = False) -> Process:
    """Begin `synguard ARGUMENTS`; `cold` for an interpreter that starts anew, with its own imports and seed of `hash`."""
    words, known = list(map(str, arguments)), environment(threads) | own_ledger(arguments)
    if not cold and can_be_warm(known):
        return Command(words, known, stdout, stderr)
    return subprocess.Popen([sys.executable, "-m", "synguard", *words], stdout=stdout, stderr=stderr, env=known)


def synguard(*arguments: object, timeout: float = 3600, threads: int | None = None, cold: bool = False) -> Outcome:
    """Run `synguard ARGUMENTS` and wait for its end."""
    with TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        process = start(*arguments, stdout=stdout.fileno(), stderr=stderr.fileno(), threads=threads, cold=cold)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        for file in (stdout, stderr):
            file.seek(0)
        return Outcome(code, stdout.read(), stderr.read())


def own_ledger(arguments: Sequence[object]) -> dict[str, str]:
    """A ledger of its own for what is written to --out: the runs of a test are no attempts on each other's images."""
    if "--out" not in arguments or "--ledger" in arguments:
        return {}
    out = Path(str(arguments[arguments.index("--out") + 1]))
    return {"SYNGUARD_LEDGER": str(out.with_name(f"{out.name}.ledger") / "ledger.sqlite")}


def side_by_side(jobs: Iterable[Callable[[], T]]) -> list[T]:
    """Results of jobs, two at a time: each command uses one thread, which is faster than two threads one after the other."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


@dataclass(frozen=True)
class Recorded:
    """What a finished run wrote."""

    decision: dict[str, Any]
    checks: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    images: pd.DataFrame

    def failing(self, prefix: str) -> list[dict[str, Any]]:
        """Checks on metrics with this prefix whose status is fail."""
        return [c for c in self.checks if c["metric"].startswith(prefix) and c["status"] == "fail"]

    def metric(self, name: str, group: str | None = None) -> dict[str, Any]:
        """One metric."""
        return next(m for m in self.metrics if m["name"] == name and m["group"] == group)


def results(run: Path) -> Recorded:
    """Read a run folder."""
    value = json.loads((run / "results.json").read_text())
    return Recorded(value["decision"], value["checks"], value["metrics"], pd.read_parquet(run / "images.parquet"))
