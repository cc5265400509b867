"""HAM10000 as image folders at 64 px, split as the acceptance tests want it, and copies under known transforms."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image, ImageEnhance

__all__ = ["TRANSFORMS", "Lesions", "prepare_lesions", "write_images"]

SIZE = 64


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


TRANSFORMS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "verbatim": lambda image: image,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "jpeg40": lambda image: _jpeg(image, 40),
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
}


@dataclass(frozen=True)
class Lesions:
    """Folders of real images: `private` and `holdout` as data sets, `unseen` as paths."""

    private: Path
    holdout: Path
    unseen: tuple[Path, ...]

    def private_images(self) -> list[Path]:
        """All private images, sorted."""
        return sorted((self.private / "images").glob("*.png"))


def prepare_lesions(
    data: Path,
    out: Path,
    *,
    private: int,
    holdout: int,
    unseen: int | None = None,
    seed: int = 0,
    size: int = SIZE,
) -> Lesions:
    """Write the folders; the split is random, and every image is another lesion. `unseen` is how many of the rest."""
    example = _example()
    parts = example.split(example.read_index(data), private, holdout, seed)
    parts["unseen"] = parts["unseen"][:unseen]
    images = example.read_images(data, size, {row["image_id"] for rows in parts.values() for row in rows})
    for name, rows in parts.items():
        example.write_folder(out / name, rows, images)
    return Lesions(out / "private", out / "holdout", tuple(sorted((out / "unseen" / "images").glob("*.png"))))


def write_images(folder: Path, images: Sequence[tuple[str, Path, str]]) -> Path:
    """An image folder without metadata from (new name, source, transform), named so that order tells nothing."""
    folder.mkdir(parents=True)
    for name, source, transform in images:
        if transform == "verbatim":
            (folder / name).write_bytes(source.read_bytes())
        else:
            TRANSFORMS[transform](Image.open(source).convert("RGB")).save(folder / name)
    return folder


def mixture(
    lesions: Lesions, folder: Path, *, unseen: int, copies: dict[str, int], seed: int
) -> tuple[Path, dict[str, tuple[str, str]]]:
    """A release of `unseen` images and copies of private ones; also {file: (private file, transform)} of the copies."""
    rng = np.random.default_rng(seed)
    kept = [("", lesions.unseen[i], "verbatim") for i in rng.choice(len(lesions.unseen), unseen, replace=False)]
    private = lesions.private_images()
    sources = iter(rng.choice(len(private), sum(copies.values()), replace=False))
    planted = [("", private[next(sources)], name) for name, count in copies.items() for _ in range(count)]
    mixed = [*kept, *planted]
    order = rng.permutation(len(mixed))
    named = [(f"{number:05d}.png", *mixed[i][1:]) for number, i in enumerate(order)]
    truth = {
        name: (f"images/{source.name}", transform)
        for (name, source, transform), i in zip(named, order, strict=True)
        if i >= unseen
    }
    write_images(folder, named)
    (folder.parent / f"{folder.name}.json").write_text(json.dumps(truth))
    return folder, truth


def _example() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "examples" / "ham10000" / "prepare.py"
    spec = importlib.util.spec_from_file_location("ham10000_prepare", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
