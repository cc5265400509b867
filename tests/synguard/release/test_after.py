"""What comes after a release: recalls and purges."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from synguard.config import DataSource
from synguard.data.phantom import write_phantoms
from synguard.data.readers import read_images
from synguard.errors import ApprovalError, InputError, IntegrityError
from synguard.governance.files import canonical
from synguard.governance.record import read_run, write_run
from synguard.governance.sign_off import signable
from synguard.release.make import release
from synguard.release.purge import PARTS, purge
from synguard.release.verify import verify
from synguard.release.withdraw import check_not_recalled, find_affected, recall
from tests.support.governed import NOW, approved_run, governed_run, key, trust

from .conftest import DETAILS


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """A private set; a run on it that was released, and a run on another set."""
    root = tmp_path_factory.mktemp("clinic")
    write_phantoms(root / "private", patients=3, images_per_patient=1, size=32, seed=1)
    source = DataSource(path=str(root / "private"), patient="patient")
    images = read_images(source, size=32, name="private")
    runs = root / "runs"
    sized(governed_run(runs / "other", seed=3))
    one = sized(approved_run(runs / "one", private=images.digest))
    (one / "generator").mkdir()
    (one / "generator" / "model_card.json").write_bytes(canonical({"weights": "ab"}))
    release(one, root / "release", trust(), key("e.moss"), DETAILS, now=NOW)
    return root, source, images.patients[0]


def sized(run):
    """The run with the size that it read its images at."""
    found = read_run(run)
    write_run(run, replace(found, config={**found.config, "image_size": 32}))
    return run


def test_what_a_patient_was_in_is_found(clinic):
    root, source, patient = clinic
    found = find_affected(root / "runs", source, patient, trust())
    assert [run.name for run in found.runs] == ["one"]
    assert [run.name for run in found.unknown] == ["other"]
    assert len(found.releases) == len(found.models) == 1
    said = "\n".join(found.lines())
    assert "not told" in said
    assert "release " in said


def test_a_recalled_release_verifies_no_more(clinic, tmp_path):
    root, source, patient = clinic
    found = find_affected(root / "runs", source, patient, trust())
    notice = tmp_path / "recall.dsse.json"
    data = recall(notice, found, trust(), key("e.moss"), reason="consent was withdrawn", now=NOW)
    done = verify(root / "release", trust(), NOW)
    with pytest.raises(ApprovalError, match="withdrawn on 2026-11-20: consent was withdrawn"):
        check_not_recalled(done.published.manifest, [notice], trust())
    check_not_recalled("0" * 64, [notice], trust())
    said = base64.b64decode(json.loads(data)["payload"]).decode()
    assert str(patient) not in said
    assert str(root) not in said
    for at in range(0, len(data), 7):
        notice.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises((IntegrityError, ApprovalError), match="recall"):
            check_not_recalled("0" * 64, [notice], trust())


def test_only_a_publisher_recalls(clinic, tmp_path):
    root, source, patient = clinic
    found = find_affected(root / "runs", source, patient, trust())
    with pytest.raises(ApprovalError, match="no publisher"):
        recall(tmp_path / "n", found, trust(), key("a.osei"), reason="consent was withdrawn", now=NOW)
    with pytest.raises(ApprovalError, match="valid from"):
        recall(tmp_path / "n", found, trust(), key("e.moss"), reason="consent was withdrawn", now=NOW + timedelta(days=1000))
    with pytest.raises(InputError, match="reason"):
        recall(tmp_path / "n", found, trust(), key("e.moss"), reason="no", now=NOW)
    assert not (tmp_path / "n").exists()


def test_a_patient_who_is_not_there_is_said(clinic):
    root, source, _ = clinic
    with pytest.raises(InputError, match="nobody of that id"):
        find_affected(root / "runs", source, "nobody", trust())
    with pytest.raises(InputError, match="no finished run"):
        find_affected(root / "private", source, "nobody", trust())


def test_a_purge_deletes_what_shows_private_images_and_says_so(tmp_path):
    run = approved_run(tmp_path / "run")
    for part in PARTS[:-1]:
        (run / part / "deep").mkdir(parents=True)
        (run / part / "deep" / "file").write_bytes(b"12345")
    before = signable(run).subjects
    removed = purge(run, now=NOW)
    assert [item.part for item in removed] == list(PARTS)
    assert (removed[0].files, removed[0].bytes) == (1, 5)
    assert not any((run / part).exists() for part in PARTS)
    said = json.loads((run / "purged.json").read_bytes())
    assert said["done"] is True
    assert {row["part"] for row in said["removed"]} == set(PARTS)
    assert signable(run).subjects == before
    release(run, tmp_path / "out", trust(), key("e.moss"), DETAILS, now=NOW)


def test_an_interrupted_purge_is_seen_and_can_be_given_again(tmp_path, monkeypatch):
    run = governed_run(tmp_path / "run")
    for part in ("index", "quarantine"):
        (run / part).mkdir()

    def stopped(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            purge(run, now=NOW)
    assert json.loads((run / "purged.json").read_bytes())["done"] is False
    purge(run, now=NOW)
    assert json.loads((run / "purged.json").read_bytes())["done"] is True
    assert not (run / "index").exists()


def test_links_are_removed_and_not_followed(tmp_path):
    run = governed_run(tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_bytes(b"")
    (run / "index").symlink_to(tmp_path / "elsewhere")
    purge(run, now=NOW)
    assert (tmp_path / "elsewhere" / "kept").exists()
    assert not (run / "index").is_symlink()


def test_a_run_that_goes_on_is_not_purged(tmp_path):
    run = governed_run(tmp_path / "run")
    write_run(run, replace(read_run(run), state="running"))
    with pytest.raises(InputError, match="a run that is running"):
        purge(run, now=NOW)
    with pytest.raises(InputError, match=r"no run\.json"):
        purge(tmp_path, now=NOW)
