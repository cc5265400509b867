"""The audit of the autoencoder: one that knows its images by heart is seen, one that learned the population is not."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from audits import membership
from audits.autoencoder import AUC, GAP, restore, run
from synguard.config import AutoencoderConfig, DenoiserConfig, GeneratorConfig, MembershipConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.splits import HoldoutRoles
from synguard.results import AuditResult, Metric
from tests.support.membership import LeakyDenoiser, image_set, photographs, remember, world
from tests.support.textures import textures

FAST = MembershipConfig(permutations=199, resamples=400)


@dataclass(frozen=True)
class Linear:
    """The best linear autoencoder for some images: their principal components. With one an image it knows them all."""

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def fit(cls, pixels: np.ndarray, components: int) -> Linear:
        flat = pixels.reshape(len(pixels), -1).astype(np.float64)
        mean = flat.mean(axis=0)
        return cls(mean, np.linalg.svd(flat - mean, full_matrices=False)[2][:components])

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        flat = images.reshape(len(images), -1) - self.mean
        restored = self.mean + (flat @ self.axes.T) @ self.axes
        return np.clip(np.rint(restored), 0, 255).astype(np.uint8).reshape(images.shape)


def audit(drawn, autoencoder, split=None, config=FAST) -> tuple[dict[str, Metric], AuditResult]:
    split = split or membership.validity(drawn.private, drawn.roles, config=config, seed=0)
    result = run(drawn.private, drawn.roles, autoencoder=autoencoder, split=split, config=config, seed=0)
    json.dumps(result.evidence, allow_nan=False)
    assert set(result.public) <= set(result.evidence)
    return {metric.name: metric for metric in result.metrics}, result


@pytest.fixture(scope="module")
def few():
    """Forty private images, 200 others a role."""
    return world(11, members=40, each=200)


@pytest.fixture(scope="module")
def clean():
    """A thousand private images of the same source as the others."""
    return world(12, members=1000, each=300)


def test_an_autoencoder_fitted_to_forty_images_is_found_out(few):
    found, result = audit(few, Linear.fit(few.private.pixels, 39))
    assert found[AUC].value > 0.99
    assert found[AUC].bounds[0] > 0.9
    assert found[GAP].value > 0.9
    assert found[GAP].interval[0] > 0.8
    assert result.evidence["gap"]["value"] == found[GAP].value
    counts = result.evidence["errors"]
    assert sum(counts["private"]) == 40
    assert sum(counts["holdout"]) == 200
    middle = [np.average(counts["edges"][:-1], weights=counts[name]) for name in ("private", "holdout")]
    assert middle[0] < middle[1] - 0.5


def test_one_that_learned_from_many_is_not(clean):
    found, result = audit(clean, Linear.fit(clean.private.pixels, 12))
    auc, gap = found[AUC], found[GAP]
    assert auc.state == gap.state == "measured"
    assert auc.interval[0] < 0.5 < auc.interval[1]
    assert auc.bounds[1] < 0.6
    assert gap.interval[0] < 0 < gap.interval[1]
    assert abs(gap.value) < 0.1
    low, high = auc.attainable
    assert low < 0.5 < high < 0.55
    assert {part["name"] for part in result.evidence["parts"]} == {"squared error as it is", "structural error"}


def test_what_looks_explain_is_taken_out(clean):
    """A leak of a tenth of the error, where errors differ between images by far more than that."""
    denoiser = LeakyDenoiser(remember(clean.private), {"autoencoder": 0.05})
    found, _ = audit(clean, denoiser)
    assert found[AUC].bounds[0] > 0.6
    assert 0.05 < found[GAP].value < 0.15


def test_nothing_is_found_by_chance_more_often_than_said():
    """Over twenty cuts of one source the interval leaves out a half about once."""
    missed, aucs, linear, split = 0, [], Linear.fit(photographs(600, 7), 12), None
    for seed in range(20):
        drawn = world(100 + seed, members=150, each=150)
        split = split or membership.validity(drawn.private, drawn.roles, config=FAST, seed=0)
        found, _ = audit(drawn, linear, split)
        missed += not found[AUC].interval[0] <= 0.5 <= found[AUC].interval[1]
        aucs.append(found[AUC].value)
    assert missed <= 4
    assert abs(np.mean(aucs) - 0.5) < 4 * np.std(aucs) / np.sqrt(20)


def test_patients_are_counted_not_pictures():
    """Eight pictures of each patient say little more than one: the interval is far wider than that of as many patients."""
    own, shared = (world(5, members=400, each=400, per_patient=k) for k in (1, 8))
    widths = []
    for drawn in (own, shared):
        found, _ = audit(drawn, Linear.fit(photographs(600, 7), 12))
        widths.append(np.diff(found[GAP].interval)[0])
    assert widths[1] > 1.5 * widths[0]


def test_without_an_autoencoder_nothing_is_tested(few):
    found, result = audit(few, None)
    assert {metric.state for metric in found.values()} == {"not_tested"}
    assert all(metric.value is None and "autoencoder" in metric.note for metric in found.values())
    assert result.evidence["state"] == "not_tested"


def test_a_split_that_can_be_told_apart_makes_it_invalid(clean):
    darker = [np.clip(s.pixels.astype(int) - 12, 0, 255).astype(np.uint8) for s in roles_of(clean)]
    roles = HoldoutRoles(*(image_set(p, n) for p, n in zip(darker, "cer", strict=True)), seed=0)
    drawn = type(clean)(clean.private, roles, clean.synthetic)
    found, result = audit(drawn, Linear.fit(clean.private.pixels, 12))
    assert {metric.state for metric in found.values()} == {"invalid"}
    assert all("without the model" in metric.note and metric.value is not None for metric in found.values())
    assert result.evidence["state"] == "invalid"


def roles_of(drawn):
    return drawn.roles.calibration, drawn.roles.evaluation, drawn.roles.reference


def test_one_that_gives_everything_back_as_it_was_is_an_error_not_a_pass(few):
    class Perfect:
        def reconstruct(self, images):
            return images

    found, result = audit(few, Perfect())
    assert found[AUC].state == found[GAP].state == "error"
    assert "one and the same score" in found[AUC].note
    assert "errors" not in result.evidence


def test_too_few_patients_are_insufficient():
    drawn = world(3, members=12, each=60)
    found, _ = audit(drawn, Linear.fit(drawn.private.pixels, 11))
    assert {metric.state for metric in found.values()} == {"insufficient"}
    assert found[AUC].value is None


def test_errors_do_not_depend_on_how_many_images_are_asked_for(clean):
    linear = Linear.fit(clean.private.pixels, 12)
    whole = restore(linear, clean.private.pixels[:400])
    part = restore(linear, clean.private.pixels[300:310])
    assert np.allclose(whole.squared[300:310], part.squared, rtol=0, atol=1e-12)
    assert np.allclose(whole.structural[300:310], part.structural, atol=1e-6)
    flat = (linear.reconstruct(clean.private.pixels[:5]).astype(float) - clean.private.pixels[:5]) / 255
    assert whole.squared[:5] == pytest.approx((flat**2).mean(axis=(1, 2, 3)))


def test_the_structural_error_is_that_of_an_independent_implementation():
    from skimage.metrics import structural_similarity

    pixels = textures(40, 8, size=96)
    linear = Linear.fit(pixels, 12)
    for image, value in zip(pixels[:4], restore(linear, pixels[:4]).structural, strict=True):
        made = linear.reconstruct(image[None])[0]
        settings = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        assert value == pytest.approx(1 - structural_similarity(image, made, channel_axis=2, **settings), abs=0.02)


@pytest.mark.system
@pytest.mark.parametrize(("images", "steps", "low", "high"), [(40, 600, 0.98, 1.0), (1500, 300, 0.4, 0.6)])
def test_of_a_real_autoencoder_only_the_overfitted_one_is_found_out(tmp_path, images, steps, low, high):
    """Our own AutoencoderKL, trained on forty images until it knows them, and on many until it restores as well."""
    from generation.pipeline import load
    from generation.train import train

    pixels = textures(images + 900, 31, size=16)
    private = image_set(pixels[:images], "private")
    thirds = np.split(pixels[images:], 3)
    roles = HoldoutRoles(*(image_set(p, n) for p, n in zip(thirds, "cer", strict=True)), seed=0)
    coder = AutoencoderConfig(widths=(16, 32), steps=steps, batch_size=20, crop=None, learning_rate=4e-3)
    config = GeneratorConfig(autoencoder=coder, denoiser=DenoiserConfig(widths=(16, 16), steps=1))
    model = load(train(private, ConditionSchema(), config, seed=1, folder=tmp_path / "model"))
    split = membership.validity(private, roles, config=FAST, seed=0)
    result = run(private, roles, autoencoder=model, split=split, config=FAST, seed=0)
    auc = next(metric for metric in result.metrics if metric.name == AUC)
    print(images, auc.value, auc.interval, [metric.value for metric in result.metrics])
    assert low <= auc.value <= high
