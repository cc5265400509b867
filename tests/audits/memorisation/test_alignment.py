from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audits.memorisation.alignment import correlation, in_frame, plausible, refine, usable, warp
from audits.memorisation.pictures import working_pictures
from tests.support.textures import textures

IDENTITY = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])


def grey(n, seed, size=64):
    return working_pictures(textures(n, seed, size)).grey


@pytest.mark.parametrize(("degrees", "scale", "shift"), [(0, 1.0, 0.05), (4, 1.0, 0.0), (-3, 0.95, 0.03), (0, 1.06, -0.04)])
def test_a_known_move_is_recovered(degrees, scale, shift):
    image = grey(6, 1)
    c, s = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    true = torch.tensor([[c, -s, shift], [s, c, -shift]]).repeat(6, 1, 1)
    template, _ = warp(image, true)
    found, score = refine(template, image, IDENTITY.repeat(6, 1, 1), 20)
    assert torch.allclose(found, true, atol=0.01)
    assert score.min() > 0.99


def test_gain_and_bias_do_not_matter():
    image = grey(4, 2)
    _, plain = refine(image, image, IDENTITY.repeat(4, 1, 1), 3)
    _, changed = refine(image * 0.5 + 0.2, image, IDENTITY.repeat(4, 1, 1), 3)
    assert torch.allclose(plain, changed, atol=1e-4)


def test_maps_that_no_copy_has_are_refused():
    maps = torch.tensor(
        [
            [[1.0, 0, 0], [0, 1.0, 0]],
            [[0.0, -1.0, 0], [1.0, 0, 0]],
            [[1.6, 0, 0], [0, 0.8, 0]],
            [[0.1, 0, 0], [0, 0.1, 0]],
            [[1.0, 0, 1.5], [0, 1.0, 0]],
        ]
    )
    assert plausible(maps).tolist() == [True, True, False, False, False]


def test_the_frame_allows_a_hair_and_no_more():
    maps = torch.tensor(
        [
            [[1.0, 0, 0], [0, 1.0, 0]],
            [[1.02, 0, 0.01], [0, 0.99, 0]],
            [[1.08, 0, 0], [0, 1.08, 0]],
            [[1.0, 0, 0.2], [0, 1.0, 0]],
        ]
    )
    assert in_frame(maps, IDENTITY.repeat(4, 1, 1), 64).tolist() == [True, True, False, False]
    held, _ = refine(grey(4, 3), grey(4, 3), maps, 0, IDENTITY.repeat(4, 1, 1))
    assert torch.equal(held, maps)


def test_saturated_points_do_not_count_unless_all_are():
    half = torch.zeros(1, 1, 8, 8)
    half[..., :4] = 1.0
    assert usable(half).sum() == 32
    assert usable(torch.ones(1, 1, 8, 8)).sum() == 64


def test_correlation_is_numpys_and_nought_for_a_flat_image():
    first, second = grey(3, 4), grey(3, 5)
    ones = torch.ones_like(first)
    expected = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(first, second, strict=True)]
    assert np.allclose(correlation(first, second, ones), expected, atol=1e-5)
    assert correlation(torch.zeros_like(first), second, ones).abs().max() == 0
