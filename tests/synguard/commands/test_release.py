"""The whole way as users type it: keys, sign-off, release, verify on a copy, withdraw, purge; with its exit codes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from synguard.commands.main import cli
from synguard.errors import SynguardError
from synguard.governance.ledger import Ledger
from tests.support.certificates import credentials_in
from tests.support.governed import PEOPLE, governed_run, recorded

SIGNED = (
    ("e.moss", "operator"),
    ("a.osei", "privacy-officer"),
    ("b.lund", "clinical-reviewer"),
    ("d.ruiz", "board"),
)
DETAILS = ("--title", "Tiny", "--publisher", "Hospital X", "--contact", "x@example.org")


def call(*arguments):
    """Exit code and what was said."""
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    if isinstance(result.exception, SynguardError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


def done(*arguments):
    code, said = call(*arguments)
    assert code == 0, said
    return said


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    secret = folder / "passphrase"
    secret.write_text("correct horse battery")
    secret.chmod(0o600)
    for name in ("root", *PEOPLE):
        done("keys", "init", folder / name, "--passphrase-file", secret)
    for name, roles in PEOPLE.items():
        given = [part for role in roles for part in ("--role", role)]
        given += ["--public", folder / f"{name}.pub", "--root-key", folder / "root", "--passphrase-file", secret]
        done("keys", "trust", folder / "trust.json", "--person", name, *given)
    return folder


def named(desk, person):
    return ("--key", desk / person, "--trust", desk / "trust.json", "--passphrase-file", desk / "passphrase")


def test_the_whole_way(desk, tmp_path):
    run, out = recorded(governed_run(tmp_path / "run"), Ledger.open()), tmp_path / "release"
    trust = ("--trust", desk / "trust.json")
    code, said = call("release", run, "--to", out, *DETAILS, *named(desk, "e.moss"), "-q")
    assert code == 21
    assert "board: found 0 of 1 approvals" in said
    for person, role in SIGNED:
        said = done("sign-off", run, "--role", role, "--yes", *named(desk, person))
    assert "still missing" not in said
    said = done("release", run, "--to", out, *DETAILS, *named(desk, "e.moss"), "-q")
    assert "released:" in said
    copy = shutil.copytree(out, tmp_path / "copy")
    said = done("verify", copy, *trust)
    assert "VERIFIED" in said
    assert "a.osei (privacy-officer)" in said
    assert '"verified": true' in done("verify", copy, *trust, "--json")
    code, said = call("verify", copy, *trust, "--root", "0" * 64)
    assert code == 30
    (copy / "README.md").write_text("safe")
    code, said = call("verify", copy, *trust)
    assert code == 30
    assert "README.md: changed" in said
    done("purge", run, "--yes")
    kinds = [entry["kind"] for entry in json.loads(done("runs", "show", run, "--json"))["entries"]]
    assert kinds == ["run", "attempt", "decision", *["approval"] * 4, "release", "purge"]
    assert not (run / "report" / "internal.html").exists()


def test_a_revocation_reaches_releases_that_are_out(desk, tmp_path):
    run, out = recorded(governed_run(tmp_path / "run", seed=3), Ledger.open()), tmp_path / "release"
    for person, role in SIGNED:
        done("sign-off", run, "--role", role, "--yes", *named(desk, person))
    done("release", run, "--to", out, *DETAILS, *named(desk, "e.moss"), "-q", "--layout", "webdataset")
    trust = tmp_path / "trust.json"
    shutil.copy(desk / "trust.json", trust)
    listed = done("keys", "people", trust).splitlines()
    key = next(line.split()[0] for line in listed[listed.index("d.ruiz: board") + 1 :])
    given = ("--reason", "token was lost", "--root-key", desk / "root", "--passphrase-file", desk / "passphrase")
    done("keys", "revoke", trust, "--key", key, *given)
    code, said = call("verify", out, "--trust", trust)
    assert code == 21
    assert "token was lost" in said


def test_marks_that_are_asked_for(desk, tmp_path):
    run = recorded(governed_run(tmp_path / "run", seed=9), Ledger.open())
    for person, role in SIGNED:
        done("sign-off", run, "--role", role, "--yes", *named(desk, person))
    asked = ("release", run, *DETAILS, *named(desk, "e.moss"), "-q")
    c2pa_key, certificate = credentials_in(tmp_path)
    both = ("--c2pa-key", c2pa_key, "--c2pa-certificate", certificate)
    trust = ("--trust", desk / "trust.json")
    for half in (both[:2], both[2:]):
        code, said = call(*asked, "--to", tmp_path / "half", *half)
        assert (code, "expected both or neither" in said) == (2, True), said
    code, said = call(*asked, "--to", tmp_path / "half", *both, "--layout", "dicom")
    assert (code, "the layout dicom, which has none" in said) == (2, True), said
    assert not (tmp_path / "half").exists()
    done(*asked, "--to", tmp_path / "c2pa", *both)
    assert "signed by Hospital X, Synthetic images" in done("verify", tmp_path / "c2pa", *trust)
    done(*asked, "--to", tmp_path / "dicom", "--layout", "dicom")
    assert "Synthetic Data (0008,001C)" in done("verify", tmp_path / "dicom", *trust)


def test_a_failed_run_is_not_released(desk, tmp_path):
    run = recorded(governed_run(tmp_path / "run", exit_code=20, seed=4), Ledger.open())
    code, said = call("release", run, "--to", tmp_path / "release", *DETAILS, *named(desk, "e.moss"), "-q")
    assert code == 20
    assert "expected a pass" in said


def test_a_run_that_the_ledger_does_not_know_is_neither_signed_nor_released(desk, tmp_path):
    run = recorded(governed_run(tmp_path / "run", seed=5), Ledger.open())
    other = ("--ledger", tmp_path / "other.sqlite")
    code, said = call("sign-off", run, "--role", "operator", "--yes", *named(desk, "e.moss"), *other)
    assert (code, "a ledger (it is made by the first run)" in said) == (2, True)
    Ledger.open(other[1]).append("note", {})
    for command in (("sign-off", run, "--role", "operator", "--yes"), ("release", run, "--to", tmp_path / "out", *DETAILS)):
        code, said = call(*command, *named(desk, "e.moss"), *other)
        assert (code, "is of ledger" in said) == (30, True), said
    assert not (run / "attestations").exists()


def test_a_newer_run_of_the_same_name_on_the_same_images_takes_its_place(desk, tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    where = ("--ledger", tmp_path / "ledger.sqlite")
    rng = np.random.default_rng(0)
    images, strangers = (
        ledger.append_images(ledger.key().blind(rng.integers(0, 256, (3, 8, 8, 3), np.uint8))) for _ in "ab"
    )
    one, other = images.payload["sha256"], strangers.payload["sha256"]
    run = recorded(governed_run(tmp_path / "run", seed=6), ledger, sets=[one])
    for person, role in SIGNED[:2]:
        done("sign-off", run, "--role", role, "--yes", *named(desk, person), *where)
    recorded(governed_run(tmp_path / "else", seed=7), ledger, sets=[other])
    done("sign-off", run, "--role", "clinical-reviewer", "--yes", *named(desk, "b.lund"), *where)
    recorded(governed_run(tmp_path / "newer", seed=8), ledger, sets=[one, other])
    code, said = call("sign-off", run, "--role", "board", "--yes", *named(desk, "d.ruiz"), *where)
    assert (code, "superseded by run 00000000" in said) == (2, True), said
    code, said = call("release", run, "--to", tmp_path / "out", *DETAILS, *named(desk, "e.moss"), *where, "-q")
    assert (code, "superseded by run 00000000" in said) == (21, True), said
