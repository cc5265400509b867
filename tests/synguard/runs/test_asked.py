"""What is asked for: the distribution that was wanted, and no single patient's combination."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synguard.config import AskedConfig, AttributeConfig, RunConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import ConfigError, InputError
from synguard.runs.asked import Cell, cells_of, plan, plan_conditions, refuse_private_texts, topped_up, unsupported


def conditions(rows: list[tuple[str, int | None]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["dx", "flag"])
    return frame.astype({"dx": "string", "flag": "Int8"})


def test_the_private_distribution_is_kept():
    frame = conditions([("nv", 0)] * 700 + [("mel", 1)] * 300)
    planned = plan_conditions(frame, [str(i) for i in range(1000)], [Cell({}, 5000)], seed=1)
    assert (planned["dx"] == "mel").mean() == pytest.approx(0.3, abs=0.03)
    assert ((planned["dx"] == "mel") == (planned["flag"] == 1)).all()
    assert planned.dtypes.equals(frame.dtypes)


def test_a_combination_that_one_patient_has_is_never_asked_for():
    frame = conditions([("nv", 0)] * 500 + [("mel", 1)] * 500 + [("mel", 0)])
    # One patient with many photographs still is one patient.
    frame = pd.concat([frame] + [conditions([("rare", 1)])] * 50, ignore_index=True)
    patients = [str(i) for i in range(1001)] + ["same"] * 50
    planned = plan_conditions(frame, patients, [Cell({}, 5000)], seed=2)
    assert "rare" not in set(planned["dx"])
    assert len(planned) == 5000


TEXT = ConditionSchema((AttributeConfig(name="dx", kind="text"),))


def test_a_text_that_one_patient_has_is_never_released():
    """Where no text is shared, the plan has only single patients' texts to draw from."""
    private = conditions([(f"Mr Smith, seen on day {i}", 0) for i in range(30)])
    patients = [str(i) for i in range(30)]
    planned = plan_conditions(private, patients, [Cell({}, 10)], seed=1)
    with pytest.raises(
        InputError, match=r"conditions\.dx: found 10 texts that fewer than 5 private patients have"
    ) as caught:
        refuse_private_texts(planned, private, patients, TEXT)
    assert "Smith" not in str(caught.value)
    with pytest.raises(InputError, match="found 1 texts"):
        refuse_private_texts(conditions([("mr  smith, seen on day 3", 0), ("a fundus", 0)]), private, patients, TEXT)


def test_texts_that_many_share_or_nobody_has_are_released():
    private = conditions([("a fundus photograph", 0)] * 5 + [(None, 0)] * 2)
    asked = conditions([("a fundus photograph", 0), ("a drawing", 0), (None, 0)])
    refuse_private_texts(asked, private, list("abcdefg"), TEXT)
    with pytest.raises(InputError, match="found 1 texts"):
        refuse_private_texts(asked, private, list("aaaaefg"), TEXT)


def test_missing_values_stay_possible():
    frame = conditions([("nv", None)] * 50 + [("mel", 1)] * 50)
    planned = plan_conditions(frame, [str(i) for i in range(100)], [Cell({}, 400)], seed=3)
    assert planned["flag"].isna().mean() == pytest.approx(0.5, abs=0.1)


def test_same_seed_same_plan_other_seed_other_plan():
    frame = conditions([("nv", 0), ("mel", 1)] * 20)
    patients = [str(i) for i in range(40)]
    first = plan_conditions(frame, patients, [Cell({}, 50)], seed=4)
    pd.testing.assert_frame_equal(first, plan_conditions(frame, patients, [Cell({}, 50)], seed=4))
    assert not first.equals(plan_conditions(frame, patients, [Cell({}, 50)], seed=5))


def test_an_unlabelled_release_has_rows_without_columns():
    planned = plan_conditions(pd.DataFrame(index=range(3)), ["a", "b", "c"], [Cell({}, 7)], seed=0)
    assert planned.shape == (7, 0)


SCHEMA = ConditionSchema(
    (AttributeConfig(name="dx", kind="categorical", levels=("nv", "mel", "df")), AttributeConfig(name="flag", kind="binary"))
)


@pytest.fixture
def skewed() -> tuple[pd.DataFrame, list[str]]:
    """900 naevi, 90 melanomas, all of the latter flagged, and two dermatofibromas."""
    frame = conditions([("nv", 0)] * 900 + [("mel", 1)] * 90 + [("df", 0)] * 2)
    return frame, [str(i) for i in range(len(frame))]


def planned(skewed: tuple[pd.DataFrame, list[str]], asked: AskedConfig, n: int, base: Path = Path()) -> pd.DataFrame:
    return plan_conditions(*skewed, cells_of(asked, *skewed, SCHEMA, n, base), seed=6)


def test_balanced_levels_come_equally_often(skewed):
    plan = planned(skewed, AskedConfig(balanced="dx"), 1001)
    assert Counter(plan["dx"]) == {"mel": 501, "nv": 500}, "what two patients have is not balanced"
    assert ((plan["dx"] == "mel") == (plan["flag"] == 1)).all()
    assert plan["dx"].head(500).nunique() == 2, "they come mixed"
    assert plan.dtypes.equals(skewed[0].dtypes)


def test_rare_levels_are_topped_up_and_the_rest_stays_as_it_is(skewed):
    plan = planned(skewed, AskedConfig(rare="dx", at_least=200), 1000)
    assert Counter(plan["dx"]) == {"nv": 800, "mel": 200}
    plan = planned(skewed, AskedConfig(rare="dx", at_least=50), 1100)
    assert Counter(plan["dx"]) == {"nv": 1000, "mel": 100}, "nothing to top up"


def test_a_table_is_asked_for_to_the_image(skewed, tmp_path):
    (tmp_path / "asked.csv").write_text("dx,flag,count\nmel,0,30\ndf,,20\nnv,1,50\n")
    cells = cells_of(AskedConfig(table="asked.csv"), *skewed, SCHEMA, 100, tmp_path)
    plan = plan_conditions(*skewed, cells, seed=7)
    assert Counter(zip(plan["dx"], plan["flag"], strict=True)) >= Counter({("mel", 0): 30, ("nv", 1): 50})
    assert (plan["dx"] == "df").sum() == 20
    told = list(unsupported(*skewed, cells))
    assert told == [
        "dx mel, flag 0: asked for 30 images, but 0 private patients have it: expect copies or wrong labels",
        "dx df: asked for 20 images, but 2 private patients have it: expect copies or wrong labels",
        "dx nv, flag 1: asked for 50 images, but 0 private patients have it: expect copies or wrong labels",
    ]


def test_more_than_a_class_can_support_is_said(skewed):
    cells = cells_of(AskedConfig(balanced="dx"), *skewed, SCHEMA, 1802, Path())
    assert list(unsupported(*skewed, cells)) == [
        "dx mel: asked for 901 images, more than 10 for each of its 90 private ones"
    ]
    assert not list(unsupported(*skewed, cells_of(AskedConfig(balanced="dx"), *skewed, SCHEMA, 1800, Path())))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("dx\nmel\n", "asked.csv: found the columns dx, expected a column 'count'"),
        ("sex,count\nmale,10\n", "asked.csv: found the column 'sex', expected attributes: dx, flag"),
        ("dx,count\nmel,ten\n", "asked.csv: found the count 'ten', expected a whole number of images"),
        ("dx,count\nmel,-3\nnv,13\n", "asked.csv: found the count '-3', expected a whole number of images"),
        ("dx,count\nmel,9\n", "asked.csv: found 9 images, expected release.images, 10"),
        ("dx,count\nbcc,10\n", "row 1, column dx: found 'bcc', expected one of nv, mel, df"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(skewed, tmp_path, table, message):
    (tmp_path / "asked.csv").write_text(table)
    with pytest.raises(InputError) as caught:
        cells_of(AskedConfig(table="asked.csv"), *skewed, SCHEMA, 10, tmp_path)
    assert message in str(caught.value)


def test_ways_that_cannot_be_gone(skewed, tmp_path):
    with pytest.raises(InputError, match=r"none.csv: found nothing, expected one of .csv, .jsonl, .parquet"):
        cells_of(AskedConfig(table="none.csv"), *skewed, SCHEMA, 10, tmp_path)
    with pytest.raises(
        ConfigError, match=r"release.asked.balanced: found 'age', expected an attribute with levels: dx, flag"
    ):
        cells_of(AskedConfig(balanced="age"), *skewed, SCHEMA, 10, tmp_path)
    with pytest.raises(ConfigError, match=r"release.asked.at_least: found 6, expected at most 5: 2 levels, 10 images"):
        cells_of(AskedConfig(rare="dx", at_least=6), *skewed, SCHEMA, 10, tmp_path)
    for wrong in ({"balanced": "dx", "table": "x.csv"}, {"rare": "dx"}, {"at_least": 3}):
        with pytest.raises(ValidationError, match=r"release\.asked: found"):
            AskedConfig(**wrong)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=9), st.integers(0, 40), st.integers(0, 500))
def test_topping_up_keeps_to_its_word(shares: list[int], least: int, more: int):
    n = least * len(shares) + more
    counts = topped_up(np.array(shares, dtype=float), n, least)
    assert sum(counts) == n
    assert min(counts) >= least
    free = [(count, share) for count, share in zip(counts, shares, strict=True) if count > least]
    for (a, x), (b, y) in pairwise(free):
        assert abs(a / x - b / y) <= 1 / x + 1 / y, "beyond the least, in proportion"


TOLD = ConditionSchema(
    (
        AttributeConfig(name="dx", kind="categorical", levels=("mel", "nv")),
        AttributeConfig(name="flag", kind="binary"),
        AttributeConfig(name="prompt", kind="text", sentence="a lesion"),
    )
)


def planned_by_table(tmp_path: Path, rows: str) -> tuple[pd.DataFrame, list[str]]:
    (tmp_path / "asked.csv").write_text(rows)
    private = TOLD.parse(conditions([("nv", 0)] * 60 + [("mel", 1)] * 40), "private")
    release = {"images": 6, "asked": {"table": "asked.csv"}}
    sets = {"path": "p"}
    config = RunConfig.model_validate({"private": sets, "holdout": sets, "release": release})
    warnings: list[str] = []
    people = [str(i) for i in range(100)]
    frame = plan(config, private, people, TOLD, tmp_path, progress=lambda words, *_: warnings.append(words))
    return frame, warnings


def test_sentences_are_asked_for_as_labels_are(tmp_path):
    frame, warnings = planned_by_table(tmp_path, 'prompt,count\n"a lesion, dx mel, on a thumb",2\na red one,1\n,3\n')
    asked = frame[frame["prompt"] == "a lesion, dx mel, on a thumb"]
    assert asked["dx"].tolist() == ["mel"] * 2
    # Nothing was said of the flag: it is the generator's to choose, and nobody's to check.
    assert asked["flag"].isna().all()
    free = frame[frame["prompt"] == "a red one"]
    assert free[["dx", "flag"]].isna().all(axis=None)
    assert len(free) == 1
    # Where none was asked for, the sentence says the labels that were drawn, not those of another patient.
    drawn = frame[frame["prompt"].str.contains("dx") & (frame["flag"].notna())]
    assert len(drawn) == 3
    for row in drawn.to_dict("records"):
        assert row["prompt"] == f"a lesion, dx {row['dx']}, {'flag' if row['flag'] else 'no flag'}"
    assert any("a red one: it says none of the labels" in warning for warning in warnings)


def test_sentences_follow_the_labels_of_a_plan_without_a_table(tmp_path):
    frame, _ = planned_by_table(tmp_path, "dx,count\nmel,6\n")
    assert set(frame["prompt"]) == {"a lesion, dx mel, flag"}


def test_a_private_text_is_no_sentence_of_labels():
    private = TOLD.parse(conditions([("nv", 0)] * 3).assign(prompt=["Mr Smith, dx nv", None, None]), "private")
    with pytest.raises(InputError, match="found 1 texts"):
        refuse_private_texts(private.iloc[[0]], private, list("abc"), TOLD)
    refuse_private_texts(private.iloc[[1]], private, list("abc"), TOLD)
