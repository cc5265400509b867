"""The condition schema: typed values, one-line errors, and what is read off shared columns."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.config import AttributeConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import ConfigError, InputError

SCHEMA = ConditionSchema(
    (
        AttributeConfig(name="sick", kind="binary"),
        AttributeConfig(name="sex", kind="binary", levels=("female", "male")),
        AttributeConfig(name="grade", kind="ordinal", levels=("0", "1", "2")),
        AttributeConfig(name="site", kind="categorical", levels=("arm", "leg")),
        AttributeConfig(name="age", kind="continuous", range=(0, 120)),
        AttributeConfig(name="note", kind="text"),
    )
)


def _metadata(**columns):
    rows = {
        "file_name": ["a.png", "b.png", "c.png"],
        "sick": ["1", None, "0"],
        "sex": ["male", "female", None],
        "grade": ["2", "0", None],
        "site": [None, "leg", "arm"],
        "age": ["61.5", None, "7"],
        "note": ["x y", None, "z"],
    }
    return pd.DataFrame({name: pd.array(values, dtype="string") for name, values in {**rows, **columns}.items() if values})


class TestParse:
    def test_types_and_missing_values(self):
        frame = SCHEMA.parse(_metadata(), "private")
        assert [str(dtype) for dtype in frame.dtypes] == ["Int8", "Int8", "string", "string", "Float64", "string"]
        assert frame.iloc[0, [0, 1, 2, 4, 5]].tolist() == [1, 1, "2", 61.5, "x y"]
        assert frame.isna().sum().tolist() == [1, 1, 1, 1, 1, 1]

    def test_codes(self):
        frame = SCHEMA.parse(_metadata(), "private")
        for name, expected in {
            "sex": [1, 0, np.nan],
            "grade": [2, 0, np.nan],
            "site": [np.nan, 1, 0],
            "age": [61.5, np.nan, 7],
        }.items():
            np.testing.assert_array_equal(SCHEMA.codes(frame, name), expected)
        with pytest.raises(ValueError, match="note"):
            SCHEMA.codes(frame, "note")

    def test_of_a_typed_frame_is_the_frame(self):
        frame = SCHEMA.parse(_metadata(), "private")
        pd.testing.assert_frame_equal(SCHEMA.parse(frame, "private"), frame)

    def test_numbers_may_be_written_differently(self):
        metadata = pd.DataFrame({"grade": [2.0, np.nan, 1.0], "sick": [True, False, None]})
        frame = ConditionSchema((SCHEMA.attribute("grade"), SCHEMA.attribute("sick"))).parse(metadata, "private")
        assert frame["grade"].fillna("none").tolist() == ["2", "none", "1"]
        assert frame["sick"].fillna(9).tolist() == [1, 0, 9]

    @pytest.mark.parametrize(
        ("column", "value", "message"),
        [
            ("grade", "3", r"private row 2 \(b.png\), column grade: found '3', expected one of 0, 1, 2"),
            ("grade", "0.5", "column grade: found '0.5'"),
            ("site", "Leg", "column site: found 'Leg', expected one of arm, leg"),
            ("sick", "2", "column sick: found '2', expected one of 0, 1"),
            ("sex", "other", "column sex: found 'other', expected one of female, male"),
            ("age", "old", "column age: found 'old', expected a number from 0 to 120"),
            ("age", "121", "column age: found '121', expected a number from 0 to 120"),
            ("age", "nan", "column age: found 'nan'"),
        ],
    )
    def test_what_is_no_value_is_named(self, column, value, message):
        with pytest.raises(InputError, match=message):
            SCHEMA.parse(_metadata(**{column: [None, value, None]}), "private")

    def test_missing_column(self):
        with pytest.raises(InputError, match=r"private: found the columns file_name, sick, .* expected a column 'grade'"):
            SCHEMA.parse(_metadata(grade=None), "private")

    def test_empty_schema(self):
        assert ConditionSchema().parse(_metadata(), "private").shape == (3, 0)


class TestSchema:
    def test_levels_and_discrete(self):
        assert SCHEMA.levels("sick") == ("0", "1")
        assert SCHEMA.levels("sex") == ("female", "male")
        assert SCHEMA.levels("age") == ()
        assert [attribute.name for attribute in SCHEMA.discrete] == ["sick", "sex", "grade", "site"]

    def test_digest_depends_on_everything(self):
        changed = [
            ConditionSchema(SCHEMA.attributes[::-1]),
            ConditionSchema(
                (
                    *SCHEMA.attributes[:2],
                    SCHEMA.attributes[2].model_copy(update={"levels": ("0", "2", "1")}),
                    *SCHEMA.attributes[3:],
                )
            ),
            ConditionSchema(SCHEMA.attributes[:-1]),
        ]
        assert len({SCHEMA.digest, *(schema.digest for schema in changed)}) == 4
        assert ConditionSchema(SCHEMA.attributes).digest == SCHEMA.digest

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kind": "ordinal"}, r"conditions.x.levels: found fewer than two, expected the levels of ordinal x"),
            ({"kind": "categorical", "levels": ("a", "a")}, "found a level twice"),
            ({"kind": "binary", "levels": ("a", "b", "c")}, "found 3, expected two: negative, positive"),
            ({"kind": "continuous", "levels": ("a", "b")}, "found levels, expected none"),
            ({"kind": "continuous", "range": (1, 1)}, r"conditions.x.range: found \[1.0, 1.0\], expected smallest, largest"),
        ],
    )
    def test_bad_attributes(self, options, message):
        with pytest.raises(ConfigError, match=message):
            ConditionSchema((AttributeConfig(name="x", **options),))

    def test_name_twice(self):
        with pytest.raises(ConfigError, match=r"conditions\.sick: found the name twice"):
            ConditionSchema((SCHEMA.attributes[0],) * 2)


class TestFromShared:
    def test_kinds(self):
        count = 60
        private = pd.DataFrame(
            {
                "file_name": [f"{i}.png" for i in range(count)],
                "patient": [str(i // 2) for i in range(count)],
                "eye": [["left", "right"][i % 2] for i in range(count)],
                "grade": [str(i % 3) if i else None for i in range(count)],
                "sick": [str(i % 2) for i in range(count)],
                "flag": [["false", "true"][i % 2] for i in range(count)],
                "score": [str(i / 7) for i in range(count)],
                "age": [str(20 + i % 30) for i in range(count)],
                "serial": [str(i) for i in range(count)],
                "code": [f"c{i}" for i in range(count)],
                "words": [f"w{i % 52}" for i in range(count)],
                "same": ["x"] * count,
                "empty": [None] * count,
                "real_only": ["a", "b"] * 30,
                "person": ["a", "b"] * 30,
            }
        )
        synthetic = private.drop(columns="real_only").assign(eye="left")
        schema = ConditionSchema.from_shared(private, synthetic, exclude={"person"})
        kinds = {attribute.name: (attribute.kind, attribute.levels) for attribute in schema.attributes}
        assert kinds == {
            "eye": ("categorical", ("left", "right")),
            "grade": ("ordinal", ("0", "1", "2")),
            "sick": ("binary", None),
            "flag": ("binary", None),
            "score": ("continuous", None),
            "age": ("continuous", None),
        }
        assert ConditionSchema.from_shared(private, synthetic, exclude={"person"}).digest == schema.digest

    def test_levels_come_from_real_images_alone(self):
        private = pd.DataFrame({"dx": ["a", "b", "a", "b"]})
        holdout = pd.DataFrame({"dx": ["a", "c"]})
        synthetic = pd.DataFrame({"dx": ["d", "a"]})
        schema = ConditionSchema.from_shared(private, synthetic, holdout=holdout)
        assert schema.levels("dx") == ("a", "b", "c")
        with pytest.raises(InputError, match="found 'd', expected one of a, b, c"):
            schema.parse(synthetic, "synthetic")

    def test_column_that_the_synthetic_images_leave_empty(self):
        private = pd.DataFrame({"dx": ["a", "b", "a", "b"]})
        assert ConditionSchema.from_shared(private, pd.DataFrame({"dx": [None, None]})).attributes == ()

    @given(st.lists(st.sampled_from(["0", "1", "2", "7.5", "a", "b", "", None, "true"]), min_size=1, max_size=30))
    def test_what_is_inferred_can_be_parsed(self, values):
        frame = pd.DataFrame({"x": pd.Series(values, dtype="object")})
        schema = ConditionSchema.from_shared(frame, frame)
        typed = schema.parse(frame, "private")
        if schema.attributes:
            assert typed["x"].isna().tolist() == [value in ("", None) for value in values]
