"""Labels in words: what is said can be read back, and nothing else is read into it."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.config import AttributeConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.phantom import SCHEMA as PHANTOM
from synguard.errors import ConfigError, InputError

ATTRIBUTES = (
    AttributeConfig(name="dr_grade", kind="ordinal", levels=("0", "1", "2")),
    AttributeConfig(name="is_gc", kind="binary"),
    AttributeConfig(name="eye_side", kind="binary", levels=("left", "right")),
    AttributeConfig(name="age", kind="continuous", range=(0, 120)),
    AttributeConfig(name="advice", kind="text"),
    AttributeConfig(name="prompt", kind="text", sentence="fundus photograph"),
)
SCHEMA = ConditionSchema(ATTRIBUTES)
LABELS = {
    "dr_grade": st.sampled_from(["0", "1", "2"]),
    "is_gc": st.sampled_from([0, 1]),
    "eye_side": st.sampled_from([0, 1]),
    "age": st.integers(0, 120).map(float),
}


def parsed(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    rows = {name: columns.get(name, [None] * n) for name in SCHEMA.names if name != "prompt" or name in columns}
    return SCHEMA.parse(pd.DataFrame(rows), "private")


def test_labels_are_said_in_one_way():
    frame = parsed(dr_grade=["2", None], is_gc=["0", "1"], eye_side=["left", None], age=["54", None])
    assert frame["prompt"].tolist() == [
        "fundus photograph, dr grade 2, no gc, eye side left, age 54",
        "fundus photograph, gc",
    ]


def test_labels_are_read_off_a_sentence_in_any_order_and_words_beside_them_are_left():
    frame = parsed(prompt=["A blurry one,  Eye Side RIGHT, many drusen, DR grade 1", "a fundus of somebody"])
    assert frame.loc[0, ["dr_grade", "eye_side"]].tolist() == ["1", 1]
    assert frame.loc[0, ["is_gc", "age"]].isna().all()
    assert frame.drop(columns="prompt").loc[1].isna().all()
    assert frame.loc[0, "prompt"] == "A blurry one,  Eye Side RIGHT, many drusen, DR grade 1"
    assert frame.dtypes.equals(parsed(dr_grade=["1"]).dtypes)


@given(st.fixed_dictionaries({}, optional=LABELS))
def test_what_is_said_is_read_back(labels):
    sentence = SCHEMA.sentence
    assert sentence is not None
    assert sentence.labels(sentence.of_labels(labels)) == labels


def test_every_label_of_the_phantoms_can_be_said():
    schema = ConditionSchema((*PHANTOM, AttributeConfig(name="prompt", kind="text", sentence="fundus photograph")))
    sentence = schema.sentence
    assert sentence is not None
    for attribute in schema.discrete:
        values = (0, 1) if attribute.kind == "binary" else attribute.levels or ()
        assert [sentence.labels(sentence.of_labels({attribute.name: value})) for value in values] == [
            {attribute.name: value} for value in values
        ]


def test_nothing_known_is_nothing_said():
    assert parsed(dr_grade=[None])["prompt"].isna().all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"prompt": ["dr grade 1"], "dr_grade": ["2"]},
            "private row 1, column prompt: found 'dr grade 1', expected the dr_grade of its row, '2'",
        ),
        ({"prompt": ["dr grade 1, dr grade 2"]}, "expected a sentence that says one dr grade, not two"),
        ({"prompt": ["age 300"]}, "expected age from 0 to 120"),
    ],
)
def test_a_sentence_that_says_something_else_is_refused(columns, message):
    with pytest.raises(InputError, match="private row 1") as caught:
        parsed(**columns)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ((AttributeConfig(name="b", kind="text", sentence="y"),), "conditions.b.sentence: found a second sentence"),
        ((AttributeConfig(name="dr", kind="categorical", levels=("grade 1", "x")),), "which is two labels"),
        ((AttributeConfig(name="site", kind="categorical", levels=("arm, left", "leg")),), "which is two phrases"),
    ],
)
def test_a_schema_that_cannot_be_read_back_is_refused(attributes, message):
    with pytest.raises(ConfigError) as caught:
        ConditionSchema((*ATTRIBUTES, *attributes))
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match="found 'GC', which says a label, expected words that say none"):
        ConditionSchema((*ATTRIBUTES[:-1], AttributeConfig(name="prompt", kind="text", sentence="an eye,GC")))
    with pytest.raises(ConfigError, match="expected a text attribute"):
        ConditionSchema((AttributeConfig(name="a", kind="binary", sentence="x"),))
