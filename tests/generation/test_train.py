"""Training: what it refuses, what it leaves, and that a kill changes nothing."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from generation import folder as pipeline_folder
from generation.folder import claim
from generation.pipeline import load
from generation.train import checkpoints, train
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError, IntegrityError
from synguard.protocols import Denoiser, Generator

WEIGHTS = ("vae", "unet", "training/unet_raw")


def changed(config, part, **update):
    return config.model_copy(update={part: getattr(config, part).model_copy(update=update)})


def weights(folder):
    return [(folder / part / "diffusion_pytorch_model.safetensors").read_bytes() for part in WEIGHTS]


@pytest.fixture(scope="module")
def run():
    """Trains in another process up to a point, and returns how that process ended."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("training_process.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )

    def ask(folder, every, phase, number):
        process.stdin.write(f"{folder}\t{every}\t{phase}\t{number}\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield ask
    process.stdin.close()
    assert process.wait(30) == 0


def test_killed_at_any_point_it_ends_with_the_same_weights(run, trained, tmp_path):
    steps = np.random.default_rng(5).integers(1, 18, 2).tolist()
    points = [
        ("replace", 1),  # before anything is recorded
        ("autoencoder", 7),
        ("replace", 1),  # an autoencoder checkpoint is written, not yet in place
        ("latents", 50),
        *(("denoiser", step) for step in sorted(steps)),
        ("denoiser", 18),  # done, not yet checkpointed
        ("replace", 3),  # within the finished folder's files
    ]
    for point in points:
        assert run(tmp_path / "model", 5, *point) == -signal.SIGKILL, point
        assert not (tmp_path / "model" / "model_index.json").exists()
    assert run(tmp_path / "model", 5, "none", 0) == 0
    assert weights(tmp_path / "model") == weights(trained)
    assert {path.name for path in (tmp_path / "model" / "training").iterdir()} == {"identity.json", "unet_raw"}


def test_another_seed_gives_other_weights_and_raw_differ_from_averaged(tiny, trained, tmp_path):
    other = weights(train(tiny.private_set(), tiny.SCHEMA, tiny.CONFIG, seed=4, folder=tmp_path / "other"))
    first = weights(trained)
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert first[1] != first[2]


def test_a_finished_folder_is_returned_as_it_is(tiny, trained):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
    assert train(tiny.private_set(), tiny.SCHEMA, tiny.CONFIG, seed=3, folder=trained, progress=pytest.fail) == trained
    assert before == {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tiny: {"private": tiny.private_set(31)}, "private_digest"),
        (lambda _: {"seed": 5}, "seed"),
        (lambda tiny: {"config": changed(tiny.CONFIG, "denoiser", steps=19)}, "denoiser"),
        (lambda tiny: {"schema": ConditionSchema(tiny.SCHEMA.attributes[:2])}, "attributes"),
    ],
)
def test_a_folder_of_another_training_is_refused(tiny, private, trained, change, named):
    given = {"private": private, "schema": tiny.SCHEMA, "config": tiny.CONFIG, "seed": 3} | change(tiny)
    with pytest.raises(InputError, match=f"{trained}: found a training with another {named}"):
        train(**given, folder=trained)


def test_other_labels_on_the_same_images_are_another_training(tiny, trained):
    private = tiny.private_set()
    private.metadata["is_gc"] = 1 - private.metadata["is_gc"]
    with pytest.raises(InputError, match="labels_digest"):
        train(private, tiny.SCHEMA, tiny.CONFIG, seed=3, folder=trained)


def test_checkpoints_of_another_training_and_broken_ones_are_refused(tiny, tmp_path):
    folder = tmp_path / "model"

    class Stop(Exception):
        pass

    def stop(phase, done, _total):
        if phase == "autoencoder" and done == 7:
            raise Stop

    with pytest.raises(Stop):
        train(tiny.private_set(), tiny.SCHEMA, tiny.CONFIG, seed=3, folder=folder, checkpoint_every=5, progress=stop)
    checkpoint = folder / "training" / "autoencoder.safetensors"
    (tmp_path / "b").mkdir()
    with pytest.raises(Stop):
        train(tiny.private_set(), tiny.SCHEMA, tiny.CONFIG, seed=9, folder=tmp_path / "b", checkpoint_every=5, progress=stop)
    checkpoint.write_bytes((tmp_path / "b" / "training" / "autoencoder.safetensors").read_bytes())
    with pytest.raises(IntegrityError, match="found a checkpoint of training"):
        train(tiny.private_set(), tiny.SCHEMA, tiny.CONFIG, seed=3, folder=folder, checkpoint_every=5)
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(IntegrityError, match="safetensors"):
        train(tiny.private_set(), tiny.SCHEMA, tiny.CONFIG, seed=3, folder=folder, checkpoint_every=5)


def test_a_folder_with_other_things_is_refused(tiny, tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="found a folder that holds something else"):
        train(tiny.private_set(), tiny.SCHEMA, tiny.CONFIG, seed=3, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_training_killed_between_its_commitment_and_its_record_is_gone_on_with(tmp_path):
    committed = {"seed": 3, "canaries": {"patients": 8, "commitment": "c"}}
    assert not claim(tmp_path, committed)
    (tmp_path / "training" / "identity.json").unlink()
    with pytest.raises(InputError, match="found a folder that holds something else"):
        claim(tmp_path, committed | {"canaries": None})
    with pytest.raises(IntegrityError, match="another commitment"):
        claim(tmp_path, committed | {"canaries": {"patients": 8, "commitment": "d"}})
    assert not claim(tmp_path, committed)


@pytest.mark.parametrize(
    ("part", "update", "message"),
    [
        ("autoencoder", {"widths": (8,) * 6}, "image_size: found 16, expected a multiple of 32"),
        ("autoencoder", {"crop": 32}, "autoencoder.crop: found 32"),
        ("denoiser", {"widths": (16,) * 4}, "denoiser.widths: found 4 widths on latents of side 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_before_anything_is_written(tiny, tmp_path, part, update, message):
    config = changed(tiny.CONFIG, part, **update)
    with pytest.raises(InputError, match=message):
        train(tiny.private_set(), tiny.SCHEMA, config, seed=3, folder=tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_device(tiny, tmp_path):
    with pytest.raises(InputError, match="device: found cuda"):
        train(tiny.private_set(), tiny.SCHEMA, tiny.CONFIG, seed=3, folder=tmp_path / "model", device="cuda")
    assert not (tmp_path / "model").exists()


def test_label_outside_the_schema(tiny, tmp_path):
    private = tiny.private_set()
    private.metadata.loc[4, "dx"] = "scar"
    with pytest.raises(InputError, match=r"private row 5.*dx.*'scar'"):
        train(private, tiny.SCHEMA, tiny.CONFIG, seed=3, folder=tmp_path / "model")


def test_checkpoints_are_handed_to_the_caller(tiny, trained, tmp_path):
    """As models to look into, that at the last step being the one that is saved; and the training stays the same."""
    seen, last = [], {}

    def look(step, model):
        seen.append(step)
        assert isinstance(model, Denoiser)
        assert isinstance(model, Generator)
        asked = tiny.asked(4)
        noise = np.zeros(model.latent_shape, dtype=np.float32)
        latents = model.encode(tiny.private_set().pixels[:4])
        last["images"] = model.generate(asked, [1, 2, 3, 4])
        last["errors"] = model.errors(latents, asked, level=0.3, noise=noise, weights=model.weights[0])
        last["model"] = model

    train(
        tiny.private_set(),
        tiny.SCHEMA,
        tiny.CONFIG,
        seed=3,
        folder=tmp_path / "model",
        checkpoint_every=10,
        on_checkpoint=look,
    )
    assert seen == [10, 18]
    assert checkpoints(tiny.CONFIG, 10) == 2
    saved = load(trained)
    # Weights that lie otherwise in memory may round otherwise: by a grey level.
    difference = saved.generate(tiny.asked(4), [1, 2, 3, 4]).astype(int) - last["images"]
    assert np.abs(difference).max() <= 1
    latents = saved.encode(tiny.private_set().pixels[:4])
    noise = np.zeros(saved.latent_shape, dtype=np.float32)
    np.testing.assert_allclose(saved.errors(latents, tiny.asked(4), level=0.3, noise=noise), last["errors"], rtol=1e-4)
    assert (last["model"].size, last["model"].latent_shape) == (saved.size, saved.latent_shape)


def test_the_checkpoint_that_is_gone_on_from_is_handed_over_again(tiny, tmp_path):
    """A kill may have come between writing it and handing it over."""
    seen = []

    class Stop(Exception):
        pass

    def stop(step, _model):
        seen.append(step)
        raise Stop

    given = (tiny.private_set(), tiny.SCHEMA, tiny.CONFIG)
    settings = {"seed": 3, "folder": tmp_path / "model", "checkpoint_every": 10}
    with pytest.raises(Stop):
        train(*given, **settings, on_checkpoint=stop)
    train(*given, **settings, on_checkpoint=lambda step, _model: seen.append(step))
    assert seen == [10, 10, 18]


def test_how_many_checkpoints_there_are(tiny):
    for steps, every, count in ((2000, None, 20), (500, None, 5), (40, None, 1), (45, 10, 5), (50, 10, 5)):
        assert checkpoints(changed(tiny.CONFIG, "denoiser", steps=steps), every) == count


def test_the_model_card_says_what_it_was_trained_on(tiny, trained):
    card = json.loads((trained / "model_card.json").read_text())
    assert card["training"]["private_digest"] == tiny.private_set().digest
    assert card["training"]["seed"] == 3
    assert card["images_seen_per_image"] == pytest.approx(18 * 8 / 30)
    assert card["differential_privacy"] == "none"
    assert card["weights_digest"] == pipeline_folder.weights_digest(trained)
    assert tiny.private_set().digest in (trained / "README.md").read_text()


def test_private_state_is_the_owners_only_and_latents_are_gone(trained):
    assert stat.S_IMODE((trained / "training").stat().st_mode) == 0o700
    assert {path.name for path in (trained / "training").iterdir()} == {"identity.json", "unet_raw"}


def test_an_unlabelled_set_can_be_learnt(tiny, tmp_path):
    folder = train(tiny.private_set(), ConditionSchema(), tiny.CONFIG, seed=3, folder=tmp_path / "model")
    assert load(folder).generate(tiny.private_set(4).metadata[[]], [1, 2, 3, 4]).shape == (4, 16, 16, 3)
