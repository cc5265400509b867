"""The SQLite file itself, edited byte by byte, cut off, exchanged."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from synguard.errors import IntegrityError, SynguardError
from synguard.governance.ledger import Ledger
from tests.synguard.governance.ledger.conftest import filled


@pytest.fixture
def file(tmp_path: Path) -> Path:
    filled(Ledger.open(tmp_path / "ledger.sqlite"))
    return tmp_path / "ledger.sqlite"


def judged(file: Path) -> str:
    try:
        return "; ".join(map(str, Ledger.open(file, create=False, check=False).verify()))
    except SynguardError as error:
        return str(error)


def test_flipped_bytes_are_found_or_change_no_record(file: Path):
    """SQLite's format has bytes that no record depends on (free space, counters); in all others a flip is found."""
    whole = file.read_bytes()
    before = Ledger.open(file).entries()
    found, chosen = 0, random.Random(1)
    used = [place for place in range(len(whole)) if whole[place]]
    for place in chosen.sample(used, 150):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chosen.randrange(8)]) + whole[place + 1 :])
        if judged(file):
            found += 1
        else:
            assert Ledger.open(file).entries() == before, f"byte {place}"
    assert found > 100


def test_every_byte_of_a_record_counts(file: Path):
    whole = file.read_bytes()
    start = whole.index(b'"status": "fail"') - 60
    for place in range(start, start + 80):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert judged(file), f"byte {place}"


@pytest.mark.parametrize("left", [0, 1, 100, 4096, 5000])
def test_a_file_cut_off_is_found(file: Path, left: int):
    file.write_bytes(file.read_bytes()[:left])
    assert judged(file)
    with pytest.raises(IntegrityError):
        Ledger.open(file)


def test_an_older_copy_put_back_is_found(file: Path, tmp_path: Path):
    shutil.copyfile(file, tmp_path / "older")
    Ledger.open(file).append("attempt", {"run": "c", "sets": []})
    shutil.copyfile(tmp_path / "older", file)
    with pytest.raises(IntegrityError, match="of entry 13, the ledger ends with entry 12"):
        Ledger.open(file)
    assert "truncated" in judged(file)


def test_another_ledger_put_in_its_place_is_found(file: Path, tmp_path: Path):
    Ledger.open(tmp_path / "other.sqlite")
    shutil.copyfile(tmp_path / "other.sqlite", file)
    with pytest.raises(IntegrityError, match="is of ledger"):
        Ledger.open(file)
    assert "replaced" in judged(file)
