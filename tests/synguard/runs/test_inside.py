"""The way into a model: what is found, what is refused, and the reference model that is trained on demand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audits.membership import run
from generation.folder_denoiser import FolderDenoiser
from generation.latent import LatentDiffusion
from synguard.config import (
    AttributeConfig,
    AutoencoderConfig,
    DataSource,
    DenoiserConfig,
    GeneratorConfig,
    RunConfig,
)
from synguard.data.conditions import ConditionSchema
from synguard.data.overlap import find_overlap
from synguard.data.splits import HoldoutRoles
from synguard.errors import InputError
from synguard.runs.inside import NO_MODEL, Inside, check_reference, find_reference, look_inside
from synguard.runs.material import Material
from synguard.runs.progress import silent
from tests.support import layouts
from tests.support.membership import Pixels, image_set, photographs

TINY = GeneratorConfig(
    autoencoder=AutoencoderConfig(widths=(8, 8), steps=2, batch_size=8, crop=None),
    denoiser=DenoiserConfig(widths=(16, 16), steps=2, batch_size=8, augment="mirror"),
)
SCHEMA = ConditionSchema((AttributeConfig(name="dx", kind="categorical", levels=("nv", "mel")),))
EVERY = ("loss", "condition-gap", "sima", "pia", "pian", "secmi", "gradients", "autoencoder")


def config(reference=None, generator=TINY, **membership) -> RunConfig:
    settings = {"probes": EVERY, "noise_levels": (0.2, 0.5), "draws": 1, "permutations": 199, "resamples": 200, **membership}
    return RunConfig.model_validate(
        {
            "image_size": 16,
            "private": DataSource(path="private"),
            "holdout": DataSource(path="holdout"),
            "generator": generator,
            "device": "cpu",
            "audits": {"membership": {**settings, "reference": reference}},
        }
    )


def some(name: str, seed: int, n: int = 24):
    dx = np.random.default_rng(seed).choice(["nv", "mel"], n)
    return image_set(photographs(n, seed), name, metadata=pd.DataFrame({"dx": dx}))


@pytest.fixture(scope="module")
def material() -> Material:
    private, holdout = some("private", 1), some("holdout", 2)
    typed = SCHEMA.parse(private.metadata, "private")
    return Material(private, holdout, SCHEMA, typed, find_overlap(private, holdout), (), holdout)


@pytest.fixture(scope="module")
def roles() -> HoldoutRoles:
    return HoldoutRoles(some("calibration", 3), some("evaluation", 4), some("reference", 5), seed=0)


@pytest.fixture(scope="module")
def dit(tmp_path_factory) -> Path:
    classes = {"0": "nv", "1": "mel"}
    return layouts.save(tmp_path_factory.mktemp("dit"), classes=classes, transformer=layouts.transformer())


def audited(material, roles, inside, settings, reference=None):
    return run(
        material.private,
        roles,
        some("synthetic", 6),
        conditions=SCHEMA,
        denoiser=inside.denoiser,
        embedder=Pixels(),
        config=settings.audits.membership,
        seed=0,
        reference=reference,
        closed=inside.why_not,
    )


def test_a_model_made_elsewhere_is_probed_in_every_way(material, roles, dit):
    inside = look_inside(config(), dit)
    assert isinstance(inside.denoiser, FolderDenoiser)
    assert inside.autoencoder is inside.denoiser
    inside.check(material)
    result = audited(material, roles, inside, config())
    names = [row["name"] for row in result.evidence["probes"] if row["access"] == "white box"]
    assert len(names) == len(EVERY) + 1
    assert names[-1] == "ensemble (released)"
    assert {row["state"] for row in result.evidence["probes"]} == {"measured"}
    assert result.evidence["not_tested"] == []


def test_a_reference_is_trained_on_the_reference_role_alone(material, roles, tmp_path):
    settings = config("train")
    check_reference(settings, tmp_path)
    reference = find_reference(settings, tmp_path, material, roles, tmp_path / "reference", silent)
    assert isinstance(reference.model, LatentDiffusion)
    assert "24 images of the reference role" in reference.what
    card = (tmp_path / "reference" / "model_card.json").read_text()
    assert roles.reference.digest in card
    assert material.private.digest not in card
    # As its own target: every probe on a model of ours, both sets of weights, and one against a reference of equal shape.
    result = audited(material, roles, Inside(reference.model, reference.model), settings, reference)
    white = [row for row in result.evidence["probes"] if row["access"] == "white box"]
    assert len(white) == 2 * (len(EVERY) + 2)
    against = next(row for row in white if row["name"] == "loss against reference (raw)")
    assert against["calls"] == 4
    assert "24 images of the reference role" in against["method"]


def test_no_reference_is_none(material, roles, tmp_path):
    assert find_reference(config(), tmp_path, material, roles, tmp_path / "none", silent) is None
    assert not (tmp_path / "none").exists()


def test_a_reference_is_refused_before_any_work(tmp_path, dit):
    images = GeneratorConfig(kind="folder", path="made")
    with pytest.raises(InputError, match=r"audits\.membership\.reference: found train, with generator\.kind folder"):
        check_reference(config("train", images), tmp_path)
    with pytest.raises(InputError, match="gone"):
        check_reference(config("gone"), tmp_path)
    check_reference(config(str(dit)), tmp_path)


def test_a_model_without_a_known_denoiser_says_why(tmp_path, material):
    layouts.ddpm(tmp_path)
    inside = look_inside(config(), tmp_path)
    assert inside.denoiser is None
    assert inside.autoencoder is None
    assert "its denoiser is a UNet2DModel" in inside.why_not
    inside.check(material)
    with pytest.raises(InputError, match=r"audits\.membership\.reference: .*UNet2DModel"):
        check_reference(config(str(tmp_path)), tmp_path)
    assert "no model was given" in NO_MODEL.why_not


def test_conditions_that_a_model_cannot_be_told_are_refused_before_any_work(material, tmp_path):
    folder = layouts.save(tmp_path, classes={"0": "healthy"}, transformer=layouts.transformer())
    with pytest.raises(InputError, match=r"conditions\.dx: found '(nv|mel)', expected a class of the model"):
        look_inside(config(), folder).check(material)
