from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from audits.diagnostic import train
from synguard.config import AttributeConfig, LabelsConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError
from synguard.protocols import DiagnosticModel
from tests.support.squares import SCHEMA, model, squares


def test_reads_planted_labels_of_unseen_squares() -> None:
    unseen = squares(300, 2)
    predicted = model().predict(unseen.pixels)
    for name, least in {"colour": 0.98, "side": 0.9, "hole": 0.9}.items():
        truth = SCHEMA.codes(SCHEMA.parse(unseen.metadata, "unseen"), name)
        assert (predicted[name].argmax(1) == truth).mean() > least, name
    light = unseen.metadata["light"].to_numpy(float)
    assert np.corrcoef(predicted["light"], light)[0, 1] > 0.9
    assert np.abs(predicted["light"] - light).mean() < 0.05


def test_still_reads_softened_squares() -> None:
    unseen = squares(300, 3)
    tensor = torch.from_numpy(unseen.pixels).permute(0, 3, 1, 2).float()
    small = torch.nn.functional.interpolate(tensor, (9, 9), mode="area")
    soft = torch.nn.functional.interpolate(small, (16, 16), mode="bilinear").byte().permute(0, 2, 3, 1).numpy()
    predicted = model().predict(soft)
    frame = SCHEMA.parse(unseen.metadata, "unseen")
    assert (predicted["colour"].argmax(1) == SCHEMA.codes(frame, "colour")).mean() > 0.95
    assert (predicted["side"].argmax(1) == SCHEMA.codes(frame, "side")).mean() > 0.8


def test_is_a_diagnostic_model_with_probabilities() -> None:
    predicted = model().predict(squares(5, 4).pixels)
    assert isinstance(model(), DiagnosticModel)
    assert set(predicted) == {"colour", "side", "hole", "light"}
    assert predicted["hole"].shape == (5, 2)
    np.testing.assert_allclose(predicted["side"].sum(1), 1)


def test_reading_does_not_depend_on_how_many_images_are_passed() -> None:
    pixels = squares(150, 5).pixels
    whole = model().predict(pixels)
    for name, values in whole.items():
        parts = np.concatenate([model().predict(part)[name] for part in (pixels[:1], pixels[1:70], pixels[70:])])
        np.testing.assert_allclose(parts, values, atol=1e-5)
    assert model().predict(pixels[:0])["side"].shape == (0, 3)


def test_same_seed_same_weights_and_the_global_random_state_stays() -> None:
    private = squares(80, 6)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = train(private, SCHEMA, LabelsConfig(steps=4), seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    again = train(private, SCHEMA, LabelsConfig(steps=4), seed=3)
    other = train(private, SCHEMA, LabelsConfig(steps=4), seed=4)
    assert first.digest == again.digest != other.digest


def test_patients_kept_aside_are_whole_patients() -> None:
    record = train(squares(800, 7, per_patient=4), SCHEMA, LabelsConfig(steps=1), seed=0).record
    assert record["images_kept_aside"] % 4 == 0
    assert 0.08 < record["images_kept_aside"] / 800 < 0.15
    assert record["images"] + record["images_kept_aside"] == 800


def test_a_rare_level_is_read_as_willingly_as_a_common_one() -> None:
    """Labels say nothing about the image, and 90 % are positive: equally likely levels must get about equal probability."""
    private = squares(400, 8)
    private.metadata["hole"] = (np.random.default_rng(0).random(400) < 0.9).astype(int).astype(object)
    schema = ConditionSchema((AttributeConfig(name="hole", kind="binary"),))
    trained = train(private, schema, LabelsConfig(steps=60), seed=0)
    assert 0.3 < np.median(trained.predict(squares(200, 9).pixels)["hole"][:, 1]) < 0.7


def test_a_level_without_images_is_never_read() -> None:
    schema = ConditionSchema((AttributeConfig(name="colour", kind="categorical", levels=("red", "green", "blue", "mauve")),))
    trained = train(squares(200, 10), schema, LabelsConfig(steps=5), seed=0)
    assert trained.predict(squares(50, 11).pixels)["colour"][:, 3].max() < 1e-9


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    train(squares(64, 12), SCHEMA, LabelsConfig(steps=3), 0, lambda step, steps: told.append((step, steps)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("schema", [ConditionSchema(), ConditionSchema((AttributeConfig(name="caption", kind="text"),))])
def test_nothing_to_learn_is_refused(schema: ConditionSchema) -> None:
    with pytest.raises(InputError, match="found no labels"):
        train(squares(10, 13), schema, LabelsConfig(steps=1), 0)


def test_all_labels_missing_is_refused() -> None:
    private = squares(10, 14)
    private.metadata["hole"] = pd.NA
    with pytest.raises(InputError, match="found no labels"):
        train(private, ConditionSchema((AttributeConfig(name="hole", kind="binary"),)), LabelsConfig(steps=1), 0)
