"""Any number of different photographs, made of the real ones there are: turned, cropped, warped, re-lit. For scale only."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

__all__ = ["photographs", "read_lesions", "varied"]

Pixels = NDArray[np.uint8]

_CHUNK = 256


def read_lesions(tar: Path | None = None) -> Pixels:
    """The HAM10000 photographs (n, 128, 128, 3) of a tar file; by default that of the test data."""
    root = os.environ.get("SYNGUARD_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    with tarfile.open(tar or Path(root) / "ham10000" / "images_128.tar") as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".jpg"))
        files = (archive.extractfile(name) for name in names)
        return np.stack([np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")) for file in files if file])


def photographs(originals: Pixels, n: int, size: int, seed: int, folder: Path) -> Pixels:
    """`n` variants (n, size, size, 3) of the originals, in a mapped file of the folder."""
    made = np.memmap(folder / f"photographs-{seed}-{n}.raw", np.uint8, "w+", shape=(n, size, size, 3))
    for start in range(0, n, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, n))
        made[rows] = varied(originals[rows % len(originals)], size, np.random.default_rng([seed, start]))
    made.flush()
    return made


def varied(images: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """One variant of each image (n, s, s, 3): mirrored and turned, 80 to 100 % of its side, a little warped, re-lit."""
    n = len(images)
    angle = rng.integers(0, 4, n) * np.pi / 2 + rng.uniform(-0.2, 0.2, n)
    side = rng.uniform(0.8, 1.0, n)
    flip = rng.choice([-1.0, 1.0], n)
    linear = np.stack([np.cos(angle) * flip, -np.sin(angle), np.sin(angle) * flip, np.cos(angle)], 1).reshape(n, 2, 2)
    shift = rng.uniform(-1, 1, (n, 2)) * (1 - side)[:, None]
    maps = np.concatenate([linear * side[:, None, None], shift[:, :, None]], 2)
    grid = functional.affine_grid(_tensor(maps), [n, 3, size, size], align_corners=False)
    bend = functional.interpolate(_tensor(rng.normal(0, 0.02, (n, 2, 4, 4))), (size, size), mode="bicubic")
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255
    seen = functional.grid_sample(planes, grid + bend.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=False)
    light = _tensor(rng.uniform(0.9, 1.1, (n, 3, 1, 1)))
    grain = _tensor(rng.normal(0, 0.01, seen.shape))
    return ((seen * light + grain).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).to(torch.float32)
