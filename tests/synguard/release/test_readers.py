"""Releases as others read them: datasets, webdataset, mlcroissant, a YAML parser."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import yaml

from synguard.release.layouts import LAYOUTS
from synguard.release.marks import unmarked


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def pixels(folder, layout):
    marks = LAYOUTS[layout].marks[folder.name == "c2pa"]
    return {image.labels.asked["age"]: unmarked(image, marks).pixels for image in LAYOUTS[layout].read(folder)}


@pytest.mark.parametrize(("name", "layout"), [("imagefolder",) * 2, ("parquet",) * 2, ("c2pa", "imagefolder")])
@pytest.mark.parametrize("whole", [True, False], ids=["by its card", "by its data folder"])
def test_datasets_loads_it(published, tmp_path, name, layout, whole):
    import datasets

    copy = shutil.copytree(published[name], tmp_path / name)
    options = {"cache_dir": str(tmp_path / "cache"), "split": "train"}
    if whole:
        found = datasets.load_dataset(str(copy), **options)
    else:
        found = datasets.load_dataset(layout, data_dir=str(copy / "data"), **options)
    assert len(found) == 3
    assert {"image", "asked_grade", "asked_age", "read_grade", "read_drusen"} <= set(found.column_names)
    wanted = pixels(copy, layout)
    for row in found:
        assert np.array_equal(np.asarray(row["image"].convert("RGB")), wanted[row["asked_age"]])


@pytest.mark.parametrize("alone", [True, False], ids=["as the card says", "by its card"])
def test_datasets_loads_the_labels_beside_dicom_objects(published, tmp_path, alone):
    import datasets

    copy = shutil.copytree(published["dicom"], tmp_path / "copy")
    given = {"path": "json", "data_files": str(copy / "data" / "metadata.jsonl")} if alone else {"path": str(copy)}
    found = datasets.load_dataset(**given, cache_dir=str(tmp_path / "cache"), split="train")
    assert {"file_name", "asked_grade", "asked_age", "read_grade"} <= set(found.column_names)
    assert all((copy / "data" / name).is_file() for name in found["file_name"])
    assert len(found) == 3


def test_webdataset_reads_it(published):
    import webdataset

    folder = published["webdataset"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = list(webdataset.WebDataset(str(folder / "data" / "00000.tar"), shardshuffle=False).decode("rgb8"))
    assert len(rows) == 3
    wanted = pixels(folder, "webdataset")
    for row in rows:
        assert np.array_equal(row["png"], wanted[row["json"]["asked_age"]])


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_croissant_is_valid(published, layout):
    import mlcroissant

    dataset = mlcroissant.Dataset(jsonld=str(published[layout] / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    rows = list(dataset.records("asked"))
    assert len(rows) == 3
    assert {row["asked/grade"] for row in rows} == {b"mild"}


def test_the_card_has_what_the_hub_reads(published):
    text = (published["imagefolder"] / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["size_categories"] == ["n<1K"]
    for part in (
        "3 synthetic medical images",
        "privacy@hospital-x.example",
        "no copies were found at the power",
        "synguard verify",
    ):
        assert part in text
    assert "It does not say that the images are anonymous" in " ".join(text.split())
    datasheet = (published["imagefolder"] / "DATASHEET.md").read_text()
    assert "1 x board, 1 x clinical-reviewer, 1 x privacy-officer" in datasheet
