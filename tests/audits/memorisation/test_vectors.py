from __future__ import annotations

import numpy as np
import pytest

from audits.memorisation import vectors as vectors_module
from audits.memorisation.rows import MemoryRows, RowWriter
from audits.memorisation.vectors import NearestVectors


def unit(seed, *shape):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def on_disk(values):
    writer = RowWriter.unnamed(values.shape, np.float16)
    writer.append(values)
    return writer.finish()


def nearest(queries, stored, depth):
    product = queries.astype(np.float64) @ stored[:, 0].astype(np.float64).T
    order = np.argsort(-product, axis=1, kind="stable")[:, :depth]
    return np.take_along_axis(product, order, 1), order


STORED, QUERIES = unit(1, 3000, 1, 16), unit(2, 40, 16)


@pytest.mark.parametrize("rows", [MemoryRows, on_disk])
@pytest.mark.parametrize(("above", "held"), [(10_000, 10_000), (100, 10_000), (100, 100)])
def test_exact_search_is_a_plain_product(rows, above, held, monkeypatch):
    monkeypatch.setattr(vectors_module, "IN_MEMORY_UP_TO", held)
    monkeypatch.setattr(vectors_module, "_PROBES", (1,))
    monkeypatch.setattr(vectors_module, "_RECALL", 1.1)
    index = NearestVectors(rows(STORED), above=above)
    likeness, found = index.search(QUERIES, 5)
    expected, order = nearest(QUERIES, rows(STORED).read(0, 3000), 5)
    assert np.allclose(likeness, expected, atol=1e-5)
    assert (found == order).mean() > 0.99
    assert index.lists is None
    assert index.note.probes == 0
    assert ("refused" in index.describe()) == (above == 100)


def test_lists_are_kept_and_used_again(monkeypatch):
    monkeypatch.setattr(vectors_module, "_RECALL", 0.9)  # random vectors are harder than keypoints
    index = NearestVectors(on_disk(STORED), above=100)
    assert index.note.probes > 0
    assert index.note.recall >= 0.9
    assert "re-ranking" in index.describe()
    again = NearestVectors(on_disk(STORED), lists=index.lists, note=index.note, above=100)
    likeness, found = again.search(QUERIES, 5)
    assert all((a == b).all() for a, b in zip(index.search(QUERIES, 5), (likeness, found), strict=True))
    stored = STORED.astype(np.float16).astype(np.float32)[found, 0]
    assert np.allclose(likeness, np.einsum("md,mkd->mk", QUERIES, stored), atol=1e-5)


def test_vectors_that_many_images_share_do_not_speak_against_lists(monkeypatch):
    monkeypatch.setattr(vectors_module, "_RECALL", 0.9)
    shared = np.concatenate([np.repeat(STORED[:1], 1500, axis=0), STORED[:1500]])
    index = NearestVectors(on_disk(shared), above=100)
    assert index.note.recall >= 0.9


@pytest.mark.parametrize("n", [0, 3])
def test_places_are_left_empty_where_there_are_few(n):
    likeness, found = NearestVectors(on_disk(STORED[:n])).search(QUERIES, 5)
    assert likeness.shape == found.shape == (40, 5)
    assert (found[:, n:] == -1).all()
    assert (np.sort(found[:, :n], 1) == np.arange(n)).all()
