"""A trained model at work."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from generation import denoiser
from generation.pipeline import load
from generation.synguard_sampling import noise, sample, terms
from synguard.config import SamplingConfig
from synguard.errors import InputError, IntegrityError, SynguardError
from synguard.protocols import Denoiser, Generator, OpenDenoiser


def test_it_is_what_the_audits_ask_for(model):
    assert isinstance(model, Generator)
    assert isinstance(model, Denoiser)
    assert model.weights == ("ema", "raw")
    assert model.latent_shape == (4, 4, 4)
    assert model.size == 16


def test_an_image_depends_on_its_seed_and_condition_alone(tiny, model, trained):
    conditions, seeds = tiny.asked(60), list(range(60))
    together = model.generate(conditions, seeds)
    order = np.random.default_rng(0).permutation(60)
    assert np.array_equal(model.generate(conditions.iloc[order], [seeds[i] for i in order]), together[order])
    assert np.array_equal(model.generate(conditions.iloc[[41]], [41])[0], together[41])
    assert np.array_equal(load(trained).generate(conditions.iloc[:3], seeds[:3]), together[:3])
    assert len(np.unique(together.reshape(60, -1), axis=0)) == 60


def test_conditions_and_seeds_matter(tiny, model):
    one = tiny.asked(1)
    other = one.assign(dx="nv" if one.dx[0] != "nv" else "mel")
    first = model.generate(one, [5])
    assert not np.array_equal(first, model.generate(other, [5]))
    assert not np.array_equal(first, model.generate(one, [6]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.assign(grade="7"), "grade.*'7'.*0, 1, 2"),
        (lambda frame: frame.drop(columns="dx"), "expected a column 'dx'"),
        (lambda frame: frame.iloc[:1], "seeds: found 2, expected 1"),
    ],
)
def test_bad_conditions(tiny, model, change, message):
    with pytest.raises(InputError, match=message):
        model.generate(change(tiny.asked(2)), [0, 1])


def test_nothing_asked_for(tiny, model):
    assert model.generate(tiny.asked(2).iloc[:0], []).shape == (0, 16, 16, 3)


def test_latents_are_normalised_and_decode_to_the_reconstruction(private, model):
    latents = model.encode(private.pixels)
    assert latents.dtype == np.float32
    assert latents.mean(axis=(0, 2, 3)) == pytest.approx([0] * 4, abs=1e-4)
    assert latents.std(axis=(0, 2, 3)) == pytest.approx([1] * 4, abs=1e-2)
    vae = model.vae
    with torch.no_grad():
        mode = vae.encode(torch.from_numpy(private.pixels[:2]).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()
        pixels = ((vae.decode(mode).sample + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(pixels - model.reconstruct(private.pixels)[:2]).max() < 1
    with pytest.raises(InputError, match="images: found shape"):
        model.encode(private.pixels[:, :8, :8])


def test_errors_by_definition(tiny, private, model):
    latents, conditions = model.encode(private.pixels), private.metadata
    shared = np.random.default_rng(0).standard_normal(model.latent_shape, dtype=np.float32)
    found = model.errors(latents, conditions, level=0.3, noise=shared, weights="ema")
    assert found.shape == (30,)
    assert found.dtype == np.float64
    encoded = torch.from_numpy(model.encoder.encode(conditions))
    z, e = torch.from_numpy(latents), torch.from_numpy(shared)
    with torch.no_grad():
        v = model.unets["ema"](0.7 * z + 0.3 * e, 300.0, encoder_hidden_states=None, class_labels=encoded).sample
    assert found == pytest.approx((v - (e - z)).square().mean((1, 2, 3)).numpy(), rel=1e-4)
    each = np.broadcast_to(shared, latents.shape)
    assert np.array_equal(found, model.errors(latents, conditions, level=0.3, noise=each, weights="ema"))
    assert found[7:9] == pytest.approx(
        model.errors(latents[7:9], conditions.iloc[7:9], level=0.3, noise=shared, weights="ema"), rel=1e-4
    )
    without = model.errors(latents, None, level=0.3, noise=shared, weights="ema")
    blank = pd.DataFrame({name: [None] * 30 for name in conditions})
    assert np.array_equal(without, model.errors(latents, blank, level=0.3, noise=shared, weights="ema"))
    assert not np.allclose(found, without)
    assert not np.allclose(found, model.errors(latents, conditions, level=0.3, noise=shared, weights="raw"))
    for wrong in ({"level": 0.0}, {"level": 1.0}, {"weights": "best"}):
        with pytest.raises(InputError):
            model.errors(latents, conditions, **({"level": 0.3, "noise": shared, "weights": "ema"} | wrong))


class Straight:
    """A denoiser that knows the truth: all data are at the point that the condition names, so the flow is straight."""

    def __init__(self):
        self.calls = []

    def __call__(self, z, timestep, class_labels, **_):
        self.calls.append(len(z))
        point = class_labels.sum(1).view(-1, 1, 1, 1)
        return ((z - point) / (timestep.view(-1, 1, 1, 1) / 1000),)


@pytest.mark.parametrize(("sampler", "calls"), [("euler", 8), ("heun", 15), ("ab2", 8)])
def test_every_solver_follows_a_straight_flow_exactly(sampler, calls):
    unet, start = Straight(), noise([1, 2], (4, 2, 2))
    conditions = torch.tensor([[3.0], [-2.0]])
    found = sample(unet, start, conditions, steps=8, guidance=terms([1], [None], 1.0), sampler=sampler)
    assert torch.allclose(found, conditions.view(2, 1, 1, 1).expand_as(found), atol=1e-5)
    assert unet.calls == [2] * calls


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2), ("ab2", 2)])
def test_order_of_the_solvers(sampler, order):
    """On dz/dt = -z (so z(0) = e z(1)), halving the steps divides the error by 2 to the order."""

    def error(steps):
        guidance = terms([1], [None], 1.0)
        one = torch.ones(1, 1, 1, 1)
        found = sample(lambda z, *_, **__: (-z,), one, torch.ones(1, 1), steps=steps, guidance=guidance, sampler=sampler)
        return abs(float(found) - np.e)

    assert np.log2(error(40) / error(80)) == pytest.approx(order, abs=0.15)


def test_guidance_moves_away_from_the_unconditional():
    """With v = z - c the flow ends at w times what the condition adds, where the unconditional point is 0."""

    def unet(z, timestep, class_labels, **_):
        return (class_labels.view(-1, 1, 1, 1).expand_as(z),)

    start, conditions = torch.zeros(1, 1, 1, 1), torch.tensor([[2.0]])
    guidance = [terms([1], [None], w) for w in (1.0, 3.0)]
    ends = [float(sample(unet, start, conditions, steps=4, guidance=w, sampler="euler")) for w in guidance]
    assert ends == pytest.approx([-2, -6])


def test_sampling_settings_come_from_the_folder_or_the_caller(tiny, trained, model):
    index = json.loads((trained / "model_index.json").read_text())
    assert (model.sampling.sampler, model.sampling.steps, model.sampling.guidance) == (
        index["sampler"],
        index["steps"],
        index["guidance"],
    )
    other = load(trained, sampling=SamplingConfig(sampler="euler", steps=4, guidance=1.0))
    assert other.digest != model.digest
    assert not np.array_equal(other.generate(tiny.asked(1), [0]), model.generate(tiny.asked(1), [0]))
    assert load(trained, sampling=SamplingConfig(batch_size=7)).digest == load(trained, sampling=SamplingConfig()).digest


def test_plain_diffusers_opens_the_parts(trained, private, model):
    vae = AutoencoderKL.from_pretrained(trained, subfolder="vae")
    unet = UNet2DConditionModel.from_pretrained(trained, subfolder="unet")
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(trained, subfolder="scheduler")
    assert vae.config.latents_std == model.vae.config.latents_std
    # The stock scheduler on the stock parts makes the images that we make with Euler.
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 4, 4))
    z = noise([9], model.latent_shape)
    labels = torch.from_numpy(model.encoder.encode(private.metadata.iloc[:1]))
    with torch.no_grad():
        for t in scheduler.timesteps:
            v = unet(z, t, encoder_hidden_states=None, class_labels=labels).sample
            z = scheduler.step(v, t, z).prev_sample
        mean, std = (torch.tensor(vae.config[k]).view(1, -1, 1, 1) for k in ("latents_mean", "latents_std"))
        pixels = ((vae.decode(z * std + mean).sample + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    ours = load(trained, sampling=SamplingConfig(sampler="euler", steps=4, guidance=1.0)).generate(
        private.metadata.iloc[:1], [9]
    )
    assert np.abs(pixels - ours).max() < 2


def test_diffusers_opens_the_folder_and_makes_the_same_images(tiny, trained, model):
    pipe = DiffusionPipeline.from_pretrained(trained, trust_remote_code=True)
    frame = tiny.asked(3)
    rows = [{k: v for k, v in row.items() if v is not None} for row in frame.to_dict("records")]
    images = pipe(rows, seeds=[4, 5, 6]).images
    assert np.array_equal(np.stack([np.asarray(image) for image in images]), model.generate(frame, [4, 5, 6]))
    with pytest.raises(ValueError, match="expected names out of"):
        pipe([{"colour": 1}], seeds=[0])
    with pytest.raises(ValueError, match="dx: found 'scar'"):
        pipe([{"dx": "scar"}], seeds=[0])
    with pytest.raises(ValueError, match="trust_remote_code"):
        DiffusionPipeline.from_pretrained(trained)


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.bin", "weights.pt", "vae/old.ckpt"])
def test_pickles_are_refused(trained, tmp_path, name):
    shutil.copytree(trained, tmp_path / "model")
    torch.save({}, tmp_path / "model" / name)
    with pytest.raises(InputError, match=f"{name}: found a pickle, expected safetensors"):
        load(tmp_path / "model")


def test_changed_weights_are_found(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "model")
    path = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file({name: value + 1e-3 for name, value in tensors.items()}, path)
    with pytest.raises(IntegrityError, match="model_card"):
        load(tmp_path / "model")


def test_without_raw_weights_only_the_released_ones_are_probed(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "model", ignore=shutil.ignore_patterns("training"))
    assert load(tmp_path / "model").weights == ("ema",)


def test_folders_that_are_no_pipeline(trained, tmp_path):
    with pytest.raises(InputError, match=r"no model_index\.json"):
        load(tmp_path / "nowhere")
    shutil.copytree(trained, tmp_path / "model")
    (tmp_path / "model" / "model_index.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        load(tmp_path / "model")
    with pytest.raises(InputError, match="image_size: found 32, expected 16"):
        load(trained, size=32)


def test_the_noise_it_sees_and_its_error_say_the_same(model, private):
    """z = (1 - t) x + t e: the velocity that follows from the noise has just the error that it tells."""
    latents, conditions = model.encode(private.pixels[:4]), private.metadata[:4].reset_index(drop=True)
    noise = np.random.default_rng(0).standard_normal(model.latent_shape).astype(np.float32)
    for level in (0.1, 0.6):
        signal, share = model.coefficients(level)
        assert (signal, share) == (1 - level, level)
        noised = np.float32(signal) * latents + np.float32(share) * noise
        seen = model.predict(noised, conditions, level=level, weights="raw")
        velocity = (seen - noised) / signal
        expected = np.square(velocity - (noise - latents)).mean(axis=(1, 2, 3))
        assert model.errors(latents, conditions, level=level, noise=noise, weights="raw") == pytest.approx(
            expected, rel=1e-3
        )
    alone = model.predict(noised[2:3], conditions[2:3].reset_index(drop=True), level=level, weights="raw")
    assert np.array_equal(alone[0], seen[2])


def test_gradient_norms_are_those_of_one_image_at_a_time(model, private):
    latents, conditions = model.encode(private.pixels[:3]), private.metadata[:3].reset_index(drop=True)
    noise = np.random.default_rng(1).standard_normal((2, *model.latent_shape)).astype(np.float32)
    found = model.gradient_norms(latents, conditions, levels=(0.2, 0.5), noise=noise, weights="ema")
    unet = model.unets["ema"]
    unet.requires_grad_(True)
    try:
        encoded = torch.from_numpy(model.encoder.encode(conditions))
        for row in range(3):
            unet.zero_grad()
            z, c = torch.from_numpy(latents[[row, row]]), encoded[[row, row]]
            denoiser.errors(unet, z, c, torch.from_numpy(noise), torch.tensor([0.2, 0.5])).mean().backward()
            norms = [0.0 if p.grad is None else float(p.grad.norm()) for p in unet.parameters()]
            assert found[row] == pytest.approx(norms, rel=1e-3, abs=1e-6)
    finally:
        unet.zero_grad()
        unet.requires_grad_(False)


def test_it_tells_the_turns_of_its_training(model):
    assert isinstance(model, OpenDenoiser)
    assert model.turns == (0, 1)
    assert model.unconditional


def test_bfloat16_makes_nearly_the_same_images_and_another_digest(tiny, trained, model):
    fast = load(trained, sampling=model.sampling.model_copy(update={"precision": "bfloat16"}))
    assert fast.digest != model.digest
    assert model.sampling.precision == "float32"
    asked = tiny.asked(30)
    made = fast.generate(asked, range(30))
    assert np.array_equal(fast.generate(asked.iloc[[28]], [28])[0], made[28])
    apart = np.abs(made.astype(int) - model.generate(asked, range(30)).astype(int))
    assert 0 < apart.mean() < 3
    # What the audits look into stays as it was.
    assert fast.unets["ema"].dtype == fast.vae.dtype == torch.float32


def test_out_of_memory_the_batch_is_halved_and_it_says_so(tiny, trained, model):
    """A denoiser that takes 30 rows at most: 25 images with guidance are 50."""
    small, asked = load(trained), tiny.asked(30)
    forward = small.unets["ema"].forward

    def limited(z, *given, **named):
        if len(z) > 30:
            raise torch.OutOfMemoryError("out of memory")
        return forward(z, *given, **named)

    small.unets["ema"].forward = limited
    with pytest.warns(UserWarning, match="out of GPU memory: now 12 images at once"):
        made = small.generate(asked, range(30))
    assert np.abs(made.astype(int) - model.generate(asked, range(30)).astype(int)).max() <= 1
    small.unets["ema"].forward = lambda z, *given, **named: limited(torch.cat([z] * 31), *given, **named)
    with (
        pytest.raises(SynguardError, match="too little GPU memory for one image"),
        pytest.warns(UserWarning, match="now 1 images at once"),
    ):
        small.generate(asked, range(30))
