"""A run that all have signed, and the release made of it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from synguard.release.c2pa_mark import open_credentials
from synguard.release.layouts import LAYOUTS
from synguard.release.make import release
from tests.support.certificates import credentials_in
from tests.support.governed import DETAILS, NOW, approved_run, key, trust


@pytest.fixture(scope="session")
def approved(tmp_path_factory):
    return approved_run(tmp_path_factory.mktemp("approved") / "run")


@pytest.fixture
def run(tmp_path, approved):
    return shutil.copytree(approved, tmp_path / "run")


@pytest.fixture(scope="session")
def credentials(tmp_path_factory):
    """What C2PA manifests are signed with."""
    files = credentials_in(tmp_path_factory.mktemp("credentials"))
    return open_credentials(*files, lambda: "", datetime.now(UTC))


@pytest.fixture(scope="session")
def published(approved, tmp_path_factory, credentials):
    """Releases of the same run by layout, and as `c2pa` an image folder with manifests."""
    root = tmp_path_factory.mktemp("published")
    made = {}
    for name in (*LAYOUTS, "c2pa"):
        copy = shutil.copytree(approved, root / f"run-{name}")
        made[name] = root / name
        more = {"credentials": credentials} if name == "c2pa" else {"layout": name}
        release(copy, made[name], trust(), key("e.moss"), DETAILS, now=NOW, **more)
    return made


@pytest.fixture
def made(tmp_path, published):
    """A release in the image folder layout, to do things to."""
    return shutil.copytree(published["imagefolder"], tmp_path / "release")
