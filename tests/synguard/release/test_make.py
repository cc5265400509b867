"""A release is made whole or not at all, only of what was audited and signed, and holds nothing of the private side."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import random
import shutil
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from synguard.errors import ApprovalError, EvidenceError, InputError, IntegrityError, RefusedError, SynguardError
from synguard.governance import manifest
from synguard.governance.attestations import OPERATOR, Waived
from synguard.release.documents import Details
from synguard.release.images import SOURCE_TYPE
from synguard.release.layouts import LAYOUTS
from synguard.release.make import release
from synguard.release.verify import verify
from tests.support.cli import environment
from tests.support.governed import NOW, TODAY, approved_run, decide, governed_run, key, sign, trust
from tests.support.steps import steps_of

from .conftest import DETAILS


def publish(run: Path, to: Path, **more):
    return release(run, to, trust(), key("e.moss"), DETAILS, **{"now": NOW, **more})


def left(folder: Path) -> list[str]:
    """What lies beside a release, scratch folders included."""
    return sorted(path.name for path in folder.iterdir() if path.name != "run")


def test_what_lies_in_a_release(published):
    folder = published["imagefolder"]
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    images = {name for name in names if name.startswith("data/images/")}
    assert len(images) == 3
    assert names - images == {
        "DATASHEET.md",
        "LICENCE.md",
        "README.md",
        "attestations/0001-operator.dsse.json",
        "attestations/0002-privacy-officer.dsse.json",
        "attestations/0003-clinical-reviewer.dsse.json",
        "attestations/0004-board.dsse.json",
        "croissant.json",
        "data/metadata.jsonl",
        "manifest.json",
        "release.dsse.json",
        "report/public.html",
        "tables/asked.csv",
        "tables/read.csv",
    }
    assert (folder / "README.md").stat().st_mode & 0o777 == 0o644


def test_names_are_fresh_and_order_is_theirs(run, published, tmp_path):
    publish(run, tmp_path / "again")
    once = {path.name for path in (published["imagefolder"] / "data" / "images").iterdir()}
    again = {path.name for path in (tmp_path / "again" / "data" / "images").iterdir()}
    assert not once & again
    rows = (tmp_path / "again" / "data" / "metadata.jsonl").read_text().splitlines()
    files = [json.loads(row)["file_name"] for row in rows]
    assert files == sorted(files)


def test_images_are_marked_and_hold_nothing_else(published):
    for path in (published["imagefolder"] / "data" / "images").iterdir():
        with Image.open(path) as image:
            image.load()
            assert set(image.info) == {"XML:com.adobe.xmp", "xmp"} or set(image.info) == {"XML:com.adobe.xmp"}
            assert SOURCE_TYPE in image.info["XML:com.adobe.xmp"]
            assert not dict(image.getexif())


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_each_layout_gives_back_what_was_put_in(run, published, layout):
    rows = [json.loads(line) for line in (run / "accepted" / "metadata.jsonl").read_text().splitlines()]
    wanted = sorted((row["age"], row["grade"], row["drusen"], row["annotation.grade"] or "") for row in rows)
    found = list(LAYOUTS[layout].read(published[layout]))
    labels = [(image.labels.asked, image.labels.read) for image in found]
    assert sorted((a["age"], a["grade"], a["drusen"], r["grade"] or "") for a, r in labels) == wanted


def test_asked_and_read_are_two_tables(published):
    folder = published["webdataset"] / "tables"
    assert (folder / "asked.csv").read_text().splitlines()[0] == "image,age,drusen,grade"
    assert (folder / "read.csv").read_text().splitlines()[0] == "image,drusen,grade"
    assert len((folder / "read.csv").read_text().splitlines()) == 4


def test_formulas_in_labels_do_not_run_in_spreadsheets():
    from synguard.governance.content import Labels
    from synguard.release.layouts import tables

    bad = ["=1+1", "+1", "-1", "@x", "\tx", "\rx"]
    found = tables({f"{i}": Labels({"text": text}, {"text": 'a,"b"\n'}) for i, text in enumerate(bad)})
    import csv

    rows = list(csv.reader(io.StringIO(found["tables/asked.csv"].decode(), newline="")))
    assert [row[1] for row in rows[1:]] == [f"'{text}" for text in bad]
    rows = list(csv.reader(io.StringIO(found["tables/read.csv"].decode(), newline="")))
    assert rows[1][1] == 'a,"b"\n'


def test_the_run_remembers_its_releases(run, tmp_path):
    publish(run, tmp_path / "out")
    (kept,) = (run / "releases").iterdir()
    assert kept.read_bytes() == (tmp_path / "out" / "release.dsse.json").read_bytes()


@pytest.mark.parametrize(("code", "error"), [(20, RefusedError), (22, EvidenceError)])
def test_only_a_pass_is_released(tmp_path, code, error):
    run = governed_run(tmp_path / "run", exit_code=code)
    with pytest.raises(error, match="expected a pass") as caught:
        publish(run, tmp_path / "out")
    assert caught.value.exit_code == code
    assert left(tmp_path) == []


def test_only_with_all_approvals(tmp_path):
    run = governed_run(tmp_path / "run")
    sign(run, "e.moss", OPERATOR)
    with pytest.raises(ApprovalError, match="board: found 0 of 1"):
        publish(run, tmp_path / "out")
    assert left(tmp_path) == []


def test_only_by_a_publisher(run, tmp_path):
    with pytest.raises(ApprovalError, match="who is no publisher"):
        release(run, tmp_path / "out", trust(), key("a.osei"), DETAILS, now=NOW)


def test_not_after_an_approval_ran_out(run, tmp_path):
    with pytest.raises(ApprovalError, match="counted until 2026-12-20"):
        publish(run, tmp_path / "out", now=NOW + timedelta(days=31))


def test_not_after_a_waiver_ran_out(tmp_path):
    run = approved_run(tmp_path / "run", waivers=[Waived("W-1", TODAY)])
    with pytest.raises(ApprovalError, match="waiver W-1 ran out"):
        publish(run, tmp_path / "out", now=NOW + timedelta(days=1))


def test_nothing_is_written_over(run, tmp_path):
    for make in (Path.mkdir, Path.touch):
        make(tmp_path / "out")
        with pytest.raises(InputError, match="exists already"):
            publish(run, tmp_path / "out")
        (tmp_path / "out").rmdir() if (tmp_path / "out").is_dir() else (tmp_path / "out").unlink()


@pytest.mark.parametrize(
    "change",
    [
        {"licence": "mine"},
        {"title": ""},
        {"contact": "a\nb"},
        {"publisher": "<script>alert(1)</script>"},
        {"title": "x](javascript:1)"},
    ],
)
def test_details_are_plain_lines(run, tmp_path, change):
    given = {"title": "Tiny", "publisher": "Hospital X", "contact": "x@example.org", "licence": "cc-by-4.0", **change}
    with pytest.raises(InputError, match=next(iter(change))):
        release(run, tmp_path / "out", trust(), key("e.moss"), Details(**given), now=NOW)
    assert left(tmp_path) == []


def test_what_the_publisher_says_is_read_off_the_papers_again(run, tmp_path):
    words = {
        "title": " Eyes, published by X: Y (2026), synthetic (2026)",
        "publisher": "X: Y, published by Z",
        "contact": "\u00e9 with the name of the image. with the name of the image.",
        "licence": "cc-by-nc-sa-4.0",
    }
    release(run, tmp_path / "out", trust(), key("e.moss"), Details(**words), now=NOW)
    verify(tmp_path / "out", trust(), NOW)


def first_image(run: Path) -> Path:
    return sorted((run / "accepted" / "images").iterdir())[0]


def test_a_file_swapped_between_audit_and_release(run, tmp_path):
    other = governed_run(tmp_path / "run2", seed=9)
    first_image(run).write_bytes(first_image(other).read_bytes())
    shutil.rmtree(other)
    with pytest.raises(IntegrityError, match=first_image(run).name):
        publish(run, tmp_path / "out")
    assert left(tmp_path) == []


@pytest.mark.parametrize("what", ["image", "labels", "report", "statement"])
def test_a_file_swapped_while_the_release_is_made(run, tmp_path, monkeypatch, what):
    """After everything was verified and before it is copied: each file is read once and held against its digest again."""
    path = {
        "image": first_image(run),
        "labels": run / "accepted" / "metadata.jsonl",
        "report": run / "report" / "public.html",
        "statement": run / "attestations" / "0004-board.dsse.json",
    }[what]

    def swap(*_):
        path.write_bytes(path.read_bytes().replace(path.read_bytes()[-9:-1], b"xxxxxxxx"))

    monkeypatch.setattr("synguard.release.make.check_publisher", swap)
    with pytest.raises(IntegrityError, match=path.name):
        publish(run, tmp_path / "out")
    assert left(tmp_path) == []


def test_a_file_swapped_in_the_staged_copy(run, tmp_path, monkeypatch):
    """After the copy was made and signed: it is checked again, with the eyes of a recipient, before it gets its name."""

    def swap(scratch, *rest):
        image = next((scratch / "data" / "images").iterdir())
        image.write_bytes(image.read_bytes()[:-20] + bytes(20))
        return verify(scratch, *rest)

    monkeypatch.setattr("synguard.release.make.verify", swap)
    with pytest.raises(IntegrityError, match=r"changed"):
        publish(run, tmp_path / "out")
    assert left(tmp_path) == []


def test_killing_it_leaves_nothing_or_a_whole_release(run, tmp_path):
    steps = steps_of(partial(publish, run, tmp_path / "measured"))
    # The last step is after the release got its name.
    moments = [*random.Random(4).sample(range(1, steps), 29), steps]
    whole = 0
    for number, moment in enumerate(moments):
        to = tmp_path / f"out{number}"
        assert steps_of(partial(publish, run, to), dies_at=moment) == 0
        if to.exists():
            verify(to, trust(), NOW)
            whole += 1
    assert 0 < whole < 30, "the moments missed the release"
    for number in range(30):
        to = tmp_path / f"out{number}"
        if not to.exists():
            publish(run, to)
        assert not list(tmp_path.glob(f".out{number}.*")), "what a killed process left is still there"


@pytest.mark.parametrize("call", range(1, 17))
def test_a_full_disk_leaves_nothing(run, tmp_path, monkeypatch, call):
    """The n-th write finds no room left."""
    calls = []
    write = Path.write_bytes

    def full(self, data):
        calls.append(self)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SynguardError, match="found no room left"):
        publish(run, tmp_path / "out")
    assert left(tmp_path) == []


@pytest.mark.system
def test_a_disk_that_is_really_full(tmp_path):
    """File systems in memory, in a mount namespace of the test's own."""
    apart = ["unshare", "--user", "--map-root-user", "--mount", sys.executable]
    script = Path(__file__).with_name("full_disk.py")
    done = subprocess.run([*apart, script, tmp_path], capture_output=True, text=True, check=False, env=environment(1))
    assert done.returncode == 0, done.stderr
    wanted = {f"{layout} {outcome}" for layout in LAYOUTS for outcome in ("full", "whole")}
    assert set(done.stdout.splitlines()) == wanted


CANARIES = ("patient-4711", "/data/hospital-x/archive", "314159", "Jane Doe", "CANON EOS 5D", "2031-02-03")


def test_canaries_reach_no_byte_of_a_release(tmp_path):
    """Planted in configuration, quarantine, index, internal report, run record, and in the files that are to be released."""
    thumbnail = random.Random(1).randbytes(64)
    run = governed_run(tmp_path / "run")
    for name in ("quarantine/images/patient-4711.png", "index/patients.npy", "pairs/0001-private.png", "probes/x.json"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(" ".join(CANARIES).encode() + thumbnail)
    (run / "report" / "internal.html").write_bytes(" ".join(CANARIES).encode() + base64.b64encode(thumbnail))
    record = json.loads((run / "run.json").read_bytes())
    record["command"] = list(CANARIES)
    (run / "run.json").write_text(json.dumps(record))
    resign_with_metadata(run, thumbnail)
    sign(run, "e.moss", OPERATOR, reason="")
    for name, role in (("a.osei", "privacy-officer"), ("b.lund", "clinical-reviewer"), ("d.ruiz", "board")):
        sign(run, name, role)
    sign(run, "b.lund", "clinical-reviewer", verdict="refuse", reason="patient-4711 is Jane Doe")
    sign(run, "b.lund", "clinical-reviewer")
    needles = [text.encode() for text in CANARIES] + [thumbnail[:24], base64.b64encode(thumbnail[:24])[:-2]]
    needles += [base64.b64encode(text.encode()).rstrip(b"=")[:-1] for text in CANARIES]
    for layout in LAYOUTS:
        publish(run, tmp_path / layout, layout=layout)
        for path in (tmp_path / layout).rglob("*"):
            content = (path.read_bytes() + unpacked(path)) if path.is_file() else b""
            for needle in [*needles, str(tmp_path).encode()]:
                assert needle not in content, (path, needle)
                assert needle not in path.name.encode()


def unpacked(path: Path) -> bytes:
    """What an envelope says inside its base64."""
    if not path.name.endswith(".dsse.json"):
        return b""
    return base64.b64decode(json.loads(path.read_bytes())["payload"])


def resign_with_metadata(run: Path, thumbnail: bytes) -> None:
    """Accepted images with what cameras and editors leave in files, audited as they are."""
    from PIL.PngImagePlugin import PngInfo

    from synguard.governance.record import read_run, write_run

    for path in (run / "accepted" / "images").iterdir():
        info = PngInfo()
        info.add_text("Author", " ".join(CANARIES))
        info.add_itxt("XML:com.adobe.xmp", base64.b64encode(thumbnail).decode())
        exif = Image.Exif()
        exif[0x010F] = CANARIES[4]
        with Image.open(path) as image:
            image.load()
            image.save(path, pnginfo=info, exif=exif)
        path.write_bytes(path.read_bytes() + thumbnail)
    manifest.write(manifest.build(run / "accepted"), run / "manifest.json")
    public = decide(run, reason="patient-4711 was looked at")
    from dataclasses import replace

    write_run(run, replace(read_run(run), results_key=public))
