"""The trust file: signed, one form, one key for one person, and no way back from a revocation."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from synguard.errors import InputError, IntegrityError
from synguard.governance import envelope
from synguard.governance.keys import trust as trusted
from synguard.governance.keys.software import new_key
from synguard.governance.keys.trust import Grant, Revocation, Trust, grant, read_trust, revoke, write_trust

ROOT, OSEI, ITO = new_key(), new_key(), new_key()
FIRST, LAST = date(2026, 1, 1), date(2027, 12, 31)


def made() -> Trust:
    empty = Trust(ROOT.public, 0, ())
    one = grant(empty, "a.osei", ["privacy-officer"], Grant(OSEI.public, FIRST, LAST))
    return grant(one, "p.ito", ["board", "clinical-reviewer"], Grant(ITO.public, FIRST, LAST))


@pytest.fixture
def path(tmp_path):
    write_trust(tmp_path / "trust.json", made(), ROOT)
    return tmp_path / "trust.json"


def test_it_comes_back_from_its_file(path):
    found = read_trust(path, root=ROOT.key_id)
    assert found == made()
    assert found.serial == 2
    person, held = found.holder(ITO.key_id)
    assert (person.name, person.roles, held.last) == ("p.ito", ("board", "clinical-reviewer"), LAST)
    assert found.holder("0" * 64) is None


def test_every_changed_byte_is_refused(path):
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(IntegrityError, match=r"trust\.json"):
            read_trust(path)


def test_another_root_is_refused_where_the_root_is_known(path):
    other = new_key()
    write_trust(path, replace(made(), root=other.public), other)
    assert read_trust(path).root == other.public
    with pytest.raises(IntegrityError, match="found the root key"):
        read_trust(path, root=ROOT.key_id)


def test_only_the_root_signs(path):
    with pytest.raises(InputError, match="expected its root key"):
        write_trust(path, made(), OSEI)


def test_a_key_belongs_to_one_person():
    with pytest.raises(InputError, match=r"a key that a\.osei has"):
        grant(made(), "b.alias", ["board"], Grant(OSEI.public, FIRST, LAST))


@pytest.mark.parametrize("how", ["same person", "other person", "person twice", "capitals"])
def test_a_key_listed_twice_is_refused_even_where_the_root_signed_it(path, how):
    document = trusted._document(made())
    row = document["people"][0]
    if how == "same person":
        row["keys"].append(row["keys"][0])
    elif how == "other person":
        document["people"][1]["keys"].append(row["keys"][0])
    elif how == "person twice":
        document["people"].insert(0, {**row, "keys": []})
    else:
        row["person"] = "A.Osei"
    path.write_bytes(envelope.sign(document, ROOT, kind=trusted.PAYLOAD_TYPE))
    with pytest.raises(IntegrityError, match="in another form"):
        read_trust(path)


def test_a_signed_statement_of_another_kind_is_no_trust_file(path):
    path.write_bytes(envelope.sign(trusted._document(made()), ROOT))
    with pytest.raises(IntegrityError):
        read_trust(path)


def test_a_revoked_key_stays_revoked():
    found = revoke(made(), OSEI.key_id[:16], Revocation(date(2026, 6, 1), "laptop was stolen"))
    assert found.serial == 3
    assert found.holder(OSEI.key_id)[1].revoked.reason == "laptop was stolen"
    with pytest.raises(InputError, match="a key that was revoked"):
        grant(found, "a.osei", ["board"], Grant(OSEI.public, FIRST, LAST))
    with pytest.raises(InputError, match="revoked on 2026-06-01"):
        revoke(found, OSEI.key_id, Revocation(date(2026, 6, 2), "laptop was stolen"))


@pytest.mark.parametrize("key", ["", "0" * 64, "short"])
def test_an_unknown_key_cannot_be_revoked(key):
    with pytest.raises(InputError, match="no such key"):
        revoke(made(), key, Revocation(FIRST, "laptop was stolen"))


def test_granting_again_sets_roles_and_days():
    found = grant(made(), "a.osei", ["board"], Grant(OSEI.public, FIRST, date(2026, 3, 1)))
    person, held = found.holder(OSEI.key_id)
    assert (person.roles, held.last, len(person.keys)) == (("board",), date(2026, 3, 1), 1)


@pytest.mark.parametrize(
    ("name", "roles", "first", "what"),
    [
        ("A.Osei", ["board"], FIRST, "person"),
        ("../x", ["board"], FIRST, "person"),
        ("a", [], FIRST, "no role"),
        ("a", ["Board"], FIRST, "role"),
        ("a", ["board"], date(2030, 1, 1), "a last day after the first"),
    ],
)
def test_what_cannot_be_granted(name, roles, first, what):
    with pytest.raises(InputError, match=what):
        grant(made(), name, roles, Grant(new_key().public, first, LAST))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"[" * 100_000, b"\xff", json.dumps({"payload": 3}).encode()])
def test_what_is_no_trust_file_is_refused(tmp_path, content):
    (tmp_path / "trust.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"trust\.json"):
        read_trust(tmp_path / "trust.json")
    with pytest.raises(InputError, match="no file that can be read"):
        read_trust(tmp_path / "absent.json")
