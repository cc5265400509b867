"""A text-to-image model by a configuration file: tuned, looked into, and asked for candidates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import synguard
from generation.folder_denoiser import FolderDenoiser
from generation.text_to_image.prompts import Prompts
from synguard.data.readers import read_images
from synguard.errors import InputError
from synguard.protocols import FromSources
from synguard.runs.candidates import generate_only
from synguard.runs.configuration import load_config
from synguard.runs.generator import check_generator, link_of, open_generator, train_only
from synguard.runs.material import read_material
from synguard.runs.progress import silent
from tests.support import few

CONFIG = """\
name: few
image_size: 16
private: {path: private, patient: patient}
holdout: {path: holdout, patient: patient}
conditions:
  - {name: dx, kind: categorical, levels: [nv, mel]}
  - {name: is_gc, kind: binary}
generator:
  kind: text-to-image
  GENERATOR
  sampling: {sampler: ddim, steps: 3, guidance: 1.5}
release: {images: 3}
device: cpu
"""
TUNING = "tuning: {base: base, rank: 2, steps: 4, batch_size: 2}"


def write(folder: Path, patients: int) -> None:
    given = few.private_set()
    folder.mkdir()
    rows = []
    for row, pixels in enumerate(given.pixels):
        name = f"{folder.name}{row}.png"
        # No image of one set is one of the other.
        Image.fromarray(np.clip(pixels.astype(int) + patients // 100, 0, 255).astype(np.uint8)).save(folder / name)
        labels = {"dx": given.metadata["dx"][row], "is_gc": 0, "patient": str(patients + row // 2)}
        rows.append({"file_name": name, **labels})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    few.base(folder / "base")
    write(folder / "private", 0)
    write(folder / "holdout", 1000)
    (folder / "train.yaml").write_text(CONFIG.replace("GENERATOR", TUNING))
    train_only(folder / "train.yaml", folder / "model", progress=silent)
    return folder


def configured(world: Path, generator: str) -> Path:
    path = world / "synguard.yaml"
    path.write_text(CONFIG.replace("GENERATOR", generator))
    return path


def test_the_link_to_the_private_set_is_known(world: Path):
    material = read_material(load_config(world / "train.yaml"), world, silent)
    assert link_of(world / "model", material).startswith("the model card names this private set")


def test_probes_tell_the_model_what_training_told_it(world: Path):
    private = few.private_set()
    model = FolderDenoiser.load(world / "model")
    latents = model.encode(private.pixels[:2])
    ask = {"level": 0.3, "noise": np.zeros_like(latents[0]), "weights": "released"}
    model.errors(latents, private.metadata[:2], **ask)
    said = Prompts.of_folder(world / "model")
    assert said is not None
    assert said.token == "sks"
    assert set(model.told.known) == {"a photo of sks dx nv", "a photo of sks dx mel"}  # type: ignore[attr-defined]
    base = FolderDenoiser.load(world / "base")
    base.errors(latents, private.metadata[:2], **ask)
    assert set(base.told.known) == {"dx nv", "dx mel"}  # type: ignore[attr-defined]


def test_candidates_from_text(world: Path):
    out = generate_only(configured(world, "path: model"), world / "candidates", images=2, progress=silent)
    assert len(list(out.rglob("*.png"))) == 2


def test_candidates_from_private_images_name_them(world: Path):
    config = load_config(configured(world, "path: model\n  strategy: inpainting"))
    private = read_images(config.private, size=16, name="private", base=world)
    model = open_generator(config, world, world / "model", private)
    assert isinstance(model, FromSources)
    asked = private.metadata.iloc[:2][["dx", "is_gc"]].reset_index(drop=True)
    assert set(model.sources(asked, [1, 2])) <= set(private.files)
    assert model.generate(asked, [1, 2]).shape == (2, 16, 16, 3)


def test_candidates_on_disk_name_what_they_were_made_from(world: Path):
    path = configured(world, "path: model\n  strategy: image-to-image")
    out = generate_only(path, world / "redrawn", images=2, progress=silent)
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert {row["generator.strategy"] for row in rows} == {"image-to-image"}
    assert {row["generator.source"] for row in rows} <= {f"private{row}.png" for row in range(len(few.private_set()))}


def test_a_whole_run_looks_at_each_source_and_reports_the_strategy_apart(world: Path):
    """A source that is hardly redrawn is a copy: all are, and none is released."""
    path = world / "whole.yaml"
    path.write_text(
        CONFIG.replace("GENERATOR", "path: model\n  strategy: image-to-image\n  strength: 0.4").replace(
            "release: {images: 3}", "release: {images: 3, max_attempts: 1}\naudits: {labels: {steps: 20}}"
        )
    )
    result = synguard.generate_and_audit(path, world / "run")
    images = pd.read_parquet(world / "run" / "images.parquet")
    assert set(images["strategy"]) == {"image-to-image"}
    assert set(images["source"]) <= {f"private{row}.png" for row in range(len(few.private_set()))}
    apart = {(metric.name, metric.group) for metric in result.metrics}
    assert ("memorisation.verified_copies", "strategy=image-to-image") in apart


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (TUNING.replace("base: base", "base: nowhere"), "found no unet, expected a folder in the layout"),
        (TUNING + "\n  prompts: none.yaml", "expected a prompt template file"),
        ("path: nowhere", "found no unet, expected a folder in the layout"),
    ],
)
def test_what_cannot_be_used_is_said_before_any_work(world: Path, generator: str, message: str):
    with pytest.raises(InputError, match=message):
        check_generator(load_config(configured(world, generator)), world)


def test_what_is_tuned_already_is_not_trained(world: Path):
    with pytest.raises(InputError, match=r"generator.path: found a folder that is tuned already"):
        train_only(configured(world, "path: model"), world / "other", progress=silent)
    assert check_generator(load_config(world / "train.yaml"), world) is None
