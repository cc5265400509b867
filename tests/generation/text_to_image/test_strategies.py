"""Candidates from noise and from private images, by an untuned tiny folder: what a strategy does needs no training."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from generation.synguard_sampling import SAMPLERS
from generation.text_to_image.masks import ellipse
from generation.text_to_image.strategies import TextToImage
from synguard.config import GeneratorConfig, SamplingConfig
from synguard.errors import ConfigError, InputError
from synguard.protocols import Autoencoder, FromSources, Generator, Sampled
from tests.support import few

STRATEGIES = ("text-to-image", "image-to-image", "inpainting", "in-then-outpainting")
SEEDS = list(range(100, 111))
ASKED = pd.DataFrame({"dx": ["nv", "mel"] * 5 + ["nv"], "is_gc": [0] * 10 + [1]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return few.base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def private():
    return few.private_set()


def load(folder, private, strategy="text-to-image", *, prompts=None, size=None, sampling=few.SAMPLING, **config):
    config = GeneratorConfig(kind="text-to-image", path="there", strategy=strategy, sampling=sampling, **config)
    return TextToImage.load(folder, config, few.SCHEMA, private=private, prompts=prompts, size=size)


def distance(images, others):
    return np.abs(images.astype(float) - others).mean(axis=(1, 2, 3))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_image_is_the_same_in_every_batch(folder, private, strategy):
    model = load(folder, private, strategy)
    for protocol in (Generator, FromSources, Sampled, Autoencoder):
        assert isinstance(model, protocol)
    images = model.generate(ASKED, SEEDS)
    assert images.shape == (11, 16, 16, 3)
    assert images.dtype == np.uint8
    order = [10, 3, 0]
    again = model.generate(ASKED.iloc[order].reset_index(drop=True), [SEEDS[row] for row in order])
    assert np.array_equal(again, images[order])
    assert len(np.unique(images.reshape(11, -1), axis=0)) == 11
    assert model.generate(ASKED.iloc[:0], []).shape == (0, 16, 16, 3)
    assert model.strategy == strategy


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "ab2"])
def test_every_sampler_goes_with_every_strategy(folder, private, sampler):
    sampling = SamplingConfig(sampler=sampler, steps=3, guidance=1.5)
    for strategy in STRATEGIES:
        model = load(folder, private, strategy, sampling=sampling)
        images = model.generate(ASKED[:3], SEEDS[:3])
        assert np.array_equal(model.generate(ASKED[2:3].reset_index(drop=True), SEEDS[2:3])[0], images[2])


def test_the_prompt_of_a_candidate_reaches_the_model(folder, private, tmp_path):
    path = tmp_path / "prompts.yaml"
    path.write_text('instance: "{dx}"\ntemplate: "{size} {dx}"\nvary: {size: [abc, xyz]}\n')
    model = load(folder, private, prompts=path)
    plain = load(folder, private)
    images, others = model.generate(ASKED, SEEDS), plain.generate(ASKED, SEEDS)
    assert (distance(images, others) > 0).all()
    assert model.digest != plain.digest
    fixed = {}
    for word in ("abc", "xyz"):
        path.write_text(f'instance: "{{dx}}"\ntemplate: "{word} {{dx}}"\n')
        fixed[word] = load(folder, private, prompts=path).generate(ASKED, SEEDS)
    varied = [word for seed in SEEDS for word in ("abc", "xyz") if word in model.prompts.of_candidate({"dx": "nv"}, seed)]
    assert set(varied) == {"abc", "xyz"}
    assert all(np.array_equal(image, fixed[word][row]) for row, (image, word) in enumerate(zip(images, varied, strict=True)))


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_a_source_is_a_private_image_with_the_same_condition(folder, private, strategy):
    model = load(folder, private, strategy)
    asked = pd.DataFrame({"dx": ["nv", "mel"] * 100, "is_gc": 0})
    seeds = list(range(200))
    found = model.sources(asked, seeds)
    conditions = dict(zip(private.files, private.metadata.itertuples(index=False), strict=True))
    assert all(tuple(conditions[name]) == tuple(row) for name, row in zip(found, asked.itertuples(index=False), strict=True))
    assert set(found) == set(private.files) - {"9.png"}
    assert model.sources(asked.iloc[[7]], [7]) == [found[7]]
    # Of what nobody has, the most: a mel with gc is not there.
    nobody = pd.DataFrame({"dx": ["mel"] * 50, "is_gc": 1})
    assert set(model.sources(nobody, seeds[:50])) == {"0.png", "2.png", "4.png", "6.png", "8.png", "9.png"}
    unknown = pd.DataFrame({"dx": [None] * 50, "is_gc": [1] * 50})
    assert set(model.sources(unknown, seeds[:50])) == {"9.png"}


def test_text_alone_has_no_source(folder, private):
    assert load(folder, private).sources(ASKED, SEEDS) == [None] * 11
    assert load(folder, None).sources(ASKED, SEEDS) == [None] * 11
    with pytest.raises(InputError, match="found inpainting without private images"):
        load(folder, None, "inpainting").sources(ASKED, SEEDS)
    with pytest.raises(InputError, match="found inpainting without private images"):
        load(folder, None, "inpainting").generate(ASKED, SEEDS)


def given_back(model, private, seeds=SEEDS):
    """The sources of the candidates as the autoencoder gives them back."""
    places = [private.files.index(name) for name in model.sources(ASKED, seeds)]
    return model.reconstruct(private.pixels[places])


class Local:
    """An autoencoder whose latents are means of two by two pixels, so that what is outside a mask can be told exactly."""

    def __init__(self, images):
        means = torch.nn.functional.avg_pool2d(images, 2) / 0.18215
        self.latent_dist = self
        self.latents = torch.cat([means, means.mean(1, keepdim=True)], dim=1)

    def mode(self):
        return self.latents

    def sample(self, generator=None):
        return self.latents

    @staticmethod
    def decode(latents, return_dict=True, generator=None):
        made = torch.nn.functional.interpolate(latents[:, :3] * 0.18215, scale_factor=2)
        return SimpleNamespace(sample=made) if return_dict else (made,)


def local(model, monkeypatch):
    monkeypatch.setattr(model.parts.vae, "encode", Local)
    monkeypatch.setattr(model.parts.vae, "decode", Local.decode)
    return model


def in_latents(mask):
    """A mask (16, 16) as the pipeline takes it to latents and the autoencoder back."""
    return mask[::2, ::2].repeat(2, axis=0).repeat(2, axis=1) == 1


def test_image_to_image_stays_near_its_source_at_low_strength(folder, private, monkeypatch):
    sampling = few.SAMPLING.model_copy(update={"steps": 20, "guidance": 1.0})
    found = []
    for strength in (0.05, 0.3, 0.6, 1.0):
        model = local(load(folder, private, "image-to-image", strength=strength, sampling=sampling), monkeypatch)
        found.append(distance(model.generate(ASKED, SEEDS), given_back(model, private)).mean())
    assert found == sorted(found)
    assert found[0] < 0.2 * found[-1]


def test_inpainting_leaves_the_outside_as_the_autoencoder_gives_it_back(folder, private, monkeypatch):
    model = local(load(folder, private, "inpainting"), monkeypatch)
    images, sources = model.generate(ASKED, SEEDS), given_back(model, private)
    inside = np.stack([in_latents(ellipse(16, seed)) for seed in SEEDS])
    off = np.abs(images.astype(int) - sources).max(axis=3)
    assert off[~inside].max() <= 1
    assert (off[inside] > 1).mean() > 0.9
    whole = local(load(folder, private, "in-then-outpainting"), monkeypatch).generate(ASKED, SEEDS)
    redrawn = np.abs(whole.astype(int) - images).max(axis=3)
    assert redrawn[inside].max() <= 1
    assert (redrawn[~inside] > 1).mean() > 0.9


def test_the_mask_follows_the_seed_or_the_box():
    masks = [ellipse(64, seed) for seed in range(300)]
    assert np.array_equal(masks[7], ellipse(64, 7))
    share = np.array([mask.mean() for mask in masks])
    assert share.min() > 0.09
    assert share.max() < 0.29
    assert len({mask.tobytes() for mask in masks}) > 290
    box = np.array([-0.5, -0.25, 0.5, 0.75], dtype=np.float32)
    marked = ellipse(64, 1, box)
    assert np.array_equal(marked, ellipse(64, 2, box))
    rows, columns = np.nonzero(marked)
    middle, axis = (np.array([32, 40]), 0.5 * 1.25 * 32)
    assert np.abs([columns.mean() + 0.5 - middle[0], rows.mean() + 0.5 - middle[1]]).max() < 0.5
    assert abs(np.ptp(columns) + 1 - 2 * axis) <= 2
    assert np.array_equal(ellipse(64, 5, np.full(4, np.nan, np.float32)), ellipse(64, 5))


def test_a_marked_lesion_is_what_is_redrawn(folder, private, monkeypatch):
    corner = np.tile(np.array([-1, -1, -0.5, -0.5], dtype=np.float32), (10, 1))
    model = local(load(folder, replace(private, boxes=corner), "inpainting"), monkeypatch)
    off = np.abs(model.generate(ASKED, SEEDS).astype(int) - given_back(model, private)).max(axis=3)
    inside = in_latents(ellipse(16, 0, corner[0]))
    assert inside[0, 0]
    assert off[:, ~inside].max() <= 1
    assert (off[:, inside] > 1).mean() > 0.9


def test_another_size_and_what_a_digest_holds(folder, private):
    model = load(folder, private, "image-to-image", size=24)
    assert model.generate(ASKED.iloc[:2], SEEDS[:2]).shape == (2, 24, 24, 3)
    assert model.reconstruct(np.zeros((2, 24, 24, 3), np.uint8)).shape == (2, 24, 24, 3)
    other = replace(private, metadata=private.metadata.assign(is_gc=1))
    models = [
        model,
        load(folder, private, "image-to-image"),
        load(folder, private, "image-to-image", strength=0.9),
        load(folder, other, "image-to-image"),
        load(folder, private.take(range(9)), "image-to-image"),
        load(folder, private, "inpainting"),
        load(folder, private),
        load(folder, private, sampling=few.SAMPLING.model_copy(update={"steps": 5})),
    ]
    assert len({model.digest for model in models}) == len(models)
    assert load(folder, None).digest == load(folder, private).digest


def test_what_does_not_fit_is_refused(folder, private, tmp_path):
    model = load(folder, private)
    with pytest.raises(InputError, match="seeds: found 1, expected 2, one a condition"):
        model.generate(ASKED.iloc[:2], [0])
    with pytest.raises(InputError, match="found 'scar', expected one of nv, mel"):
        model.generate(pd.DataFrame({"dx": ["scar"], "is_gc": [0]}), [0])
    path = tmp_path / "prompts.yaml"
    path.write_text(f'instance: "{{dx}}"\ntemplate: "{"x" * 60} {{dx}}"\n')
    with pytest.raises(InputError, match="tokens, expected at most 48"):
        load(folder, private, prompts=path).generate(ASKED, SEEDS)
    with pytest.raises(ConfigError, match="found ab2, expected one for a StableDiffusionPipeline that predicts epsilon"):
        load(folder, private, sampling=few.SAMPLING.model_copy(update={"sampler": "ab2"}))
