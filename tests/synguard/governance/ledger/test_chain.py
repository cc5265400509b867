"""What the chain can see, on chains made by code."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import IntegrityError
from synguard.governance.files import canonical
from synguard.governance.ledger.chain import ORIGIN, Head, Row, broken_links, entry_hash, entry_of, unlike_heads

texts = st.text(st.characters(codec="utf-8"), max_size=20)


def chain(names: list[str]) -> list[Row]:
    rows: list[Row] = []
    for number, name in enumerate(names, start=1):
        payload = canonical({"run": name, "value": number}).decode()
        previous = rows[-1].hash if rows else ORIGIN
        digest = entry_hash(number, "batch", name, "2026-11-21T10:00:00", payload, previous)
        rows.append(Row(number, "batch", name, "2026-11-21T10:00:00", payload, previous, digest))
    return rows


chains = st.lists(texts, min_size=2, max_size=8).map(chain)


def kinds(rows: list[Row]) -> set[str]:
    return {fault.what for fault in broken_links(rows)}


@given(chains)
def test_what_was_written_has_no_fault(rows: list[Row]):
    assert list(broken_links(rows)) == []


@given(chains, st.data())
def test_a_changed_field_is_found(rows: list[Row], data: st.DataObject):
    place = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(["kind", "run", "at", "payload", "previous", "hash"]))
    value = data.draw(texts.filter(lambda value: value != getattr(rows[place], name)))
    rows[place] = replace(rows[place], **{name: value})
    assert kinds(rows)


@given(chains, st.data())
def test_a_rewritten_entry_with_a_hash_of_its_own_is_found(rows: list[Row], data: st.DataObject):
    """Unless it is the last one: that is what heads are for."""
    place = data.draw(st.integers(0, len(rows) - 2))
    row = rows[place]
    payload = canonical({"run": row.run, "value": "another"}).decode()
    new = entry_hash(row.number, row.kind, row.run, row.at, payload, row.previous)
    rows[place] = replace(row, payload=payload, hash=new)
    assert [fault.number for fault in broken_links(rows)] == [row.number + 1]


@given(chains, st.data())
def test_a_dropped_entry_is_found(rows: list[Row], data: st.DataObject):
    del rows[data.draw(st.integers(0, len(rows) - 2))]
    assert kinds(rows) == {"dropped"}


@given(chains, st.data())
def test_exchanged_entries_are_called_reordered(rows: list[Row], data: st.DataObject):
    first = data.draw(st.integers(0, len(rows) - 2))
    second = data.draw(st.integers(first + 1, len(rows) - 1))
    one, other = rows[first], rows[second]
    rows[first], rows[second] = replace(other, number=one.number), replace(one, number=other.number)
    assert "reordered" in kinds(rows)
    assert {fault.number for fault in broken_links(rows) if fault.what == "reordered"} == {one.number, other.number}


@given(chains, st.data())
def test_a_shorter_chain_is_not_what_the_head_was_taken_from(rows: list[Row], data: st.DataObject):
    head = Head(rows[0].hash, rows[-1].number, rows[-1].hash)
    left = rows[: data.draw(st.integers(1, len(rows) - 1))]
    found = Head(left[0].hash, left[-1].number, left[-1].hash)
    assert kinds(left) == set()
    assert [f.what for f in unlike_heads([("a report", head)], found, {r.number: r.hash for r in left})] == ["truncated"]


def test_heads_of_other_ledgers_and_rewritten_ones():
    head, hashes = Head("a" * 64, 2, "b" * 64), {1: "a" * 64, 2: "b" * 64}
    assert list(unlike_heads([("it", head), ("printed", Head("", 2, "b" * 32))], head, hashes)) == []
    assert [f.what for f in unlike_heads([("it", Head("c" * 64, 2, "b" * 64))], head, hashes)] == ["replaced"]
    assert [f.what for f in unlike_heads([("it", head)], None, {})] == ["replaced"]
    assert [f.what for f in unlike_heads([("it", Head("a" * 64, 1, "c" * 64))], head, hashes)] == ["altered"]


@pytest.mark.parametrize("payload", ["[1]", "no JSON", "", None, b"\xff", "[" * 100_000])
def test_a_row_without_an_object_is_no_entry(payload: object):
    with pytest.raises(IntegrityError, match="ledger entry 1: found"):
        entry_of(Row(1, "run", "", "", payload, ORIGIN, ORIGIN))


@pytest.mark.parametrize("value", [None, [], {}, {"ledger": "a" * 64, "number": 0, "hash": "b" * 64}, {"number": 3}])
def test_what_is_no_head(value: object):
    with pytest.raises(IntegrityError, match="found no head"):
        Head.of_dict(value, "run.json")


def test_the_hash_is_of_everything_in_the_entry():
    """A known answer, so that ledgers of today can be verified by the code of later years."""
    payload = canonical({"run": "r", "batch": 1}).decode()
    assert json.loads(payload) == {"run": "r", "batch": 1}
    found = entry_hash(2, "batch", "r", "2026-11-21T10:00:00.000+00:00", payload, "a" * 64)
    assert found == "8aea9967c229608c278d25ebd30b230e321ef69c1410f61f90f56cbe7c2fdd10"
