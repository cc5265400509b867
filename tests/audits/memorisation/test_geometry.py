from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from audits.memorisation.geometry import DIHEDRAL, Window, cut_windows, describe_transform, dihedral_views, grid_of_windows


def test_dihedral_matrices_are_the_views():
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    views = dihedral_views(image)
    for number in range(8):
        theta = torch.tensor(np.c_[DIHEDRAL[number], [0, 0]], dtype=torch.float32)[None]
        grid = functional.affine_grid(theta, [1, 1, 8, 8], align_corners=False)
        seen = functional.grid_sample(image, grid, align_corners=False)
        assert torch.allclose(seen, views[number], atol=1e-5)
    assert len({tuple(matrix.ravel().round().astype(int)) for matrix in DIHEDRAL}) == 8


def test_windows_touch_the_edges_and_hold_what_they_cover():
    windows = grid_of_windows(0.5, 3)
    assert len(windows) == 9
    assert {w.x - w.side for w in windows} >= {-1.0}
    assert {w.x + w.side for w in windows} >= {1.0}
    image = torch.arange(16 * 16, dtype=torch.float32).reshape(1, 1, 16, 16)
    top_left = cut_windows(image, (windows[0],), 8)[0, 0]
    assert torch.allclose(top_left, image[0, 0, :8, :8], atol=1e-3)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[1, 0, 0], [0, 1, 0]], "unchanged"),
        ([[-1, 0, 0], [0, 1, 0]], "mirrored"),
        ([[1, 0, 0], [0, -1, 0]], "flipped upside down"),
        ([[0, -1, 0], [1, 0, 0]], "turned 90 degrees"),
        ([[-1, 0, 0], [0, -1, 0]], "turned 180 degrees"),
        ([[0.8, 0, 0], [0, 0.8, 0]], "enlarged 1.25 times"),
        ([[1.25, 0, 0], [0, 1.25, 0]], "reduced to 80 %"),
        ([[1, 0, 0.2], [0, 1, 0]], "shifted"),
        ([[-0.8, 0, 0.1], [0, 0.8, 0]], "mirrored, enlarged 1.25 times, shifted"),
    ],
)
def test_transforms_in_words(matrix, words):
    assert describe_transform(np.array(matrix, dtype=np.float64)) == words


def test_a_turned_window_has_a_turned_matrix():
    matrix = Window(side=1.0, degrees=90.0).matrix
    assert np.allclose(matrix, [[0, -1, 0], [1, 0, 0]], atol=1e-12)
