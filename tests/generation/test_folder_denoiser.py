"""Denoisers made elsewhere, held against plain computations with the parts themselves."""

import numpy as np
import pandas as pd
import pytest
import torch

from generation.folder_denoiser import FolderDenoiser, closed
from generation.gradients import gradient_norms
from generation.schedule import FLOW, Schedule
from synguard.errors import InputError
from synguard.protocols import OpenDenoiser
from tests.support import layouts

PROMPTS = pd.DataFrame({"dx": ["nv", "mel", "nv"]})
LEVEL = 0.4


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def by_text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sd")
    return layouts.stable_diffusion(folder, unet_ema=layouts.unet(5))


def drawn(model, n=None):
    shape = model.latent_shape if n is None else (n, *model.latent_shape)
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_a_stable_diffusion_folder_is_opened_by_its_parts(by_text, images):
    assert closed(by_text) == ""
    model = FolderDenoiser.load(by_text)
    assert isinstance(model, OpenDenoiser)
    assert model.weights == ("released", "ema")
    assert model.latent_shape == (4, 8, 8)
    assert model.size == 16
    latents = model.encode(images)
    with torch.no_grad():
        mode = model.vae.encode(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()
    assert np.allclose(latents, 0.18215 * mode.numpy(), atol=1e-6)
    assert model.reconstruct(images).shape == images.shape


def test_its_error_is_that_of_the_published_loss(by_text, images):
    """Prompts, schedule, guidance 1: computed anew with the parts."""
    model = FolderDenoiser.load(by_text)
    latents, noise = model.encode(images), drawn(model)
    scheduler = layouts.SCHEDULERS["epsilon"]()
    step = int((torch.sqrt(1 - scheduler.alphas_cumprod) - LEVEL).abs().argmin())
    z, e = torch.from_numpy(latents), torch.from_numpy(noise).expand(3, -1, -1, -1)
    noised = scheduler.add_noise(z, e, torch.tensor([step] * 3))
    tokens = model.told.tokenizer(["dx nv", "dx mel", "dx nv"], padding="max_length", max_length=12, return_tensors="pt")
    with torch.no_grad():
        states = model.told.encoder(tokens.input_ids)[0]
        for weights in model.weights:
            out = model.networks[weights](noised, step, states).sample
            expected = (out - e).square().mean((1, 2, 3)).numpy()
            found = model.errors(latents, PROMPTS, level=LEVEL, noise=noise, weights=weights)
            assert found == pytest.approx(expected, rel=1e-4)
            seen = model.predict(noised.numpy(), PROMPTS, level=LEVEL, weights=weights)
            assert np.allclose(seen, out.numpy(), atol=1e-5)
    without = model.errors(latents, None, level=LEVEL, noise=noise, weights="released")
    assert not np.allclose(without, model.errors(latents, PROMPTS, level=LEVEL, noise=noise, weights="released"))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow"])
def test_every_prediction_gives_back_the_noise_it_stands_for(kind):
    """A model that predicts without error: noise and target fit each other at every level."""
    schedule = Schedule.of(layouts.SCHEDULERS[kind](), "here")
    assert schedule.prediction == kind
    rng = np.random.default_rng(0)
    x, e = (torch.from_numpy(rng.standard_normal((2, 4, 8, 8))) for _ in range(2))
    for level in (0.05, 0.3, 0.7):
        signal, share = schedule.coefficients(level)
        assert share == pytest.approx(level, abs=0.01)
        if kind != "flow":
            assert signal**2 + share**2 == pytest.approx(1)
        assert torch.allclose(schedule.noise(schedule.target(x, e, level), signal * x + share * e, level), e)


def test_the_schedule_is_the_schedulers_own():
    """Stable Diffusion's is linear in the square roots of beta; a linear one, as in PIA's code, has other alphas."""
    found = Schedule.of(layouts.SCHEDULERS["epsilon"](), "here")
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    assert np.allclose(found.alphas, np.cumprod(1 - betas), rtol=1e-4)
    assert not np.allclose(found.alphas, np.cumprod(1 - np.linspace(0.00085, 0.012, 1000)), rtol=1e-2)
    assert FLOW.coefficients(0.3) == (0.7, 0.3)
    assert FLOW.timestep(0.3) == 300


@pytest.mark.parametrize("scheduler", ["epsilon", "v_prediction", "sample", "flow"])
def test_a_dit_folder_takes_classes_by_name_and_by_number(tmp_path, images, scheduler):
    folder = layouts.save(tmp_path, scheduler, classes={"0": "nv", "1": "mel, melanoma"}, transformer=layouts.transformer())
    model = FolderDenoiser.load(folder)
    assert model.unconditional
    latents, noise = model.encode(images), drawn(model)
    ask = {"level": LEVEL, "noise": noise, "weights": "released"}
    named = model.errors(latents, pd.DataFrame({"dx": ["nv", "melanoma", "7"]}), **ask)
    assert named == pytest.approx(model.errors(latents, pd.DataFrame({"dx": [0, 1, 7]}), **ask))
    signal, share = model.coefficients(LEVEL)
    with torch.no_grad():
        z, e = torch.from_numpy(latents), torch.from_numpy(noise).expand(3, -1, -1, -1)
        step = torch.full((3,), model.schedule.timestep(LEVEL))
        out = model.networks["released"](signal * z + share * e, step, torch.tensor([0, 1, 7])).sample[:, :4]
        nothing = model.networks["released"](signal * z + share * e, step, torch.tensor([10, 10, 10])).sample[:, :4]
    target = model.schedule.target(z, e, LEVEL)
    assert named == pytest.approx((out - target).square().mean((1, 2, 3)).numpy(), rel=1e-4)
    assert model.errors(latents, None, **ask) == pytest.approx((nothing - target).square().mean((1, 2, 3)).numpy(), rel=1e-4)
    with pytest.raises(InputError, match=r"conditions\.dx: found 'bcc', expected a class of the model"):
        model.errors(latents, pd.DataFrame({"dx": ["nv", "bcc", "nv"]}), **ask)
    with pytest.raises(InputError, match="one attribute without gaps"):
        model.errors(latents, pd.DataFrame({"dx": ["nv", None, "nv"]}), **ask)


def test_a_unet_with_classes_has_a_class_for_none_only_where_there_is_one_more(tmp_path, images):
    plain = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    for count, unconditional in ((2, False), (3, True)):
        folder = tmp_path / str(count)
        unet = layouts.unet(num_class_embeds=count, mid_block_type=None, **plain)
        layouts.save(folder, classes={"0": "nv", "1": "mel"}, unet=unet)
        model = FolderDenoiser.load(folder)
        assert model.unconditional is unconditional
        latents = model.encode(images)
        ask = {"level": LEVEL, "noise": drawn(model), "weights": "released"}
        assert np.isfinite(model.errors(latents, PROMPTS, **ask)).all()
        if not unconditional:
            with pytest.raises(InputError, match="no class for none"):
                model.errors(latents, None, **ask)


def test_what_is_asked_of_one_image_does_not_depend_on_the_others(by_text, images):
    model = FolderDenoiser.load(by_text)
    many = np.concatenate([images] * 4)
    latents, conditions = model.encode(many), pd.concat([PROMPTS] * 4, ignore_index=True)
    ask = {"level": LEVEL, "weights": "released"}
    alone = model.predict(latents[2:3], PROMPTS[2:3].reset_index(drop=True), **ask)
    assert np.allclose(model.predict(latents, conditions, **ask)[2], alone[0], atol=1e-6)


def test_gradient_norms_are_those_of_single_backward_passes(by_text, images):
    model = FolderDenoiser.load(by_text)
    latents, levels = model.encode(images), (0.2, 0.5)
    noise = drawn(model, 2)
    found = model.gradient_norms(latents, PROMPTS, levels=levels, noise=noise, weights="ema")
    network = model.networks["ema"]
    assert found.shape == (3, len(list(network.parameters())))
    network.requires_grad_(True)
    try:
        told = model.told.of(PROMPTS, 3)
        for row in range(3):
            network.zero_grad()
            loss = 0
            for level, one in zip(levels, noise, strict=True):
                signal, share = model.coefficients(level)
                z, e = torch.from_numpy(latents[[row]]), torch.from_numpy(one[None])
                step = torch.tensor([model.schedule.timestep(level)])
                out = network(signal * z + share * e, timestep=step, **told(np.array([row]))).sample
                loss = loss + (out - e).square().mean() / 2
            loss.backward()
            norms = [0.0 if p.grad is None else float(p.grad.norm()) for p in network.parameters()]
            assert found[row] == pytest.approx(norms, rel=1e-3, abs=1e-6)
    finally:
        network.requires_grad_(False)


def test_gradient_norms_leave_the_model_as_it_is():
    layer = torch.nn.Linear(3, 2).requires_grad_(False)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    found = gradient_norms(layer, lambda model, row: model(x).sum(), 1)
    assert found[0] == pytest.approx([np.sqrt(2 * 14), np.sqrt(2)])
    assert not any(p.requires_grad or p.grad is not None for p in layer.parameters())


def test_images_of_another_size_are_brought_to_the_models_own(by_text):
    model = FolderDenoiser.load(by_text, size=32)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert model.encode(images).shape == (2, 4, 8, 8)
    assert model.reconstruct(images).shape == (2, 32, 32, 3)


def test_a_denoiser_for_other_latents_is_refused(tmp_path):
    folder = layouts.stable_diffusion(tmp_path, unet=layouts.unet(in_channels=9))
    with pytest.raises(InputError, match=r"unet: found a denoiser for latents of 9 channels, expected 4"):
        FolderDenoiser.load(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "scheduler" / "scheduler_config.json").unlink(), "scheduler_config.json: found no scheduler"),
        (lambda f: (f / "unet" / "weights.bin").write_bytes(b""), "found a pickle"),
        (lambda f: (f / "unet" / "config.json").unlink(), "no denoiser in a sub-folder unet or transformer"),
        (lambda f: (f / "vae" / "config.json").unlink(), "no AutoencoderKL"),
        (lambda f: (f / "tokenizer").rename(f / "gone"), "a text encoder that does not open"),
        (lambda f: next((f / "unet").glob("*.safetensors")).write_bytes(b"0"), "a model that does not open"),
    ],
)
def test_a_folder_that_lacks_a_part_says_which(tmp_path, spoil, message):
    folder = layouts.stable_diffusion(tmp_path)
    spoil(folder)
    with pytest.raises(InputError, match=message):
        FolderDenoiser.load(folder)
