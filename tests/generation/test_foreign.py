"""Pipelines made elsewhere."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DDIMScheduler, DiTPipeline

from generation.foreign import prompt_of
from generation.pipeline import load
from synguard.config import SamplingConfig
from synguard.errors import ConfigError, InputError
from synguard.protocols import Autoencoder, Denoiser, Generator
from tests.support import layouts

FEW = SamplingConfig(steps=3, guidance=2.0)


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory):
    return layouts.ddpm(tmp_path_factory.mktemp("ddpm"))


@pytest.fixture(scope="module")
def by_class(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dit")
    DiTPipeline(layouts.transformer(classes=1000), layouts.vae(), DDIMScheduler()).save_pretrained(folder)
    # Published DiT folders name their classes here; save_pretrained leaves them out.
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"id2label": {"0": "nv", "1": "mel"}}))
    return folder


def nothing(n):
    return pd.DataFrame(index=range(n))


def test_unconditional_pipeline(unconditional):
    model = load(unconditional, sampling=FEW)
    assert isinstance(model, Generator)
    assert not isinstance(model, Denoiser)
    assert not isinstance(model, Autoencoder)
    images = model.generate(nothing(11), list(range(11)))
    assert images.shape == (11, 16, 16, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(model.generate(nothing(2), [10, 4]), images[[10, 4]])
    assert len(np.unique(images.reshape(11, -1), axis=0)) == 11
    with pytest.raises(InputError, match="conditions: found dx, expected none, since DDPMPipeline is unconditional"):
        model.generate(pd.DataFrame({"dx": ["nv"]}), [0])
    with pytest.raises(InputError, match="seeds: found 1, expected 2"):
        model.generate(nothing(2), [0])


def test_another_size(unconditional):
    model = load(unconditional, sampling=FEW, size=24)
    assert model.generate(nothing(1), [0]).shape == (1, 24, 24, 3)
    assert model.digest != load(unconditional, sampling=FEW).digest


def test_a_stock_autoencoder_can_be_looked_into(by_class):
    """Against diffusers' own way through it; at another size, the images are taken to the pipeline's and back."""
    model = load(by_class, sampling=FEW)
    assert isinstance(model, Autoencoder)
    assert not isinstance(model, Denoiser)
    images = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)
    made = model.reconstruct(images)
    assert made.dtype == np.uint8
    given = torch.from_numpy(images[:3]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        expected = model.pipeline.vae(given).sample.clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(made[:3] - (expected + 1) * 127.5).max() < 1
    assert np.array_equal(model.reconstruct(images[[7]])[0], made[7])
    assert load(by_class, sampling=FEW, size=24).reconstruct(np.zeros((2, 24, 24, 3), np.uint8)).shape == (2, 24, 24, 3)


def test_classes(by_class):
    model = load(by_class, sampling=FEW)
    assert model.size == 16
    images = model.generate(pd.DataFrame({"dx": ["nv", "mel", "0"]}), [3, 3, 3])
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])
    with pytest.raises(InputError, match=r"conditions.dx: found 'scar'"):
        model.generate(pd.DataFrame({"dx": ["scar"]}), [0])
    with pytest.raises(InputError, match="one attribute"):
        model.generate(pd.DataFrame({"dx": ["nv"], "age": [3]}), [0])
    with pytest.raises(InputError, match="one attribute"):
        model.generate(pd.DataFrame({"dx": [None]}), [0])


PROMPTED = '''
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput

class Prompted(DiffusionPipeline):
    """As bright as its prompt is long."""
    def __init__(self, unet):
        super().__init__()
        self.register_modules(unet=unet)

    def __call__(self, prompt, generator=None, output_type="pil"):
        images = torch.tensor([len(p) / 100 for p in prompt]).view(-1, 1, 1, 1).expand(-1, 16, 16, 3)
        return ImagePipelineOutput(images=images.numpy())
'''


def test_prompts_and_code_that_comes_with_a_folder(unconditional, tmp_path):
    folder = tmp_path / "prompted"
    shutil.copytree(unconditional, folder)
    (folder / "prompted.py").write_text(PROMPTED)
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = ["prompted", "Prompted"]
    del index["scheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="trust_remote_code"):
        load(folder)
    model = load(folder, trust_remote_code=True)
    images = model.generate(pd.DataFrame({"dx": ["nevus", "melanoma"]}), [0, 1])
    assert images[:, 0, 0, 0].tolist() == [round(len("dx nevus") * 2.55), round(len("dx melanoma") * 2.55)]


def test_prompt_of():
    row = {"text": "fundus photograph", "is_gc": 1, "is_dme": 0, "dr_grade": "2", "eye_side": pd.NA, "age": float("nan")}
    assert prompt_of(row) == "fundus photograph, gc, dr grade 2"


def test_pickles_are_refused(unconditional, tmp_path):
    shutil.copytree(unconditional, tmp_path / "model")
    weights = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(InputError, match=r"model.bin: found a pickle, expected safetensors"):
        load(tmp_path / "model")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("not json", "no class name"),
        ('{"_class_name": "NoSuchPipeline"}', "a pipeline that does not open"),
        ('{"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]}', "a pipeline that does not open"),
    ],
)
def test_folders_that_do_not_open(tmp_path, index, message):
    (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_a_sampler_by_name_goes_on_the_pipelines_own_schedule(by_class):
    asked = pd.DataFrame({"dx": ["nv", "mel"] * 5})
    own, other = load(by_class, sampling=FEW), load(by_class, sampling=FEW.model_copy(update={"sampler": "unipc"}))
    assert type(other.pipeline.scheduler).__name__ == "UniPCMultistepScheduler"
    assert other.pipeline.scheduler.config.beta_end == own.pipeline.scheduler.config.beta_end
    assert other.digest != own.digest
    images = other.generate(asked, list(range(10)))
    assert np.array_equal(other.generate(asked.iloc[[9]], [9])[0], images[9])
    assert not np.array_equal(own.generate(asked.iloc[[9]], [9])[0], images[9])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "ab2"}, "found ab2, expected one for a DiTPipeline that predicts epsilon: ddim, ddpm, pndm"),
        ({"sampler": "euler"}, "found euler, expected one for a DiTPipeline"),
        ({"interval": (0.2, 0.8)}, "interval: found it beside a pipeline by others"),
        ({"groups": {"a": {"guidance": 2}}}, "groups: found it beside a pipeline by others"),
        ({"precision": "bfloat16"}, "precision: found it beside a pipeline by others"),
    ],
)
def test_settings_that_a_pipeline_does_not_work_with(by_class, change, message):
    with pytest.raises(ConfigError, match=message):
        load(by_class, sampling=SamplingConfig(steps=3, **change))


def test_a_pipeline_of_pixels_keeps_its_sampler(unconditional):
    with pytest.raises(ConfigError, match="found unipc for a DDPMPipeline, expected none: it works with its own alone"):
        load(unconditional, sampling=SamplingConfig(steps=3, sampler="unipc"))
