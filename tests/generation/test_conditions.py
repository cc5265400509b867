"""Conditions as numbers."""

import numpy as np
import pandas as pd
import pytest

from generation.conditions import ConditionEncoder
from synguard.config import AttributeConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError

SCHEMA = ConditionSchema(
    (
        AttributeConfig(name="is_gc", kind="binary"),
        AttributeConfig(name="grade", kind="ordinal", levels=("0", "1", "2", "3")),
        AttributeConfig(name="dx", kind="categorical", levels=("nv", "mel")),
        AttributeConfig(name="age", kind="continuous", range=(0, 100)),
        AttributeConfig(name="note", kind="text"),
    )
)


def frame(**columns):
    full = {"is_gc": [None], "grade": [None], "dx": [None], "age": [None], "note": [None]} | columns
    n = max(len(values) for values in full.values())
    return pd.DataFrame({name: values if len(values) == n else values * n for name, values in full.items()})


def encoder(schema=SCHEMA, data=None):
    data = frame() if data is None else data
    return ConditionEncoder.of(schema, schema.parse(data, "private"))


def test_known_codes():
    encoded = encoder().encode(frame(is_gc=[1, 0, None], grade=["2", "0", None], dx=["mel", "nv", None], age=[50, 0, None]))
    binary, ordinal, categorical, age = np.split(encoded[:, : 2 + 4 + 3 + 10], [2, 6, 9], axis=1)
    assert binary.tolist() == [[1, 1], [-1, 1], [0, 0]]
    assert ordinal.tolist() == [[1, 1, -1, 1], [-1, -1, -1, 1], [0, 0, 0, 0]]
    assert categorical.tolist() == [[0, 1, 1], [1, 0, 1], [0, 0, 0]]
    assert age[0] == pytest.approx([0, 1, 0, 0, 0, 0, -1, 1, 1, 1], abs=1e-6)
    assert age[1] == pytest.approx([-1, 0, 0, 0, 0, 1, 1, 1, 1, 1], abs=1e-6)
    assert not encoded[2].any()
    assert encoded.shape[1] == encoder().dimension
    assert encoded.dtype == np.float32


def test_words_are_what_makes_texts_alike():
    texts = encoder().encode(frame(note=["left eye, haemorrhage", "Haemorrhage left eye", "right eye"]))[:, -65:]
    assert np.array_equal(texts[0], texts[1])
    assert not np.allclose(texts[0], texts[2])
    assert np.linalg.norm(texts[:, :-1], axis=1) == pytest.approx(1)


def test_unknown_values_and_columns_are_refused():
    with pytest.raises(InputError, match=r"conditions.*grade.*'9'.*0, 1, 2, 3"):
        encoder().encode(frame(grade=["9"]))
    with pytest.raises(InputError, match="dx"):
        encoder().encode(frame().drop(columns="dx"))


def test_range_of_continuous_comes_from_the_data_where_none_is_given():
    schema = ConditionSchema((AttributeConfig(name="age", kind="continuous"),))
    fitted = encoder(schema, frame(age=[20, 60, None]))
    assert fitted.attributes[0]["range"] == [20, 60]
    assert fitted.encode(frame(age=[40]))[0, 0] == 0
    with pytest.raises(InputError, match=r"age.*found 61"):
        fitted.encode(frame(age=[61]))
    with pytest.raises(InputError, match="no value and no range"):
        encoder(schema, frame())


def test_numbers_are_standardised_by_the_known_training_values():
    data = frame(is_gc=[1] + [0] * 9 + [None], note=["left"] * 11)
    encoded = encoder(SCHEMA, data).encode(data)[:, :2]
    assert encoded[:10, 0].mean() == pytest.approx(0, abs=1e-6)
    assert encoded[:10, 0].std() == pytest.approx(1, abs=1e-5)
    assert encoded[0].tolist() == pytest.approx([3, 1], abs=1e-5)
    assert not encoded[10].any()
    # What never varies in training is not blown up when it does.
    rare = frame(is_gc=[1] * 10)
    assert encoder(SCHEMA, rare).encode(frame(is_gc=[1, 0]))[:, 0].tolist() == [0, -10]


def test_dropout_hides_whole_attributes_in_the_shares_asked_for():
    n = 20_000
    fitted = encoder()
    kept = fitted.kept(n, 0.1, np.random.default_rng(0))
    edges = np.cumsum([2, 4, 3, 10, 65])[:-1]
    per_attribute = np.stack([part.mean(1) for part in np.split(kept, edges, axis=1)], axis=1)
    assert set(np.unique(per_attribute)) == {0, 1}
    # A tenth loses everything; of another tenth, each attribute is lost with a uniform chance: all five in one of six.
    assert (per_attribute.sum(1) == 0).mean() == pytest.approx(0.1 + 0.1 / 6, abs=0.01)
    assert (per_attribute.sum(1) == 5).mean() == pytest.approx(0.8 + 0.1 / 6, abs=0.01)
    assert per_attribute.mean(0) == pytest.approx([0.85] * 5, abs=0.01)
    assert fitted.kept(n, 0.0, np.random.default_rng(0)).all()


def test_no_attributes():
    empty = encoder(ConditionSchema())
    assert empty.encode(frame(grade=["1", "2"])).shape == (2, 0)
    assert empty.kept(5, 0.1, np.random.default_rng(0)).shape == (5, 0)
