"""Texts through a text tower: labels and sentences tell the same, and the folder takes its tower along."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from diffusers import DiffusionPipeline

from generation.conditions import ConditionEncoder
from generation.latent import LatentDiffusion, open_tower
from generation.synguard_pipeline import width
from generation.train import train
from synguard.config import AttributeConfig, SamplingConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError, IntegrityError
from tests.generation.tiny import CONFIG, SCHEMA, private_set
from tests.support.towers import open_clip_folder

TOLD = ConditionSchema((*SCHEMA.attributes, AttributeConfig(name="prompt", kind="text", sentence="a lesion")))
LABELS = pd.DataFrame({"dx": ["mel", "nv"], "grade": ["1", None], "is_gc": [1, 0]})


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_clip_folder(tmp_path_factory.mktemp("tower") / "clip")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tower: Path) -> Path:
    folder = tmp_path_factory.mktemp("told") / "model"
    return train(private_set(), TOLD, CONFIG, seed=3, folder=folder, text_encoder=tower)


def encoder(tower: Path | None) -> ConditionEncoder:
    parsed = TOLD.parse(private_set().metadata, "private")
    return ConditionEncoder.of(TOLD, parsed, None if tower is None else open_tower(tower))


def sentences(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its sentences alone."""
    texts = TOLD.parse(frame, "asked")["prompt"]
    return pd.DataFrame({**dict.fromkeys(SCHEMA.names, [None] * len(frame)), "prompt": texts})


@pytest.mark.parametrize("with_tower", [True, False])
def test_a_sentence_tells_what_its_labels_tell(tower: Path, with_tower: bool):
    encode = encoder(tower if with_tower else None).encode
    assert np.array_equal(encode(LABELS), encode(sentences(LABELS)))
    assert not np.array_equal(encode(LABELS)[0], encode(LABELS)[1])


def test_words_beside_the_labels_are_told_too(tower: Path):
    fitted = encoder(tower)
    plain = sentences(LABELS)
    wordy = plain.assign(prompt=plain["prompt"] + ", under bright light")
    labels = sum(width(a) for a in fitted.attributes[:-1])
    one, other = fitted.encode(plain), fitted.encode(wordy)
    assert np.array_equal(one[:, :labels], other[:, :labels])
    assert not np.allclose(one[:, labels:], other[:, labels:])


def test_texts_are_standardised_numbers_of_the_tower(tower: Path):
    fitted = encoder(tower)
    encoded = fitted.encode(private_set().metadata)
    texts = encoded[:, -17:-1]
    assert encoded[:, -1].tolist() == [1] * len(encoded)
    assert np.abs(texts.mean(axis=0)).max() < 1e-4
    opened = open_tower(tower)
    assert np.linalg.norm(opened("a lesion, dx nv")) == pytest.approx(4, rel=1e-5)
    stored = fitted.attributes[-1]
    first = TOLD.parse(private_set().metadata, "private")["prompt"][0]
    expected = (opened(first) - np.array(stored["mean"])) / np.array(stored["std"])
    assert texts[0] == pytest.approx(expected, abs=1e-5)


def test_training_tells_labels_alone_sentences_alone_both_and_nothing(tower: Path):
    fitted = encoder(tower)
    metadata = pd.concat([private_set().metadata] * 100, ignore_index=True)
    encoded, shorter = fitted.encode(metadata), fitted.shorter(metadata)
    assert shorter is not None
    told = fitted.told(encoded, shorter, 0.1, np.random.default_rng(0))
    words, labels = told[:, -17:].any(axis=1), told[:, :-17].any(axis=1)
    shares = [(words & labels).mean(), (words & ~labels).mean(), (~words & labels).mean(), (~words & ~labels).mean()]
    assert shares == pytest.approx([0.45, 0.225, 0.225, 0.1], abs=0.03)
    # Alone, a sentence may leave labels out: there are more of them than there are combinations of labels.
    alone = told[words & ~labels][:, -17:]
    assert len(np.unique(alone, axis=0)) > len(np.unique(encoded[:, -17:], axis=0))


def test_without_a_sentence_training_tells_what_it_told_before():
    parsed = SCHEMA.parse(private_set().metadata, "private")
    fitted = ConditionEncoder.of(SCHEMA, parsed)
    encoded = fitted.encode(private_set().metadata)
    assert fitted.shorter(private_set().metadata) is None
    told = fitted.told(encoded, None, 0.1, np.random.default_rng(4))
    assert np.array_equal(told, encoded * fitted.kept(len(encoded), 0.1, np.random.default_rng(4)))


def test_the_folder_takes_its_tower_along(trained: Path, tower: Path):
    model = LatentDiffusion.load(trained, sampling=SamplingConfig(steps=3))
    assert model.encoder.tower is not None
    assert model.encoder.tower.digest == open_tower(tower).digest
    images = model.generate(LABELS, [5, 6])
    assert np.array_equal(images, model.generate(sentences(LABELS), [5, 6]))
    free = sentences(LABELS).assign(prompt="a red one on a thumb")
    assert not np.array_equal(images, model.generate(free, [5, 6]))
    pipe = DiffusionPipeline.from_pretrained(trained, trust_remote_code=True)
    rows = [{"prompt": "a red one on a thumb"}] * 2
    by_diffusers = pipe(rows, seeds=[5, 6], num_inference_steps=3, output_type="np").images
    assert np.abs(by_diffusers.astype(int) - model.generate(free, [5, 6]).astype(int)).max() <= 1


def test_another_tower_is_not_taken_for_the_one_of_the_training(trained: Path, tmp_path: Path):
    other = open_clip_folder(tmp_path / "other", seed=1)
    weights = trained / "text" / "open_clip_model.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes((other / "open_clip_model.safetensors").read_bytes())
        with pytest.raises(IntegrityError):
            LatentDiffusion.load(trained)
    finally:
        weights.write_bytes(kept)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "open_clip_model.safetensors").unlink(), "found no open_clip_model.safetensors"),
        (lambda folder: (folder / "open_clip_config.json").write_text("{}"), "found no text_cfg in a model_cfg"),
        (lambda folder: (folder / "open_clip_model.safetensors").write_bytes(b"x" * 50), "found a model that does not open"),
        (lambda folder: (folder / "weights.bin").write_bytes(b"x"), "found a pickle"),
        (
            lambda folder: (folder / "open_clip_config.json").write_text(
                json.dumps({"model_cfg": {"text_cfg": {"hf_model_name": "somebody/model"}}})
            ),
            "found hf_model_name, which is fetched",
        ),
    ],
)
def test_folders_that_are_no_tower_are_refused_in_a_line(tmp_path: Path, break_it, message):
    folder = open_clip_folder(tmp_path / "clip")
    break_it(folder)
    with pytest.raises(InputError) as caught:
        open_tower(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
