from __future__ import annotations

import numpy as np
import torch

from audits.memorisation.pictures import working_pictures
from audits.memorisation.planted import plant
from audits.memorisation.score import NOWHERE, copied_area, measure
from tests.support.textures import textures

SAME = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])


def evidence(candidates, originals, *, regions=False):
    return measure(
        working_pictures(candidates), working_pictures(originals), SAME.repeat(len(candidates), 1, 1), regions=regions
    )


def area(candidates, originals):
    return copied_area(working_pictures(candidates), working_pictures(originals), SAME.repeat(len(candidates), 1, 1))


def test_copies_agree_in_every_band_and_unrelated_images_in_none():
    private, other = textures(20, 1, 64), textures(20, 2, 64)
    copied = evidence(plant(private, "jpeg-40", np.random.default_rng(1)), private)
    unrelated = evidence(other, private)
    assert (copied.whole.min(0).values > unrelated.whole.max(0).values).all()
    assert area(plant(private, "jpeg-40", np.random.default_rng(1)), private).mean((1, 2)).min() > 0.9
    assert area(other, private).mean((1, 2)).max() < 0.4


def test_brightness_changes_the_colour_and_not_the_detail():
    private = textures(10, 3, 64)
    dark = (private * 0.7).astype(np.uint8)
    copied = evidence(dark, private)
    assert torch.tanh(copied.whole[:, 1]).min() > 0.95
    assert copied.whole[:, 3].max() < evidence(private, private).whole[:, 3].min() - 1


def test_the_copied_area_is_the_share_that_was_copied():
    private, mixed = textures(10, 4, 64), textures(10, 5, 64)
    mixed[:, :, :32] = private[:, :, :32]
    found = area(mixed, private)
    assert ((found.mean((1, 2)) > 0.4) & (found.mean((1, 2)) < 0.7)).all()
    assert found[:, :, :7].mean() > 0.95
    assert found[:, :, 10:].mean() < 0.3


def test_a_pasted_part_shows_in_its_region_and_hardly_in_the_whole():
    private, mixed = textures(10, 4, 64), textures(10, 5, 64)
    mixed[:, 20:52, 8:40] = private[:, 20:52, 8:40]
    pasted, unrelated = (evidence(pixels, private, regions=True) for pixels in (mixed, textures(10, 5, 64)))
    assert pasted.regions.shape == (10, 2, 4)
    smaller = pasted.regions[:, 1, :3]
    assert (smaller.min(0).values > unrelated.regions[:, 1, :3].max(0).values).all()
    assert (smaller > pasted.whole[:, :3]).all()


def test_a_region_that_the_map_does_not_cover_is_no_evidence():
    private = textures(3, 4, 64)
    far = torch.tensor([[1.0, 0, 1.9], [0, 1.0, 1.9]]).repeat(3, 1, 1)
    found = measure(working_pictures(private), working_pictures(private), far, regions=True)
    assert (found.regions == NOWHERE).all()


def test_flat_images_are_no_evidence():
    greys = (0, 1, 37, 120, 200, 250, 255)
    flat = np.stack([np.full((64, 64, 3), grey, np.uint8) for grey in greys])
    for found in (evidence(flat, textures(len(flat), 6, 64)), evidence(textures(len(flat), 6, 64), flat)):
        assert torch.isfinite(found.whole).all()
        assert (found.whole[:, :3] == 0).all()


def test_one_level_of_blue_in_one_pixel_is_more_than_rounding():
    nearly = np.full((1, 64, 64, 3), 120, np.uint8)
    nearly[0, 30, 30, 2] += 1
    assert (evidence(nearly, textures(1, 6, 64)).whole[:, :3] != 0).all()
