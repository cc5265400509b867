"""What commands print: progress bars on a terminal, plain lines elsewhere, errors on one line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from synguard.results import ExitCode
from synguard.runs.progress import Progress, silent

if TYPE_CHECKING:
    from synguard.runs.result import RunResult

__all__ = ["finish", "print_json", "progress_display"]

_EVERY_SECONDS = 10.0


@contextmanager
def progress_display(quiet: bool) -> Iterator[Progress]:
    """A progress callable that draws bars on a terminal and prints a plain line now and then elsewhere. All on stderr."""
    if quiet:
        yield silent
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _PlainLines()
        return
    columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console) as bars:
        yield _BarLines(bars)


class _PlainLines:
    """One line when a phase begins, ends, and every ten seconds between."""

    def __init__(self) -> None:
        self._phase = ""
        self._last = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if phase == self._phase and done < total and now - self._last < _EVERY_SECONDS:
            return
        self._phase, self._last = phase, now
        print(f"{phase}: {done}/{total}" if total > 1 else phase, file=sys.stderr, flush=True)


class _BarLines:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, object] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        if not total:
            self._bars.console.print(phase, markup=False, highlight=False)
            return
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(phase, total=total)
        self._bars.update(self._tasks[phase], completed=done, total=total)  # type: ignore[arg-type]


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    click.echo(json.dumps(value, indent=1, sort_keys=True))


def finish(result: RunResult, *, as_json: bool, fail_on_warn: bool) -> NoReturn:
    """Print the decision, its reasons and the reports' paths, and end with the decision's exit code."""
    decision = result.decision
    if as_json:
        print_json(result.as_dict())
    else:
        click.echo(f"{decision.status.upper()}: {result.name}")
        for reason in decision.reasons:
            click.echo(f"  - {reason}")
        click.echo(f"internal report (private, do not pass on): {result.internal_report}")
        click.echo(f"public report: {result.public_report}")
    warned = decision.exit_code == ExitCode.PASS and decision.status == "warn"
    raise click.exceptions.Exit(ExitCode.WARN if warned and fail_on_warn else decision.exit_code)
