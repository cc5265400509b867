"""The queue: which pairs, in which order, and that nothing shown says of which kind a pair is."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synguard.errors import InputError, IntegrityError
from synguard.governance.files import canonical
from synguard.review.pictures import PANELS, panels, plain_png
from synguard.review.queue import load, pair_digest, read_pairs, shuffled
from synguard.review.session import Session
from tests.support.reviewed import RUN, digests, reviewed_run, say
from tests.support.runs import fundus, png


def test_all_kinds_are_there_once(run: Path):
    pairs = read_pairs(run)
    assert [pair.kind for pair in pairs].count("flagged") == 3
    order = shuffled(pairs, RUN, "ann")
    assert sorted(p.digest for p in order) == sorted({p.digest for p in pairs})
    assert order == shuffled(tuple(reversed(pairs)), RUN, "ann"), "the order of the evidence shines through"
    assert order != shuffled(pairs, RUN, "bob")


def test_the_order_mixes_the_kinds(tmp_path: Path, ledger):
    pairs = read_pairs(reviewed_run(tmp_path / "run", ledger, review=10, known=10, controls=10))
    places = [[p.kind for p in shuffled(pairs, RUN, f"reader {i}")].index("flagged") for i in range(30)]
    first = [shuffled(pairs, RUN, f"reader {i}")[0].kind for i in range(30)]
    assert set(first) == {"flagged", "known", "control"}
    assert max(places) > 1


def test_a_pair_without_pictures_is_not_shown(tmp_path: Path, ledger):
    pairs = read_pairs(reviewed_run(tmp_path / "run", ledger, unpictured=2))
    assert sum(pair.digest == "" for pair in pairs) == 2
    assert all(pair.digest for pair in shuffled(pairs, RUN, "ann"))


def test_other_pictures_are_noticed(run: Path):
    pair = read_pairs(run)[0]
    (run / f"{pair.place}-private.png").write_bytes(png(fundus(77)))
    with pytest.raises(IntegrityError, match="other pictures"):
        load(run, pair)


@pytest.mark.parametrize("place", ["../run.json", "/etc/passwd", "pairs/../../x", "pairs/x/y", "pairs/X"])
def test_places_elsewhere_are_refused(run: Path, place: str):
    evidence = json.loads((run / "evidence.json").read_text())
    evidence["review"]["known"][0]["pair"] = place
    (run / "evidence.json").write_bytes(canonical(evidence))
    with pytest.raises(IntegrityError, match="pair at"):
        read_pairs(run)


def test_a_run_of_an_older_version(run: Path):
    (run / "evidence.json").write_bytes(canonical({"memorisation": {"flagged": []}}))
    with pytest.raises(InputError, match="kept no pairs"):
        read_pairs(run)


def test_digests_tell_shape_and_order():
    a, b = np.zeros((2, 3, 3), np.uint8), np.ones((2, 3, 3), np.uint8)
    assert len({pair_digest(a, b), pair_digest(b, a), pair_digest(a.reshape(3, 2, 3), b), pair_digest(a, a)}) == 4


def test_nothing_in_a_picture_tells_its_kind(run: Path, ledger):
    """Naming, length and every byte that is no pixel are the same for all pictures of a session."""
    session = Session(run, RUN, "ann", ledger)
    kinds: dict[str, set[tuple[object, ...]]] = {}
    for token, (pair, _) in session._panels.items():
        data = session.picture(token)
        assert data is not None
        with Image.open(io.BytesIO(data)) as image:
            form = (len(data), image.format, image.mode, image.size, tuple(image.info), len(token))
        kinds.setdefault(pair.kind, set()).add(form)
        assert pair.digest not in token
    assert len(kinds) == 3
    assert len(set.union(*kinds.values())) == 1


def test_ids_are_new_with_each_session(run: Path, ledger):
    first, second = (Session(run, RUN, "ann", ledger) for _ in range(2))
    shown = [session.state().shown for session in (first, second)]
    assert {*first._by_id, *first._panels}.isdisjoint({*second._by_id, *second._panels})
    assert first._by_id[shown[0].id] == second._by_id[shown[1].id], "yet the order is the reader's own"


def test_panels_match_gain_and_negative():
    private = fundus(3)
    for candidate in (np.clip(private * 0.6 + 20, 0, 255).astype(np.uint8), 255 - private):
        shown = panels(candidate, private)
        assert tuple(shown) == PANELS
        assert np.abs(shown["matched"].astype(int) - candidate)[private.any(2)].mean() < 3
        assert shown["difference"].mean() < 10
    unlike = panels(fundus(4), private)["difference"].mean()
    assert unlike > 30


def test_panels_of_no_overlap():
    shown = panels(fundus(1), np.zeros_like(fundus(1)))
    assert not shown["difference"].any()
    assert plain_png(shown["matched"]).startswith(b"\x89PNG")


def test_the_second_reader_sees_the_same_page_as_the_first(run: Path, ledger):
    """Whatever the first one said, the second has as many pairs to read, in the same order."""
    before = Session(run, RUN, "bob", ledger)
    queue = [pair.digest for pair in before._waiting(before._decisions())]
    say(ledger, "ann", dict.fromkeys(digests(run, "flagged"), "copy"))
    after = Session(run, RUN, "bob", ledger)
    assert [pair.digest for pair in after._waiting(after._decisions())] == queue
    assert after.state().total == before.state().total
    assert not after.state().can_undo


def test_a_third_is_asked_where_two_differ(run: Path, ledger):
    one, two, three = digests(run, "flagged")
    say(ledger, "ann", {one: "copy", two: "copy", three: "unsure"})
    say(ledger, "bob", {one: "copy", two: "alike by chance", three: "unsure"})
    session = Session(run, RUN, "cleo", ledger)
    waiting = {pair.digest for pair in session._waiting(session._decisions())}
    assert {one, two, three} & waiting == {two, three}
    assert {*digests(run, "known"), *digests(run, "control")} <= waiting
