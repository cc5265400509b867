from __future__ import annotations

from pathlib import Path

import pytest

from synguard.governance.ledger import Ledger
from synguard.runs.study import Study, open_study
from tests.support.studied import studied_run


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Ledger.open(tmp_path / "ledger" / "ledger.sqlite")


@pytest.fixture
def study(tmp_path: Path, ledger: Ledger) -> Study:
    return open_study(studied_run(tmp_path / "world", ledger), ledger.place)
