"""What the baselines of the planted-copies benchmark must find, and what they cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.copies.data import Photographs
from benchmarks.copies.embeddings import contrastive_loss, fit_dar, fit_random, percentile_rule
from benchmarks.copies.hashes import fit_pdq, fit_pdq_views, fit_phash
from benchmarks.copies.pixels import fit_carlini, fit_correlation, fit_distance
from benchmarks.copies.protocol import Material

SIDE = 32
ALL = [fit_distance, fit_carlini, fit_correlation, fit_phash, fit_pdq, fit_pdq_views, fit_random]


def photographs(n: int, seed: int) -> Photographs:
    """Smooth random images, two a patient."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3)).astype(np.uint8)
    pixels = np.stack([np.asarray(Image.fromarray(c).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for c in coarse])
    patient = np.array([f"{seed}-{row // 2}" for row in range(n)])
    return Photographs(pixels, patient, np.array(["nv"] * n), np.arange(n))


@pytest.fixture(scope="module")
def material() -> Material:
    return Material(photographs(60, 1), photographs(70, 2), photographs(40, 3), seed=0)


@pytest.mark.parametrize("fit", ALL)
def test_an_image_itself_is_found_and_scores_more_than_an_unseen_one(fit, material: Material):
    search = fit(material)
    same, unseen = search.query(material.index.pixels), search.query(material.calibration.pixels)
    assert same.nearest.tolist() == list(range(len(material.index)))
    assert same.score.min() > unseen.score.max()
    assert np.isfinite(same.score).all()
    assert same.called is None or same.called.all()


@pytest.mark.parametrize("fit", ALL)
def test_a_patient_left_out_is_never_the_answer(fit, material: Material):
    index = material.index
    found = fit(material).query(index.pixels, index.patient)
    assert (index.patient[found.nearest] != index.patient).all()
    assert np.isfinite(found.score).all()


@pytest.mark.parametrize("fit", [fit_distance, fit_correlation])
def test_an_answer_does_not_depend_on_what_else_is_asked(fit, material: Material):
    search = fit(material)
    many = np.concatenate([material.calibration.pixels] * 8)
    one, all_at_once = search.query(many[:1]), search.query(many)
    assert len(all_at_once.score) == len(many) > 256
    assert one.score[0] == pytest.approx(all_at_once.score[0], abs=1e-5)


@pytest.mark.parametrize(("fit", "found"), [(fit_correlation, True), (fit_pdq_views, True), (fit_distance, False)])
def test_mirrored_and_turned_images_are_found_by_views_alone(fit, found: bool, material: Material):
    search = fit(material)
    limit = search.query(material.calibration.pixels).score.max()
    for pixels in (material.index.pixels[:, :, ::-1], np.rot90(material.index.pixels, 1, (1, 2))):
        answer = search.query(np.ascontiguousarray(pixels))
        hits = (answer.nearest == np.arange(len(pixels))) & (answer.score > limit)
        assert hits.mean() > 0.9 if found else hits.mean() < 0.1


def test_correlation_does_not_see_brightness(material: Material):
    darker = (material.index.pixels * 0.5).astype(np.uint8)
    assert fit_correlation(material).query(darker).nearest.tolist() == list(range(len(darker)))


def test_distances_and_carlinis_ratio_are_those_of_the_formula(material: Material):
    index, asked = material.index.pixels / 255, material.calibration.pixels / 255
    distance = np.sqrt(((asked[:, None] - index[None]) ** 2).mean((2, 3, 4)))
    ranked = np.sort(distance, axis=1)
    plain, ratio = (
        fit_distance(material).query(material.calibration.pixels),
        fit_carlini(material).query(material.calibration.pixels),
    )
    assert np.allclose(plain.score, -np.log(ranked[:, 0]), atol=1e-4)
    assert np.array_equal(plain.nearest, distance.argmin(1))
    expected = ranked[:, 0] / (0.5 * ranked[:, :50].mean(1))
    assert np.allclose(ratio.score, -np.log(expected), atol=1e-4)
    assert ratio.called is not None
    assert np.array_equal(ratio.called, expected < 1)


def test_the_contrastive_loss_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 3))
    rows = np.concatenate([first, second])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    terms = []
    for i in range(10):
        like = np.exp(rows @ rows[i] / 0.07)
        terms.append(-np.log(like[(i + 5) % 10] / (like.sum() - like[i])))
    found = contrastive_loss(torch.from_numpy(first), torch.from_numpy(second), 0.07)
    assert float(found) == pytest.approx(np.mean(terms))


def test_the_percentile_rule():
    training, validation = np.eye(4, dtype=np.float32), np.diag([0.1, 0.2, 0.3, 0.4]).astype(np.float32)
    assert percentile_rule(training, validation, 50) == pytest.approx(0.25)


def test_a_few_steps_teach_the_encoder_to_ignore_mirroring(material: Material):
    trained = fit_dar(material, steps=40)
    mirrored = trained.query(np.ascontiguousarray(material.index.pixels[:, :, ::-1]))
    assert (mirrored.nearest == np.arange(len(material.index))).mean() > 0.8
    assert trained.limit is not None
    assert mirrored.called is not None
