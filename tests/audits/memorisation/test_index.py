from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audits.memorisation import index as index_module
from audits.memorisation.engines import CpuEngine, GpuEngine
from audits.memorisation.index import EmbeddingIndex
from audits.memorisation.rows import MemoryRows, RowWriter
from synguard.errors import IntegrityError


def unit(rng, *shape):
    values = rng.normal(size=shape).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def by_hand(queries, bank, count, barred=None):
    """Likeness (n, images) in float64, and the nearest images in order."""
    product = np.einsum("qvd,iwd->qivw", queries.astype(np.float64), bank.astype(np.float64))
    best = product.max((2, 3))
    if barred is not None:
        best[barred] = -2
    return product, best, np.argsort(-best, axis=1, kind="stable")[:, :count]


def on_disk(values, block=7):
    writer = RowWriter.unnamed(values.shape, values.dtype)
    for start in range(0, len(values), block):
        writer.append(values[start : start + block])
    return writer.finish()


ENGINES = {
    "cpu": lambda bank, size: CpuEngine(bank, size),
    "gpu": lambda bank, size: GpuEngine(bank, torch.device("cpu"), 2**30),
    "gpu, streamed": lambda bank, size: GpuEngine(bank, torch.device("cpu"), size * 100),
}


@pytest.fixture
def bank():
    return unit(np.random.default_rng(1), 40, 3, 16)


def test_the_nearest_images_are_those_of_a_plain_product(bank):
    queries = unit(np.random.default_rng(2), 5, 4, 16)
    image, view, window, likeness = EmbeddingIndex(bank).candidates(queries, 3)
    product, best, nearest = by_hand(queries, bank, 3)
    assert (image == nearest).all()
    assert np.allclose(likeness, np.take_along_axis(best, nearest, 1), atol=1e-6)
    rows = np.arange(5)[:, None]
    assert np.allclose(product[rows, image, view, window], likeness, atol=1e-6)


@settings(max_examples=40)
@given(
    engine=st.sampled_from(list(ENGINES)),
    images=st.integers(1, 300),
    windows=st.integers(1, 5),
    views=st.integers(1, 4),
    n=st.integers(0, 9),
    count=st.integers(1, 12),
    block=st.integers(1, 320),
    disk=st.booleans(),
    bars=st.booleans(),
    half=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_way_of_cutting_up_the_work_changes_the_answer(
    engine, images, windows, views, n, count, block, disk, bars, half, seed, monkeypatch_session
):
    rng = np.random.default_rng(seed)
    bank, queries = unit(rng, images, windows, 8).astype(np.float16 if half else np.float32), unit(rng, n, views, 8)
    barred = rng.random((n, images)) < 0.3 if bars else None
    rows = on_disk(bank) if disk else MemoryRows(bank)
    monkeypatch_session.setattr(index_module, "make_engine", lambda rows, device: ENGINES[engine](rows, block))
    image, _, _, likeness = EmbeddingIndex(rows).candidates(queries, count, barred)
    _, best, nearest = by_hand(queries, bank, count, barred)
    wanted = np.take_along_axis(best, nearest, 1)
    kept = min(count, images)
    assert (image[:, kept:] == -1).all()
    assert np.allclose(likeness[:, :kept], wanted, atol=1e-6)
    assert (image[:, :kept] == np.where(wanted > -2, nearest, -1)).all()


@pytest.fixture(scope="module")
def monkeypatch_session():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_queries_alone_and_together_get_the_same_bits(bank):
    queries = unit(np.random.default_rng(2), 50, 4, 16)
    index = EmbeddingIndex(bank)
    whole = index.candidates(queries, 7)
    for start in range(0, 50, 9):
        part = index.candidates(queries[start : start + 9], 7)
        assert all((a[start : start + 9] == b).all() for a, b in zip(whole, part, strict=True))


def test_images_of_the_same_likeness_come_in_order():
    bank = np.repeat(unit(np.random.default_rng(1), 1, 3, 16), 9, 0)
    image, *_ = EmbeddingIndex(bank).candidates(unit(np.random.default_rng(2), 4, 2, 16), 9)
    assert (image == np.arange(9)).all()


def test_half_the_bytes_give_nearly_the_same_likeness(bank):
    queries = unit(np.random.default_rng(2), 5, 4, 16)
    whole = EmbeddingIndex(bank).candidates(queries, 3)
    halved = EmbeddingIndex(bank.astype(np.float16)).candidates(queries, 3)
    assert np.allclose(whole[3], halved[3], atol=5e-4)


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


def test_threads_change_nothing(bank, monkeypatch):
    queries = unit(np.random.default_rng(2), 5, 4, 16)
    engine = CpuEngine(MemoryRows(bank), 3)
    alone = engine.nearest(queries, 5, None)
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    many = engine.nearest(queries, 5, None)
    monkeypatch.undo()
    assert torch.get_num_threads() == before
    assert (np.sort(alone[1]) == np.sort(many[1])).all()


def copies(bank, rng, n, noise):
    """Queries of which one view shows a window of a known image, and that image."""
    right = rng.permutation(len(bank))[:n]
    queries = unit(rng, n, 4, bank.shape[2])
    queries[:, 2] = bank[right, 1] + noise * queries[:, 2]
    return queries / np.linalg.norm(queries, axis=-1, keepdims=True), right


@pytest.fixture(scope="module")
def large():
    return unit(np.random.default_rng(5), 4000, 3, 16)


def test_a_large_bank_is_searched_approximately_where_nothing_is_lost(large, tmp_path: Path):
    queries, right = copies(large, np.random.default_rng(6), 100, 0.2)
    chosen = EmbeddingIndex.choose(large, lambda: (queries, right), 5, above=10_000)
    assert chosen.note.probes > 0
    assert chosen.note.recall >= 0.99
    assert "approximate search of 12,000 vectors (4,000 images x 3 windows)" in chosen.describe()
    assert f"{chosen.note.right} of the {chosen.note.right_exact} copies" in chosen.describe()
    again = EmbeddingIndex(large, lists=chosen.lists, note=chosen.note)
    found = again.candidates(queries, 5)
    assert (found[0][:, 0] == right).mean() >= 0.98
    # What it finds has the exact likeness, not the one of the compressed vectors.
    exact = np.einsum("nvd,nwd->nvw", queries, large[found[0][:, 0]])
    assert np.allclose(found[3][:, 0], exact.max((1, 2)), atol=1e-6)
    barred = np.zeros((100, 4000), dtype=bool)
    barred[np.arange(100), right] = True
    without = again.candidates(queries, 5, barred)[0]
    assert not (without == right[:, None]).any()
    assert (without >= 0).all()


def test_lists_and_notes_of_another_bank_are_refused(large):
    queries, right = copies(large, np.random.default_rng(6), 20, 0.2)
    chosen = EmbeddingIndex.choose(large, lambda: (queries, right), 5, above=10_000)
    with pytest.raises(IntegrityError, match="found 12000 vectors of 16, expected 11997 of 16"):
        EmbeddingIndex(large[1:], lists=chosen.lists, note=chosen.note)
    with pytest.raises(IntegrityError, match="FAISS cannot read"):
        EmbeddingIndex(large, lists=np.arange(100, dtype=np.uint8), note=chosen.note)
    for note, lists in ((chosen.note, None), (None, chosen.lists), (replace(chosen.note, images=7), chosen.lists)):
        with pytest.raises(ValueError, match="another bank or another search"):
            EmbeddingIndex(large, lists=lists, note=note)


def test_approximate_search_that_misses_copies_is_refused(large, monkeypatch):
    queries, right = copies(large, np.random.default_rng(7), 60, 0.7)
    monkeypatch.setattr(index_module, "_PROBES", (1,))
    chosen = EmbeddingIndex.choose(large, lambda: (queries, right), 5, above=10_000)
    assert chosen.note.recall < 0.99
    assert chosen.lists is None
    refused = f"refused, since it found only {chosen.note.right} of the {chosen.note.right_exact} copies"
    assert refused in chosen.describe()
    assert (chosen.candidates(queries, 5)[0] == EmbeddingIndex(large).candidates(queries, 5)[0]).all()


def test_without_anything_found_approximate_search_is_refused(large):
    queries = unit(np.random.default_rng(8), 5, 4, 16)
    chosen = EmbeddingIndex.choose(large, lambda: (queries, np.full(5, -7)), 1, above=10_000)
    assert chosen.lists is None
    assert "refused" in chosen.describe()


def test_a_small_bank_asks_for_no_copies(bank):
    def sample():
        raise AssertionError("asked")

    chosen = EmbeddingIndex.choose(bank, sample, 5)
    assert chosen.lists is None
    assert chosen.describe().startswith("exact search of 120 vectors (40 images x 3 windows), on the ")


MEASURE = """
from pathlib import Path
import numpy as np, torch
from audits.memorisation.engines import CpuEngine
from audits.memorisation.rows import RowWriter

def held():
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0]) * 1024

def unit(seed, *shape):
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)

torch.set_num_threads(1)
writer = RowWriter.unnamed((60_000, 8, 64), np.float16)
for seed in range(60):
    writer.append(unit(seed, 1000, 8, 64).astype(np.float16))
engine = CpuEngine(writer.finish())
queries = unit(61, 8, 2, 64)
engine.nearest(queries, 5, None)
before, peak, read = held(), [], engine._bank.read

def watched(start, stop):
    peak.append(held())
    return read(start, stop)

engine._bank.read = watched
engine.nearest(queries, 5, None)
print(len(peak), max(peak) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells memory as Linux does")
def test_a_bank_on_disk_is_searched_without_being_held():
    # A process of its own: in one that ran other tests, memory they gave back is taken again.
    run = subprocess.run(
        [sys.executable, "-c", MEASURE],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    reads, grown = map(int, run.stdout.split())
    assert reads > 10
    assert grown < 2**24 < 60_000 * 8 * 64 * 2 // 3
