"""Few-shot tuning on a tiny Stable Diffusion folder."""

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import compute_snr
from safetensors.torch import load_file

from generation import folder as pipeline_folder
from generation.fit import step_rng
from generation.text_to_image import tune as tuning
from generation.text_to_image.parts import open_parts
from generation.text_to_image.tune import tune
from synguard.config import PriorConfig
from synguard.errors import InputError, IntegrityError
from tests.support import few

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return few.base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def private():
    return few.private_set()


def tuned(private, base, folder, *, seed=3, **changes):
    return tune(private, few.SCHEMA, few.config(**changes), seed=seed, folder=folder, base=base)


@pytest.fixture(scope="module")
def folder(private, base, tmp_path_factory):
    return tuned(private, base, tmp_path_factory.mktemp("tuned") / "model", prior=PriorConfig(prompt="a photo", images=5))


def weights(folder):
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def drawn(pipeline, n=3):
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in range(n)]
    return pipeline(["a photo of sks dx nv"] * n, num_inference_steps=4, generator=generators, output_type="np").images


def error(folder, prompt, latents, draws=16):
    """Mean squared error of what a folder's denoiser predicts for noised latents."""
    parts = open_parts(folder, CPU)
    states = parts.pipeline().encode_prompt(prompt, CPU, 1, False)[0].expand(len(latents), -1, -1)
    rng, total = np.random.default_rng(5), 0.0
    for _ in range(draws):
        noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
        times = parts.schedule.times(torch.from_numpy(rng.standard_normal(len(latents), dtype=np.float32)))
        noised, wanted = parts.schedule.mixed(latents, noise, times)
        with torch.no_grad():
            found = parts.unet(noised, parts.schedule.told(times), encoder_hidden_states=states, return_dict=False)[0]
        total += float((found - wanted).square().mean())
    return total / draws


def test_only_the_attention_changes(base, folder):
    before, after = weights(base), weights(folder)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    attention = {name for name in before if ".attn" in name and ".to_" in name and name.endswith("weight")}
    assert changed == attention
    assert changed
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        for path in (base / part).iterdir():
            assert (folder / part / path.name).read_bytes() == path.read_bytes()


def test_the_folder_is_plain_stable_diffusion_and_the_adapter_gives_the_same_images(base, folder):
    fused = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    images = drawn(fused)
    with_adapter = open_parts(base, CPU).pipeline()
    without = drawn(with_adapter)
    with_adapter.load_lora_weights(folder / "lora")
    assert np.abs(drawn(with_adapter) - images).max() < 1e-4
    assert np.abs(without - images).max() > 1e-3


def test_the_card_says_what_it_was_trained_on(private, base, folder):
    card = json.loads((folder / "model_card.json").read_text())
    assert card["training"]["private_digest"] == private.digest
    assert card["differential_privacy"] == "none"
    assert card["images_seen_per_image"] == 6 * 4 / 10
    assert card["weights_digest"] == pipeline_folder.check_weights(folder)
    assert not pipeline_folder.is_synguard(folder)
    assert [path.name for path in (folder / "training").iterdir()] == ["identity.json"]
    for path in [*folder.rglob("*.json"), *folder.rglob("*.md")]:
        assert str(base) not in path.read_text(), path


@pytest.mark.parametrize("gamma", [None, 1.0, 5.0])
@pytest.mark.parametrize("scheduler", ["epsilon", "v_prediction"])
def test_the_loss_is_that_of_diffusers_own_training(private, tmp_path, scheduler, gamma):
    """Noise, velocity and signal-to-noise ratio by diffusers; the weights are equations 5 and 6 of arXiv:2303.09556."""
    parts = open_parts(few.base(tmp_path, scheduler), CPU)
    latents, states = tuning._latents(parts, private.pixels[:4]), tuning._states(parts, ["a b"] * 4)
    found = tuning._loss(parts, latents, states, step_rng(1, 2, 3), gamma)
    rng = step_rng(1, 2, 3)
    noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
    times = (torch.special.ndtr(torch.from_numpy(rng.standard_normal(4, dtype=np.float32))) * 1000).long()
    velocity = scheduler == "v_prediction"
    target = parts.scheduler.get_velocity(latents, noise, times) if velocity else noise
    out = parts.unet(parts.scheduler.add_noise(latents, noise, times), times, encoder_hidden_states=states).sample
    errors = (out - target).square().mean((1, 2, 3))
    if gamma is not None:
        ratio = compute_snr(parts.scheduler, times)
        errors = errors * ratio.clamp(max=gamma) / (ratio + 1 if velocity else ratio)
    assert float(found) == pytest.approx(float(errors.mean()), rel=1e-4)


@pytest.mark.parametrize("scheduler", ["epsilon", "v_prediction"])
def test_the_loss_falls_on_private_images(private, tmp_path, scheduler):
    base = few.base(tmp_path / "base", scheduler)
    made = tuned(private, base, tmp_path / "model", steps=60, learning_rate=1e-2, snr_gamma=5.0)
    latents = tuning._latents(open_parts(base, CPU), private.pixels)
    assert error(made, "a photo of sks dx nv", latents) < 0.95 * error(base, "a photo of sks dx nv", latents)


def test_prior_preservation_keeps_what_the_class_looked_like(private, base, tmp_path):
    """On images of the class that the base drew from other seeds than those that training showed."""
    parts = open_parts(base, CPU)
    prior = PriorConfig(prompt="a photo of skin", images=16, weight=2.0)
    drawn = tuning._prior(parts, prior, few.SAMPLING, 99, tmp_path, "", None)
    found = {}
    for name, asked in (("with", prior), ("without", None)):
        made = tuned(private, base, tmp_path / name, steps=40, learning_rate=1e-2, prior=asked)
        found[name] = error(made, prior.prompt, drawn.latents)
    assert found["with"] < 0.98 * found["without"]


@pytest.mark.parametrize("kill", [("prior", 5), ("tuning", 3), ("tuning", 5)])
def test_killed_and_resumed_ends_with_the_same_bytes(private, base, folder, tmp_path, kill):
    config = few.config(prior=PriorConfig(prompt="a photo", images=5))

    def killed(phase, done, total):
        if (phase, done) == kill:
            raise KeyboardInterrupt

    asked = {"seed": 3, "folder": tmp_path / "model", "base": base, "checkpoint_every": 2}
    with pytest.raises(KeyboardInterrupt):
        tune(private, few.SCHEMA, config, **asked, progress=killed)
    assert not (tmp_path / "model" / "model_index.json").exists()
    begun = []
    made = tune(private, few.SCHEMA, config, **asked, progress=lambda *now: begun.append(now))
    assert ("prior" in {phase for phase, *_ in begun}) == (kill[0] == "prior")
    assert (
        min(done for phase, done, _ in begun if phase == "tuning") == {"prior": 1, "tuning": kill[1] // 2 * 2 + 1}[kill[0]]
    )
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert (made / path.relative_to(folder)).read_bytes() == path.read_bytes(), path


def test_killed_while_the_folder_is_written(private, base, folder, tmp_path, monkeypatch):
    prior = PriorConfig(prompt="a photo", images=5)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("generation.text_to_image.tuned.card", killed)
        with pytest.raises(KeyboardInterrupt):
            tuned(private, base, tmp_path / "model", prior=prior)
    assert (tmp_path / "model" / "unet").is_dir()
    assert not (tmp_path / "model" / "model_index.json").exists()
    made = tuned(private, base, tmp_path / "model", prior=prior)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert (made / path.relative_to(folder)).read_bytes() == path.read_bytes(), path


def test_the_card_keeps_the_commitment_to_canaries(private, base, tmp_path):
    coins = {"commitment": "0" * 64}
    asked = {"seed": 3, "folder": tmp_path / "model", "base": base}

    def changed(phase, done, total):
        card = tmp_path / "model" / "model_card.json"
        found = json.loads(card.read_text())
        assert found["state"] == "training has not ended"
        found["training"]["canaries"]["commitment"] = "1" * 64
        card.write_text(json.dumps(found))

    with pytest.raises(IntegrityError, match="another commitment to canaries"):
        tune(private, few.SCHEMA, few.config(steps=1), **asked, canaries=coins, progress=changed)


def test_a_finished_folder_is_returned_and_another_tuning_refused(private, base, folder):
    before = (folder / "model_index.json").stat().st_mtime_ns
    assert tuned(private, base, folder, prior=PriorConfig(prompt="a photo", images=5)) == folder
    assert (folder / "model_index.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="found a training with another tuning, sampling"):
        tuned(private, base, folder)


def test_a_prompt_that_is_not_read_to_its_end_is_refused(private, base, tmp_path):
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text(f'instance: "{"x" * 60} {{token}}"\ntemplate: "{{token}}"\n')
    with pytest.raises(InputError, match="tokens, expected at most 48"):
        tune(private, few.SCHEMA, few.config(), seed=0, folder=tmp_path / "model", base=base, prompts=prompts)
    with pytest.raises(InputError, match="tokens, expected at most 48"):
        tuned(private, base, tmp_path / "model", prior=PriorConfig(prompt="x" * 60))
    assert not (tmp_path / "model").exists()


def test_a_missing_extra_is_named(private, base, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"found no peft here, expected `pip install synguard\[lora\]`"):
        tuned(private, base, tmp_path / "model")


def _pickle(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def _class_of(part, name):
    def spoil(folder):
        path = folder / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": name}))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_pickle, "found a pickle, expected safetensors"),
        (lambda f: (f / "unet" / "hello.py").write_text("print()"), r"found code of its own \(hello.py\)"),
        (lambda f: (f / "text_encoder").rename(f / "gone"), "found no text_encoder, expected a folder in the layout"),
        (lambda f: (f / "text_encoder_2").mkdir(), "found two text encoders, as Stable Diffusion XL has them, expected one"),
        (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{"), "a text encoder or tokenizer that does not open"),
        (lambda f: (f / "scheduler" / "scheduler_config.json").unlink(), "found no scheduler"),
        (_class_of("unet", "UNet2DModel"), "unet: found UNet2DModel, expected a UNet2DConditionModel"),
        (_class_of("vae", "AutoencoderTiny"), "vae: found AutoencoderTiny, expected a AutoencoderKL"),
    ],
)
def test_folders_that_are_refused_with_one_line(private, tmp_path, spoil, message):
    base = few.base(tmp_path / "base")
    spoil(base)
    with pytest.raises(InputError, match=message) as caught:
        tuned(private, base, tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_models_that_do_not_fit_are_refused(private, tmp_path):
    nine = few.base(tmp_path / "nine", unet=few.layouts.unet(in_channels=9))
    with pytest.raises(InputError, match="a denoiser from 9 to 4 channels of latents with 4"):
        tuned(private, nine, tmp_path / "model")
    flow = few.base(tmp_path / "flow", "flow")
    with pytest.raises(InputError, match="a model that predicts flow, expected epsilon or v_prediction"):
        tuned(private, flow, tmp_path / "model")
    wide = few.base(tmp_path / "wide", unet=few.layouts.unet(cross_attention_dim=32))
    with pytest.raises(InputError, match="a text encoder of width 16, expected 32"):
        tuned(private, wide, tmp_path / "model")


def test_plain_diffusers_finds_no_trace_of_the_adapter(folder):
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True)
    assert not any("lora" in name for name, _ in unet.named_parameters())
