"""What a run takes over from another folder is held against the images and conditions at hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from audits import diagnostic
from audits.diagnostic.model import Head
from synguard.config import AttributeConfig, DataSource, RunConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.overlap import Overlap
from synguard.errors import IntegrityError
from synguard.runs.material import Material
from synguard.runs.prepare import _diagnostic
from synguard.runs.progress import silent
from tests.support.membership import image_set, photographs

PRIVATE = image_set(photographs(4, 1), "private")
GRADE = AttributeConfig(name="grade", kind="ordinal", levels=("0", "1", "2"))
EYE = AttributeConfig(name="eye", kind="binary")


def load(monkeypatch: pytest.MonkeyPatch, folder: Path, private: str, *heads: Head) -> object:
    """The diagnostic model of a run with the conditions grade and eye, where `folder` holds one with these heads."""
    saved = SimpleNamespace(record={"private": private}, heads=heads)
    monkeypatch.setattr(diagnostic, "load", lambda folder, device: saved)
    schema = ConditionSchema((GRADE, EYE))
    material = Material(PRIVATE, PRIVATE, schema, pd.DataFrame(), Overlap((), (), (), False), (), PRIVATE)
    source = DataSource(path="x")
    return _diagnostic(material, RunConfig(private=source, holdout=source), folder, folder, "cpu", silent)


ASKED = (Head("grade", "ordinal", ("0", "1", "2")), Head("eye", "binary", ("0", "1")))


def test_a_saved_diagnostic_model_of_these_images_and_conditions_is_used(monkeypatch, tmp_path):
    more = Head("age", "continuous")
    assert load(monkeypatch, tmp_path, PRIVATE.digest, *ASKED, more).heads == (*ASKED, more)


def test_a_saved_diagnostic_model_of_other_images_is_refused(monkeypatch, tmp_path):
    with pytest.raises(IntegrityError, match="other images"):
        load(monkeypatch, tmp_path, "0" * 64, *ASKED)


@pytest.mark.parametrize("heads", [ASKED[:1], (ASKED[1],), (Head("grade", "ordinal", ("0", "1")), ASKED[1])])
def test_a_saved_diagnostic_model_that_leaves_an_attribute_unread_is_refused(monkeypatch, tmp_path, heads):
    with pytest.raises(IntegrityError, match="does not read"):
        load(monkeypatch, tmp_path, PRIVATE.digest, *heads)
