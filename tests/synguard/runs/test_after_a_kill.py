"""What a run folder says of itself after a kill, or after its end, is held against the ledger."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import synguard
from synguard.data.phantom import write_phantoms
from synguard.errors import IntegrityError
from synguard.governance.files import canonical
from synguard.runs import conclude, execute
from synguard.runs.prepare import Prepared
from synguard.runs.result import RunResult
from tests.support.governed import signed_anew

pytestmark = pytest.mark.system

CONFIG = """\
name: small
image_size: 32
private: {path: private, patient: patient}
holdout: {path: holdout, patient: patient}
generator:
  autoencoder: {steps: 5, widths: [8, 16], batch_size: 8}
  denoiser: {steps: 5, widths: [16, 32], batch_size: 8}
  sampling: {steps: 2, batch_size: 8}
release: {images: 12, max_attempts: 2}
audits:
  memorisation: {planted_per_transform: 4}
  membership: {probes: [loss], noise_levels: [0.1], permutations: 199, resamples: 200, draws: 1}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    write_phantoms(folder / "private", patients=40, images_per_patient=1, size=32, seed=5)
    write_phantoms(folder / "holdout", patients=40, images_per_patient=1, size=32, seed=5, first_patient=60)
    (folder / "synguard.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module", autouse=True)
def prepared_once() -> Iterator[None]:
    """Calibrates for all runs of the module together: they are of the same images. tests/system has the whole way."""
    with pytest.MonkeyPatch.context() as patch:
        original = execute.prepare
        once = cache(lambda: original(*asked[0], **asked[1]))
        asked: list[Any] = []

        def prepare(*args: object, **kwargs: object) -> Prepared:
            asked[:] = asked or [args, kwargs]
            return once()

        patch.setattr(execute, "prepare", prepare)
        yield


@pytest.fixture(scope="module")
def unbroken(world: Path) -> RunResult:
    return synguard.generate_and_audit(world / "synguard.yaml", world / "run")


def test_what_was_changed_after_a_kill_is_not_believed(
    tmp_path: Path, world: Path, unbroken: RunResult, monkeypatch: pytest.MonkeyPatch
):
    """What a killed run has found is as the ledger knows it, or the run does not go on; unchanged it ends the same."""
    run = tmp_path / "run"

    def go(resume: bool = True) -> RunResult:
        return synguard.generate_and_audit(world / "synguard.yaml", run, ledger=tmp_path / "ledger.sqlite", resume=resume)

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    def refused(path: Path, data: bytes) -> None:
        before = path.read_bytes()
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=path.name) as caught:
            go()
        assert caught.value.exit_code == 30
        path.write_bytes(before)

    looks = iter([execute.examine_batch, killed])
    with monkeypatch.context() as patch:
        patch.setattr(execute, "examine_batch", lambda *args, **kwargs: next(looks)(*args, **kwargs))
        with pytest.raises(KeyboardInterrupt):
            go(resume=False)
    rows = pd.read_parquet(run / "batches" / "00000" / "rows.parquet")
    refused(run / "batches" / "00000" / "rows.parquet", rows.assign(accepted=~rows["accepted"]).to_parquet(index=False))
    with monkeypatch.context() as patch:
        patch.setattr(conclude.epsilon, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            go()
    found = (run / "probes" / "membership.json").read_bytes()
    refused(run / "probes" / "membership.json", found.replace(b'"measured"', b'"missing"') + b"\n")
    (run / "probes" / "disclosure.json").write_bytes(b"{}")
    ended = go()
    pd.testing.assert_frame_equal(ended.images, unbroken.images)
    for name in ("results.json", "manifest.json"):
        assert (run / name).read_bytes() == (unbroken.folder / name).read_bytes()


def test_a_run_that_says_that_it_ended_is_held_against_the_ledger(tmp_path: Path, world: Path, unbroken: RunResult):
    run = tmp_path / "run"
    shutil.copytree(unbroken.folder, run)
    assert synguard.generate_and_audit(world / "synguard.yaml", run, resume=True).decision == unbroken.decision
    document = json.loads((run / "results.json").read_bytes())
    document["decision"] |= {"status": "pass", "exit_code": 0}
    (run / "results.json").write_bytes(canonical(document))
    signed_anew(run)
    with pytest.raises(IntegrityError, match=r"found a decision that .* does not end with"):
        synguard.generate_and_audit(world / "synguard.yaml", run, resume=True)
