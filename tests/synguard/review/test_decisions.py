"""Verdicts: what is written, what holds of it, and when a pair is settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.errors import InputError, IntegrityError
from synguard.review.decisions import (
    VERDICTS,
    check_reason,
    contested,
    payload,
    read_decisions,
    reader_id,
    settled,
    standing,
)


@dataclass
class Row:
    payload: dict[str, Any]
    at: str = "2026-11-21T12:00:00Z"


@dataclass
class Pages:
    rows: list[Row] = field(default_factory=list)

    def say(self, name: str, verdict: Any, pair: str = "p") -> Pages:
        self.rows.append(Row(payload("run", name, pair, verdict)))
        return self

    def held(self, pair: str = "p") -> dict[str, str]:
        found = standing(read_decisions(self.rows)).get(pair, {})
        return {reader: str(decision.verdict) for reader, decision in found.items()}

    def settled(self) -> str | None:
        return settled(standing(read_decisions(self.rows)).get("p", {}))


def test_taking_back_is_a_further_row():
    pages = Pages().say("ann", "copy").say("ann", None)
    assert len(pages.rows) == 2
    assert pages.held() == {}
    assert pages.say("ann", "unsure").held() == {"ann": "unsure"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], None),
        ([("a", "copy")], None),
        ([("a", "copy"), ("b", "copy")], "copy"),
        ([("a", "unsure"), ("b", "unsure")], None),
        ([("a", "copy"), ("b", "alike by chance")], None),
        ([("a", "copy"), ("b", "alike by chance"), ("c", "copy")], "copy"),
        ([("a", "copy"), ("b", "alike by chance"), ("c", "same patient")], None),
        ([("a", "copy"), ("b", "alike by chance"), ("c", "copy"), ("d", "alike by chance")], None),
        ([("a", "copy"), ("A ", "copy")], None),
        ([("a", "copy"), ("b", "copy"), ("b", None)], None),
    ],
)
def test_two_who_are_sure_settle_a_pair(said, expected):
    pages = Pages()
    for name, verdict in said:
        pages.say(name, verdict)
    assert pages.settled() == expected


def test_conflicts_wait_for_a_third():
    held = standing(read_decisions(Pages().say("a", "copy").say("b", "unsure").rows))
    assert contested(held["p"])
    held = standing(read_decisions(Pages().say("a", "copy").rows))
    assert not contested(held["p"])


# Made data are quick here; on a machine that is busy with something else they are not, which is no failure.
@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([*VERDICTS, None])), max_size=10))
def test_the_last_word_of_each_reader_holds(said):
    pages = Pages()
    last = {}
    for name, verdict in said:
        pages.say(name, verdict)
        last[name] = verdict
    assert pages.held() == {name: verdict for name, verdict in last.items() if verdict is not None}


@pytest.mark.parametrize(
    ("name", "same"), [("A. Osei", "a.  osei "), ("A. Osei", "\u202eA. Osei\u200b"), ("Ｏsei", "osei"), ("İ", "i\u0307")]
)
def test_one_reader_under_two_spellings(name, same):
    assert reader_id(name) == reader_id(same)


@pytest.mark.parametrize("name", ["", "  ", "\u202e\u200b", "...", "x" * 301])
def test_no_name(name):
    with pytest.raises(InputError, match="--reviewer"):
        reader_id(name)


@pytest.mark.parametrize(
    ("verdict", "reason"), [("copy", ""), ("same patient", "  a "), ("unsure", "x" * 1001), ("clear", "why not"), ("", "")]
)
def test_refused(verdict, reason):
    with pytest.raises(InputError):
        check_reason(verdict, reason)


def test_reasons_are_one_line():
    assert check_reason("copy", " the same\n\tdisc ") == ("copy", "the same disc")
    assert check_reason("alike by chance", "") == ("alike by chance", "")


@pytest.mark.parametrize("broken", [{"verdict": "cleared"}, {"pair": None}, {"reviewer": 3}])
def test_an_entry_that_is_no_decision(broken):
    with pytest.raises(IntegrityError, match="review"):
        read_decisions([Row(payload("run", "a", "p", "copy") | broken)])
