"""One audit of made-up photographs, prepared once for the files that only look at it."""

from __future__ import annotations

import pytest

from audits.memorisation import prepare
from synguard.config import MemorisationConfig
from tests.support.textures import image_set, textures


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Of the index of `prepared`; copied by who changes it."""
    return tmp_path_factory.mktemp("index") / "made"


@pytest.fixture(scope="session")
def prepared(folder):
    """150 private images, 64 of calibration; thirty copies planted a transform."""
    return prepare(
        image_set(textures(150, 1), "private"),
        image_set(textures(64, 2), "calibration"),
        config=MemorisationConfig(planted_per_transform=30),
        seed=5,
        folder=folder,
        comparison=image_set(textures(100, 4), "comparison"),
    )
