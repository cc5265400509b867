"""What two sets share is named in pairs; one picture under two patients is found."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synguard.config import DataSource
from synguard.data.images import ImageSet
from synguard.data.overlap import Duplicate, Pair, duplicates, find_overlap
from synguard.data.readers import read_images

DATA = Path(os.environ.get("SYNGUARD_TEST_DATA", "../shared/data"))


def _set(name, patients, pictures, digests, has_ids=True):
    files = tuple(f"{name}{i}.png" for i in range(len(patients)))
    return ImageSet(
        name=name,
        files=files,
        sha256=tuple(digests),
        pixels=np.stack([np.full((4, 4, 3), picture, np.uint8) for picture in pictures]),
        patients=np.array(patients, dtype=np.str_),
        metadata=pd.DataFrame({"file_name": files}),
        has_patient_ids=has_ids,
    )


def test_pairs_of_each_kind():
    private = _set("p", ["1", "2", "3", "3"], [1, 2, 3, 4], ["a", "b", "c", "d"])
    holdout = _set("h", ["4", "3", "5", "6"], [2, 9, 4, 8], ["b", "x", "y", "z"])
    overlap = find_overlap(private, holdout)
    assert overlap.same_bytes == (Pair("p1.png", "h0.png", "2", "4"),)
    assert overlap.same_pixels == (Pair("p3.png", "h2.png", "3", "5"),)
    assert overlap.same_patient == (Pair("p2.png", "h1.png", "3", "3"),)
    assert overlap
    assert overlap.files == ("h0.png", "h1.png", "h2.png")
    assert "h0.png = p1.png" in overlap.describe()
    assert "h1.png = p2.png" in overlap.describe()
    as_json = overlap.as_json(most=0)
    assert as_json["counts"] == {"same_patient": 1, "same_bytes": 1, "same_pixels": 1}
    assert as_json["same_bytes"] == []
    assert json.loads(json.dumps(overlap.as_json()))["same_bytes"][0]["private"] == "p1.png"


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("007", "7", True),
        ("7", "7.0", True),
        ("P-12", "p-12", True),
        (" 12", "12 ", True),
        ("\uff17", "7", True),
        ("0", "000", True),
        ("P7", "P07", False),
        ("70", "7", False),
        ("7.5", "7", False),
    ],
)
def test_one_patient_written_in_two_ways(ours, theirs, same):
    overlap = find_overlap(_set("p", [ours], [1], ["a"]), _set("h", [theirs], [2], ["b"]))
    assert overlap.same_patient == ((Pair("p0.png", "h0.png", ours, theirs),) if same else ())


def test_nothing_in_common():
    overlap = find_overlap(_set("p", ["1"], [1], ["a"]), _set("h", ["2"], [2], ["b"]))
    assert not overlap
    assert overlap.describe() == ""
    assert overlap.files == ()


@pytest.mark.parametrize(("ours", "theirs"), [(False, True), (True, False), (False, False)])
def test_patients_are_compared_only_where_both_sets_have_ids(ours, theirs):
    overlap = find_overlap(_set("p", ["1"], [1], ["a"], ours), _set("h", ["1"], [2], ["b"], theirs))
    assert not overlap
    assert not overlap.patients_compared


def test_the_first_pairs_are_named_and_the_rest_counted():
    count = 7
    private = _set("p", [str(i) for i in range(count)], range(count), "abcdefg")
    assert (
        "7 by the same file (p0.png = p0.png, p1.png = p1.png, p2.png = p2.png and 4 more)"
        in find_overlap(private, private).describe()
    )


def test_sizes_must_agree():
    private = _set("p", ["1"], [1], ["a"])
    larger = _set("h", ["2"], [2], ["b"])
    object.__setattr__(larger, "pixels", np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="found images of 8 px, expected 4 px"):
        find_overlap(private, larger)


def test_duplicates_are_pictures_under_two_patients():
    images = _set("p", ["1", "1", "2", "3", "4"], [5, 5, 5, 6, 6], ["a", "a", "a", "c", "d"])
    assert duplicates(images) == (
        Duplicate("p0.png", "p2.png", "1", "2", "bytes"),
        Duplicate("p3.png", "p4.png", "3", "4", "pixels"),
    )
    assert duplicates(images)[0].as_json()["same"] == "bytes"


def test_patients_299_and_300_of_fundus600_are_duplicates(tmp_path):
    if not (DATA / "fundus600").is_dir():
        pytest.skip(f"no real images: {DATA / 'fundus600'} does not exist; set SYNGUARD_TEST_DATA")
    with np.load(DATA / "fundus600/fundus600_128.npz", allow_pickle=False) as arrays:
        pixels, patients, eyes = arrays["images"], arrays["patient"], arrays["eye"]
    names = [f"P{patient}_{eye}.png" for patient, eye in zip(patients, eyes, strict=True)]
    for image, name in zip(pixels, names, strict=True):
        Image.fromarray(image).save(tmp_path / name, compress_level=0)
    pd.DataFrame({"file_name": names, "patient": patients}).to_csv(tmp_path / "metadata.csv", index=False)
    images = read_images(DataSource(path=str(tmp_path), patient="patient"), size=64, name="fundus600")
    assert len(images) == 600
    pairs = {
        (found.first, found.second, found.first_patient, found.second_patient, found.same) for found in duplicates(images)
    }
    assert ("P299_L.png", "P300_L.png", "299", "300", "bytes") in pairs
    assert ("P299_R.png", "P300_R.png", "299", "300", "bytes") in pairs
