"""What lies in `accepted/` is what was examined, whatever happened to the run folder in between."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synguard.config import DataSource
from synguard.data.readers import read_images
from synguard.errors import IntegrityError
from synguard.governance import manifest
from synguard.governance.content import Labels, accepted_images
from synguard.governance.manifest import Manifest
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


def test_what_made_an_image_stands_beside_it_and_is_no_label(folder: RunFolder):
    seeds = pd.array([2**62 + 1, 5], dtype="Int64")
    files = lay_out_batches(folder, rows().assign(seed=seeds), {"generator.digest": "abc", "generator.steps": 20})
    line = (folder.accepted / "metadata.jsonl").read_text()
    assert json.loads(line) == {
        "file_name": FILES[0],
        "eye": "left",
        "generator.seed": 2**62 + 1,
        "generator.digest": "abc",
        "generator.steps": 20,
    }
    (image,) = accepted_images(folder.accepted, files)
    assert image.labels == Labels({"eye": "left"}, {})


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
    nothing = dict.fromkeys(("candidates", "attempts", "ledger"))
    with pytest.raises(IntegrityError, match=name):
        conclude(folder, rows(), [], None, None, None, accepted=files, tripped=False, link="", **nothing)
    assert not (folder.path / "manifest.json").exists()


@pytest.fixture
def given(tmp_path: Path) -> DataSource:
    """A release of other files than PNG, larger than they are examined."""
    (tmp_path / "made" / "images").mkdir(parents=True)
    for name, kind in (("a.jpg", "JPEG"), ("b.webp", "WEBP")):
        Image.open(io.BytesIO(DATA[0])).resize((96, 96)).save(tmp_path / "made" / "images" / name, kind)
    return DataSource(path=str(tmp_path / "made"))


def laid_out(folder: RunFolder, given: DataSource) -> Manifest:
    images = read_images(given, size=64, name="synthetic", released=True)
    table = pd.DataFrame({"file": images.files, "accepted": True, "condition.eye": ["left", "right"]})
    return accept_given(folder, images, given, Path(), table)


def test_given_images_are_laid_out_again_by_a_resumed_run(folder: RunFolder, given: DataSource):
    first = laid_out(folder, given)
    assert laid_out(folder, given) == first


def test_given_images_are_written_anew_at_their_own_size(folder: RunFolder, given: DataSource):
    files = laid_out(folder, given)
    assert [entry.path for entry in files.files] == ["images/a.png", "images/b.png", "metadata.jsonl"]
    for name in ("a.jpg", "b.webp"):
        with Image.open(Path(given.path) / "images" / name) as image:
            expected = np.asarray(image.convert("RGB"))
        with Image.open((folder.accepted / "images" / name).with_suffix(".png")) as image:
            np.testing.assert_array_equal(np.asarray(image), expected)


def test_what_is_laid_out_can_be_read_as_a_set(folder: RunFolder, given: DataSource):
    laid_out(folder, given)
    images = read_images(DataSource(path=str(folder.accepted)), size=64, name="accepted", released=True)
    assert images.metadata["eye"].tolist() == ["left", "right"]
    np.testing.assert_array_equal(images.pixels, read_images(given, size=64, name="synthetic").pixels)


def test_rows_of_a_medmnist_file_are_laid_out_at_their_own_size(tmp_path: Path, folder: RunFolder):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), dtype=np.uint8)
    np.savez(tmp_path / "made.npz", train_images=pixels, train_labels=np.zeros((2, 1), np.int64))
    source = DataSource(path="made.npz#train")
    images = read_images(source, size=64, name="synthetic", base=tmp_path, released=True)
    accept_given(folder, images, source, tmp_path, pd.DataFrame({"file": images.files, "accepted": True}))
    with Image.open(folder.accepted / "train" / "1.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels[1])


def test_a_given_file_that_was_changed_is_refused(tmp_path: Path, folder: RunFolder, given: DataSource):
    images = read_images(given, size=64, name="synthetic", released=True)
    (Path(given.path) / "images" / "a.jpg").write_bytes(DATA[1])
    with pytest.raises(IntegrityError, match=r"a\.jpg: found other bytes than were audited"):
        accept_given(folder, images, given, Path(), pd.DataFrame({"file": images.files, "accepted": True}))
    assert not folder.accepted.exists()
