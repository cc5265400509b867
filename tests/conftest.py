"""Fixtures and rules that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# These machines are noisy: what a property test takes is budgeted by its examples, not by seconds.
settings.register_profile("by-steps", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("by-steps")

ROOT = Path(__file__).resolve().parent.parent
SLOW_FIRST = (
    "system/test_truth_table.py",
    "system/test_memorising_generator.py",
    "system/test_duplicates.py",
    "system/test_resume.py",
    "system/test_statistics.py",
    "system/test_walk_through.py",
    "system/test_invariance.py",
    "browser/test_study.py",
    "synguard/release/test_verify.py",
    "synguard/runs/test_whole_run.py",
    "synguard/runs/test_after_a_kill.py",
    "system/test_nothing_leaks.py",
    "audits/test_autoencoder.py",
    "synguard/runs/test_canaries.py",
    "system/test_warm.py",
    "audits/memorisation/test_boxes.py",
    "synguard/runs/test_curve.py",
    "audits/membership/test_honesty.py",
    "generation/test_train.py",
    "audits/memorisation/test_stage.py",
    "audits/memorisation/test_search.py",
    "synguard/runs/test_ledger.py",
    "synguard/metrics/test_significance.py",
    "audits/memorisation/test_null.py",
)
"""Files that take longer than half a minute, the longest first."""


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no core is idle while another is busy with one long file at the end."""
    places = {(ROOT / "tests" / name).resolve(strict=True): place for place, name in enumerate(SLOW_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where SYNGUARD_NO_SKIPS is set, a skip is a failure: nothing that a system test covers may be left out unseen."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("SYNGUARD_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure here: {report.longrepr}"
