"""Bad input ends with exit 2 and one line that names file or key, found and expected; nothing half-written stays behind."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synguard.commands.main import main


@dataclass(frozen=True)
class World:
    """A small valid set-up that each case spoils in one place."""

    folder: Path

    @property
    def private(self) -> Path:
        return self.folder / "private"

    @property
    def synthetic(self) -> Path:
        return self.folder / "synthetic"

    @property
    def config(self) -> Path:
        return self.folder / "synguard.yaml"

    def audit(self, **changes: object) -> list[str]:
        options = {
            "--private": self.private,
            "--holdout": self.folder / "holdout",
            "--synthetic": self.synthetic,
            "--patient": "patient",
            "--out": self.folder / "run",
        } | {f"--{name}": value for name, value in changes.items()}
        return ["audit", "--quiet", *(str(part) for pair in options.items() for part in pair)]

    def generate(self) -> list[str]:
        return ["generate-and-audit", "--quiet", str(self.config), "--out", str(self.folder / "run")]


def png(size: int = 32, seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_set(folder: Path, n: int, seed: int) -> None:
    (folder / "images").mkdir(parents=True)
    lines = ["file_name,patient,grade"]
    for i in range(n):
        (folder / "images" / f"{i}.png").write_bytes(png(seed=seed + i))
        lines.append(f"images/{i}.png,{folder.name}-{i},{i % 3}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


CONFIG = """\
image_size: 32
private: {path: private, patient: patient}
holdout: {path: holdout, patient: patient}
conditions:
  - {name: grade, kind: ordinal, levels: ["0", "1", "2"]}
generator:
  autoencoder: {steps: 2}
  denoiser: {steps: 2}
release: {images: 10}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    for number, name in enumerate(("private", "holdout", "synthetic")):
        write_set(tmp_path / name, 12, seed=100 * number)
    (tmp_path / "synguard.yaml").write_text(CONFIG)
    return World(tmp_path)


def bomb() -> bytes:
    """A PNG of 30,000 x 30,000 pixels in a few kilobytes: honest header, zeros inside."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def no_private(world: World) -> list[str]:
    return world.audit(private=world.folder / "nowhere")


def empty_folder(world: World) -> list[str]:
    (world.folder / "empty").mkdir()
    return world.audit(synthetic=world.folder / "empty")


def truncated_png(world: World) -> list[str]:
    path = world.synthetic / "images" / "5.png"
    path.write_bytes(path.read_bytes()[:-700])
    return world.audit()


def decompression_bomb(world: World) -> list[str]:
    (world.private / "images" / "5.png").write_bytes(bomb())
    return world.audit()


def text_as_png(world: World) -> list[str]:
    (world.private / "images" / "5.png").write_text("not an image")
    return world.audit()


def grade_that_is_no_level(world: World) -> list[str]:
    path = world.private / "metadata.csv"
    path.write_text(path.read_text().replace("images/4.png,private-4,1", "images/4.png,private-4,7"))
    return world.generate()


def label_column_missing(world: World) -> list[str]:
    path = world.private / "metadata.csv"
    path.write_text(path.read_text().replace(",grade", ",stage"))
    return world.generate()


def patient_column_missing(world: World) -> list[str]:
    return world.audit(patient="person")


def unknown_key(world: World) -> list[str]:
    world.config.write_text(CONFIG + "polcy: public-release\n")
    return world.generate()


def duplicate_key(world: World) -> list[str]:
    world.config.write_text(CONFIG + "image_size: 64\n")
    return world.generate()


def python_tag(world: World) -> list[str]:
    world.config.write_text(CONFIG + "name: !!python/object/apply:os.system ['true']\n")
    return world.generate()


def limit_without_unit(world: World) -> list[str]:
    (world.folder / "policy.yaml").write_text(
        """\
schema: synguard/policy/v1
name: mine
version: 1.0.0
releases: [images]
checks:
  - id: near-copies
    title: Near copies
    metric: memorisation.near_copy_rate
    fail: {above: 0.01}
    reason: A limit whose unit is missing.
    source: none
"""
    )
    return world.audit(policy=world.folder / "policy.yaml")


def unknown_policy(world: World) -> list[str]:
    return world.audit(policy="public-relese")


def pickled_weights(world: World) -> list[str]:
    model = world.folder / "model"
    for part in ("vae", "unet", "scheduler"):
        (model / part).mkdir(parents=True)
        (model / part / "config.json").write_text("{}")
    (model / "model_index.json").write_text('{"_class_name": "DiffusionPipeline"}')
    (model / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({"weight": [1.0]}))
    return world.audit(model=model)


def same_folder(world: World) -> list[str]:
    return world.audit(synthetic=world.private)


def out_exists(world: World) -> list[str]:
    (world.folder / "run").mkdir()
    return world.audit()


def no_index(world: World) -> list[str]:
    return world.audit(index=world.folder / "nowhere")


def no_key(world: World) -> list[str]:
    return world.audit(**{"key-file": world.folder / "nowhere"})


def key_for_everybody(world: World) -> list[str]:
    (world.folder / "key").write_bytes(bytes(32))
    (world.folder / "key").chmod(0o644)
    return world.audit(**{"key-file": world.folder / "key"})


CASES: dict[Callable[[World], list[str]], tuple[str, ...]] = {
    no_private: ("nowhere", "expected"),
    empty_folder: ("empty", "without images", "expected"),
    truncated_png: ("images/5.png", "truncated", "expected"),
    decompression_bomb: ("images/5.png", "30,000", "expected"),
    text_as_png: ("images/5.png", "expected"),
    grade_that_is_no_level: ("images/4.png", "grade", "'7'", "0, 1, 2"),
    label_column_missing: ("private", "stage", "'grade'"),
    patient_column_missing: ("person", "expected"),
    unknown_key: ("synguard.yaml", "polcy", "unknown", "expected"),
    duplicate_key: ("synguard.yaml", "image_size", "expected"),
    python_tag: ("synguard.yaml", "python", "expected"),
    limit_without_unit: ("policy.yaml", "0.01", "expected", "%"),
    unknown_policy: ("public-relese", "expected", "public-release"),
    pickled_weights: ("diffusion_pytorch_model.bin", "pickle", "safetensors"),
    same_folder: ("synthetic", "same", "expected"),
    out_exists: ("run", "exists", "expected"),
    no_index: ("nowhere", "index", "expected"),
    no_key: ("nowhere", "No such file", "expected a file of 32 random bytes"),
    key_for_everybody: ("key", "644", "only its owner"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input(case, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    arguments = case(world)
    before = sorted(path for path in world.folder.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["synguard", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    message = capsys.readouterr().err.strip()
    assert ended.value.code == 2, message
    assert len(message.splitlines()) == 1, message
    assert "Traceback" not in message
    for part in CASES[case]:
        assert part in message, message
    assert sorted(path for path in world.folder.rglob("*")) == before
