"""A transformer in the UNet's place: trained, saved, opened, sampled and looked into the same way."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import PixArtTransformer2DModel

from generation import denoiser
from generation.pipeline import load
from generation.private import patient_gradients
from generation.train import train
from synguard.config import AttributeConfig, DenoiserConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError

CONFIG = DenoiserConfig(kind="transformer", widths=(64,), layers=2, patch=1, steps=18, batch_size=8)


@pytest.fixture(scope="module")
def folder(tiny, private, tmp_path_factory):
    config = tiny.CONFIG.model_copy(update={"denoiser": CONFIG})
    return train(private, tiny.SCHEMA, config, seed=3, folder=tmp_path_factory.mktemp("transformer") / "trained")


def test_the_folder_holds_a_stock_transformer(folder):
    index = json.loads((folder / "model_index.json").read_text())
    assert index["transformer"] == ["diffusers", "PixArtTransformer2DModel"]
    assert "unet" not in index
    model = load(folder)
    assert model.weights == ("ema", "raw")
    assert "PixArtTransformer2DModel" in (folder / "README.md").read_text()
    stock = PixArtTransformer2DModel.from_pretrained(folder, subfolder="transformer")
    assert stock.config.caption_channels == model.encoder.dimension


def test_seeds_and_conditions_decide(tiny, folder):
    model, asked = load(folder), tiny.asked(30)
    images = model.generate(asked, range(30))
    assert np.array_equal(model.generate(asked.iloc[[27]], [27])[0], images[27])
    other = asked.assign(dx=["nv" if value != "nv" else "mel" for value in asked.dx])
    assert (model.generate(other, range(30)) != images).any(axis=(1, 2, 3)).all()


def test_diffusers_opens_the_folder_and_makes_the_same_images(tiny, folder):
    assert np.array_equal(tiny.made_by_diffusers(folder, 3), load(folder).generate(tiny.asked(3), range(3)))


def test_audits_look_inside(private, folder):
    model = load(folder)
    latents, conditions = model.encode(private.pixels[:3]), private.metadata.iloc[:3]
    drawn = np.random.default_rng(0).standard_normal(model.latent_shape, dtype=np.float32)
    z, e = torch.from_numpy(latents), torch.from_numpy(drawn)
    labels = torch.from_numpy(model.encoder.encode(conditions))[:, None]
    sizes = {"resolution": None, "aspect_ratio": None}
    with torch.no_grad():
        v = model.unets["ema"](0.7 * z + 0.3 * e, labels, torch.full((3,), 300.0), sizes).sample
    found = model.errors(latents, conditions, level=0.3, noise=drawn)
    assert found == pytest.approx((v - (e - z)).square().mean((1, 2, 3)).numpy(), rel=1e-4)
    norms = model.gradient_norms(latents[:1], conditions[:1], levels=(0.2, 0.5), noise=np.stack([drawn] * 2))
    assert norms.shape == (1, len(list(model.unets["ema"].parameters())))
    assert norms.max() > 0


def test_gradients_of_patients_are_those_of_one_at_a_time():
    torch.manual_seed(0)
    network = denoiser.build(CONFIG, latent_channels=4, latent_size=4, dimension=3).train()
    parts = [torch.randn(2, 3, *shape) for shape in ((4, 4, 4), (3,), (4, 4, 4), ())]
    found = patient_gradients(network, denoiser.loss, parts)
    for patient in range(2):
        network.zero_grad()
        denoiser.loss(network, *(part[patient] for part in parts)).backward()
        for name, parameter in network.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert torch.allclose(found[name][patient], expected, atol=1e-5), name


def test_without_conditions_it_is_told_nothing(private, tiny, tmp_path):
    config = tiny.CONFIG.model_copy(update={"denoiser": CONFIG.model_copy(update={"steps": 4})})
    folder = train(private, ConditionSchema(), config, seed=3, folder=tmp_path / "trained")
    assert load(folder).generate(private.metadata[[]].iloc[:2], [0, 1]).shape == (2, 16, 16, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": (64, 96)}, r"denoiser\.widths: found 64, 96, expected one width for a transformer, a multiple of 32"),
        ({"widths": (40,)}, r"denoiser\.widths: found 40, expected one width"),
        ({"patch": 3}, r"denoiser\.patch: found 3, expected a divisor of 4, the side of the latents"),
    ],
)
def test_sizes_that_do_not_fit(tiny, private, tmp_path, change, message):
    schema = ConditionSchema((AttributeConfig(name="is_gc", kind="binary"),))
    config = tiny.CONFIG.model_copy(update={"denoiser": CONFIG.model_copy(update=change)})
    with pytest.raises(InputError, match=message):
        train(private, schema, config, seed=3, folder=tmp_path / "model")
    assert not (tmp_path / "model").exists()
