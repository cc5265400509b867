"""Readers at work, here: the ledger after each answer, kills, two readers, results that close; and the internal report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import reports
from synguard.errors import InputError, IntegrityError
from synguard.governance.ledger import Ledger
from synguard.review.pictures import plain_png
from synguard.review.study.answers import CLOSED, KIND, read_answers, standing
from synguard.review.study.plan import FOLDER, PICTURES, Plan, Terms
from synguard.review.study.session import StudySession
from synguard.runs.gate import decide_again
from synguard.runs.study import Study, open_study
from tests.support.page import read
from tests.support.studied import HOSTILE, RUN, answer_all, studied_run

TERMS = Terms(images=6, readers=2, margin=0.2)


@pytest.fixture
def plan(study: Study) -> Plan:
    return study.fix(TERMS)


def session(study: Study, name: str = "ann") -> StudySession:
    return StudySession(study.run, study.plan(), name, study.book)


def test_an_answer_is_in_the_ledger_at_once(study: Study, plan: Plan, ledger: Ledger):
    at = session(study)
    first = at.state()
    assert (first.done, first.total, first.can_undo) == (0, 12, False)
    at.answer(first.item, "synthetic", "4", {"grade": "mild", "drusen": ""})
    (entry,) = ledger.entries(KIND, RUN)
    item = plan.for_reader("ann")[first.item]
    assert entry.payload == {
        "run": RUN,
        "plan": plan.digest,
        "reviewer": "ann",
        "item": item.id,
        "page": 1,
        "answer": "synthetic",
        "confidence": 4,
        "seen": {"grade": "mild"},
    }
    assert item.file not in json.dumps(dict(entry.payload))
    assert at.state().item != first.item
    at.undo()
    assert at.state() == first
    assert [e.payload["answer"] for e in ledger.entries(KIND, RUN)] == ["synthetic", "undone"], "nothing is removed"


def test_it_goes_on_where_it_was(study: Study, plan: Plan):
    at = session(study)
    for _ in range(5):
        at.answer(at.state().item, "real", "2", {})
    again = session(study, " ANN ")
    assert again.state() == at.state()
    assert session(study, "bob").state().done == 0
    again.undo()
    assert at.state().done == 4


@pytest.mark.parametrize("item", ["", "x", "0" * 24])
def test_only_the_image_that_is_shown(study: Study, plan: Plan, ledger: Ledger, item: str):
    with pytest.raises(InputError, match="not waiting for you"):
        session(study).answer(item, "real", "3", {})
    later = list(plan.for_reader("ann"))[3]
    with pytest.raises(InputError, match="not waiting for you"):
        session(study).answer(later, "real", "3", {})
    with pytest.raises(InputError, match="undo: found no answer of yours"):
        session(study).undo()
    assert ledger.entries(KIND, RUN) == ()


def test_pictures_of_this_reader_alone(study: Study, plan: Plan):
    at, other = session(study), session(study, "bob")
    assert at.picture(at.state().item)[:4] == b"\x89PNG"
    assert at.picture(other.state().item) is None
    assert at.picture("../plan.json") is None


def test_another_picture_is_not_shown(study: Study, plan: Plan):
    for path in (study.run / FOLDER / PICTURES).iterdir():
        path.write_bytes(plain_png(np.zeros((48, 48, 3), np.uint8)))
    with pytest.raises(IntegrityError, match="found another picture"):
        session(study).picture(session(study).state().item)


def test_results_close_the_answers_they_were_made_of(study: Study, plan: Plan, ledger: Ledger):
    answer_all(study, "ann", lambda item: ("real" if item.real else "synthetic", 4))
    at = session(study, "bob")
    at.answer(at.state().item, "real", "1", {})
    assert session(study).state().can_undo
    study.results()
    (entry,) = ledger.entries(CLOSED, RUN)
    assert entry.payload["readers"] == ["ann"]
    assert not session(study).state().can_undo
    with pytest.raises(InputError, match="results were made"):
        session(study).undo()
    at.undo()
    assert standing(read_answers(plan, ledger.entries(KIND, RUN)))["bob"] == {}
    study.results()
    assert len(ledger.entries(CLOSED, RUN)) == 2, "another reader's state, another result"
    study.results()
    assert len(ledger.entries(CLOSED, RUN)) == 2


def test_a_run_without_pictures(study: Study, plan: Plan):
    for path in (study.run / FOLDER / PICTURES).iterdir():
        path.unlink()
    (study.run / FOLDER / PICTURES).rmdir()
    with pytest.raises(InputError, match="expected a run that was not purged"):
        study.page("ann", host="127.0.0.1", port=0)


def test_the_internal_report_shows_the_study_and_the_public_one_nothing(tmp_path: Path, ledger: Ledger):
    run = studied_run(tmp_path / "world", ledger, attribute=HOSTILE, levels=(HOSTILE, "mild"), patients=20)
    study = open_study(run, ledger.place)
    study.fix(Terms(8, 2, 0.2))
    assert 'id="study"' not in reports.render(run, "internal").read_text(), "no results yet"
    study.results()
    assert "No reader has finished" in read((run / "report" / "internal.html").read_text()).text("study")
    rng = np.random.default_rng(4)
    for name in (HOSTILE, "Bob"):
        answer_all(study, name, lambda item: (str(rng.choice(["real", "synthetic"])), int(rng.integers(1, 6))))
    found = study.results()
    page = read((run / "report" / "internal.html").read_text())
    assert page.faults == []
    words = page.text("study")
    assert "Looking real is not being private" in words
    assert f"mean AUC {found.auc.value:.3f}" in words
    assert "the AUC within 0.200 of 0.5" in words
    assert HOSTILE in words
    assert not [image for image in page.all("img") if image["src"] == "x"]
    for reader in found.readers:
        assert f"{reader.auc.value:.3f}" in words
    public = reports.render(run, "public").read_text()
    assert "Bob" not in public
    assert 'id="study"' not in public
    assert json.loads((run / FOLDER / "results.json").read_bytes())["auc"]["value"] == pytest.approx(found.auc.value)


def test_a_study_moves_no_decision(study: Study, ledger: Ledger):
    """It is no evidence on privacy: the gate's figures are those without it, and the report keeps it."""
    (study.run / "pairs").mkdir()
    before = decide_again(study.run, ledger=ledger.place)
    study.fix(TERMS)
    answer_all(study, "ann", lambda item: ("real", 3))
    study.results()
    after = decide_again(study.run, ledger=ledger.place)
    assert after.decision == before.decision
    assert after.metrics == before.metrics
    assert 'id="study"' in (study.run / "report" / "internal.html").read_text()
