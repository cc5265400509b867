"""What follows from answers: known answers for whole studies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score

from synguard.errors import InputError, IntegrityError
from synguard.review.study.answers import CONFIDENCE, Given, check_answer, finished, level_of, payload, read_answers
from synguard.review.study.plan import Condition, Item, Plan, Terms
from synguard.review.study.results import results

GRADE = Condition("grade", ("none", "mild"))


@dataclass
class Row:
    payload: dict[str, Any]
    at: str = "2026-11-21T12:00:00Z"


@dataclass
class Study:
    """A plan of n images a side and the rows of its ledger. The first image has no label."""

    n: int
    readers: int = 1
    margin: float = 0.1
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        items = [
            Item(f"{i:064x}", "", str(i), i < self.n, f"{i}.png", {"grade": GRADE.levels[i % 2]} if i else {})
            for i in range(2 * self.n)
        ]
        terms = Terms(self.n, self.readers, self.margin)
        self.plan = Plan("run", terms, 48, 1, "ab" * 32, "grade", (GRADE,), tuple(items))

    def say(self, name: str, item: Item, said: Any, confidence: int = 3, **seen: str) -> Study:
        given = None if said is None else Given(said, confidence, seen)
        self.rows.append(Row(payload(self.plan, name, item.id, given)))
        return self

    def read(self, name: str, seed: int, sharpness: float = 0.0) -> np.ndarray:
        """All images by chance, or with some sharpness; the ratings in the order of the plan."""
        rng = np.random.default_rng(seed)
        ratings = []
        for item in self.plan.items:
            score = rng.normal(0 if item.real else sharpness, 1)
            grade = int(np.clip(round(abs(score) * 2), 1, 5))
            said = "synthetic" if score > sharpness / 2 else "real"
            self.say(name, item, said, grade, grade=GRADE.levels[int(rng.integers(0, 2))])
            ratings.append(grade if said == "synthetic" else -grade)
        return np.array(ratings, float)

    def results(self):
        return results(self.plan, read_answers(self.plan, self.rows))


def test_a_whole_study_against_scikit_learn():
    study = Study(40, readers=2)
    ratings = [study.read("Ann", 1, 1.0), study.read("Bob", 2, 0.3)]
    found, truth = study.results(), [int(not item.real) for item in study.plan.items]
    said = [(r > 0).astype(int) for r in ratings]
    for reader, values, called in zip(found.readers, ratings, said, strict=True):
        assert reader.auc.value == pytest.approx(roc_auc_score(truth, values))
        assert reader.accuracy.value == pytest.approx(accuracy_score(truth, called))
        assert np.array(reader.confusion).tolist() == confusion_matrix(truth, called).tolist()
        assert reader.auc.interval[0] < reader.auc.value < reader.auc.interval[1]
        assert reader.accuracy.n == reader.auc.n == 80
    assert [reader.name for reader in found.readers] == ["Ann", "Bob"]
    assert found.auc.value == pytest.approx(np.mean([roc_auc_score(truth, values) for values in ratings]))
    assert np.array(found.confusion).sum() == 160
    assert found.accuracy.value == pytest.approx(np.mean([accuracy_score(truth, called) for called in said]))
    pooled_truth, pooled = np.tile(truth, 2), np.concatenate(said)
    level = np.array([item.levels.get("grade", "") for item in study.plan.items])
    for row in found.levels:
        here = np.tile(level == row.level, 2)
        assert row.told.value == pytest.approx(f1_score(pooled_truth[here], pooled[here]))
        assert row.told.n == here.sum()
    assert found.agreement[0].readers == ("Ann", "Bob")
    for figure in (found.auc, found.accuracy, found.agreement[0].kappa, *(row.real for row in found.levels)):
        assert figure.method
        assert figure.n
        assert figure.interval is not None


def test_what_was_seen_is_held_against_labels_and_what_was_asked():
    study = Study(10)
    for item in study.plan.items:
        # Real images are read rightly; of synthetic ones the reader says mild of each.
        study.say("ann", item, "real", 1, **(item.levels if item.real else {"grade": "mild"}))
    rows = {row.level: row for row in study.results().levels}
    assert [rows[level].real.value for level in GRADE.levels] == [1, 1]
    assert rows["none"].synthetic.value == 0
    assert rows["mild"].synthetic.value == pytest.approx(2 / 3)
    assert rows["none"].real.n == 4, "an image without a label counts for nobody"


def test_cannot_tell_is_a_miss_and_no_false_alarm():
    study = Study(10)
    for number, item in enumerate(study.plan.items):
        study.say("ann", item, "real", 1, **(item.levels if number % 4 < 2 else {}))
    # Of the five synthetic images of a level the reader told two or three, and never named a wrong one.
    assert [row.synthetic.value for row in study.results().levels] == [
        pytest.approx(2 * hits / (hits + 5)) for hits in _told(study)
    ]


def _told(study: Study) -> list[int]:
    rows = list(enumerate(study.plan.items))
    return [sum(n % 4 < 2 and not i.real and i.levels.get("grade") == level for n, i in rows) for level in GRADE.levels]


def test_the_first_readers_who_finish_decide():
    study = Study(60, readers=2, margin=0.2)
    study.read("Ann", 1)
    first = study.results()
    assert (first.verdict, first.waiting) == ("undecided", 1)
    study.read("Bob", 2)
    decided = study.results()
    assert (decided.verdict, decided.waiting) == ("equivalent", 0)
    for number in range(3):
        study.read(f"late {number}", 10 + number, sharpness=9.0)
    later = study.results()
    assert later.verdict == "equivalent", "further readers move the verdict"
    assert later.auc == decided.auc
    assert [reader.counted for reader in later.readers] == [True, True, False, False, False]
    assert later.readers[-1].verdict == "not equivalent", "and are shown"


def test_readers_who_are_sure_of_opposite_things_have_both_seen_a_difference():
    study = Study(60, readers=2, margin=0.1)
    for number, item in enumerate(study.plan.items):
        # One slip each, or the mean would have no spread at all.
        right = "real" if item.real is (number not in (7, 70)) else "synthetic"
        study.say("ann", item, right, 5)
        study.say("bob", item, "synthetic" if item.real is (number not in (9, 90)) else "real", 5)
    found = study.results()
    assert found.auc.value == pytest.approx(0.5)
    assert found.auc_bounds is not None
    assert found.auc_bounds[0] > 0.4
    assert found.auc_bounds[1] < 0.6
    assert found.verdict == "not equivalent"


def test_one_of_four_who_tells_them_apart_is_enough():
    study = Study(60, readers=4, margin=0.2)
    for number in range(3):
        study.read(f"chance {number}", number)
    assert study.results().verdict == "undecided", "three of four have finished"
    study.read("sharp", 9, sharpness=3.0)
    found = study.results()
    assert found.auc_bounds is not None
    assert found.auc_bounds[1] < 0.7, "the mean alone would be equivalent"
    assert found.verdict == "not equivalent"


def test_a_reader_who_presses_one_key_decides_nothing():
    study = Study(60, margin=0.2)
    for item in study.plan.items:
        study.say("ann", item, "real", 1)
    found = study.results()
    assert (found.verdict, found.readers[0].verdict) == ("undecided", "undecided")


def test_no_figure_before_the_last_image():
    study = Study(5)
    for item in study.plan.items[:-1]:
        study.say("ann", item, "real" if item.real else "synthetic")
    (reader,) = study.results().readers
    assert (reader.answered, reader.accuracy.value, reader.auc.value) == (9, None, None)
    assert reader.confusion == ((0, 0), (0, 0))
    study.say("ann", study.plan.items[0], None)
    assert study.results().readers[0].answered == 8, "taken back"


def test_nobody_has_read():
    found = Study(5).results()
    assert (found.verdict, found.waiting, found.readers, found.auc.value) == ("undecided", 1, (), None)
    assert all(row.told.value is None for row in found.levels)


def test_two_spellings_are_one_reader():
    study = Study(5, readers=2)
    for number, item in enumerate(study.plan.items):
        study.say("Ann Osei" if number % 2 else " ann  osei\u200b", item, "real")
    answers = read_answers(study.plan, study.rows)
    assert finished(study.plan, answers) == ("ann osei",)


def test_who_took_an_answer_back_finishes_later():
    study = Study(5, readers=1)
    for name in ("ann", "bob"):
        for item in study.plan.items:
            study.say(name, item, "real")
    assert finished(study.plan, read_answers(study.plan, study.rows)) == ("ann", "bob")
    study.say("ann", study.plan.items[0], None).say("ann", study.plan.items[0], "synthetic")
    assert finished(study.plan, read_answers(study.plan, study.rows)) == ("bob", "ann")


@pytest.mark.parametrize(
    "change",
    [
        {"plan": "0" * 64},
        {"item": "0" * 63 + "x"},
        {"item": None},
        {"item": []},
        {"reviewer": None},
        {"answer": "both"},
        {"confidence": 6},
        {"seen": {"grade": "worst"}},
    ],
)
def test_rows_that_are_no_answers(change: dict[str, Any]):
    study = Study(5)
    study.say("ann", study.plan.items[0], "real", grade="mild")
    assert read_answers(study.plan, study.rows)[0].given == Given("real", 3, {"grade": "mild"})
    study.rows[0] = replace(study.rows[0], payload=study.rows[0].payload | change)
    with pytest.raises(IntegrityError, match="ledger: found an answer"):
        read_answers(study.plan, study.rows)


@pytest.mark.parametrize(
    ("said", "confidence", "grade", "named"),
    [
        ("", "3", "", "answer: found nothing, expected real or synthetic"),
        ("fake", "3", "", "answer: found 'fake'"),
        ("real", "", "", "confidence: found nothing, expected a whole number from 1 to 5"),
        ("real", "6", "", "confidence: found '6'"),
        ("real", "2.5", "", "confidence"),
        ("real", "\u0663", "", "confidence"),
        ("real", "3", "worst", "condition.grade: found 'worst', expected none, mild, or nothing"),
    ],
)
def test_what_is_no_answer(said: str, confidence: str, grade: str, named: str):
    with pytest.raises(InputError, match=named):
        check_answer((GRADE,), said, confidence, {"grade": grade})


def test_answers_are_read_as_people_write_them():
    found = check_answer((GRADE,), " Real", "5 ", {"grade": "MILD "})
    assert found == Given("real", CONFIDENCE[-1], {"grade": "mild"})
    assert level_of(GRADE, "  ") == ""
    assert level_of(Condition("x", (" a", "A")), " a") == " a"
