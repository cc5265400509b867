"""Pictures inside margins: what is cut out, and that copies shown smaller than their source are found."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from audits.memorisation.margins import without_margins
from audits.memorisation.planted import plant
from audits.memorisation.verdict import Found
from tests.support.textures import digests, textures

PRIVATE, UNSEEN = textures(150, 1), textures(60, 3)
SIDE = PRIVATE.shape[1]


def framed(images, side, colour=0, at=(0.5, 0.5)):
    """Reduced to `side` pixels on a ground of one colour; `at` is the place, from 0 to 1 either way."""
    made = np.full_like(images, colour)
    top, left = (round(share * (SIDE - side)) for share in at)
    for row, image in enumerate(images):
        made[row, top : top + side, left : left + side] = Image.fromarray(image).resize(
            (side, side), Image.Resampling.LANCZOS
        )
    return made


def letterboxed(images, colour=0):
    """Their middle three quarters between bars."""
    made, bar = np.full_like(images, colour), SIDE // 8
    made[:, bar:-bar] = images[:, bar:-bar]
    return made


def test_the_square_inside_is_cut_out_where_it_lies():
    side = SIDE * 5 // 8
    inner = without_margins(np.concatenate([UNSEEN[:1], framed(UNSEEN[:2], side, 200, at=(0.0, 1.0))]))
    assert inner.rows.tolist() == [1, 2]
    assert inner.pixels.shape == (2, SIDE, SIDE, 3)
    again = np.asarray(Image.fromarray(inner.pixels[0]).resize((side, side), Image.Resampling.LANCZOS), dtype=float)
    small = np.asarray(Image.fromarray(UNSEEN[0]).resize((side, side), Image.Resampling.LANCZOS), dtype=float)
    assert np.abs(again - small).mean() < 4
    # Corners of the square in the frame of the image: the right upper part of it.
    corners = inner.maps[0] @ np.array([[-1, -1, 1], [1, 1, 1]]).T
    share = 2 * side / SIDE
    assert pytest.approx(np.array([[1 - share, -1.0], [1.0, -1 + share]])) == corners.T


def test_of_bars_the_central_square_is_left():
    inner = without_margins(letterboxed(UNSEEN[:1]))
    side = SIDE - 2 * (SIDE // 8)
    assert inner.maps[0] == pytest.approx(np.array([[side / SIDE, 0, 0], [0, side / SIDE, 0]]))


@pytest.mark.parametrize(
    "images",
    [
        UNSEEN,
        np.zeros((2, SIDE, SIDE, 3), np.uint8),
        framed(UNSEEN[:3], SIDE // 6),
        framed(UNSEEN[:3], SIDE - 1),
        UNSEEN[:0],
    ],
    ids=["photographs", "nothing but a colour", "too small", "a single line", "no images"],
)
def test_what_has_no_margins_worth_it_is_left_alone(images):
    assert len(without_margins(images)) == 0


def test_margins_bear_specks_and_compression():
    images = framed(UNSEEN[:4], SIDE * 3 // 4, 120)
    noise = np.random.default_rng(0).integers(-6, 7, images.shape)
    assert without_margins((images.astype(int) + noise).clip(0, 255).astype(np.uint8)).rows.tolist() == [0, 1, 2, 3]
    images[:, 0, SIDE // 2] = 255
    assert without_margins(images).rows.tolist() == [0, 1, 2, 3]
    patterned = images.copy()
    patterned[:, np.add.outer(np.arange(SIDE), np.arange(SIDE)) % 4 == 0] = 255
    assert len(without_margins(patterned)) == 0


@pytest.mark.parametrize("side", [0.9, 0.75, 0.6, 0.45])
@pytest.mark.parametrize("colour", [0, 255, 90])
def test_shrunken_copies_are_named(prepared, side, colour):
    rows = np.arange(30, 42)
    pixels = framed(PRIVATE[rows], round(SIDE * side), colour, at=(0.3, 0.9))
    found = prepared.examine(pixels, digests(pixels))
    assert found.flagged.all()
    assert (found.nearest == rows).all()
    assert all("reduced to" in words for words in found.transform)
    assert found.copied_area == pytest.approx(side**2, abs=0.12)
    # The area lies where the picture does: right of the middle, rather than left.
    assert (found.copied[:, :, 8:].sum((1, 2)) > found.copied[:, :, :8].sum((1, 2))).all()


@pytest.mark.parametrize("colour", [0, 255])
def test_letterboxed_and_mirrored_copies_are_named(prepared, colour):
    rows = np.arange(60, 72)
    for images in (PRIVATE[rows], PRIVATE[rows][:, :, ::-1]):
        pixels = letterboxed(images, colour)
        found = prepared.examine(pixels, digests(pixels))
        assert found.flagged.all()
        assert (found.nearest == rows).all()


def test_unseen_images_inside_margins_are_no_copies(prepared):
    for pixels in (framed(UNSEEN, SIDE * 3 // 4), letterboxed(UNSEEN, 255)):
        found = prepared.examine(pixels, digests(pixels))
        assert found.flagged.sum() == 0


def test_the_audit_plants_such_copies(prepared):
    planted = {count.transform: count for count in prepared.planted()}
    assert planted["shrunk-75"].found == planted["shrunk-75"].n == 30
    made = plant(PRIVATE[:20], "shrunk-75", np.random.default_rng(0))
    assert len(without_margins(made)) == 20


def test_margins_do_not_depend_on_the_images_beside(prepared):
    rows = np.arange(10)
    mixed = np.concatenate([UNSEEN[:5], framed(PRIVATE[rows], SIDE // 2)])
    whole = prepared.examine(mixed, digests(mixed))
    for row in (2, 7):
        alone = prepared.examine(mixed[row : row + 1], digests(mixed[row : row + 1]))
        assert alone.score[0] == pytest.approx(whole.score[row], abs=1e-6)
        assert alone.nearest[0] == whole.nearest[row]


def test_a_better_match_of_the_whole_is_kept(prepared):
    pixels = framed(UNSEEN[:3], SIDE // 2)
    found = prepared.search(pixels)
    none = found.take(np.array([1]))
    kept = found.better(np.array([1]), Found.join([none]))
    assert np.array_equal(kept.score, found.score)
    assert found.within == pytest.approx(np.where(found.within == 1, 1.0, 0.25))
