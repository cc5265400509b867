"""Candidates alone: shards, what each carries, and work that is interrupted."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from synguard.config import DataSource
from synguard.data.phantom import write_phantoms
from synguard.data.readers import read_images
from synguard.errors import InputError, SynguardError
from synguard.runs import candidates
from synguard.runs.candidates import generate_only
from synguard.runs.generator import provenance, train_only
from synguard.runs.progress import silent
from tests.support.steps import steps_of

CONFIG = """\
name: candidates
image_size: 16
private: {path: private, patient: patient}
holdout: {path: private, patient: patient}
conditions:
  - {name: eye_side, kind: categorical, levels: [left, right]}
generator:
  GENERATOR
  autoencoder: {widths: [8, 8, 8], steps: 12, batch_size: 8, crop: 16}
  denoiser: {widths: [16, 16], steps: 12, batch_size: 8}
  sampling: {steps: 3, guidance: 1.5}
release: {images: 23, asked: {balanced: eye_side}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, a configuration that trains on them, and one that uses the model that came of it."""
    folder = tmp_path_factory.mktemp("candidates")
    write_phantoms(folder / "private", patients=30, images_per_patient=1, size=16, seed=5)
    (folder / "train.yaml").write_text(CONFIG.replace("GENERATOR", "kind: latent-diffusion"))
    train_only(folder / "train.yaml", folder / "model", progress=silent)
    (folder / "synguard.yaml").write_text(CONFIG.replace("GENERATOR", "path: model"))
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "SHARD", 6)
    monkeypatch.setattr(candidates, "TOGETHER", 4)


def generated(world: Path, out: Path, layout: candidates.Layout = "images", *, resume: bool = False) -> Path:
    return generate_only(world / "synguard.yaml", out, images=None, layout=layout, resume=resume, progress=silent)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def folder(world: Path) -> Path:
    """The image folder, made in one piece."""
    return generated(world, world / "whole")


def test_the_image_folder_says_of_each_image_what_made_it(world: Path, folder: Path):
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    card = json.loads((world / "model" / "model_card.json").read_text())
    assert [row["file_name"] for row in rows] == [f"images/{n:06d}.png" for n in range(23)]
    assert len({row["generator.seed"] for row in rows}) == 23
    assert sorted(row["eye_side"] for row in rows) == ["left"] * 12 + ["right"] * 11
    how = [{name: row[f"generator.{name}"] for name in ("sampler", "steps", "guidance", "precision")} for row in rows]
    assert how == [{"sampler": "ab2", "steps": 3, "guidance": 1.5, "precision": "float32"}] * 23
    assert len({row["generator.digest"] for row in rows}) == 1
    assert card["weights_digest"] != rows[0]["generator.digest"], "the sampling is part of what an image depends on"
    assert (folder / "UNAUDITED.txt").is_file()
    assert not (folder / ".parts").exists()
    read = read_images(DataSource(path=str(folder)), size=16, name="made")
    assert len(read) == 23


def test_shards_hold_the_same_images(world: Path, folder: Path, small_shards: None):
    expected = {f"{n:06d}": (folder / "images" / f"{n:06d}.png").read_bytes() for n in range(23)}
    about = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert files_of(generated(world, world / "again")) == files_of(folder), "however they are cut into shards"
    rows = [
        row
        for path in sorted(generated(world, world / "rows", "parquet").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    assert {row["image"]["path"].removesuffix(".png"): row["image"]["bytes"] for row in rows} == expected
    kept = [{name: value for name, value in row.items() if name != "image"} for row in rows]
    assert kept == [{name: value for name, value in row.items() if name != "file_name"} for row in about]
    held = {}
    for path in sorted(generated(world, world / "tars", "webdataset").glob("*.tar")):
        with tarfile.open(path) as tar:
            held |= {member.name: tar.extractfile(member).read() for member in tar}
    assert {name.removesuffix(".png"): data for name, data in held.items() if name.endswith(".png")} == expected
    assert [json.loads(held[f"{n:06d}.json"])["generator.seed"] for n in range(23)] == [
        row["generator.seed"] for row in about
    ]
    assert np.asarray(Image.open(io.BytesIO(held["000003.png"]))).shape == (16, 16, 3)


@pytest.mark.parametrize("layout", ["images", "parquet", "webdataset"])
def test_a_full_disk_keeps_what_was_committed(world, tmp_path, small_shards, monkeypatch, layout):
    whole = files_of(generated(world, tmp_path / "whole", layout))
    replace, done = Path.replace, []

    def full(self: Path, target: Path) -> Path:
        if len(done) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        done.append(target)
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(SynguardError, match=r"found no space left on the disk, expected some; then go on with --resume"):
            generated(world, tmp_path / "full", layout)
    assert files_of(generated(world, tmp_path / "full", layout, resume=True)) == whole
    assert files_of(generated(world, tmp_path / "full", layout, resume=True)) == whole, "nothing is left to do"


def test_another_work_is_not_gone_on_with(world, folder, tmp_path):
    with pytest.raises(InputError, match=r"found a folder that exists already, expected .* \(or --resume\)"):
        generated(world, folder)
    with pytest.raises(InputError, match="candidates of another configuration or model"):
        generated(world, folder, "parquet", resume=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="found something else, expected a new folder"):
        generated(world, tmp_path / "file", resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="found something else, expected a new folder"):
        generated(world, tmp_path / "other", resume=True)


def test_a_generator_that_says_nothing_of_itself_is_named_by_its_digest():
    class Other:
        digest = "abc"
        size = 16

        def generate(self, conditions: pd.DataFrame, seeds: list[int]) -> np.ndarray:
            return np.zeros((len(seeds), self.size, self.size, 3), np.uint8)

    assert provenance(Other()) == {"generator.digest": "abc"}


@pytest.mark.system
def test_killed_at_random_points_training_and_generation_end_with_the_same_files(world: Path, folder: Path, tmp_path: Path):
    """Ten kills each, at random steps among those that an unbroken run takes; then once more to the end."""
    rng = random.Random(4)
    commands: dict[str, Callable[[Path], Path]] = {
        "model": lambda out: train_only(world / "train.yaml", out, progress=silent),
        "made": lambda out: generated(world, out, resume=True),
    }
    for name, command in commands.items():
        measured, out = tmp_path / f"measured-{name}", tmp_path / name
        steps, killed = steps_of(partial(command, measured), within=measured), 0
        while killed < 10:
            if steps_of(partial(command, out), within=out, dies_at=rng.randrange(1, steps)):
                shutil.rmtree(out)  # what was left to do took fewer steps: from the start again
            else:
                killed += 1
        command(out)
    assert files_of(tmp_path / "made") == files_of(folder)
    weights = [world / "model", tmp_path / "model"]
    for part in ("vae", "unet"):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        assert (weights[0] / name).read_bytes() == (weights[1] / name).read_bytes()
