"""What is pasted out of a marked box is found; without boxes nothing is other than it was."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from audits.memorisation import prepare
from audits.memorisation.boxes import marked
from audits.memorisation.geometry import inside
from audits.memorisation.identity import holdout_identity, private_identity
from audits.memorisation.matching import BOX, LANES, Matches
from audits.memorisation.pictures import working_pictures
from audits.memorisation.planted import LESION, TRANSFORMS, plant_lesions
from audits.memorisation.score import copied_area, measure
from synguard.config import MemorisationConfig
from synguard.errors import IntegrityError
from tests.support.textures import digests, image_set, textures

SIZE, SIDE = 64, 22
"""Boxes of 35 % of the side, 12 % of the area."""
PLANTED = 12
PRIVATE, UNSEEN = textures(120, 1, SIZE), textures(60, 3, SIZE)
BEFORE = "1ef4dc87f043dad51177574813c6a3034ee7d0febad2bb903b01ade9411ca70a"
"""Digest of a set without boxes, by the version before there were any."""
UNMARKED = 20
"""The last private images have no box."""


def boxes(n, side=SIDE):
    return np.tile(np.array([-side, -side, side, side], np.float32) / SIZE, (n, 1))


def private_set():
    places = boxes(len(PRIVATE))
    places[-UNMARKED:] = np.nan
    return replace(image_set(PRIVATE, "private"), boxes=places)


def made(private, folder=None, planted=PLANTED):
    config = MemorisationConfig(planted_per_transform=planted)
    calibration = textures(60, 2, private.pixels.shape[1])
    return prepare(private, image_set(calibration, "calibration"), config=config, seed=5, folder=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("index") / "made"


@pytest.fixture(scope="module")
def boxed(folder):
    return made(private_set(), folder)


@pytest.fixture(scope="module")
def plain():
    return made(image_set(PRIVATE, "private"), planted=1)


def lesions(rows, seed=1):
    return plant_lesions(PRIVATE[rows], boxes(len(rows)), np.random.default_rng(seed), UNSEEN)


def right(found, rows):
    return found.flagged & (found.nearest == rows)


def test_a_marked_lesion_in_another_photograph_is_named(boxed, plain):
    rows = np.arange(25)
    pixels = lesions(rows)
    found = boxed.examine(pixels, digests(pixels))
    assert right(found, rows).mean() >= 0.9
    assert right(plain.examine(pixels, digests(pixels)), rows).mean() <= 0.5
    assert set(found.match[right(found, rows)]) == {BOX}
    places = np.abs(pixels.astype(int) - UNSEEN[(np.arange(25) + 1) % len(UNSEEN)]).max(-1) > 0
    cells = places.reshape(25, 16, 4, 16, 4).mean((2, 4))
    for hit, shown, cell in zip(right(found, rows), found.copied, cells, strict=True):
        if hit:
            assert shown[cell > 0.9].mean() > 0.7
            assert shown[cell == 0].max() < 0.3


def test_a_marked_lesion_is_named_when_it_was_turned_or_mirrored(boxed):
    rows = np.arange(30, 50)
    pixels = lesions(rows)
    for changed in (np.rot90(pixels, axes=(1, 2)), pixels[:, :, ::-1]):
        copies = np.ascontiguousarray(changed)
        assert right(boxed.examine(copies, digests(copies)), rows).mean() >= 0.85


def test_unseen_images_are_not_called(boxed):
    found = boxed.examine(UNSEEN, digests(UNSEEN))
    assert not found.flagged.any()
    assert not found.near_copy.any()


def test_images_without_a_box_take_no_part(boxed):
    bank = boxed.matcher.boxes.keypoints.bank
    assert set(bank.image.tolist()) <= set(range(len(PRIVATE) - UNMARKED))
    assert (np.abs(bank.place.astype(float)) <= SIDE / SIZE).all()
    found = boxed.matcher.match(working_pictures(lesions(np.arange(30))))[-1]
    assert (found.image < len(PRIVATE) - UNMARKED).all()


def test_the_other_lanes_are_the_same_bit_for_bit(boxed, plain):
    pixels = np.concatenate([UNSEEN[:20], lesions(np.arange(10)), PRIVATE[:5, :, ::-1]])
    others = plain.matcher.match(working_pictures(pixels))
    lanes = boxed.matcher.match(working_pictures(pixels))
    assert (len(others), len(lanes)) == (len(LANES), len(LANES) + 1)
    assert boxed.matcher.nulls[: len(LANES)] == plain.matcher.nulls
    for first, second in zip(others, lanes, strict=False):
        for field in fields(Matches):
            assert np.array_equal(getattr(first, field.name), getattr(second, field.name))


def test_boxes_of_no_image_are_no_boxes(plain):
    none = replace(image_set(PRIVATE, "private"), boxes=np.full((len(PRIVATE), 4), np.nan, np.float32))
    assert marked(none) is None
    assert private_identity(none) == private_identity(plain.private)


def test_boxes_belong_to_the_identity_only_where_there_are_any():
    some = image_set(textures(3, 1), "private")
    # As it was before there were boxes: such indexes stay of use.
    assert private_identity(some)["private set"] == BEFORE
    here = replace(some, boxes=boxes(3))
    there = replace(some, boxes=boxes(3, SIDE + 1))
    found = {private_identity(each)["private set"] for each in (some, here, there)}
    assert len(found) == 3
    assert holdout_identity(here, here) == holdout_identity(some, some)


def test_the_index_keeps_the_search_in_boxes(boxed, folder):
    again = made(private_set(), folder)
    assert again.planted() == boxed.planted()
    assert "calibration" not in again.seconds
    pixels = np.concatenate([UNSEEN[:5], lesions(np.arange(5))])
    first, second = (each.examine(pixels, digests(pixels)) for each in (boxed, again))
    assert np.allclose(first.score, second.score, atol=1e-5)
    assert (first.match == second.match).all()
    assert again.describe_search() == boxed.describe_search()
    assert "Boxes of 100 private images" in again.describe_search()


@pytest.mark.parametrize("change", ["moved", "none"])
def test_an_index_of_other_boxes_is_refused(boxed, folder, change):
    places = private_set().boxes + np.float32(0.1)
    other = replace(private_set(), boxes=None if change == "none" else places)
    with pytest.raises(IntegrityError, match="private set"):
        made(other, folder)


def test_lesions_are_planted_where_there_are_boxes(boxed, plain):
    counts = {count.transform: count for count in boxed.planted()}
    assert set(counts) == {*TRANSFORMS, LESION}
    assert counts[LESION].n == PLANTED
    assert counts[LESION].found >= 10
    assert set(TRANSFORMS) == {count.transform for count in plain.planted()}


def test_a_planted_lesion_is_what_lies_in_the_box():
    pixels = lesions([3])[0]
    changed = (pixels != UNSEEN[1]).any(-1)
    down, across = (int(np.flatnonzero(changed.any(axis)).min()) for axis in (1, 0))
    first = (SIZE - SIDE) // 2
    assert np.array_equal(
        pixels[down : down + SIDE, across : across + SIDE], PRIVATE[3, first : first + SIDE, first : first + SIDE]
    )
    assert changed.sum() <= SIDE**2


def test_what_lies_outside_of_the_box_has_no_part_in_the_evidence():
    private, candidate = PRIVATE[:8], lesions(np.arange(8)).copy()
    places, maps = torch.from_numpy(boxes(8)), torch.eye(2, 3).repeat(8, 1, 1)
    within = inside(places, SIZE, maps)
    other = np.where(within.numpy()[:, 0, :, :, None] > 0, candidate, 255 - UNSEEN[:8])
    first, second = (working_pictures(pixels) for pixels in (candidate, other.astype(np.uint8)))
    originals = working_pictures(private)
    assert torch.equal(
        measure(first, originals, maps, within=within).whole, measure(second, originals, maps, within=within).whole
    )
    assert torch.equal(copied_area(first, originals, maps, within), copied_area(second, originals, maps, within))
    itself = measure(originals, originals, maps, within=within)
    assert (itself.whole[:, :3] > 5).all()
    assert torch.allclose(itself.overlap, within.mean((1, 2, 3)))


def test_odd_boxes_are_no_trouble():
    places = boxes(20)
    places[:5] = [-1, -1, 1, 1]
    places[5:10] = [0.5, 0.5, 0.501, 0.501]  # less than a pixel
    places[10:13] = [0.9, -1, 1, 1]
    pixels, unseen = textures(20, 1), textures(10, 3)
    pixels[15:18] = 128
    private = replace(image_set(pixels, "private"), boxes=places)
    prepared = made(private, planted=9)
    drawn = prepared._copies(LESION, prepared.seed, None)[0]
    assert all(np.isin(kind, drawn).any() for kind in np.split(np.arange(18), [5, 10, 13, 15]))
    found = prepared.examine(np.concatenate([unseen, pixels[15:17]]), digests(UNSEEN[:12]))
    assert np.isfinite(found.score).all()
    assert not found.flagged[:10].any()
    assert found.lane.tolist()[10:] == ["exact", "exact"]
    assert all(np.isfinite(count.scores).all() for count in prepared.planted())
