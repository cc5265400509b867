"""What is sealed comes back whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audits.memorisation.private_files import create, open_private
from audits.memorisation.rows import RowWriter, open_rows
from audits.memorisation.sealing import Key
from synguard.errors import InputError, IntegrityError

KEY = Key(bytes(range(32)))
CHUNK, TAG, HEADER = 2**16, 16, 48


def seal(folder: Path, data: bytes, name: str = "bank", key: Key = KEY) -> Path:
    writer = create(folder, name, key)
    writer.write(data)
    writer.close()
    return folder / f"{name}.enc"


def unseal(folder: Path, name: str = "bank", key: Key = KEY) -> bytes:
    reader = open_private(folder, name, key)
    found = bytearray(reader.length)
    reader.read_into(0, memoryview(found))
    return bytes(found)


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17])
def test_what_was_sealed_comes_back(tmp_path, length):
    data = os.urandom(length)
    path = seal(tmp_path, data)
    assert unseal(tmp_path) == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert length < 64 or data[:64] not in path.read_bytes()


@settings(max_examples=30)
@given(parts=st.lists(st.integers(0, 100_000), max_size=5), start=st.floats(0, 1), stop=st.floats(0, 1))
def test_any_part_can_be_read_however_it_was_written(tmp_path_factory, parts, start, stop):
    folder = tmp_path_factory.mktemp("sealed")
    data = os.urandom(sum(parts))
    writer = create(folder, "bank", KEY)
    done = 0
    for part in parts:
        writer.write(data[done : done + part])
        done += part
    writer.close()
    low, high = sorted((int(start * len(data)), int(stop * len(data))))
    out = bytearray(high - low)
    open_private(folder, "bank", KEY).read_into(low, memoryview(out))
    assert bytes(out) == data[low:high]


def chunk(data: bytes, number: int) -> slice:
    start = HEADER + number * (CHUNK + TAG)
    return slice(start, min(start + CHUNK + TAG, len(data)))


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


ALTERED = {
    "a bit of the first chunk": lambda data: flip(data, HEADER + 5),
    "a bit of the salt": lambda data: flip(data, 20),
    "a bit of the last tag": lambda data: flip(data, len(data) - 1),
    "chunks swapped": lambda data: data[:HEADER] + data[chunk(data, 1)] + data[chunk(data, 0)] + data[chunk(data, 2)],
    "a chunk left out": lambda data: data[:HEADER] + data[chunk(data, 1).start :],
    "the last chunk cut off": lambda data: data[: chunk(data, 2).start],
    "some bytes cut off": lambda data: data[:-7],
    "a chunk twice": lambda data: data[: chunk(data, 1).start] + data[chunk(data, 0)] + data[chunk(data, 1).start :],
    "bytes behind the end": lambda data: data + bytes(40),
    "another magic": lambda data: b"X" + data[1:],
    "the header alone": lambda data: data[:HEADER],
    "nothing left": lambda data: b"",
}  # fmt: skip


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_a_file_that_was_changed_is_refused(tmp_path, change):
    path = seal(tmp_path, os.urandom(2 * CHUNK + 500))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(IntegrityError, match=r"bank\.enc: found .* expected"):
        unseal(tmp_path)


def test_another_key_and_another_name_are_refused(tmp_path):
    path = seal(tmp_path, b"secret" * 100)
    with pytest.raises(IntegrityError, match="this key did not write"):
        unseal(tmp_path, key=Key(bytes(32)))
    path.rename(tmp_path / "calibration.enc")
    with pytest.raises(IntegrityError, match="this key did not write"):
        unseal(tmp_path, "calibration")


def test_a_chunk_of_another_file_under_the_same_key_is_refused(tmp_path):
    one, two = seal(tmp_path, bytes(2 * CHUNK), "one"), seal(tmp_path, bytes(2 * CHUNK), "two")
    data = one.read_bytes()
    one.write_bytes(data[:HEADER] + two.read_bytes()[HEADER : HEADER + CHUNK + TAG] + data[chunk(data, 1).start :])
    with pytest.raises(IntegrityError, match="chunk 0"):
        unseal(tmp_path, "one")


def test_the_same_content_is_never_sealed_the_same_way(tmp_path):
    assert seal(tmp_path, bytes(100), "one").read_bytes() != seal(tmp_path, bytes(100), "two").read_bytes()


def test_sealed_rows_are_read_as_plain_ones(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 3, 40)).astype(np.float16)
    for name, key in (("plain", None), ("sealed", KEY)):
        writer = RowWriter.named(tmp_path, name, values.shape, values.dtype, key)
        for start in range(0, 500, 33):
            writer.append(values[start : start + 33])
        writer.finish()
        rows = open_rows(tmp_path, name, key)
        assert (rows.shape, rows.dtype, len(rows)) == (values.shape, values.dtype, 500)
        assert (rows.read(20, 70) == values[20:70]).all()
        assert (rows.read(490, 600) == values[490:]).all()
        asked = np.array([[499, 0, 7], [7, 8, 499]])
        assert (rows.take(asked) == values[asked]).all()
    assert (np.load(tmp_path / "plain.npy") == values).all()


def test_rows_that_are_missing_or_too_many_are_an_error(tmp_path):
    writer = RowWriter.named(tmp_path, "bank", (5, 2), np.float32, None)
    writer.append(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="expected"):
        writer.append(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="found 3 rows, expected 5"):
        writer.finish()


@pytest.mark.parametrize(
    "content",
    [b"", b"not an array", np.lib.format.magic(1, 0) + b"\x05\x00{'a'", b"\x93NUMPY\x02\x00" + bytes(200)],
    ids=["empty", "text", "cut", "other version"],
)
def test_a_file_that_is_no_array_is_refused(tmp_path, content):
    (tmp_path / "bank.npy").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"bank\.npy: found .* expected an array"):
        open_rows(tmp_path, "bank", None)


def test_an_array_of_objects_or_of_another_length_is_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(np.ones((3, 4))))
    np.save(tmp_path / "short.npy", np.ones((30, 4)))
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:-8])
    for name in ("objects", "fortran", "short"):
        with pytest.raises(IntegrityError, match="expected an array"):
            open_rows(tmp_path, name, None)


def test_a_key_is_made_once_and_read_again(tmp_path):
    path = tmp_path / "key"
    made = Key.create(path)
    assert Key.read(path) == made
    assert len(path.read_bytes()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.secret.hex() not in repr(made)
    assert made.fingerprint not in made.secret.hex()
    with pytest.raises(InputError, match="File exists"):
        Key.create(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o700 | 0o010])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "key"
    Key.create(path)
    path.chmod(mode)
    with pytest.raises(InputError, match=f"the rights {mode:o}.*expected"):
        Key.read(path)


def test_what_is_no_key_is_refused(tmp_path):
    for name, content in (("short", bytes(31)), ("long", bytes(33)), ("text", b"0" * 64)):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(InputError, match=f"{len(content)} bytes, expected a file of 32 random bytes"):
            Key.read(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(InputError, match="no regular file"):
        Key.read(tmp_path / "pipe")
    with pytest.raises(InputError, match="No such file"):
        Key.read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no regular file"):
        Key.read(tmp_path)
