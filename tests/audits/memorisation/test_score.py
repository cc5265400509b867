from __future__ import annotations

import numpy as np
import torch

from audits.memorisation.pictures import working_pictures
from audits.memorisation.planted import plant
from audits.memorisation.score import measure
from tests.support.textures import textures

SAME = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])


def evidence(candidates, originals):
    return measure(working_pictures(candidates), working_pictures(originals), SAME.repeat(len(candidates), 1, 1))


def test_copies_agree_in_every_band_and_unrelated_images_in_none():
    private, other = textures(20, 1, 64), textures(20, 2, 64)
    copied = evidence(plant(private, "jpeg-40", np.random.default_rng(1)), private)
    unrelated = evidence(other, private)
    assert (copied.figures.min(0).values > unrelated.figures.max(0).values).all()
    assert copied.area.min() > 0.9
    assert unrelated.area.max() < 0.4


def test_brightness_changes_the_colour_and_not_the_detail():
    private = textures(10, 3, 64)
    dark = (private * 0.7).astype(np.uint8)
    copied = evidence(dark, private)
    assert copied.correlation.min() > 0.95
    assert copied.figures[:, 3].max() < evidence(private, private).figures[:, 3].min() - 1


def test_the_copied_area_is_the_share_that_was_copied():
    private, mixed = textures(10, 4, 64), textures(10, 5, 64)
    mixed[:, :, :32] = private[:, :, :32]
    area = evidence(mixed, private).area
    assert ((area > 0.4) & (area < 0.7)).all()


def test_flat_images_are_no_evidence():
    flat = np.full((2, 64, 64, 3), 120, np.uint8)
    found = evidence(flat, textures(2, 6, 64))
    assert torch.isfinite(found.figures).all()
    assert found.correlation.abs().max() < 0.05
