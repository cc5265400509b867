"""The three searches: on disk, kept and restored, and built in a memory that does not grow with the private set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from audits.memorisation import index as index_module
from audits.memorisation import vectors as vectors_module
from audits.memorisation.folder import IndexWriter, open_index
from audits.memorisation.sealing import Key
from audits.memorisation.search import Search
from audits.memorisation.store import Joined, PictureStore
from tests.support.textures import textures

PIXELS = textures(150, 1)
KEY = Key(bytes(range(32)))


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize("key", [None, KEY])
def test_a_search_is_the_same_when_it_was_kept(approximate, key, tmp_path, monkeypatch):
    if approximate:
        monkeypatch.setattr(index_module, "APPROXIMATE_FROM", {"cpu": 100, "gpu": 100})
        monkeypatch.setattr(index_module, "_RECALL", 0.5)
        monkeypatch.setattr(vectors_module, "EXACT_UP_TO", 100)
    originals = PictureStore(PIXELS, in_memory=0)
    with IndexWriter(tmp_path / "index", {}, key) as made:
        built = Search.build(originals, Joined([originals]), 0, make=made.rows)
        for name, array in built.arrays():
            made.add(name, array)
        made.record = built.notes
    stored = open_index(tmp_path / "index", {}, key)
    restored = Search.restore(stored, stored.record)
    assert built.exact == restored.exact == (not approximate)
    assert restored.describe() == built.describe()
    assert ("windows-lists" in stored.arrays) == ("keypoints-lists" in stored.arrays) == approximate
    queries = originals.take(np.arange(40)).grey
    for first, second in zip(
        *(search.starts(queries, 5, None, lambda phase: None) for search in (built, restored)), strict=True
    ):
        assert torch.equal(first.image, second.image)
        assert torch.equal(first.maps, second.maps)
        assert torch.equal(first.likeness, second.likeness)
        assert (first.image[:, 0] == torch.arange(40)).float().mean() > 0.9
    assert built.keypoints.bank.descriptors.dtype == np.float16
    assert (built.keypoints.bank.sign != 0).all()


def test_several_stores_count_as_one():
    stores = [PictureStore(PIXELS[:20]), PictureStore(PIXELS[:0]), PictureStore(PIXELS[20:50])]
    rows = np.array([49, 3, 20, 3, 0, 19])
    joined = Joined(stores)
    assert len(joined) == 50
    assert torch.equal(joined.take(rows).grey, PictureStore(PIXELS).take(rows).grey)
    assert torch.equal(joined.take(rows).colour, PictureStore(PIXELS).take(rows).colour)


MEASURE = """
import json, sys
from pathlib import Path
import numpy as np, torch
from audits.memorisation.folder import IndexWriter
from audits.memorisation.search import Search
from audits.memorisation.store import Joined, PictureStore

def held():
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0]) * 1024

torch.set_num_threads(1)
pixels = np.load(sys.argv[1], mmap_mode="r")
peaks = []
def build(n):
    store, peak = PictureStore(pixels[:n], in_memory=0), [0]
    with IndexWriter(Path(sys.argv[2]) / str(n), {}) as made:
        search = Search.build(store, Joined([store]), 0, make=made.rows, report=lambda *_: peak.append(held()))
        peak.append(held())
        return max(peak), len(search.keypoints.bank.sign)
build(300)
before = held()
print(json.dumps([(peak - before, points) for peak, points in map(build, (1000, 4000))]))
"""


@pytest.mark.system
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells memory as Linux does")
def test_the_index_of_many_images_is_built_in_little_memory(tmp_path):
    """4,000 images as floats, with their descriptors, would take 100 MB."""
    pixels = np.lib.format.open_memmap(tmp_path / "pixels.npy", "w+", np.uint8, (4000, 32, 32, 3))
    for start in range(0, 4000, 500):
        pixels[start : start + 500] = textures(500, start)
    pixels.flush()
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "pixels.npy"), str(tmp_path)],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    (half, some), (whole, all_of_them) = json.loads(run.stdout)
    assert whole < 64 * 2**20
    # Of each image its keypoints alone: as float32, up to a million in all, and their places; twice while they are joined.
    assert whole - half < 2**22 + 2 * (all_of_them - some) * (64 * 4 + 15)
