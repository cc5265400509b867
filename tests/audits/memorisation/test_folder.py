from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

from audits.memorisation.folder import (
    HOLDOUT_NOTE,
    IndexWriter,
    faults,
    is_index,
    load_index,
    open_index,
    read_meta,
    read_note,
    save_index,
    write_note,
)
from audits.memorisation.sealing import Key
from synguard.errors import InputError, IntegrityError
from tests.support.cli import environment

IDENTITY = {"encoder": {"name": "a", "version": 1}, "private set": "abc"}
KEY, OTHER = Key(bytes(range(32))), Key(bytes(32))
RECORD = {"answer": 42, "copies": ["holdout-7.png"]}


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def key(request):
    return request.param


@pytest.fixture
def folder(tmp_path, key):
    path = tmp_path / "deep" / "index"
    save_index(path, IDENTITY, {"bank": np.arange(6.0).reshape(2, 3), "calibration": np.arange(4)}, RECORD, key)
    return path


def bank_of(folder):
    return next(path for path in folder.iterdir() if path.name.startswith("bank.npy"))


def test_what_was_saved_comes_back(folder, key):
    arrays, record = load_index(folder, IDENTITY, key)
    assert is_index(folder)
    assert arrays["bank"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["calibration"].tolist() == [0, 1, 2, 3]
    assert record == RECORD


def test_rows_are_read_as_they_are_needed(folder, key):
    stored = open_index(folder, IDENTITY, key)
    assert stored.arrays["bank"].take(np.array([1, 1])).tolist() == [[3, 4, 5], [3, 4, 5]]
    assert stored.array("calibration").tolist() == [0, 1, 2, 3]


def test_rows_can_be_read_before_the_index_is_whole_and_after(tmp_path, key):
    values = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    with IndexWriter(tmp_path / "index", IDENTITY, key) as made:
        writer = made.rows("bank", values.shape, np.float32)
        for start in range(0, 100, 30):
            writer.append(values[start : start + 30])
        rows = writer.finish()
        assert (rows.read(10, 20) == values[10:20]).all()
        assert not is_index(tmp_path / "index")
    assert is_index(tmp_path / "index")
    assert (rows.read(90, 100) == values[90:]).all()


def test_nobody_else_may_read_it(folder, key):
    write_note(folder, HOLDOUT_NOTE, [1], key)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert faults(folder, read_meta(folder), key) == []


def test_an_encrypted_index_shows_digests_only(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 4))
    save_index(tmp_path / "index", IDENTITY, {"bank": values}, RECORD, KEY)
    write_note(tmp_path / "index", HOLDOUT_NOTE, ["holdout-8.png"], KEY)
    content = b"".join(path.read_bytes() for path in (tmp_path / "index").iterdir())
    assert values.tobytes()[:64] not in content
    assert b"holdout-7" not in content
    assert b"holdout-8" not in content
    assert KEY.secret not in content
    assert {path.name for path in (tmp_path / "index").iterdir()} == {
        "bank.npy.enc", "record.json.enc", "meta.json", "holdout_near_copies.json.enc",
    }  # fmt: skip


@pytest.mark.parametrize("other", [{"encoder": {"name": "a", "version": 2}}, {"private set": "abd"}])
def test_an_index_of_something_else_is_refused(folder, key, other):
    with pytest.raises(IntegrityError, match=next(iter(other))):
        load_index(folder, {**IDENTITY, **other}, key)


def test_an_altered_array_is_refused(folder, key):
    path = bank_of(folder)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="another content"):
        load_index(folder, IDENTITY, key)


def test_a_cut_array_is_refused(folder, key):
    path = bank_of(folder)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(IntegrityError, match="another content"):
        load_index(folder, IDENTITY, key)


def test_a_missing_array_and_a_broken_record_are_refused(folder, key):
    bank_of(folder).unlink()
    with pytest.raises(IntegrityError, match=r"bank\.npy"):
        load_index(folder, IDENTITY, key)
    (folder / "meta.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(IntegrityError, match="no readable record"):
        load_index(folder, IDENTITY, key)


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta.update(format=99),
        lambda meta: meta["files"].update({"../../outside": "0"}),
        lambda meta: meta["arrays"].append("../../outside"),
        lambda meta: meta.update(files=7),
        lambda meta: meta.update(arrays=None),
        lambda meta: meta.update(identity="abc"),
        lambda meta: meta.pop("encrypted"),
        lambda meta: meta.update(encrypted=3),
    ],
    ids=["format", "file outside", "array outside", "files", "arrays", "identity", "no word of a key", "encrypted"],
)
def test_a_hostile_record_is_refused(folder, key, change):
    meta = json.loads((folder / "meta.json").read_text())
    change(meta)
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(IntegrityError, match=r"found .*expected"):
        load_index(folder, IDENTITY, key)


def test_a_record_that_was_altered_without_the_key_is_refused(tmp_path):
    save_index(tmp_path / "index", IDENTITY, {"bank": np.ones(3)}, RECORD, KEY)
    path = tmp_path / "index" / "meta.json"
    path.write_text(path.read_text().replace('"abc"', '"abd"'))
    with pytest.raises(IntegrityError, match="a record that was altered"):
        load_index(tmp_path / "index", {"private set": "abd"}, KEY)


def test_the_record_of_another_index_under_the_same_key_is_refused(tmp_path):
    for name, answer in (("one", 1), ("two", 2)):
        save_index(tmp_path / name, IDENTITY, {"bank": np.ones(3)}, answer, KEY)
    shutil.copyfile(tmp_path / "one" / "record.json.enc", tmp_path / "two" / "record.json.enc")
    with pytest.raises(IntegrityError, match="another content"):
        load_index(tmp_path / "two", IDENTITY, KEY)


def test_the_right_key_is_asked_for(tmp_path):
    save_index(tmp_path / "sealed", IDENTITY, {"bank": np.ones(3)}, RECORD, KEY)
    save_index(tmp_path / "plain", IDENTITY, {"bank": np.ones(3)}, RECORD)
    with pytest.raises(InputError, match=f"an encrypted index, expected its key {KEY.fingerprint}"):
        load_index(tmp_path / "sealed", IDENTITY)
    with pytest.raises(IntegrityError, match=f"under the key {KEY.fingerprint}, expected .* {OTHER.fingerprint}"):
        load_index(tmp_path / "sealed", IDENTITY, OTHER)
    with pytest.raises(IntegrityError, match="an index that is not encrypted"):
        load_index(tmp_path / "plain", IDENTITY, KEY)


def test_notes_come_back(folder, key):
    assert read_note(folder, HOLDOUT_NOTE, key) is None
    write_note(folder, HOLDOUT_NOTE, [{"file": "a"}], key)
    write_note(folder, HOLDOUT_NOTE, [{"file": "b"}], key)
    assert read_note(folder, HOLDOUT_NOTE, key) == [{"file": "b"}]
    assert list(folder.parent.iterdir()) == [folder]
    path = next(path for path in folder.iterdir() if path.name.startswith(HOLDOUT_NOTE))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(IntegrityError, match=HOLDOUT_NOTE):
        read_note(folder, HOLDOUT_NOTE, key)


def test_every_fault_is_named(folder, key):
    bank_of(folder).chmod(0o644)
    folder.chmod(0o755)
    (folder / "copy.npy").write_bytes(b"")
    found = "\n".join(faults(folder, read_meta(folder), key))
    assert "755" in found
    assert "644" in found
    assert "copy.npy: found a file that is no part of the index" in found


def test_an_error_half_way_leaves_nothing(tmp_path, key):
    def build():
        with IndexWriter(tmp_path / "index", IDENTITY, key) as made:
            made.add("bank", np.ones(3))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        build()
    assert list(tmp_path.iterdir()) == []


def test_an_array_that_was_never_finished_leaves_nothing(tmp_path, key):
    with pytest.raises(ValueError, match="unfinished"), IndexWriter(tmp_path / "index", IDENTITY, key) as made:
        made.rows("bank", (5, 2), np.float32)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from audits.memorisation.folder import IndexWriter
with IndexWriter(Path(sys.argv[1]), {}) as made:
    made.add("calibration", np.ones(3))
    made.rows("bank", (1000, 64), np.float32).append(np.ones((500, 64)))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_build_leaves_no_index_and_the_next_one_sweeps_up(tmp_path):
    target = tmp_path / "index"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False, env=environment())
    assert ended.returncode == -signal.SIGKILL
    assert not target.exists()
    left = list(tmp_path.iterdir())
    assert [stat.S_IMODE(path.stat().st_mode) for path in left] == [0o700]
    save_index(target, IDENTITY, {"bank": np.ones(3)}, RECORD)
    assert list(tmp_path.iterdir()) == [target]


def test_links_are_not_followed_when_writing(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").write_text("mine")
    with IndexWriter(tmp_path / "index", IDENTITY) as made:
        (made._partial / "bank.npy").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(FileExistsError):
            made.add("bank", np.ones(3))
        made._arrays.clear()
        (made._partial / "bank.npy").unlink()
    assert (tmp_path / "elsewhere").read_text() == "mine"
