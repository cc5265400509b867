"""Private training from end to end: what the card says, what a kill changes, and a public base."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from generation import folder as pipeline_folder
from generation.names import NOISE_KEY
from generation.pipeline import load
from generation.train import train
from synguard.config import PrivateConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError, IntegrityError

DRAWN = {"population": "0" * 64, "patients": 12, "commitment": "a" * 64}


@pytest.fixture(scope="module")
def config(tiny):
    private = PrivateConfig(noise=1.0, delta=1e-3, multiplicity=2)
    denoiser = tiny.CONFIG.denoiser.model_copy(update={"steps": 9})
    return tiny.CONFIG.model_copy(update={"private": private, "denoiser": denoiser})


def run(tiny, config, folder, **more):
    return train(tiny.private_set(), tiny.SCHEMA, config, seed=3, folder=folder, **more)


@pytest.fixture(scope="module")
def finished(tiny, config, tmp_path_factory):
    return run(tiny, config, tmp_path_factory.mktemp("private") / "model", canaries=DRAWN)


def tensors(folder, part="unet"):
    return load_file(folder / part / "diffusion_pytorch_model.safetensors")


class Stop(Exception):
    pass


def interrupted(tiny, config, folder, at=("denoiser", 7), **more):
    def stop(phase, done, _total):
        if (phase, done) == at:
            raise Stop

    with pytest.raises(Stop):
        run(tiny, config, folder, checkpoint_every=3, progress=stop, **more)


def test_the_model_card_says_what_was_spent_and_what_is_not_covered(finished):
    card = json.loads((finished / "model_card.json").read_text())
    said = card["differential_privacy"]
    assert card["epsilon"] == said["epsilon_upper_bound"] > 0
    assert (said["delta"], said["unit"], said["steps"]) == (1e-3, "image", 9)
    assert said["sampling_rate"] == pytest.approx(8 / 30)
    assert said["noise_multiplier"] == 1.0
    assert said["accountant"].startswith("PRV (Opacus ")
    assert set(said["not_covered"]) == {"autoencoder", "labels", "numbers", "tuning", "audit", "rounding"}
    assert card["images_seen_per_image"] == pytest.approx(9 * 8 * 2 / 30)
    readme = (finished / "README.md").read_text()
    assert f"epsilon {card['epsilon']:.3g} at delta 0.001 for each image" in readme
    assert "- the autoencoder, which was trained" in readme


def test_nobody_can_take_the_noise_away_again(finished):
    assert {path.name for path in (finished / "training").iterdir()} == {"identity.json", "unet_raw"}


def test_the_seed_does_not_decide_the_noise(tiny, config, finished, tmp_path):
    again = run(tiny, config, tmp_path / "again", canaries=DRAWN)
    first, second = tensors(finished), tensors(again)
    assert any(not np.array_equal(first[name], second[name]) for name in first)
    vae = (tensors(finished, "vae"), tensors(again, "vae"))
    assert all(np.array_equal(vae[0][name], vae[1][name]) for name in vae[0])


def test_an_interrupted_training_ends_with_the_same_weights_and_the_same_account(tiny, config, tmp_path):
    """The same key: what is done again after an interruption is the very same step, and is spent once."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    interrupted(tiny, config, broken, at=("denoiser", 1))
    key = (broken / "training" / NOISE_KEY).read_bytes()
    interrupted(tiny, config, broken)
    interrupted(tiny, config, broken, at=("denoiser", 9))
    run(tiny, config, broken, checkpoint_every=3)
    (whole / "training").mkdir(parents=True)
    (whole / "training" / NOISE_KEY).write_bytes(key)
    run(tiny, config, whole)
    first, second = tensors(whole), tensors(broken)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    cards = [json.loads((folder / "model_card.json").read_text()) for folder in (whole, broken)]
    assert cards[0]["differential_privacy"] == cards[1]["differential_privacy"]
    assert cards[0]["differential_privacy"]["steps"] == 9


def test_a_training_whose_key_was_lost_or_changed_is_not_gone_on_with(tiny, config, tmp_path):
    folder = tmp_path / "model"
    interrupted(tiny, config, folder)
    key = folder / "training" / NOISE_KEY
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(IntegrityError, match="found nothing, expected the key"):
        run(tiny, config, folder)
    key.write_text(json.dumps({"key": "00" * 32}))
    with pytest.raises(IntegrityError, match="found a checkpoint of training"):
        run(tiny, config, folder)
    key.write_bytes(kept)
    assert load(run(tiny, config, folder)).generate(tiny.asked(2), [1, 2]).shape == (2, 16, 16, 3)


@pytest.mark.parametrize("changed", [{"clip": 0.5}, {"noise": 1.5}, None])
def test_another_mechanism_is_another_training(tiny, config, finished, changed):
    private = None if changed is None else config.private.model_copy(update=changed)
    with pytest.raises(InputError, match="found a training with another private"):
        run(tiny, config.model_copy(update={"private": private}), finished, canaries=DRAWN)


def test_the_commitment_is_in_the_card_before_anything_is_trained(tiny, config, tmp_path):
    folder = tmp_path / "model"
    seen = []

    def look(_phase, _done, _total):
        seen.append(json.loads((folder / "model_card.json").read_text())["training"]["canaries"])
        raise Stop

    with pytest.raises(Stop):
        run(tiny, config, folder, canaries=DRAWN, progress=look)
    assert seen == [DRAWN]
    with pytest.raises(InputError, match="found a training with another canaries"):
        run(tiny, config, folder, canaries=DRAWN | {"commitment": "b" * 64})
    card = folder / "model_card.json"
    card.write_text(card.read_text().replace("a" * 64, "b" * 64))
    with pytest.raises(IntegrityError, match="found another commitment"):
        run(tiny, config, folder, canaries=DRAWN)


def test_the_commitment_stays_in_the_finished_card(finished):
    card = json.loads((finished / "model_card.json").read_text())
    assert card["training"]["canaries"] == DRAWN
    assert "state" not in card


@pytest.fixture(scope="module")
def base(tiny, tmp_path_factory):
    """A model trained on other images, with attention."""
    denoiser = tiny.CONFIG.denoiser.model_copy(update={"steps": 4, "attention": True})
    config = tiny.CONFIG.model_copy(update={"denoiser": denoiser})
    folder = tmp_path_factory.mktemp("base") / "base"
    return train(tiny.private_set(24, seed=9), tiny.SCHEMA, config, seed=1, folder=folder)


def with_base(config, **changed):
    update = {"base": "elsewhere", **changed}
    return config.model_copy(update={"private": config.private.model_copy(update=update)})


def test_on_a_public_base_attention_alone_is_trained(tiny, config, base, tmp_path):
    folder = run(tiny, with_base(config, layers="attention"), tmp_path / "model", base=base)
    for part in ("unet", "training/unet_raw"):
        before, after = tensors(base), tensors(folder, part)
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        assert changed
        assert all(".attentions." in name for name in changed)
    assert (folder / "vae/diffusion_pytorch_model.safetensors").read_bytes() == (
        base / "vae/diffusion_pytorch_model.safetensors"
    ).read_bytes()
    said = json.loads((folder / "model_card.json").read_text())["differential_privacy"]
    assert said["layers"] == "attention"
    assert said["base"] == pipeline_folder.weights_digest(base)
    assert "autoencoder" not in said["not_covered"]
    stored, given = (json.loads((one / "conditions.json").read_text())["attributes"] for one in (folder, base))
    assert stored == given  # their statistics are public, those of the private labels stay unknown
    assert load(folder).generate(tiny.asked(2), [1, 2]).shape == (2, 16, 16, 3)


def test_bases_that_do_not_fit(tiny, config, base, trained, tmp_path):
    target = tmp_path / "model"
    with pytest.raises(InputError, match=f"{re.escape(str(trained))}: found a denoiser without attention"):
        run(tiny, with_base(config, layers="attention"), target, base=trained)
    other = tiny.private_set()
    with pytest.raises(InputError, match="found a model of dx, grade, is_gc, expected one of the same conditions"):
        train(other, ConditionSchema(tiny.SCHEMA.attributes[:2]), with_base(config), seed=3, folder=target, base=base)
    with pytest.raises(InputError, match="no model_index"):
        run(tiny, with_base(config), target, base=tmp_path)
    assert not target.exists()


def test_attention_needs_a_base():
    with pytest.raises(ValueError, match=r"generator\.private\.base: found nothing"):
        PrivateConfig(noise=1.0, layers="attention")
