from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from audits.diagnostic import TrainedModel, load
from synguard.errors import InputError, IntegrityError
from tests.support.squares import model, squares


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model().save(tmp_path / "diagnostic")
    return tmp_path / "diagnostic"


def test_loaded_reads_the_same(saved: Path) -> None:
    pixels = squares(20, 1).pixels
    loaded = load(saved)
    for name, values in model().predict(pixels).items():
        np.testing.assert_array_equal(loaded.predict(pixels)[name], values)
    np.testing.assert_array_equal(loaded.features(pixels), model().features(pixels))
    assert loaded.record == model().record
    assert loaded.digest == model().digest == hashlib.sha256((saved / "diagnostic.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["pickle", "zip"])
def test_a_pickle_is_refused_unread(saved: Path, kind: str) -> None:
    path = saved / "diagnostic.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"weights": 1}))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", b"x")
    with pytest.raises(InputError, match=r"diagnostic.safetensors: found a pickle/zip, expected safetensors"):
        load(saved)


def test_a_header_as_long_as_a_pickle_begins_is_none(tmp_path: Path) -> None:
    """The length stands first: of 32 models one has a header whose length begins like a pickle."""
    made = model()
    longer = (TrainedModel(made._network, made.heads, {**made.record, "note": "x" * n}) for n in range(256))
    chosen = next(one for one in longer if one._bytes[:1] == b"\x80")
    chosen.save(tmp_path)
    assert load(tmp_path).digest == chosen.digest


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_anything_else_is_refused(saved: Path, content: bytes) -> None:
    (saved / "diagnostic.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="expected safetensors"):
        load(saved)


def test_changed_weights_are_an_integrity_error(saved: Path) -> None:
    path = saved / "diagnostic.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match="found sha256"):
        load(saved)


def test_missing_and_broken_cards_are_named(saved: Path) -> None:
    card = saved / "diagnostic.json"
    card.write_text("{")
    with pytest.raises(InputError, match=r"diagnostic.json: found no readable sha256"):
        load(saved)
    card.unlink()
    with pytest.raises(InputError, match=r"diagnostic.json: found nothing"):
        load(saved)


def test_the_card_says_how_it_was_trained(saved: Path) -> None:
    card = json.loads((saved / "diagnostic.json").read_text())
    assert card["steps"] == 250
    assert [head["name"] for head in card["heads"]] == ["colour", "side", "hole", "light"]


def test_images_of_another_size_are_brought_to_its_own() -> None:
    pixels = squares(50, 2).pixels
    larger = np.repeat(np.repeat(pixels, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(model().predict(larger)["colour"], model().predict(pixels)["colour"], atol=1e-5)
