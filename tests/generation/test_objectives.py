"""Models that predict noise or v: trained, opened, sampled and looked into like those of a flow."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from generation.pipeline import load
from generation.synguard_sampling import evaluations
from generation.train import train
from synguard.config import AttributeConfig, SamplingConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import ConfigError


@pytest.fixture(scope="module", params=["epsilon", "v"])
def folder(request, tiny, private, tmp_path_factory):
    """Attributes of two groups; guidance of one of them alone, in an interval."""
    grouped = {"dx": "disease", "grade": "disease", "is_gc": "quality"}
    schema = ConditionSchema(
        tuple(AttributeConfig(**(a.model_dump() | {"group": grouped[a.name]})) for a in tiny.SCHEMA.attributes)
    )
    sampling = {"steps": 6, "guidance": 1.0, "groups": {"disease": {"guidance": 3.0, "interval": (0.2, 0.8)}}}
    config = tiny.CONFIG.model_copy(
        update={
            "denoiser": tiny.CONFIG.denoiser.model_copy(update={"objective": request.param}),
            "sampling": SamplingConfig(**sampling),
        }
    )
    return train(private, schema, config, seed=3, folder=tmp_path_factory.mktemp(request.param) / "trained")


def test_the_folder_says_what_it_predicts_and_how_it_samples(folder):
    model, index = load(folder), json.loads((folder / "model_index.json").read_text())
    scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    assert scheduler.config.prediction_type == model.schedule.prediction
    assert (index["sampler"], model.sampling.sampler) == ("dpm-solver++", "dpm-solver++")
    assert index["groups"] == {"disease": {"guidance": 3.0, "interval": [0.2, 0.8]}}
    # Six steps at times 0.999 to 0.166: guidance acts in three, and costs one evaluation more.
    assert evaluations("dpm-solver++", 6, model.guidance, model.scheduler) == 9


def test_images_depend_on_seed_and_condition_alone(tiny, folder):
    model, asked = load(folder), tiny.asked(30)
    together = model.generate(asked, range(30))
    assert np.array_equal(model.generate(asked.iloc[[27]], [27])[0], together[27])
    for sampler in ("euler-ancestral", "ddpm"):
        other = load(folder, sampling=SamplingConfig(sampler=sampler, steps=5, guidance=1.0))
        assert other.digest != model.digest
        made = other.generate(asked, range(30))
        assert np.array_equal(other.generate(asked.iloc[[27]], [27])[0], made[27])
        assert not np.array_equal(made, together)


def test_diffusers_opens_the_folder_and_makes_the_same_images(tiny, folder):
    assert np.array_equal(tiny.made_by_diffusers(folder, 3), load(folder).generate(tiny.asked(3), range(3)))


def test_errors_and_noise_by_definition(private, folder):
    model = load(folder)
    latents, conditions = model.encode(private.pixels[:5]), private.metadata.iloc[:5]
    drawn = np.random.default_rng(0).standard_normal(model.latent_shape, dtype=np.float32)
    scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    step = torch.tensor([int(((1 - scheduler.alphas_cumprod).sqrt() - 0.3).abs().argmin())] * 5)
    z, e = torch.from_numpy(latents), torch.from_numpy(np.broadcast_to(drawn, latents.shape).copy())
    noised = scheduler.add_noise(z, e, step)
    target = e if model.schedule.prediction == "epsilon" else scheduler.get_velocity(z, e, step)
    labels = torch.from_numpy(model.encoder.encode(conditions))
    with torch.no_grad():
        out = model.unets["ema"](noised, step, encoder_hidden_states=None, class_labels=labels).sample
    found = model.errors(latents, conditions, level=0.3, noise=drawn)
    assert found == pytest.approx((out - target).square().mean((1, 2, 3)).numpy(), rel=1e-4)
    alpha = float(scheduler.alphas_cumprod[step[0]])
    assert model.coefficients(0.3) == pytest.approx((alpha**0.5, (1 - alpha) ** 0.5), rel=1e-5)
    seen = model.predict(noised.numpy(), conditions, level=0.3)
    noise = out if model.schedule.prediction == "epsilon" else alpha**0.5 * out + (1 - alpha) ** 0.5 * noised
    assert np.allclose(seen, noise.numpy(), atol=1e-4)
    assert model.gradient_norms(latents[:1], conditions[:1], levels=(0.2, 0.5), noise=np.stack([drawn] * 2)).min() >= 0


def test_settings_that_do_not_fit_a_trained_folder(folder):
    with pytest.raises(ConfigError, match=r"sampler: found ab2, expected one for a model of"):
        load(folder, sampling=SamplingConfig(sampler="ab2"))
    with pytest.raises(ConfigError, match=r"groups\.eye: found a group of no attribute, expected disease, quality"):
        load(folder, sampling=SamplingConfig(groups={"eye": {"guidance": 2.0}}))
