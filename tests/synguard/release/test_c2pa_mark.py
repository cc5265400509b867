"""C2PA manifests in released images: the library's own reader shows the mark, and one that says anything else is refused."""

from __future__ import annotations

import io
import json
import shutil
import socket
import sys
import time
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import c2pa
import numpy as np
import pytest
from PIL import Image

from synguard.errors import InputError, IntegrityError
from synguard.release import c2pa_mark
from synguard.release.c2pa_mark import LARGEST, Credentials, check_c2pa, open_credentials, signed_png
from synguard.release.images import SOURCE_TYPE, check_marked, marked_png
from synguard.release.make import release
from synguard.release.verify import verify
from tests.support.certificates import DAY, KEYS, credentials_in
from tests.support.governed import NOW, key, resigned, trust

from .conftest import DETAILS

PNG = marked_png(np.random.default_rng(5).integers(0, 256, (16, 16, 3), dtype=np.uint8))
OTHER = marked_png(np.zeros((16, 16, 3), np.uint8))


def images(folder):
    return sorted((folder / "data" / "images").iterdir())


def test_a_c2pa_reader_shows_the_mark(published):
    for path in images(published["c2pa"]):
        with c2pa.Reader(path) as reader:
            shown = json.loads(reader.json())
        ((label, manifest),) = shown["manifests"].items()
        assert shown["active_manifest"] == label
        assert shown["validation_state"] == "Valid"
        assert [status["code"] for status in shown["validation_status"]] == ["signingCredential.untrusted"]
        assert manifest["claim_generator_info"][0]["name"] == "synguard"
        (assertion,) = manifest["assertions"]
        assert assertion["data"]["actions"] == [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]
        assert not {"thumbnail", "ingredients", "title"} & set(manifest)
        assert "time" not in manifest["signature_info"]


def test_a_manifest_holds_nothing_of_this_machine(published, tmp_path):
    for path in images(published["c2pa"]):
        data = path.read_bytes()
        for part in (socket.gethostname(), str(published["c2pa"]), path.name, path.stem, sys.prefix, "/home", "/tmp"):
            assert part.encode() not in data
        assert len(data) < 8000


def test_pixels_are_the_same_with_and_without(credentials):
    with Image.open(io.BytesIO(PNG)) as one, Image.open(io.BytesIO(signed_png(PNG, credentials))) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_verify_says_who_signed_and_that_it_does_not_judge_the_certificate(published):
    said = "\n".join(verify(published["c2pa"], trust(), NOW).lines)
    assert "c2pa.created" in said
    assert "bound to their files and signed by Hospital X, Synthetic images" in said
    assert "not checked: whether that certificate can be trusted" in said
    assert "C2PA" not in "\n".join(verify(published["imagefolder"], trust(), NOW).lines)


def test_without_the_library_verify_says_that_it_did_not_read_them(published, run, tmp_path, monkeypatch, credentials):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    said = "\n".join(verify(published["c2pa"], trust(), NOW).lines)
    assert "not read: what the C2PA manifests say (pip install 'synguard[c2pa]')" in said
    assert "signed by Hospital X" not in said
    with pytest.raises(InputError, match=r"no c2pa-python.*pip install 'synguard\[c2pa\]'"):
        release(run, tmp_path / "out", trust(), key("e.moss"), DETAILS, credentials=credentials, now=NOW)
    assert not (tmp_path / "out").exists()


def test_papers_name_the_marks(published):
    for name in ("README.md", "DATASHEET.md"):
        text = " ".join((published["c2pa"] / name).read_text().split())
        assert f"IPTC's digital source type ({SOURCE_TYPE}) and a signed C2PA manifest" in text
        assert "C2PA" not in (published["imagefolder"] / name).read_text()


def test_dicom_has_none(run, tmp_path, credentials):
    with pytest.raises(InputError, match="the layout dicom, which has none"):
        release(run, tmp_path / "out", trust(), key("e.moss"), DETAILS, layout="dicom", credentials=credentials, now=NOW)


def signed_as(credentials, png=PNG, *, settings=(), ingredient=None, **changes):
    """A file with a manifest that says something else."""
    manifest = {**c2pa_mark._MANIFEST, **changes}
    found = {**c2pa_mark._SETTINGS, **dict(settings)}
    info = c2pa.C2paSignerInfo(credentials.algorithm, credentials.certificates, credentials.key, None)
    out = io.BytesIO()
    with c2pa.Context.from_dict(found, signer=c2pa.Signer.from_info(info)) as context:
        builder = c2pa.Builder(manifest, context=context)
        if ingredient:
            builder.add_ingredient(
                {"title": "patient-4711", "relationship": "parentOf"}, "image/png", io.BytesIO(ingredient)
            )
        builder.sign("image/png", io.BytesIO(png), out)
    return out.getvalue()


def actions(*found, **more):
    return [{"label": "c2pa.actions", "data": {"actions": list(found), **more}}]


def chunk(body):
    raw = b"caBX" + body
    return len(body).to_bytes(4, "big") + raw + zlib.crc32(raw).to_bytes(4, "big")


def body_of(data):
    return data[41 : 41 + int.from_bytes(data[33:37], "big")]


def with_body(body, png=PNG):
    return png[:33] + chunk(body) + png[33:]


def padded(body, text):
    at = body.index(b"cpadY") + 7
    return body[:at] + text + body[at + len(text) :]


def doubled(body):
    """The one manifest twice in the same store."""
    head = 8 + int.from_bytes(body[8:12], "big")
    return (2 * len(body) - head).to_bytes(4, "big") + body[4:] + body[head:]


def nested(depth):
    body = b""
    for _ in range(depth):
        body = (8 + len(body)).to_bytes(4, "big") + b"jumb" + body
    return body


ACTION = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
CREATED = {
    "builder": {"thumbnail": {"enabled": False}, "created_assertion_labels": ["c2pa.actions", "org.hospital.patient"]}
}
THUMBNAILS = {"builder": {"thumbnail": {"enabled": True}}}
SMALL_THUMBNAILS = {"builder": {"thumbnail": {"enabled": True, "long_edge": 8}}}
HOSTILE = {
    "a-title": lambda by: signed_as(by, title="patient-4711"),
    "a-thumbnail": lambda by: signed_as(by, settings=THUMBNAILS),
    "a-small-thumbnail": lambda by: signed_as(by, settings=SMALL_THUMBNAILS),
    "an-ingredient": lambda by: signed_as(by, ingredient=OTHER),
    "an-assertion-more": lambda by: signed_as(
        by, assertions=[*actions(ACTION), {"label": "org.hospital.patient", "data": {"id": "4711"}}]
    ),
    "an-assertion-more-among-the-created": lambda by: signed_as(
        by, settings=CREATED, assertions=[*actions(ACTION), {"label": "org.hospital.patient", "data": {"id": "4711"}}]
    ),
    "another-source": lambda by: signed_as(
        by,
        assertions=actions(
            {**ACTION, "digitalSourceType": SOURCE_TYPE.replace("trainedAlgorithmicMedia", "digitalCapture")}
        ),
    ),
    "a-day": lambda by: signed_as(by, assertions=actions({**ACTION, "when": "2026-01-01T00:00:00Z"})),
    "another-agent": lambda by: signed_as(by, assertions=actions({**ACTION, "softwareAgent": {"name": "host-4711"}})),
    "two-actions": lambda by: signed_as(by, assertions=actions(ACTION, {"action": "c2pa.edited"})),
    "a-remark-on-actions": lambda by: signed_as(
        by, assertions=actions(ACTION, metadata={"dateTime": "2026-01-01T00:00:00Z"})
    ),
    "another-generator": lambda by: signed_as(by, claim_generator_info=[{"name": "camera"}]),
    "a-generator-that-says-more": lambda by: signed_as(by, claim_generator_info=[{"name": "synguard", "host": "ward-7"}]),
    "of-another-image": lambda by: with_body(body_of(signed_png(OTHER, by))),
    "no-manifest": lambda by: with_body(b"patient-4711"),
    "empty": lambda by: with_body(b""),
    "cut": lambda by: with_body(body_of(signed_png(PNG, by))[:-9]),
    "grown": lambda by: with_body(body_of(signed_png(PNG, by)) + b"patient-4711"),
    "too-large": lambda by: signed_as(replace(by, certificates=by.certificates * (LARGEST // 500))),
    "padding-used": lambda by: with_body(padded(body_of(signed_png(PNG, by)), b"patient-4711")),
    "a-box-renamed": lambda by: with_body(body_of(signed_png(PNG, by)).replace(b"c2pa.signature\0", b"patient-4711xx\0")),
    "two-manifests": lambda by: with_body(doubled(body_of(signed_png(PNG, by)))),
    "boxes-without-end": lambda by: with_body(nested(3000)),
    "a-pixel-changed": lambda by: signed_png(PNG, by)[:-20] + b"x" + signed_png(PNG, by)[-19:],
    "the-signature-changed": lambda by: with_body(body_of(signed_png(PNG, by))[:-10] + bytes(10)),
    "none": lambda by: PNG,
    "no-image": lambda by: b"",
}


def test_the_same_manifest_made_here_is_good(credentials):
    assert check_c2pa(signed_as(credentials), "x.png") == "Hospital X, Synthetic images"
    assert check_c2pa(with_body(body_of(signed_as(credentials))), "x.png") == "Hospital X, Synthetic images"


@pytest.mark.parametrize("case", HOSTILE)
def test_a_manifest_that_says_anything_else_is_refused(credentials, case):
    with pytest.raises(IntegrityError, match=r"^x\.png: found ") as caught:
        check_c2pa(HOSTILE[case](credentials), "x.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.system)])
def test_every_bit_of_a_manifest_counts(credentials, step):
    """Names of boxes and padding too, which the library's reader does not look at."""
    good = body_of(signed_png(PNG, credentials))
    for at in range(0, len(good), step):
        with pytest.raises(IntegrityError):
            check_c2pa(with_body(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :]), "x.png")


@pytest.mark.parametrize(
    "case", ["padding-used", "a-box-renamed", "two-manifests", "no-manifest", "boxes-without-end", "too-large"]
)
def test_its_frame_is_looked_at_without_the_library(credentials, monkeypatch, case):
    good, bad = signed_png(PNG, credentials), HOSTILE[case](credentials)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert check_c2pa(good, "x.png") is None
    with pytest.raises(IntegrityError, match="C2PA chunk"):
        check_c2pa(bad, "x.png")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("assertion_store", "c2pa.hash.data", "pad"), "cGF0aWVudA=="),
        (("assertion_store", "c2pa.hash.data", "name"), "patient-4711"),
        (("assertion_store", "c2pa.hash.data", "url"), "https://hospital-x.example/4711"),
        (("assertion_store", "c2pa.hash.data", "exclusions"), [{"start": 33, "length": 5000}]),
        (("claim", "instanceID"), "patient-4711"),
        (("databoxes",), [{"format": "image/png"}]),
    ],
)
def test_what_only_a_library_of_ones_own_could_write(credentials, monkeypatch, where, value):
    """Told by the reader of a manifest, in places that the library does not let its users fill."""
    data = signed_png(PNG, credentials)
    told = c2pa.Reader.detailed_json

    def other(reader):
        report = json.loads(told(reader))
        (found,) = report["manifests"].values()
        for name in where[:-1]:
            found = found[name]
        found[where[-1]] = value
        return json.dumps(report)

    monkeypatch.setattr(c2pa.Reader, "detailed_json", other)
    with pytest.raises(IntegrityError, match="says more or less than a release says"):
        check_c2pa(data, "x.png")


@pytest.mark.parametrize("case", ["two", "behind-the-mark", "absent"])
def test_there_is_one_chunk_in_one_place(credentials, case):
    data = signed_png(PNG, credentials)
    found = chunk(body_of(data))
    at = PNG.index(b"IDAT") - 4
    bad = {"two": data[:33] + found + data[33:], "behind-the-mark": PNG[:at] + found + PNG[at:], "absent": PNG}[case]
    check_marked(data, "x.png", c2pa=True)
    with pytest.raises(IntegrityError, match="without the mark or with more than it"):
        check_marked(bad, "x.png", c2pa=True)


def test_marks_can_be_neither_lost_nor_gained(published, tmp_path, credentials):
    """Not by the publisher either: the statement says which marks each image has."""
    made = shutil.copytree(published["c2pa"], tmp_path / "lost")
    png = images(made)[0]
    good = png.read_bytes()
    png.write_bytes(good[:33] + good[45 + len(body_of(good)) :])
    check_marked(png.read_bytes(), "x.png")
    with pytest.raises(IntegrityError, match=f"{png.stem}: found an image without the mark"):
        verify(resigned(made), trust(), NOW)
    made = shutil.copytree(published["imagefolder"], tmp_path / "gained")
    png = images(made)[0]
    png.write_bytes(signed_png(png.read_bytes(), credentials))
    with pytest.raises(IntegrityError, match=f"{png.stem}: found an image without the mark or with more"):
        verify(resigned(made), trust(), NOW)
    for marks in ((), ("c2pa",), ("iptc", "c2pa"), ("dicom",), ("iptc", "iptc")):
        with pytest.raises(IntegrityError, match=r"release\.dsse\.json: found the marks"):
            verify(resigned(made, marks=marks), trust(), NOW)


def test_not_even_its_publisher_can_say_more_in_a_release(published, tmp_path, credentials):
    made = shutil.copytree(published["c2pa"], tmp_path / "release")
    png = images(made)[0]
    data = png.read_bytes()
    bare = data[:33] + data[45 + len(body_of(data)) :]
    png.write_bytes(signed_as(credentials, bare, title="patient-4711"))
    with pytest.raises(IntegrityError, match=f"{png.stem}: found a C2PA manifest that does not hold, or says more"):
        verify(resigned(made), trust(), NOW)


def test_a_manifest_outlives_its_certificate(tmp_path):
    files = credentials_in(tmp_path, last=datetime.now(UTC) + timedelta(seconds=3))
    data = signed_png(PNG, open_credentials(*files, lambda: "", datetime.now(UTC)))
    time.sleep(4)
    with c2pa.Reader("image/png", io.BytesIO(data)) as reader:
        assert "signingCredential.expired" in reader.json()
    assert check_c2pa(data, "x.png") == "Hospital X, Synthetic images"


@pytest.mark.parametrize("kind", KEYS)
def test_keys_that_sign(tmp_path, kind):
    credentials = open_credentials(*credentials_in(tmp_path, kind), lambda: "", datetime.now(UTC))
    assert credentials.algorithm == kind
    assert check_c2pa(signed_png(PNG, credentials), "x.png") == "Hospital X, Synthetic images"
    assert "PRIVATE" not in repr(credentials)


def test_a_key_under_a_passphrase(tmp_path):
    files = credentials_in(tmp_path, passphrase="correct horse")
    opened = open_credentials(*files, lambda: "correct horse", datetime.now(UTC))
    assert isinstance(opened, Credentials)
    for wrong in ("", "wrong"):
        with pytest.raises(InputError, match=r"c2pa\.key: found no private key that can be opened"):
            open_credentials(*files, lambda wrong=wrong: wrong, datetime.now(UTC))


def absent(files, _):
    files[0].unlink()


def no_chain(files, _):
    files[1].unlink()


def readable(files, _):
    files[0].chmod(0o644)


def of_another(files, folder):
    shutil.copy(credentials_in(folder / "other")[1], files[1])


def root_first(files, _):
    parts = files[1].read_bytes().split(b"-----BEGIN")
    files[1].write_bytes(b"-----BEGIN".join([b"", parts[2], parts[1]]))


def swapped(files, _):
    one, other = (file.read_bytes() for file in files)
    files[0].write_bytes(other)
    files[1].write_bytes(one)


def over(_, folder):
    now = datetime.now(UTC)
    credentials_in(folder, first=now - 9 * DAY, last=now - DAY)


def not_yet(_, folder):
    now = datetime.now(UTC)
    credentials_in(folder, first=now + DAY, last=now + 9 * DAY)


def for_nothing(_, folder):
    credentials_in(folder, use=False)


BAD = {
    absent: "c2pa.key: found No such file",
    no_chain: "c2pa.pem: found no certificates",
    readable: "c2pa.key: found a key that others can reach",
    of_another: "c2pa.pem: found a first certificate of another key",
    root_first: "c2pa.pem: found a first certificate of another key",
    swapped: "c2pa.key: found no private key",
    over: "c2pa.pem: found one valid from",
    not_yet: "c2pa.pem: found one valid from",
    for_nothing: "found one that the library refuses",
}


@pytest.mark.parametrize("change", BAD)
def test_credentials_that_cannot_sign(tmp_path, change):
    files = credentials_in(tmp_path)
    change(files, tmp_path)
    with pytest.raises(InputError, match=BAD[change]) as caught:
        open_credentials(*files, lambda: "", datetime.now(UTC))
    assert "\n" not in str(caught.value)
