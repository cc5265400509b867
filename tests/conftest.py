"""Fixtures and rules that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images: SYNGUARD_TEST_DATA, else ../shared/data beside the checkout."""
    named = os.environ.get("SYNGUARD_TEST_DATA")
    path = Path(named) if named else ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no real images at {path}: set SYNGUARD_TEST_DATA")
    return path


@pytest.fixture(scope="module", autouse=True)
def own_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's data folder of the module's own, so that no test writes into the ledger of who runs it."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        patch.delenv("SYNGUARD_LEDGER", raising=False)
        patch.delenv("SYNGUARD_LEDGER_KEY", raising=False)
        yield folder / "synguard"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where SYNGUARD_NO_SKIPS is set, a skip is a failure: nothing that a system test covers may be left out unseen."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("SYNGUARD_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure here: {report.longrepr}"
