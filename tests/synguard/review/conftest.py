from __future__ import annotations

from pathlib import Path

import pytest

from synguard.governance.ledger import Ledger
from tests.support.reviewed import reviewed_run


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Ledger.open(tmp_path / "ledger" / "ledger.sqlite")


@pytest.fixture
def run(tmp_path: Path, ledger: Ledger) -> Path:
    return reviewed_run(tmp_path / "run", ledger)
