from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

from audits.labels import LabelCeiling, examine, measure_ceiling
from synguard.data.images import ImageSet
from synguard.protocols import Images
from tests.support.squares import SCHEMA, model, squares


@functools.cache
def ceiling() -> LabelCeiling:
    return measure_ceiling(model(), squares(400, 21), squares(400, 22), SCHEMA, refuse_below=0.05)


def asked_of(images: ImageSet) -> pd.DataFrame:
    return SCHEMA.parse(images.metadata, images.name)


def test_ceiling_reads_the_holdout() -> None:
    assert np.nanmin(ceiling().recalls("colour")) > 0.95
    assert ceiling().confusion("side").sum() == 800
    assert [attribute.name for attribute in ceiling().judged] == ["colour", "side", "hole"]
    assert len(np.unique(ceiling().patients)) == 400


def test_real_images_are_hardly_refused() -> None:
    """The thresholds come from 400 other images, and may refuse 2 % of real ones: more than 20 of 600 has p < 0.01."""
    real = squares(600, 23)
    findings = examine(model(), real.pixels, asked_of(real), ceiling())
    assert findings.refused.sum() <= 20
    assert ceiling().refused_real <= 0.05
    assert all(0 < threshold <= 0.05 for threshold in ceiling().thresholds.values())


def test_what_was_not_asked_for_is_refused_with_its_reason() -> None:
    real = squares(200, 24)
    asked = asked_of(real)
    other = {"red": "green", "green": "blue", "blue": "red"}
    asked["colour"] = asked["colour"].map(other).astype("string")
    findings = examine(model(), real.pixels, asked, ceiling())
    assert findings.refused.mean() > 0.9
    row = int(np.flatnonzero(findings.refused)[0])
    assert f"asked colour {asked['colour'][row]}, read {real.metadata['colour'][row]}" in findings.reason[row]
    assert [bool(reason) for reason in findings.reason] == findings.refused.tolist()


def test_annotation_is_a_typed_frame_of_what_was_read() -> None:
    real = squares(50, 25)
    findings = examine(model(), real.pixels, asked_of(real), ceiling())
    parsed = SCHEMA.parse(findings.annotation.assign(caption="x"), "annotation")
    for name in ("colour", "side", "hole", "light"):
        assert findings.annotation[name].dtype == asked_of(real)[name].dtype
        pd.testing.assert_series_equal(parsed[name], findings.annotation[name])
    columns = findings.columns()
    assert {"annotation.colour", "annotation.light", "labels.probability.hole"} <= set(columns)
    assert len(columns) == 50


def test_what_was_not_asked_refuses_nothing() -> None:
    real = squares(60, 26)
    asked = asked_of(real)
    for name in SCHEMA.names:
        asked[name] = pd.array([None] * 60, dtype=asked[name].dtype)
    findings = examine(model(), real.pixels, asked, ceiling())
    assert not findings.refused.any()
    assert findings.probability.isna().all().all()


def test_batches_change_nothing() -> None:
    real = squares(130, 27)
    asked = asked_of(real)
    whole = examine(model(), real.pixels, asked, ceiling())
    parts = [
        examine(model(), real.pixels[rows], asked.iloc[rows].reset_index(drop=True), ceiling())
        for rows in (slice(0, 1), slice(1, 100), slice(100, 130))
    ]
    assert np.concatenate([part.refused for part in parts]).tolist() == whole.refused.tolist()
    probability = pd.concat([part.probability for part in parts], ignore_index=True)
    np.testing.assert_allclose(probability, whole.probability, atol=1e-5)


class Fixed:
    """A model whose probability of the positive level is written into the first pixel, in 255ths."""

    name, digest = "fixed", "0"

    def predict(self, images: Images) -> dict[str, np.ndarray]:
        positive = images[:, 0, 0, 0] / 255
        return {"hole": np.stack((1 - positive, positive), 1)}


@pytest.mark.parametrize(("n", "refused"), [(40, 0), (149, 2), (1000, 19)])
def test_thresholds_leave_all_but_two_per_cent_of_the_calibration_images(n: int, refused: int) -> None:
    """Of n images, floor(0.02 (n + 1)) - 1 may lie below: a new one then does with probability 2 % at most."""
    images = squares(n, 28)
    images.metadata["hole"] = 1
    images.pixels[:, 0, 0, 0] = np.random.default_rng(0).permutation(np.linspace(0, 255, n)).astype(np.uint8)
    schema = type(SCHEMA)(tuple(attribute for attribute in SCHEMA.attributes if attribute.name == "hole"))
    found = measure_ceiling(Fixed(), images, images, schema, refuse_below=1.0)
    assert found.refused_real * n <= refused
    assert found.refused_real * n >= refused * 0.7  # Equal pixels stay on the same side.
    capped = measure_ceiling(Fixed(), images, images, schema, refuse_below=0.001)
    assert capped.thresholds["hole"] <= 0.001
