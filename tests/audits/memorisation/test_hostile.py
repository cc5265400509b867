"""Odd image sets: the right answer, or a clear refusal."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from audits.memorisation import prepare
from audits.memorisation.planted import plant
from synguard.config import MemorisationConfig
from tests.support.textures import digests, image_set, textures

CONFIG = MemorisationConfig(planted_per_transform=1)
UNSEEN = textures(12, 9)


def prepared(private, calibration):
    return prepare(image_set(private, "private"), image_set(calibration, "calibration"), config=CONFIG, seed=2, folder=None)


def copies(pixels, name="jpeg-40"):
    return plant(pixels, name, np.random.default_rng(4))


def examine(made, pixels):
    return made.examine(pixels, digests(pixels))


def test_constant_images_are_copies_only_where_they_are_equal():
    private = textures(40, 1)
    private[5], private[6] = 0, 255
    calibration = textures(40, 2)
    calibration[3] = 90
    found = examine(prepared(private, calibration), np.concatenate([np.full_like(private[:1], 128), private[5:7], UNSEEN]))
    assert found.lane.tolist()[:3] == ["none", "exact", "exact"]
    assert found.nearest[1:3].tolist() == [5, 6]
    assert not found.flagged[3:].any()
    assert np.isfinite(found.score).all()


def test_black_corners_that_all_images_share_make_no_copies():
    private, calibration, unseen = (framed(textures(n, seed)) for n, seed in ((60, 1), (60, 2), (30, 3)))
    made = prepared(private, calibration)
    assert not examine(made, unseen).flagged.any()
    found = examine(made, copies(private[:10]))
    assert found.flagged.all()
    assert found.nearest.tolist() == list(range(10))


def test_duplicates_in_the_private_set_stand_for_one_another():
    private = textures(40, 1)
    private[20:30] = private[:1]
    private[30:36] = copies(private[1:2])
    found = examine(
        prepared(private, textures(40, 2)), np.concatenate([copies(private[:1], "mirrored"), copies(private[1:3])])
    )
    assert found.flagged.all()
    assert found.nearest[0] in {0, *range(20, 30)}
    assert found.nearest[1] in {1, *range(30, 36)}
    assert found.nearest[2] == 2


@cache
def few(images):
    return prepared(textures(images, 1), textures(40, 2))


@pytest.mark.parametrize("images", [1, 3])
def test_fewer_private_images_than_neighbours_are_asked_for(images):
    found = examine(few(images), np.concatenate([copies(textures(images, 1)), UNSEEN]))
    assert found.flagged.tolist() == [True] * images + [False] * len(UNSEEN)
    assert found.nearest[:images].tolist() == list(range(images))


def test_grey_images_among_colour_and_grey_copies_of_colour():
    private = textures(50, 1)
    private[:10] = grey(private[:10])
    made = prepared(private, np.concatenate([textures(30, 2), grey(textures(15, 3))]))
    found = examine(made, np.concatenate([copies(private[:5]), grey(private[20:25]), grey(UNSEEN)]))
    assert found.flagged.tolist() == [True] * 10 + [False] * len(UNSEEN)
    assert found.nearest[:10].tolist() == [*range(5), *range(20, 25)]


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"found shape \(64, 64, 3\), expected \(32, 32, 3\)"):
        examine(few(3), textures(2, 5, 64))


def framed(pixels):
    """Seen through a round aperture."""
    size = pixels.shape[1]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.where((x**2 + y**2 <= (size / 2) ** 2)[None, :, :, None], pixels, 0).astype(np.uint8)


def grey(pixels):
    return np.repeat(pixels.mean(-1, keepdims=True), 3, axis=-1).astype(np.uint8)
