"""What lies in `accepted/` is what was examined, whatever happened to the run folder in between."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from synguard.config import DataSource
from synguard.data.readers import read_images
from synguard.errors import IntegrityError
from synguard.governance import manifest
from synguard.runs.assemble import accept_given, lay_out_batches
from synguard.runs.conclude import conclude
from synguard.runs.folder import RunFolder
from tests.support.runs import fundus, png

FILES = ("images/000000-0.png", "images/000001-0.png")
DATA = (png(fundus(1)), png(fundus(2)))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run with one committed batch of two images."""
    made = RunFolder.create(tmp_path / "run")
    (made.batches / "00000" / "images").mkdir(parents=True)
    for file, data in zip(FILES, DATA, strict=True):
        (made.batches / "00000" / file).write_bytes(data)
    return made


def rows() -> pd.DataFrame:
    digests = [hashlib.sha256(data).hexdigest() for data in DATA]
    return pd.DataFrame({"file": FILES, "sha256": digests, "batch": 0, "accepted": [True, False], "condition.eye": "left"})


def test_the_manifest_is_of_the_accepted_images(folder: RunFolder):
    files = lay_out_batches(folder, rows())
    assert [entry.path for entry in files.files] == [FILES[0], "metadata.jsonl"]
    assert files.files[0].sha256 == rows()["sha256"][0]
    manifest.verify(folder.accepted, files)


def test_what_an_earlier_execution_left_is_made_anew(folder: RunFolder):
    files = lay_out_batches(folder, rows())
    (folder.accepted / FILES[0]).unlink()
    (folder.accepted / FILES[0]).write_bytes(DATA[1])
    (folder.accepted / "images" / "extra.png").write_bytes(DATA[1])
    assert lay_out_batches(folder, rows()) == files
    manifest.verify(folder.accepted, files)


def test_a_committed_image_that_was_changed_is_refused(folder: RunFolder):
    (folder.batches / "00000" / FILES[0]).write_bytes(DATA[1])
    with pytest.raises(IntegrityError, match="found other bytes than were audited"):
        lay_out_batches(folder, rows())


@pytest.mark.parametrize("name", ["images/extra.png", FILES[0]])
def test_nothing_is_decided_on_images_that_were_put_in_after_the_examination(folder: RunFolder, name: str):
    files = lay_out_batches(folder, rows())
    (folder.accepted / name).write_bytes(DATA[1])
    with pytest.raises(IntegrityError, match=name):
        conclude(folder, rows(), [], None, None, None, candidates=None, accepted=files, tripped=False, link="")
    assert not (folder.path / "manifest.json").exists()


def test_given_images_are_laid_out_again_by_a_resumed_run(tmp_path: Path, folder: RunFolder):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.png").write_bytes(DATA[0])
    images = read_images(DataSource(path=str(tmp_path / "made")), size=64, name="synthetic")
    table = pd.DataFrame({"file": images.files})
    first = accept_given(folder, images, tmp_path / "made", table)
    assert accept_given(folder, images, tmp_path / "made", table) == first
