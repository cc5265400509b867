"""A release verifies anywhere, and nothing else does."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta

import pytest

from synguard.errors import ApprovalError, IntegrityError, SynguardError
from synguard.governance import attestations, envelope, manifest
from synguard.governance.files import canonical, sha256_of
from synguard.governance.keys.software import new_key
from synguard.governance.keys.trust import Grant, Revocation, grant, revoke
from synguard.release.layouts import LAYOUTS
from synguard.release.make import release
from synguard.release.statement import PREDICATE_TYPE, publish, read_published
from synguard.release.verify import verify
from tests.support.governed import FIRST, LAST, NOW, TODAY, approved_run, key, resigned, trust

from .conftest import DETAILS

LATER = NOW + timedelta(days=3000)


@pytest.mark.parametrize("layout", [*LAYOUTS, "c2pa"])
def test_a_copy_verifies_years_later(published, tmp_path, layout):
    copy = shutil.copytree(published[layout], tmp_path / "elsewhere")
    for path in copy.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o755)
    found = verify(copy, trust(), LATER)
    said = "\n".join(found.lines)
    for part in ("signed on 2026-11-20 by e.moss", "all 3 images", "a.osei (privacy-officer)", "none ran the generator"):
        assert part in said
    assert found.published.images == 3


def refused(folder, found=None, now=LATER):
    with pytest.raises(SynguardError) as caught:
        verify(folder, found or trust(), now)
    assert caught.value.exit_code in (21, 30), caught.value
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", ["imagefolder", "dicom", "c2pa"])
@pytest.mark.parametrize("places", [25, pytest.param(10**9, marks=pytest.mark.system)])
def test_every_single_byte(published, tmp_path, places, form):
    """One bit of every byte of every file; of 25 bytes of each where minutes count. Forms differ below `data` alone."""
    made = shutil.copytree(published[form], tmp_path / "release")
    paths = [path for path in sorted((made if form == "imagefolder" else made / "data").rglob("*")) if path.is_file()]
    # The images of a release are alike: in the other forms the first stands for all.
    images = [path for path in paths if path.suffix in (".png", ".dcm") and form != "imagefolder"]
    for path in (path for path in paths if path not in images[1:]):
        good = path.read_bytes()
        for at in range(0, len(good), max(1, len(good) // places)):
            path.write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
            said = refused(made)
            assert path.name in said or path.parent.name in said, (path, at, said)
        path.write_bytes(good)
    verify(made, trust(), LATER)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_file_dropped_renamed_emptied_or_grown(made):
    for name in files(made):
        path = made / name
        good = path.read_bytes()
        path.unlink()
        assert path.name in refused(made) or "attestations" in name
        path.with_name(f"x{path.name}").write_bytes(good)
        refused(made)
        path.with_name(f"x{path.name}").unlink()
        for bad in (b"", good + b"\n", good + b" ", good[:-1]):
            path.write_bytes(bad)
            assert path.name in refused(made)
        path.write_bytes(good)
    verify(made, trust(), LATER)


def test_every_two_files_swapped(made):
    names = files(made)
    for one, other in zip(names, names[1:] + names[:1], strict=True):
        a, b = (made / one).read_bytes(), (made / other).read_bytes()
        (made / one).write_bytes(b)
        (made / other).write_bytes(a)
        refused(made)
        (made / one).write_bytes(a)
        (made / other).write_bytes(b)


@pytest.mark.parametrize(
    "name", ["extra.txt", ".hidden", "data/images/extra.png", "attestations/0009-board.dsse.json", "a/b"]
)
def test_a_file_more(made, name):
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_bytes(b"")
    assert (made / name).name in refused(made)


def test_a_link_in_place_of_a_file(made):
    for name in files(made):
        path = made / name
        kept = path.rename(made.parent / "kept")
        path.symlink_to(kept)
        assert path.name in refused(made)
        path.unlink()
        kept.rename(path)


def test_a_publisher_cannot_put_other_pixels_under_the_approvals(made):
    import numpy as np

    from synguard.release.images import marked_png

    image = next((made / "data" / "images").iterdir())
    image.write_bytes(marked_png(np.zeros((16, 16, 3), np.uint8)))
    assert "found other images or labels than were approved" in refused(resigned(made))


def test_nor_other_labels(made):
    path = made / "data" / "metadata.jsonl"
    path.write_text(path.read_text().replace("mild", "none"))
    assert "found other images or labels than were approved" in refused(resigned(made))


def test_nor_another_table_or_report(made):
    kept = (made / "tables" / "read.csv").read_bytes()
    (made / "tables" / "read.csv").write_bytes(kept.replace(b"none", b"mild"))
    assert "read.csv: found another table" in refused(resigned(made))
    (made / "tables" / "read.csv").write_bytes(kept)
    (made / "report" / "public.html").write_text("<p>anonymous</p>")
    assert "public.html: found another report than was approved" in refused(resigned(made))


def test_nor_leave_out_or_repeat_an_image(made):
    path = made / "data" / "metadata.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines + lines[:1]))
    refused(resigned(made))
    path.write_text("".join(lines[1:]))
    (made / "data" / json.loads(lines[0])["file_name"]).unlink()
    refused(resigned(made, images=2))


@pytest.mark.parametrize(
    "name", ["data/images/0123456789abcdef.png", "data/notes.txt", "patients.csv", "data/train-00000.parquet"]
)
def test_nor_add_a_file_that_nobody_approved(made, name):
    image = next((made / "data" / "images").iterdir())
    (made / name).write_bytes(image.read_bytes())
    assert "found a file that no release of this layout has" in refused(resigned(made))


@pytest.mark.parametrize("file", ["../../secret.png", "/etc/passwd", "images/../images/x.png", "images/patient-4711.png"])
def test_nor_point_elsewhere_or_name_images_after_patients(made, file):
    path = made / "data" / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["file_name"] = file
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "expected images/NAME.png" in refused(resigned(made))


def test_nor_hide_a_file_in_a_tar(published, tmp_path):
    import tarfile

    made = shutil.copytree(published["webdataset"], tmp_path / "release")
    with tarfile.open(made / "data" / "00000.tar", "a") as tar:
        tar.addfile(tarfile.TarInfo("notes.txt"))
    assert "found notes.txt, expected images and their labels only" in refused(resigned(made))


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("content", [b"", b"no layout at all", b"[]\n"])
def test_nor_sign_what_cannot_be_read(published, tmp_path, layout, content):
    made = shutil.copytree(published[layout], tmp_path / "release")
    path = next(path for path in (made / "data").iterdir() if path.is_file())
    path.write_bytes(content)
    assert "data" in refused(resigned(made))


def test_nor_put_an_image_twice_into_a_tar(published, tmp_path):
    import tarfile

    made = shutil.copytree(published["webdataset"], tmp_path / "release")
    with tarfile.open(made / "data" / "00000.tar", "a") as tar:
        tar.addfile(tarfile.TarInfo(tar.getnames()[0]))
    assert "found a name twice" in refused(resigned(made))


def test_nor_a_column_in_parquet(published, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = shutil.copytree(published["parquet"], tmp_path / "release")
    path = made / "data" / "train-00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("nearest", pa.array(["patient-4711"] * 3)), path)
    assert "found the column nearest" in refused(resigned(made))


def test_nor_take_the_mark_away_or_add_a_comment(made):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    image = next((made / "data" / "images").iterdir())
    good = image.read_bytes()
    Image.open(image).save(image)
    assert "without the mark" in refused(resigned(made))
    info = PngInfo()
    info.add_text("Patient", "Jane Doe")
    image.write_bytes(good)
    Image.open(image).save(image, pnginfo=info)
    assert "without the mark or with more than it" in refused(resigned(made))
    image.write_bytes(good + b"more")
    refused(resigned(made))


def test_nor_ask_fewer_people(made):
    published, _ = read_published((made / "release.dsse.json").read_bytes(), "r", trust())
    for path in (made / "attestations").glob("*clinical*"):
        path.unlink()
    named = {name: digest for name, digest in published.attestations.items() if "clinical" not in name}
    assert "found 0 of 1 approvals" in refused(resigned(made, attestations=named))
    fewer = tuple(need for need in published.required if need.role != "clinical-reviewer")
    assert "asks for other approvals" in refused(resigned(made, attestations=named, required=fewer))


def test_nor_change_the_digests_that_were_approved(made):
    published, _ = read_published((made / "release.dsse.json").read_bytes(), "r", trust())
    for name in published.approved:
        changed = {**published.approved, name: "0" * 64}
        refused(resigned(made, approved=changed))


def test_another_release_cannot_borrow_the_approvals(made, tmp_path):
    other = approved_run(tmp_path / "other", seed=7)
    release(other, tmp_path / "second", trust(), key("e.moss"), DETAILS, now=NOW)
    for path in (made / "attestations").iterdir():
        (tmp_path / "second" / "attestations" / path.name).write_bytes(path.read_bytes())
    assert "0001-operator" in refused(tmp_path / "second")
    named = {path.name: sha256_of(path) for path in (made / "attestations").iterdir()}
    assert "stale, since" in refused(resigned(tmp_path / "second", attestations=named))


def test_who_is_no_publisher_cannot_publish(made):
    assert "a.osei, who is no publisher" in refused(resigned(made, person="a.osei"))


def test_an_unknown_key_cannot_publish(made):
    published, _ = read_published((made / "release.dsse.json").read_bytes(), "r", trust())
    (made / "release.dsse.json").write_bytes(publish(published, new_key()))
    assert "of a person in the trust file" in refused(made)


def test_an_alias_key_does_not_make_a_second_person(tmp_path):
    """The board's member signs again as clinical reviewer with another key, which the trust file knows as theirs."""
    from synguard.governance.attestations import OPERATOR
    from synguard.governance.sign_off import sign_off, signable
    from tests.support.governed import governed_run, sign

    second = new_key()
    found = grant(trust(), "d.ruiz", ["board", "clinical-reviewer"], Grant(second.public, FIRST, LAST))
    folder = governed_run(tmp_path / "run")
    for person, role in (("e.moss", OPERATOR), ("a.osei", "privacy-officer"), ("d.ruiz", "board")):
        sign(folder, person, role, found=found)
    sign_off(signable(folder), found, second, role="clinical-reviewer", now=NOW)
    with pytest.raises(ApprovalError, match=r"d\.ruiz counts already as board"):
        release(folder, tmp_path / "out", found, key("e.moss"), DETAILS, now=NOW)
    assert not (tmp_path / "out").exists()


def test_a_key_id_in_another_spelling_is_another_envelope(made):
    path = made / "attestations" / "0002-privacy-officer.dsse.json"
    outer = json.loads(path.read_bytes())
    outer["signatures"][0]["keyid"] = outer["signatures"][0]["keyid"].upper()
    with pytest.raises((ApprovalError, IntegrityError)):
        attestations.read(canonical(outer), path.name, trust())


@pytest.mark.parametrize("name", ["manifest.json", "croissant.json", "release.dsse.json"])
def test_json_in_another_order_or_with_a_key_twice(made, name):
    path = made / name
    good = path.read_bytes()
    value = json.loads(good)
    for bad in (
        json.dumps(dict(reversed(value.items()))).encode(),
        json.dumps(value).encode(),
        good.replace(b"{", b'{"files": [],', 1),
        b"\xef\xbb\xbf" + good,
    ):
        path.write_bytes(bad)
        assert name in refused(made)


def test_a_revoked_key_after_the_release(made):
    for person in ("d.ruiz", "e.moss"):
        found = revoke(trust(), key(person).key_id, Revocation(TODAY, "laptop was stolen"))
        assert "revoked" in refused(made, found)


def test_a_key_that_expired_after_the_release_stays_good(made):
    verify(made, trust(d=TODAY + timedelta(days=1)), LATER)


def test_an_older_trust_file_is_noticed(made):
    from dataclasses import replace

    assert "trust file: found number 4, expected 5 or later" in refused(made, replace(trust(), serial=4))


def test_a_release_from_the_future(made):
    assert "in the future" in refused(made, now=NOW - timedelta(days=2))


def test_statements_of_another_kind_are_no_releases(made):
    path = made / "release.dsse.json"
    digest = manifest.read(made / "manifest.json").digest
    for predicate_type in (PREDICATE_TYPE, "urn:x"):
        path.write_bytes(envelope.sign(envelope.statement({"manifest.json": digest}, predicate_type, {}), key("e.moss")))
        assert "release.dsse.json" in refused(made)


@pytest.mark.parametrize("folder", ["absent", "empty", "file"])
def test_what_is_no_release(tmp_path, folder):
    path = tmp_path / folder
    if folder == "empty":
        path.mkdir()
    elif folder == "file":
        path.write_bytes(b"")
    refused(path)
