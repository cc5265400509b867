"""Signing off: who counts, and what makes a statement stale."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import pytest

from synguard.errors import ApprovalError, InputError, IntegrityError
from synguard.governance import attestations, envelope
from synguard.governance.approvals import require_approved
from synguard.governance.attestations import OPERATOR, Required, Waived
from synguard.governance.keys.software import new_key
from synguard.governance.keys.trust import Grant, Revocation, grant, revoke
from synguard.governance.sign_off import read_attestations, sign_off, signable, standing_of
from tests.support.governed import (
    APPROVERS,
    FIRST,
    LAST,
    NOW,
    REQUIRED,
    TODAY,
    approved_run,
    asking,
    at,
    governed_run,
    key,
    sign,
    signed_anew,
    trust,
)


@dataclass
class Book:
    """The ledger, in memory."""

    rows: list[Any] = field(default_factory=list)
    newer: str = ""

    def append(self, kind, payload):
        self.rows.append((kind, replace_payload(payload)))

    def entries(self, kind=None, run=None):
        return [Row(payload) for k, payload in self.rows if k == kind and run in (None, payload["run"])]

    def successor(self, run):
        return self.newer


@dataclass
class Row:
    payload: dict[str, Any]


def replace_payload(payload):
    return json.loads(json.dumps(payload))


@pytest.fixture(scope="module")
def approved(tmp_path_factory):
    return approved_run(tmp_path_factory.mktemp("approved") / "run")


@pytest.fixture
def run(tmp_path, approved):
    return shutil.copytree(approved, tmp_path / "run")


def missing(folder, found=None, today=TODAY, book=None):
    standing = standing_of(signable(folder), found or trust(), today, book)
    with pytest.raises(ApprovalError) as caught:
        require_approved(standing, folder)
    assert caught.value.exit_code == 21
    return str(caught.value)


def test_all_who_are_asked_have_signed(run):
    found = standing_of(signable(run), trust(), TODAY)
    assert {(item.person, item.role) for item in found.approvals} == set(APPROVERS)
    assert (found.missing, found.idle) == ((), ())
    require_approved(found, run)


def test_statements_are_in_toto_in_dsse_and_verify_elsewhere(run):
    """An independent implementation of DSSE takes the signature; the statement names no person and no place."""
    from securesystemslib import dsse, signer

    path = run / "attestations" / "0002-privacy-officer.dsse.json"
    outer = dsse.Envelope.from_dict(json.loads(path.read_bytes()))
    made = key("a.osei")
    other = signer.SSlibKey(
        made.key_id, "ed25519", "ed25519", {"public": made.private.public_key().public_bytes_raw().hex()}
    )
    outer.verify([other], 1)
    stated = json.loads(outer.payload)
    assert stated["_type"] == "https://in-toto.io/Statement/v1"
    assert {row["name"] for row in stated["subject"]} == {
        "content",
        "manifest.json",
        "policy",
        "report/public.html",
        "results.json",
    }
    assert b"osei" not in outer.payload
    assert str(run).encode() not in outer.payload


def test_what_is_signed_is_said(tmp_path):
    folder = governed_run(tmp_path / "run", waivers=[Waived("W-1", date(2026, 12, 1))])
    said = "\n".join(signable(folder).lines())
    for part in ("run tiny", "decision: PASS", "accepted files: 4", "1 x board", "waiver W-1, until 2026-12-01"):
        assert part in said
    for digest in signable(folder).subjects.values():
        assert digest in said


@pytest.mark.parametrize("name", [role for _, role in APPROVERS])
def test_one_approval_fewer_is_missing(tmp_path, name):
    folder = governed_run(tmp_path / "run")
    sign(folder, "e.moss", OPERATOR)
    for person, role in APPROVERS:
        if role != name:
            sign(folder, person, role)
    assert f"{name}: found 0 of 1 approvals" in missing(folder)


def test_nobody_said_who_ran_the_generator(tmp_path):
    folder = governed_run(tmp_path / "run")
    for person, role in APPROVERS:
        sign(folder, person, role)
    assert "nobody signed as operator" in missing(folder)


def test_one_person_with_two_keys_counts_once(tmp_path):
    folder = governed_run(tmp_path / "run", required=[Required("board", 2)])
    second = new_key()
    found = grant(trust(), "d.ruiz", ["board"], Grant(second.public, FIRST, LAST))
    sign(folder, "e.moss", OPERATOR, found=found)
    sign(folder, "d.ruiz", "board", found=found)
    sign_off(signable(folder), found, second, role="board", now=NOW)
    assert "board: found 1 of 2 approvals" in missing(folder, found)
    sign(folder, "c.ito", "board", found=found)
    assert standing_of(signable(folder), found, TODAY).missing == ()


def test_one_person_in_two_roles_counts_once(tmp_path):
    folder = governed_run(tmp_path / "run", required=REQUIRED[:2])
    for person, role in (("e.moss", OPERATOR), ("c.ito", "clinical-reviewer"), ("c.ito", "board")):
        sign(folder, person, role)
    assert "board: found 0 of 1 approvals (0003-board.dsse.json: c.ito counts already as clinical-reviewer)" in missing(
        folder
    )


def test_the_operator_cannot_approve(tmp_path):
    folder = governed_run(tmp_path / "run")
    sign(folder, "e.moss", OPERATOR)
    with pytest.raises(InputError, match=r"after e\.moss signed as operator"):
        sign(folder, "e.moss", "board")


def test_nor_become_operator_after_it(tmp_path):
    folder = governed_run(tmp_path / "run")
    sign(folder, "e.moss", "board")
    with pytest.raises(InputError, match=r"after e\.moss signed as board"):
        sign(folder, "e.moss", OPERATOR)


def test_an_operator_who_gets_round_the_command_does_not_count(tmp_path, monkeypatch):
    folder = governed_run(tmp_path / "run")
    for person, role in (*APPROVERS[:2], ("e.moss", OPERATOR)):
        sign(folder, person, role)
    monkeypatch.setattr("synguard.governance.sign_off._check_separate", lambda *_: None)
    sign(folder, "e.moss", "board")
    assert "e.moss ran the generator and cannot approve" in missing(folder)


def test_a_second_key_of_the_operator_does_not_help(tmp_path):
    folder = governed_run(tmp_path / "run")
    second = new_key()
    found = grant(trust(), "e.moss", [OPERATOR, "board"], Grant(second.public, FIRST, LAST))
    sign(folder, "e.moss", OPERATOR, found=found)
    with pytest.raises(InputError, match=r"after e\.moss signed as operator"):
        sign_off(signable(folder), found, second, role="board", now=NOW)


def test_a_no_stands_until_its_owner_says_yes(run):
    sign(run, "b.lund", "clinical-reviewer", verdict="refuse", reason="image 12 shows no disc at all")
    assert "b.lund refused as clinical-reviewer: image 12 shows no disc" in missing(run)
    sign(run, "c.ito", "clinical-reviewer")
    assert "b.lund refused" in missing(run)
    sign(run, "b.lund", "clinical-reviewer")
    assert standing_of(signable(run), trust(), TODAY).missing == ()


def test_a_no_outlives_its_days_and_its_key(run):
    person, role = APPROVERS[1]
    sign(run, person, role, verdict="refuse", reason="image 12 shows no disc at all", days=1)
    assert f"{person} refused as {role}" in missing(run, trust(b=TODAY + timedelta(days=2)), TODAY + timedelta(days=3))


@pytest.mark.parametrize("reason", ["", "no"])
def test_a_no_needs_a_reason(run, reason):
    with pytest.raises(InputError, match="why not"):
        sign(run, "b.lund", "clinical-reviewer", verdict="refuse", reason=reason)


def test_a_failed_decision_can_only_be_refused(tmp_path):
    folder = governed_run(tmp_path / "run", exit_code=20)
    with pytest.raises(InputError, match="a decision that ended with 20"):
        sign(folder, "d.ruiz", "board")
    sign(folder, "d.ruiz", "board", verdict="refuse", reason="fifteen copies were found")


@pytest.mark.parametrize("part", ["report/public.html", "results.json"])
def test_a_changed_byte_makes_it_stale(run, tmp_path, part):
    """Even where the change was made as the tool would make it: a report written anew, results signed anew."""
    if part == "results.json":
        other = governed_run(tmp_path / "other", required=[*REQUIRED, Required("board", 2)])
        for name in ("results.json", "results.dsse.json", "policy.json", "run.json"):
            (run / name).write_bytes((other / name).read_bytes())
    else:
        (run / part).write_text("<p>no copies found at all</p>")
    assert "stale, since" in missing(run)


def test_a_policy_loosened_after_the_run_is_noticed(run, tmp_path):
    path = run / "policy.json"
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"count": 1', b'"count": 0'))
    with pytest.raises(IntegrityError, match=r"policy\.json"):
        signable(run)


def test_a_policy_that_the_results_do_not_vouch_for_is_refused(run):
    """Another one under the same results, all signed anew: whoever can do that could ask for other people."""
    (run / "policy.json").write_bytes(asking(REQUIRED[:1]).to_bytes())
    with pytest.raises(IntegrityError, match=r"policy\.json: found the policy .*, expected .* of the results"):
        signable(signed_anew(run))


def test_another_image_makes_it_stale(run, tmp_path):
    other = governed_run(tmp_path / "other", images=4)
    for name in ("results.json", "results.dsse.json", "policy.json", "run.json", "manifest.json"):
        (run / name).write_bytes((other / name).read_bytes())
    for path in (other / "accepted").rglob("*.*"):
        (run / path.relative_to(other)).write_bytes(path.read_bytes())
    assert "stale, since the images or their labels changed" in missing(run)


def test_a_replaced_run_of_the_same_bytes_is_another_run(run):
    """The same images and decision under another run id: an approval is for one run."""
    record = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps({**record, "id": "f" * 32}))
    assert "stale, since it was signed for run" in missing(run)


@pytest.mark.parametrize(
    ("today", "why"),
    [
        (TODAY + timedelta(days=31), "counted until 2026-12-20"),
        (TODAY - timedelta(days=1), "in the future"),
    ],
)
def test_days_pass(run, today, why):
    assert why in missing(run, today=today)


def test_an_expired_key_makes_it_stale(run):
    found = trust(a=TODAY + timedelta(days=3))
    assert standing_of(signable(run), found, TODAY).missing == ()
    assert "its key expired on 2026-11-23" in missing(run, found, TODAY + timedelta(days=4))


def test_a_key_that_was_not_valid_when_it_signed(run):
    assert "when its key was not valid" in missing(run, trust(a=TODAY - timedelta(days=1)))


def test_a_revoked_key_counts_for_nothing(run):
    found = revoke(trust(), key("a.osei").key_id, Revocation(TODAY, "laptop was stolen"))
    assert "its key was revoked on 2026-11-20: laptop was stolen" in missing(run, found)
    with pytest.raises(InputError, match="revoked"):
        sign(run, "a.osei", "privacy-officer", found=found)


def test_a_role_that_was_taken_away(run):
    found = grant(trust(), "a.osei", ["board"], Grant(key("a.osei").public, FIRST, LAST))
    assert "a.osei has no role privacy-officer" in missing(run, found)


def test_a_waiver_that_ran_out_makes_it_stale(tmp_path):
    folder = approved_run(tmp_path / "run", waivers=[Waived("W-1", TODAY + timedelta(days=2))])
    assert standing_of(signable(folder), trust(), TODAY + timedelta(days=2)).missing == ()
    assert "waiver W-1 ran out on 2026-11-22" in missing(folder, today=TODAY + timedelta(days=3))


def test_a_superseded_run_is_stale(run):
    book = recorded_in(Book(), run)
    run_id = signable(run).run
    book.append("decision", {"run": run_id, "files": {"results.json": signable(run).subjects["results.json"]}})
    assert standing_of(signable(run), trust(), TODAY, book).missing == ()
    book.append("decision", {"run": run_id, "files": {"results.json": "0" * 64}})
    assert "superseded by the decision on results 0000" in missing(run, book=book)
    book.append("decision", {"run": run_id, "files": {"results.json": signable(run).subjects["results.json"]}})
    book.newer = "f" * 32
    assert "superseded by run ffffffffffffffff of the same name" in missing(run, book=book)


def recorded_in(book, run):
    """The book, with the statements beside the run."""
    for found in read_attestations(run, trust()):
        book.append("approval", {"run": found.claim.run, "sha256": found.sha256})
    return book


def test_a_statement_that_the_ledger_does_not_have_does_not_count(run):
    """Written by another program: nobody could tell later when it came. A No counts all the same."""
    book, found = recorded_in(Book(), run), signable(run)
    book.append("decision", {"run": found.run, "files": {"results.json": found.subjects["results.json"]}})
    book.rows = [row for row in book.rows if row != book.rows[1]]
    person, role = APPROVERS[0]
    assert f"{role}: found 0 of 1 approvals (0002-{role}.dsse.json: the ledger does not have it)" in missing(run, book=book)
    sign(run, person, role, verdict="refuse", reason="image 12 shows no disc at all")
    assert f"{person} refused as {role}" in missing(run, book=book)


def test_a_run_that_the_ledger_does_not_know(tmp_path):
    folder, book = governed_run(tmp_path / "run"), Book()
    with pytest.raises(IntegrityError, match="found no decision on run"):
        sign(folder, "e.moss", OPERATOR, book=book)
    with pytest.raises(IntegrityError, match="found no decision on run"):
        standing_of(signable(folder), trust(), TODAY, book)


def test_an_older_trust_file_than_somebody_signed_under(tmp_path):
    """It may not know that a key was revoked."""
    folder, book, known = governed_run(tmp_path / "run"), Book(), trust()
    found = signable(folder)
    book.append("decision", {"run": found.run, "files": {"results.json": found.subjects["results.json"]}})
    newer = revoke(known, key("c.ito").key_id, Revocation(TODAY, "laptop was stolen"))
    sign(folder, "e.moss", OPERATOR, found=newer, book=book)
    with pytest.raises(IntegrityError, match=f"found number {known.serial}, expected {newer.serial} or later"):
        sign(folder, "a.osei", "privacy-officer", found=known, book=book)
    with pytest.raises(IntegrityError, match="trust file"):
        standing_of(found, known, TODAY, book)
    standing_of(found, newer, TODAY, book)


def test_who_asked_for_a_waiver_approves_nothing(tmp_path):
    folder = governed_run(tmp_path / "run", waivers=[Waived("W-1", LAST)])
    known = grant(trust(), "p.ito", ["board"], Grant(key("p.ito").public, FIRST, LAST))
    for name, role in (("e.moss", OPERATOR), *APPROVERS[:2]):
        sign(folder, name, role, found=known)
    with pytest.raises(InputError, match=r"for p\.ito, who asked for waiver W-1"):
        sign(folder, "p.ito", "board", found=known)
    unchecked = replace(signable(folder), askers={})
    sign_off(unchecked, known, key("p.ito"), role="board", now=NOW)
    assert "p.ito asked for waiver W-1 and cannot approve" in missing(folder, known)
    sign(folder, "d.ruiz", "board", found=known)
    assert standing_of(signable(folder), known, TODAY).missing == ()


def test_people_can_be_barred_for_other_reasons(run):
    from synguard.governance.approvals import Occasion, standing

    found = signable(run)
    occasion = Occasion(
        run=found.run, subjects=found.subjects, required=found.required, today=TODAY, barred={"d.ruiz": "asked for a waiver"}
    )
    result = standing(read_attestations(run, trust()), trust(), occasion)
    assert result.missing == ("board: found 0 of 1 approvals",)
    assert "d.ruiz asked for a waiver and cannot approve" in result.idle[0]


@pytest.mark.parametrize("required", [(), (Required("board", 0),), (Required(OPERATOR, 1),)])
def test_a_policy_that_asks_nobody_is_not_enough(tmp_path, required):
    with pytest.raises(ApprovalError, match="asks for no approval"):
        signable(governed_run(tmp_path / "run", required=required))


def test_dropping_adding_or_moving_a_statement_is_noticed(run):
    place = run / "attestations"
    second, third = place / "0002-privacy-officer.dsse.json", place / "0003-clinical-reviewer.dsse.json"
    kept = second.read_bytes()
    second.unlink()
    with pytest.raises(IntegrityError, match="out of its order"):
        read_attestations(run, trust())
    third.rename(second)
    with pytest.raises(IntegrityError):
        read_attestations(run, trust())
    second.rename(third)
    second.write_bytes(kept)
    read_attestations(run, trust())
    (place / "0005-board.dsse.json").write_bytes(kept)
    with pytest.raises(IntegrityError, match="0005-board"):
        read_attestations(run, trust())


def test_the_last_statement_cannot_be_dropped_where_there_is_a_ledger(tmp_path):
    folder, book = governed_run(tmp_path / "run"), Book()
    of_the_run = signable(folder)
    book.append("decision", {"run": of_the_run.run, "files": {"results.json": of_the_run.subjects["results.json"]}})
    sign(folder, "e.moss", OPERATOR, book=book)
    for person, role in APPROVERS:
        sign(folder, person, role, book=book)
    sign(folder, "b.lund", "clinical-reviewer", verdict="refuse", reason="grades are wrong", book=book)
    (folder / "attestations" / "0005-clinical-reviewer.dsse.json").unlink()
    with pytest.raises(IntegrityError, match="the ledger has it"):
        standing_of(signable(folder), trust(), TODAY, book)


def test_every_changed_byte_of_a_statement_is_refused(run):
    path = run / "attestations" / "0004-board.dsse.json"
    good = path.read_bytes()
    people = trust()
    for at_byte in range(len(good)):
        changed = good[:at_byte] + bytes([good[at_byte] ^ 1]) + good[at_byte + 1 :]
        with pytest.raises((IntegrityError, ApprovalError), match="0004-board"):
            attestations.read(changed, path.name, people)


def test_a_signed_statement_about_something_else_is_no_sign_off(run):
    path = run / "attestations" / "0004-board.dsse.json"
    path.write_bytes(envelope.sign(envelope.statement({"results.json": "00"}, "urn:x", {}), key("d.ruiz")))
    with pytest.raises(IntegrityError, match="0004-board"):
        read_attestations(run, trust())


@pytest.mark.parametrize(
    ("name", "role", "now", "why"),
    [
        ("root", "privacy-officer", NOW, "of nobody in the trust file"),
        ("a.osei", "clinical-reviewer", NOW, "one that a.osei has"),
        ("d.ruiz", "board", NOW, "one that the policy asks for"),
        ("a.osei", "privacy-officer", at(FIRST - timedelta(days=1)), "valid from 2026-01-01"),
    ],
)
def test_what_could_never_count_is_not_signed(tmp_path, name, role, now, why):
    folder = governed_run(tmp_path / "run", required=REQUIRED[1:])
    with pytest.raises(InputError, match=why):
        sign(folder, name, role, now=now)
    assert not (folder / "attestations").exists()


def test_a_run_that_was_changed_is_not_signed(tmp_path):
    folder = governed_run(tmp_path / "run")
    image = next((folder / "accepted" / "images").iterdir())
    image.write_bytes(image.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match=image.name):
        signable(folder)


@pytest.mark.parametrize("part", ["report/public.html", "results.json", "manifest.json", "policy.json", "run.json"])
def test_a_run_that_is_not_whole_is_not_signed(tmp_path, part):
    folder = governed_run(tmp_path / "run")
    (folder / part).unlink()
    with pytest.raises(InputError, match=part):
        signable(folder)


def test_statements_are_owner_only_files(run):
    for path in (run / "attestations").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_content_digest_knows_pixels_and_labels_and_nothing_else(tmp_path):
    import numpy as np

    from synguard.governance.content import Labelled, Labels, content_digest

    one = Labelled("a.png", np.zeros((2, 2, 3), np.uint8), Labels({"grade": 1}, {"grade": 2}))
    two = Labelled("b.png", np.ones((2, 2, 3), np.uint8), Labels({"grade": 1}, {"grade": None}))
    whole = content_digest([one, two])
    assert whole == content_digest(
        [replace(two, name="x"), replace(one, name="y", labels=Labels({"grade": 1.0}, {"grade": 2}))]
    )
    changed = [
        [one],
        [one, two, two],
        [one, replace(two, pixels=np.ones((1, 4, 3), np.uint8))],
        [one, replace(two, labels=Labels({"grade": None}, {"grade": 1}))],
        [one, replace(two, labels=Labels({}, {"grade": 1}))],
        [replace(one, labels=two.labels), replace(two, labels=one.labels)],
    ]
    assert whole not in {content_digest(images) for images in changed}
