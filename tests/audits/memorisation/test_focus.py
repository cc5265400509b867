from __future__ import annotations

import numpy as np
import pytest
import torch

from audits.memorisation import prepare
from audits.memorisation.blur import blurred, gaussian_blur, sharpness
from audits.memorisation.calibration import tail_line
from audits.memorisation.focus import STEPS, Focus
from audits.memorisation.pictures import working_pictures
from synguard.config import MemorisationConfig
from tests.support.textures import digests, image_set, textures

LADDER = Focus(sharpness=(-0.5, -1.5), centre=(0.0, 2.0), spread=(1.0, 3.0))


def test_a_score_is_carried_from_its_own_line_to_the_first():
    sharp = np.array([0.0, -0.5, -1.0, -1.5, -9.0])
    # Half way between the steps, the line is half way between theirs: centre 1, spread 2.
    assert LADDER.correct(np.full(5, 8.0), sharp).tolist() == [8.0, 8.0, 3.5, 2.0, 2.0]


def test_no_score_is_ever_raised():
    falling = Focus(sharpness=(-0.5, -1.5), centre=(0.0, -4.0), spread=(1.0, 0.5))
    scores = np.linspace(-5, 5, 11)
    for focus in (LADDER, falling, Focus()):
        for sharp in (0.0, -1.0, -2.0):
            assert (focus.correct(scores, np.full(11, sharp)) <= scores).all()


def test_the_tail_line_of_a_normal_sample_is_its_own():
    centre, spread = tail_line(np.random.default_rng(1).normal(2.0, 3.0, 20_000))
    assert (centre, spread) == (pytest.approx(2.0, abs=0.1), pytest.approx(3.0, abs=0.1))


def test_sharpness_falls_with_every_step_of_blur():
    pictures = working_pictures(textures(20, 8))
    found = [sharpness(pictures), *(sharpness(blurred(pictures, sigma)) for sigma in STEPS)]
    assert (np.diff(np.stack(found), axis=0) < 0).all()


def test_blur_keeps_the_mean_and_a_constant_image():
    pictures = working_pictures(textures(3, 9))
    np.testing.assert_allclose(gaussian_blur(pictures.grey * 0 + 0.3, 1.7), 0.3, atol=1e-6)
    assert gaussian_blur(pictures.grey, 0) is pictures.grey


def test_blurry_images_of_others_are_no_copies_and_blurry_copies_are():
    private, unseen = textures(150, 1), textures(120, 3)
    prepared = prepare(
        image_set(private, "private"),
        image_set(textures(150, 2), "calibration"),
        config=MemorisationConfig(planted_per_transform=10),
        seed=5,
        folder=None,
    )
    for sigma in (0.0, 1.0, 2.0, 3.0):
        others = _blurred(unseen, sigma)
        assert prepared.examine(others, digests(others)).flagged.sum() == 0, sigma
    copies = _blurred(private[:40], 1.0)
    found = prepared.examine(copies, digests(copies))
    assert found.flagged.mean() >= 0.95
    assert (found.nearest == np.arange(40))[found.flagged].all()


def _blurred(pixels, sigma):
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    return gaussian_blur(images, sigma).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
