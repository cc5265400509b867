from __future__ import annotations

import json
import stat

import numpy as np
import pytest

from audits.memorisation.folder import is_index, load_index, save_index
from synguard.errors import IntegrityError

IDENTITY = {"encoder": {"name": "a", "version": 1}, "private set": "abc"}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "deep" / "index"
    save_index(path, IDENTITY, {"bank": np.arange(6.0).reshape(2, 3)}, {"answer": 42})
    return path


def test_what_was_saved_comes_back(folder):
    arrays, record = load_index(folder, IDENTITY)
    assert is_index(folder)
    assert arrays["bank"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert record == {"answer": 42}


def test_nobody_else_may_read_it(folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("other", [{"encoder": {"name": "a", "version": 2}}, {"private set": "abd"}])
def test_an_index_of_something_else_is_refused(folder, other):
    with pytest.raises(IntegrityError, match=next(iter(other))):
        load_index(folder, {**IDENTITY, **other})


def test_an_altered_array_is_refused(folder):
    path = folder / "bank.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="another content"):
        load_index(folder, IDENTITY)


def test_a_missing_array_and_a_broken_record_are_refused(folder):
    (folder / "bank.npy").unlink()
    with pytest.raises(IntegrityError, match=r"bank\.npy"):
        load_index(folder, IDENTITY)
    (folder / "meta.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(IntegrityError, match="no readable record"):
        load_index(folder, IDENTITY)
