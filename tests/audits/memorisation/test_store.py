"""The store gives what the pictures in memory gave, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audits.memorisation.pictures import working_pictures
from audits.memorisation.store import PictureStore

ROWS = np.array([3, 29, 3, 0, 11])


def pixels(size, mapped, folder):
    made = np.random.default_rng(size).integers(0, 256, (30, size, size, 3), dtype=np.uint8)
    if not mapped:
        return made
    made.tofile(folder / "pixels.raw")
    return np.memmap(folder / "pixels.raw", np.uint8, "r", shape=made.shape)


@pytest.mark.parametrize("in_memory", [0, 2**28])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("size", [32, 64, 96, 136])
def test_the_pictures_are_the_same(size, mapped, in_memory, tmp_path):
    made = pixels(size, mapped, tmp_path)
    store, whole = PictureStore(made, in_memory), working_pictures(made)
    assert (len(store), store.side) == (30, whole.side)
    for rows in (ROWS, torch.from_numpy(ROWS), slice(4, 9), slice(None)):
        found, expected = store.take(rows), whole.take(torch.from_numpy(rows) if isinstance(rows, np.ndarray) else rows)
        assert torch.equal(found.grey, expected.grey)
        assert torch.equal(found.colour, expected.colour)
    chunks = list(store.chunks(7))
    assert [len(chunk) for chunk in chunks] == [7, 7, 7, 7, 2]
    assert torch.equal(torch.cat([chunk.grey for chunk in chunks]), whole.grey)


def test_an_empty_set_has_no_pictures():
    store = PictureStore(np.zeros((0, 64, 64, 3), np.uint8))
    assert len(store) == len(store.take(slice(None))) == 0
    assert list(store.chunks()) == []
