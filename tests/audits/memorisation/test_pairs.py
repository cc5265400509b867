"""The pictures of a pair: what lies where, negatives, the outline around what was copied."""

from __future__ import annotations

import numpy as np
import pytest

from audits.memorisation import CELLS, pair_pictures
from tests.support.textures import textures

PRIVATE, OTHER = textures(2, 31, size=64)
SAME = np.eye(2, 3)
ALL = np.ones(CELLS)
OUTLINE = [255, 210, 0]


def test_the_private_image_is_brought_into_the_frame_of_the_candidate():
    mirrored = np.ascontiguousarray(PRIVATE[:, ::-1])
    candidate, aligned, difference, _ = pair_pictures(mirrored, PRIVATE, np.diag([-1.0, 1.0]) @ SAME, copied=ALL)
    assert np.array_equal(candidate, mirrored)
    assert np.abs(aligned.astype(int) - mirrored).max() <= 1
    assert difference.max() <= 4


def test_a_negative_is_held_against_the_negative():
    negative = 255 - PRIVATE
    _, aligned, difference, _ = pair_pictures(negative, PRIVATE, SAME, copied=ALL, inverted=True)
    assert np.abs(aligned.astype(int) - PRIVATE).max() <= 1
    assert difference.max() <= 4
    _, _, wrong, _ = pair_pictures(negative, PRIVATE, SAME, copied=ALL)
    assert wrong.mean() > 50
    half = np.array([[0.5, 0.0, 0.9], [0.0, 0.5, 0.0]])
    _, aligned, difference, _ = pair_pictures(negative, PRIVATE, half, copied=ALL, inverted=True)
    assert not aligned[:, -8:].any()
    assert not difference[:, -8:].any()


@pytest.mark.parametrize("size", [32, 50, 64, 224])
def test_what_was_copied_is_outlined_and_the_rest_dimmed(size):
    candidate = np.full((size, size, 3), 200, np.uint8)
    copied = np.zeros(CELLS)
    copied[4:8, 8:16] = 0.5
    copied[12, 2] = 0.49
    *_, area = pair_pictures(candidate, candidate, SAME, copied=copied)
    cell = np.arange(size) * 16 // size
    shown = ((cell >= 4) & (cell < 8))[:, None] & (cell >= 8)
    assert area.shape == candidate.shape
    assert (area[~shown] == 50).all()
    outlined = (area == OUTLINE).all(-1)
    assert (area[shown & ~outlined] == 200).all()
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    for edge in (outlined[rows[0]], outlined[rows[-1]]):
        assert (edge == shown.any(0)).all()
    for edge in (outlined[:, columns[0]], outlined[:, columns[-1]]):
        assert (edge == shown.any(1)).all()
    assert not outlined[rows[len(rows) // 2], columns[len(columns) // 2]]


def test_a_candidate_that_shows_nothing_has_no_outline():
    *_, area = pair_pictures(OTHER, PRIVATE, SAME, copied=np.zeros(CELLS))
    assert not (area == OUTLINE).all(-1).any()
    assert area.max() <= 64
