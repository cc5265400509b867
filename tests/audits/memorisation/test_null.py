from __future__ import annotations

import numpy as np
import pytest
import torch

from audits.memorisation.blur import blurred, gaussian_blur, roughened, sharpness
from audits.memorisation.calibration import tail_line
from audits.memorisation.null import DEFAULT_NULLS, STEPS, Null
from audits.memorisation.pictures import working_pictures
from tests.support.textures import digests, textures


def figures(n, seed, shift=0.0):
    return np.random.default_rng(seed).normal(0.3 + shift, 0.1, (n, 5))


def test_scores_of_unrelated_images_are_standard_normal_in_their_upper_tail():
    null = Null.measure([(0.0, figures(4000, 1))], DEFAULT_NULLS[0])
    scores = null.score(figures(4000, 2), np.zeros(4000))
    # The larger of three sums that hang together: a little above normal.
    assert np.quantile(scores, 0.99) == pytest.approx(2.6, abs=0.4)


def test_an_image_is_held_against_unrelated_ones_of_its_own_sharpness():
    null = Null.measure([(0.0, figures(400, 1)), (-1.0, figures(400, 1, shift=1.0))], DEFAULT_NULLS[0])
    found = figures(1, 3, shift=1.0)
    sharp, between, blurry, blurrier = null.score(found.repeat(4, 0), np.array([0.5, -0.5, -1.0, -9.0]))
    assert sharp > between > blurry
    assert blurry == blurrier < 3


def test_steps_that_are_no_less_sharp_are_left_out_and_few_images_say_nothing():
    twice = Null.measure([(0.0, figures(40, 1)), (0.1, figures(40, 2)), (-1.0, figures(40, 3))], DEFAULT_NULLS[0])
    assert twice.sharpness == (0.0, -1.0)
    assert Null.measure([(0.0, figures(5, 1))], DEFAULT_NULLS[1]) == DEFAULT_NULLS[1]


def test_the_tail_line_of_a_normal_sample_is_its_own():
    centre, spread = tail_line(np.random.default_rng(1).normal(2.0, 3.0, 20_000))
    assert (centre, spread) == (pytest.approx(2.0, abs=0.1), pytest.approx(3.0, abs=0.1))


def test_sharpness_falls_with_every_step():
    pictures = working_pictures(textures(20, 8))
    found = [sharpness(blurred(roughened(pictures, step.noise, 1), step.blur)) for step in STEPS]
    assert (np.diff(np.stack(found), axis=0) < 0).all()


def test_blur_keeps_the_mean_and_a_constant_image():
    pictures = working_pictures(textures(3, 9))
    np.testing.assert_allclose(gaussian_blur(pictures.grey * 0 + 0.3, 1.7), 0.3, atol=1e-6)
    assert gaussian_blur(pictures.grey, 0) is pictures.grey


def test_blurry_images_of_others_are_no_copies_and_blurry_copies_are(prepared):
    private, unseen = textures(150, 1), textures(120, 3)
    for sigma in (0.0, 1.0, 2.0, 3.0):
        others = _blurred(unseen, sigma)
        assert prepared.examine(others, digests(others)).flagged.sum() == 0, sigma
    for sigma in (1.0, 2.0):
        copies = _blurred(private[:40], sigma)
        found = prepared.examine(copies, digests(copies))
        assert found.flagged.mean() >= 0.95, sigma
        assert (found.nearest == np.arange(40))[found.flagged].all()


def _blurred(pixels, sigma):
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    return gaussian_blur(images, sigma).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
