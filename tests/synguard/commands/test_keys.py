"""`keys` and `sign-off` as users type them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from synguard.commands.main import cli
from synguard.errors import InputError, SynguardError
from synguard.governance.keys.public import key_id
from synguard.governance.keys.trust import read_trust
from synguard.governance.ledger import Ledger
from tests.support.governed import REQUIRED, governed_run, recorded

PEOPLE = {"osei": ("privacy-officer",), "moss": ("operator",)}


def call(*arguments, code=0, typed=None):
    result = CliRunner().invoke(cli, list(map(str, arguments)), input=typed)
    if isinstance(result.exception, SynguardError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with keys of root and people, and a trust file."""
    folder = tmp_path_factory.mktemp("desk")
    secret = folder / "passphrase"
    secret.write_text("correct horse battery\n")
    secret.chmod(0o600)
    pass_ = ("--passphrase-file", secret)
    for name in ("root", *PEOPLE):
        call("keys", "init", folder / f"{name}.key", *pass_)
    for name, roles in PEOPLE.items():
        given = [part for role in roles for part in ("--role", role)]
        given += ["--person", name, "--public", folder / f"{name}.key.pub", "--root-key", folder / "root.key"]
        call("keys", "trust", folder / "trust.json", *given, *pass_)
    return folder, pass_


def test_whose_keys_are_trusted_is_listed(desk):
    said = call("keys", "people", desk[0] / "trust.json")
    assert "number 2" in said
    assert "osei: privacy-officer" in said
    assert "Ed25519" in said


def test_the_public_half_is_shown(desk):
    folder, pass_ = desk
    public = (folder / "osei.key.pub").read_text().strip()
    said = call("keys", "show", folder / "osei.key", *pass_)
    assert public in said
    assert key_id(public) in said


def test_passphrases_are_asked_for_twice(tmp_path):
    said = call("keys", "init", tmp_path / "k", typed="correct horse battery\ncorrect horse battery\n")
    assert "correct horse" not in said
    assert (tmp_path / "k").is_file()


def test_a_run_is_signed_off_by_the_command(desk, tmp_path):
    folder, pass_ = desk
    run = recorded(governed_run(tmp_path / "run", required=REQUIRED[2:]), Ledger.open())
    trust = ("--trust", folder / "trust.json")
    said = call("sign-off", run, "--role", "operator", "--key", folder / "moss.key", *trust, *pass_, typed="y\n")
    assert "you ran the generator" in said
    assert "sha256 of results.json" in said
    assert "still missing: privacy-officer" in said
    said = call("sign-off", run, "--role", "privacy-officer", "--key", folder / "osei.key", *trust, *pass_, "--yes")
    assert "still missing" not in said
    assert len(list((run / "attestations").iterdir())) == 2


def test_who_does_not_say_yes_signs_nothing(desk, tmp_path):
    folder, pass_ = desk
    run = recorded(governed_run(tmp_path / "run", seed=1), Ledger.open())
    given = ("--role", "privacy-officer", "--key", folder / "osei.key", "--trust", folder / "trust.json", *pass_)
    assert "Aborted" in call("sign-off", run, *given, code=1, typed="n\n")
    assert not (run / "attestations").exists()


def test_a_key_is_revoked_by_the_command(desk, tmp_path):
    folder, pass_ = desk
    copy = tmp_path / "trust.json"
    copy.write_bytes((folder / "trust.json").read_bytes())
    key = key_id((folder / "osei.key.pub").read_text().strip())
    call("keys", "revoke", copy, "--key", key, "--reason", "laptop was stolen", "--root-key", folder / "root.key", *pass_)
    assert read_trust(copy).holder(key)[1].revoked is not None
    assert "REVOKED" in call("keys", "people", copy)


def test_a_passphrase_that_others_can_read_is_refused(desk, tmp_path):
    (tmp_path / "open").write_text("correct horse battery\n")
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(InputError, match="that others can reach"):
        call("keys", "show", desk[0] / "osei.key", "--passphrase-file", tmp_path / "open")


@pytest.mark.parametrize("public", ["absent.pub", "AAAA", ""])
def test_what_is_no_public_key_is_refused(desk, public):
    folder, pass_ = desk
    given = ("--person", "x", "--role", "board", "--public", public, "--root-key", folder / "root.key")
    with pytest.raises(InputError, match="--public"):
        call("keys", "trust", folder / "trust.json", *given, *pass_)
