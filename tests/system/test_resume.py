"""`generate-and-audit` killed with SIGKILL and resumed ends with the same files as an unbroken run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from synguard.data.phantom import write_phantoms
from tests.support.cli import side_by_side, start, synguard

pytestmark = pytest.mark.system

CONFIG = """\
name: resume
image_size: 32
private: {path: private, patient: patient}
holdout: {path: holdout, patient: patient}
conditions:
  - {name: dr_grade, kind: ordinal, levels: ["0", "1", "2", "3", "4"]}
  - {name: eye_side, kind: categorical, levels: [left, right]}
generator:
  autoencoder: {steps: 20, widths: [8, 16], batch_size: 8}
  denoiser: {steps: 20, widths: [16, 32], batch_size: 16}
  sampling: {steps: 4, batch_size: 20}
  curve: {enabled: true, every: 10, real: 40, images: 20}
release: {images: 80}
audits:
  memorisation: {planted_per_transform: 4}
  membership: {probes: [loss], noise_levels: [0.1, 0.3], permutations: 199, resamples: 200, draws: 1}
  labels: {steps: 40}
"""


def compared(run: Path) -> dict[str, bytes]:
    """What must be the same: the images, the table, the results, the manifest, the curve of the training."""
    files = [*(run / "accepted").rglob("*"), *(run / "quarantine").rglob("*")]
    files += [run / name for name in ("images.parquet", "results.json", "manifest.json")]
    files += [run / "generator" / "training" / name for name in ("curve.json", "curve.html")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files if path.is_file()}


def has(pattern: str) -> Callable[[Path], bool]:
    return lambda run: any(run.glob(pattern))


KILL_POINTS = {
    "while the generator trains": has("config.json"),
    "when a checkpoint of the training is there": has("generator/training/**/*"),
    "when a checkpoint was audited": has("generator/training/curve.json"),
    "when the generator is trained": has("generator/model_index.json"),
    "when the index is built": has("index/*"),
    "after the first batch": has("batches/00000/rows.parquet"),
    "after the third batch": has("batches/00002/rows.parquet"),
    "between the probes": has("probes/*.json"),
    "when the accepted images are in place": has("accepted/*"),
}
KILLED = {f"killed-{first}": tuple(KILL_POINTS)[first::2] for first in range(2)}
"""Runs, and the points at which each is killed, one after the other."""


def run(world: Path, name: str, *options: str, cold: bool = False) -> None:
    outcome = synguard(*command(world, name), *options, threads=1, cold=cold)
    assert outcome.code in (0, 20, 22), str(outcome)


def command(world: Path, name: str) -> tuple[object, ...]:
    return ("generate-and-audit", world / "synguard.yaml", "--out", world / name, "--quiet")


def kill_and_resume(world: Path, name: str, points: Sequence[str]) -> None:
    """Kill the run as soon as it has reached a point, resume it until the next one, and so on, and then to its end."""
    options: tuple[str, ...] = ()
    for point in points:
        with Path(os.devnull).open("wb") as unread:
            process = start(*command(world, name), *options, stdout=unread.fileno(), stderr=unread.fileno(), threads=1)
        while not KILL_POINTS[point](world / name):
            assert process.poll() is None, f"{name}: the run ended before it could be killed {point}"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (world / name / "results.json").exists(), f"{name}: killed too late {point}"
        options = ("--resume",)
    run(world, name, "--resume")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all runs of one seed: an unbroken one, and those that were killed, each several times."""
    folder = tmp_path_factory.mktemp("resume")
    write_phantoms(folder / "private", patients=80, images_per_patient=2, size=32, seed=3)
    write_phantoms(folder / "holdout", patients=80, images_per_patient=2, size=32, seed=3, first_patient=80)
    (folder / "synguard.yaml").write_text(CONFIG)
    killed = [partial(kill_and_resume, folder, name, points) for name, points in KILLED.items()]
    # Another process altogether, so that nothing which forks of one process have in common could make them alike.
    side_by_side([partial(run, folder, "unbroken", cold=True), *killed])
    return folder


def test_no_more_images_are_accepted_than_asked_for(world: Path):
    assert 0 < len(list((world / "unbroken" / "accepted" / "images").iterdir())) <= 80


@pytest.mark.parametrize("name", KILLED)
def test_a_run_killed_at_many_points_resumes_to_the_same_end(world: Path, name: str):
    """The same seed gives the same files, and being killed changes nothing."""
    assert compared(world / name) == compared(world / "unbroken")
