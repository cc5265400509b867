"""What is read before a run, and what may be left out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from synguard.config import AttributeConfig, DataSource, RunConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.phantom import write_phantoms
from synguard.errors import InputError, UnreadableImageError
from synguard.runs.material import read_material, read_synthetic
from synguard.runs.progress import silent


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    for name, first in (("private", 0), ("holdout", 4)):
        write_phantoms(tmp_path / name, patients=4, images_per_patient=1, size=32, seed=1, first_patient=first)
    sources = {name: DataSource(path=name) for name in ("private", "holdout")}
    return RunConfig(image_size=32, skip_unreadable=True, **sources)


def spoil(folder: Path) -> str:
    path = sorted((folder / "images").iterdir())[1]
    path.write_bytes(path.read_bytes()[:100])
    return path.name


def test_a_private_image_that_cannot_be_read_is_never_skipped(tmp_path: Path, config: RunConfig):
    """A release could hold a copy of it, and nothing would be there to find it by."""
    name = spoil(tmp_path / "private")
    with pytest.raises(UnreadableImageError, match=name):
        read_material(config, tmp_path, silent)


def test_a_holdout_image_that_cannot_be_read_is_skipped_and_named(tmp_path: Path, config: RunConfig):
    name = spoil(tmp_path / "holdout")
    assert read_material(config, tmp_path, silent).holdout.skipped == (f"images/{name}",)


@pytest.mark.parametrize("without", ["private", "holdout"])
def test_patients_that_only_one_set_names_are_refused(tmp_path: Path, config: RunConfig, without: str):
    """A patient in both sets would go unseen, and hide what the images give away about members."""
    named = {name: DataSource(path=name, patient=None if name == without else "patient") for name in ("private", "holdout")}
    with pytest.raises(InputError, match=rf"^{without}\.patient: found nothing, expected a metadata column"):
        read_material(config.model_copy(update=named), tmp_path, silent)


def test_classes_are_those_of_the_first_attribute_with_levels(tmp_path: Path, config: RunConfig):
    material = read_material(config, tmp_path, silent)
    assert material.searched_classes is None
    age = AttributeConfig(name="age", kind="continuous")
    grade = AttributeConfig(name="grade", kind="ordinal", levels=("mild", "severe"))
    sick = AttributeConfig(name="sick", kind="binary", levels=("no", "yes"))
    rows = pd.DataFrame({"age": [1, 2, 3, 4], "grade": ["severe", "mild", None, "mild"], "sick": ["no", "yes", "yes", ""]})

    def classes(*attributes: AttributeConfig) -> list[str] | None:
        schema = ConditionSchema(attributes)
        made = replace(material, schema=schema, private=replace(material.private, metadata=rows))
        return None if made.searched_classes is None else made.searched_classes.tolist()

    assert classes(age) is None
    assert classes(age, grade, sick) == ["grade=severe", "grade=mild", "", "grade=mild"]
    assert classes(sick, grade) == ["sick=no", "sick=yes", "sick=yes", ""]


def test_a_file_that_hides_something_is_not_taken_for_a_release(tmp_path: Path, config: RunConfig):
    """The picture in the middle is what is audited; the private photograph beside it would be published with it."""
    private, other = (Image.open(next((tmp_path / name / "images").iterdir())) for name in ("private", "holdout"))
    wide = Image.new("RGB", (96, 32))
    wide.paste(private, (0, 0))
    wide.paste(other, (32, 0))
    (tmp_path / "made").mkdir()
    wide.save(tmp_path / "made" / "wide.png")
    other.save(tmp_path / "made" / "plain.png")
    assert read_synthetic(config, "made", tmp_path, silent).files == ("plain.png",)
    with pytest.raises(UnreadableImageError, match=r"wide\.png: found 96 x 32 pixels"):
        read_synthetic(config.model_copy(update={"skip_unreadable": False}), "made", tmp_path, silent)
