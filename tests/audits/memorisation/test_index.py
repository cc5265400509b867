from __future__ import annotations

import numpy as np
import pytest

from audits.memorisation.index import EmbeddingIndex


def unit(rng, *shape):
    values = rng.normal(size=shape).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.fixture
def bank():
    return unit(np.random.default_rng(1), 40, 3, 16)


def test_the_nearest_images_are_those_of_a_plain_product(bank):
    queries = unit(np.random.default_rng(2), 5, 4, 16)
    image, view, window, likeness = EmbeddingIndex(bank).candidates(queries, 3)
    product = np.einsum("qvd,iwd->qivw", queries, bank)
    for row in range(5):
        best = product[row].max((1, 2))
        assert image[row].tolist() == np.argsort(-best)[:3].tolist()
        assert np.allclose(likeness[row], np.sort(best)[::-1][:3], atol=1e-5)
        for rank in range(3):
            value = product[row, image[row, rank], view[row, rank], window[row, rank]]
            assert value == pytest.approx(likeness[row, rank], abs=1e-5)


def test_each_image_is_named_once_and_barred_ones_never(bank):
    queries = np.ascontiguousarray(bank[:4, :2])
    index = EmbeddingIndex(bank)
    image, *_ = index.candidates(queries, 6)
    assert image[:, 0].tolist() == [0, 1, 2, 3]
    assert all(len(set(row)) == 6 for row in image.tolist())
    barred = np.zeros((4, 40), dtype=bool)
    barred[np.arange(4), np.arange(4)] = True
    without, *_ = index.candidates(queries, 6, barred)
    assert all(row not in without[row] for row in range(4))


def test_a_small_bank_leaves_places_empty():
    bank = unit(np.random.default_rng(3), 2, 3, 16)
    image, *_ = EmbeddingIndex(bank).candidates(unit(np.random.default_rng(4), 3, 2, 16), 5)
    assert (image[:, :2] >= 0).all()
    assert (image[:, 2:] == -1).all()
