"""ECDSA P-256 through PKCS#11, on SoftHSM."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from synguard.errors import InputError
from synguard.governance import envelope
from synguard.governance.keys import public, token
from synguard.governance.keys.reference import create_key, open_key

pytestmark = pytest.mark.system

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "98765432"


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    if not MODULE.is_file() or shutil.which("softhsm2-util") is None:
        pytest.skip("no SoftHSM: run tests/system/install")
    root = tmp_path_factory.mktemp("softhsm")
    (root / "tokens").mkdir()
    (root / "softhsm2.conf").write_text(f"directories.tokendir = {root / 'tokens'}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(root / "softhsm2.conf"))
        options = ["--init-token", "--free", "--label", "board room", "--so-pin", "12345678", "--pin", PIN]
        subprocess.run(["softhsm2-util", *options], check=True, capture_output=True)
        yield "pkcs11:token=board%20room;object={}?module-path=" + str(MODULE)


@pytest.fixture(scope="module")
def key(where):
    return create_key(where.format("osei"), PIN)


def test_a_key_made_in_a_token_signs_an_envelope(where, key):
    opened = open_key(where.format("osei"), PIN)
    assert opened.public == key.public
    assert public.scheme(key.public) == "ECDSA P-256"
    for number in range(20):  # half of all signatures come out of the token with the higher s
        signed = envelope.sign({"number": number}, opened)
        assert envelope.verify(signed, key.public, "e.json") == {"number": number}


def test_the_private_key_cannot_be_read_out(key):
    import pkcs11

    with key._session() as session:
        found = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label="osei")
        assert not found[pkcs11.Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.PKCS11Error):
            found.get_attributes([pkcs11.Attribute.VALUE])[pkcs11.Attribute.VALUE]


def test_a_second_key_of_the_name_is_refused(where, key):
    with pytest.raises(InputError, match="an object of that name"):
        token.create(where.format("osei"), PIN)


@pytest.mark.parametrize(("object_name", "pin"), [("nobody", PIN), ("osei", "11111111")])
def test_another_pin_or_name_is_said_on_one_line(where, key, object_name, pin):
    with pytest.raises(InputError, match="a token that says") as caught:
        open_key(where.format(object_name), pin)
    assert "\n" not in str(caught.value)
    assert pin not in str(caught.value)


def test_a_token_that_is_absent_is_refused(where):
    with pytest.raises(InputError, match="a token that says"):
        open_key(where.format("osei").replace("board%20room", "other"), PIN)


def test_a_board_member_signs_with_a_token(where, key, tmp_path):
    """From the token to a release that verifies, beside people with key files."""
    from synguard.governance.attestations import OPERATOR
    from synguard.governance.keys.trust import Grant, grant
    from synguard.governance.sign_off import sign_off, signable
    from synguard.release.documents import Details
    from synguard.release.make import release
    from tests.support import governed

    trust = grant(governed.trust(), "f.token", ["board"], Grant(key.public, governed.FIRST, governed.LAST))
    run = governed.governed_run(tmp_path / "run")
    for person, role in (("e.moss", OPERATOR), *governed.APPROVERS[:2]):
        governed.sign(run, person, role, found=trust)
    sign_off(signable(run), trust, open_key(where.format("osei"), PIN), role="board", now=governed.NOW)
    details = Details(title="Tiny", publisher="Hospital X", contact="x@example.org", licence="cc-by-4.0")
    done = release(run, tmp_path / "out", trust, governed.key("e.moss"), details, now=governed.NOW)
    assert ("f.token", "board") in {(item.person, item.role) for item in done.standing.approvals}
