"""Fixtures of the report tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.runs import Made, make_run


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder of a kind, changed first if wanted, and returns its path."""

    def make(kind: str = "clean", change: Callable[[Made], None] | None = None) -> Path:
        made = make_run(kind, accepted=20)
        if change is not None:
            change(made)
        return made.write(tmp_path / f"run-{kind}")

    return make
