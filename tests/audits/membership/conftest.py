"""Real images, decoded once."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.support.membership import World, world


@pytest.fixture(scope="session")
def clean() -> World:
    """Members and non-members of one source; the synthetic images have seen neither."""
    return world()


@pytest.fixture(scope="session")
def retinamnist(test_data):
    """All 1,600 photographs: the 1,200 of the training and validation splits, then the 400 of the test split."""
    with np.load(test_data / "retinamnist" / "retinamnist.npz") as file:
        return np.concatenate([file[f"{part}_images"] for part in ("train", "val", "test")])


@pytest.fixture(scope="session")
def ham10000(test_data):
    """2,600 photographs of HAM10000, each of another lesion, in random order, at 32 px."""
    folder = test_data / "ham10000"
    names = pd.read_csv(folder / "index.csv")["image_id"].sample(2600, random_state=0)
    with tarfile.open(folder / "images_128.tar") as tar:
        images = (Image.open(io.BytesIO(tar.extractfile(f"images_128/{name}.jpg").read())) for name in names)
        return np.stack([np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX)) for image in images])
