"""What somebody on the inside can do who writes to run folders, has the tool and a good key, and cannot reach the ledger."""

from __future__ import annotations

import base64
import json
import random
import shutil
import tarfile
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synguard.errors import IntegrityError, SynguardError
from synguard.governance import attestations, manifest
from synguard.governance.files import canonical, sha256_of
from synguard.governance.keys.trust import Grant, grant
from synguard.governance.ledger import Ledger
from synguard.governance.record import read_run, write_run
from synguard.governance.sign_off import sign_off, signable
from synguard.release import layouts
from synguard.release.make import release
from synguard.release.statement import publish, read_published
from synguard.release.verify import covered, verify
from tests.support.governed import (
    APPROVERS,
    DETAILS,
    FIRST,
    LAST,
    NOW,
    approved_run,
    governed_run,
    key,
    recorded,
    resigned,
    signed_anew,
    trust,
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return Ledger.open(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")


@pytest.fixture(scope="module")
def kept(tmp_path_factory, ledger):
    return approved_run(tmp_path_factory.mktemp("approved") / "run", ledger, seed=1)


@pytest.fixture
def run(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "run")


def refused(run: Path, ledger: Ledger, code: int, *names: str) -> None:
    """No release, with that code, and a message that names the object."""
    with pytest.raises(SynguardError) as caught:
        release(run, run.parent / "out", trust(), key("e.moss"), DETAILS, now=NOW, book=ledger)
    assert caught.value.exit_code == code, caught.value
    assert all(name in str(caught.value) for name in names), caught.value
    assert not (run.parent / "out").exists()


def published_anew(out: Path) -> None:
    """What a dishonest publisher can do: a manifest and a statement of whatever lies there."""
    published, _ = read_published((out / "release.dsse.json").read_bytes(), "r", trust())
    listed = covered(out)
    named = {path.name: sha256_of(path) for path in (out / "attestations").iterdir()}
    (out / "manifest.json").write_bytes(listed.to_bytes())
    statement = publish(replace(published, manifest=listed.digest, attestations=named), key("e.moss"))
    (out / "release.dsse.json").write_bytes(statement)


def test_left_alone_it_is_released(run, ledger):
    release(run, run.parent / "out", trust(), key("e.moss"), DETAILS, now=NOW, book=ledger)


def edited(path: Path, change) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_bytes(canonical(document))


LOOSER = {
    "fewer people": lambda policy: policy["approvals"].pop(),
    "a limit": lambda policy: policy["checks"][4]["limits"]["fail"].update(value=0.5),
    "no blocker": lambda policy: policy["checks"][2].update(blocker=False),
    "a check fewer": lambda policy: policy["checks"].pop(),
    "a longer waiver": lambda policy: policy["waivers"][0].update(expires="2027-12-31"),
    "a later review": lambda policy: policy.update(review_by="2099-01-01"),
    "checks in another order": lambda policy: policy["checks"].reverse(),
}


@pytest.mark.parametrize("change", LOOSER.values(), ids=LOOSER)
@pytest.mark.parametrize("results", ["of the old policy", "of the new policy"])
def test_a_policy_loosened_after_the_run(run, ledger, change, results):
    """Signed anew with the results, which name it or not: they know the old one, and the ledger knows them."""
    edited(run / "policy.json", change)
    if results == "of the new policy":
        digest = sha256_of(run / "policy.json")
        edited(run / "results.json", lambda document: document["policy"].update(digest=digest))
    refused(signed_anew(run), ledger, 30, "policy.json" if results == "of the old policy" else "results.json")


def passed(results) -> None:
    results["decision"].update(status="pass", exit_code=0, reasons=["all checks"])


@pytest.mark.parametrize("anew", [False, True])
def test_a_results_file_edited(tmp_path, ledger, anew):
    """A failed run that is made to have passed, and signed off as such."""
    run = recorded(governed_run(tmp_path / "run", exit_code=20, seed=20 + anew), ledger)
    edited(run / "results.json", passed)
    refused(signed_anew(run) if anew else run, ledger, 30, "results.json")
    for name, role in APPROVERS if anew else ():
        with pytest.raises(SynguardError, match=r"results\.json: found another file than the ledger has") as caught:
            sign_off(signable(run), trust(), key(name), role=role, now=NOW, book=ledger)
        assert caught.value.exit_code == 30


@pytest.mark.parametrize("name", ["images.parquet", "evidence.json"])
def test_a_file_of_the_audits_edited(run, ledger, name):
    (run / name).write_bytes(b'{"power": 1}')
    refused(run, ledger, 30, name)
    refused(signed_anew(run), ledger, 30, name)


def test_images_exchanged_with_their_manifest(run, ledger):
    first, second = sorted((run / "accepted" / "images").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    refused(run, ledger, 30, first.name)
    manifest.write(manifest.build(run / "accepted"), run / "manifest.json")
    refused(signed_anew(run), ledger, 30, "manifest.json")


def test_a_decision_moved_to_another_run(run, ledger):
    """The folder under the id of a run that failed, and of one that nobody knows."""
    failed = recorded(governed_run(run.parent / "failed", exit_code=20, seed=30), ledger)
    for other, what in ((read_run(failed).id, "manifest.json"), ("e" * 32, "no decision on run")):
        write_run(run, replace(read_run(run), id=other))
        refused(run, ledger, 30, what)


def test_statements_replayed_on_another_run(run, ledger):
    """On one of other images, and on one of the very same: what was signed for a run is for that run."""
    for seed, images in ((40, 40), (41, 1)):
        other = governed_run(run.parent / f"other {seed}", seed=images)
        write_run(other, replace(read_run(other), id=f"{seed:032x}"))
        recorded(other, ledger)
        shutil.copytree(run / "attestations", other / "attestations")
        refused(other, ledger, 21, "0001-operator.dsse.json: stale, since", "another run" if seed == 40 else "for run 0000")


@pytest.mark.parametrize("place", range(4))
def test_a_statement_removed(run, ledger, place):
    """From the middle, where those after it name it; from the end, where the ledger does."""
    path = sorted((run / "attestations").iterdir())[place]
    digest = sha256_of(path)
    path.unlink()
    rest = sorted((run / "attestations").iterdir())
    refused(run, ledger, 30, digest[:16] if place == 3 else rest[place].name)


def test_a_statement_under_a_second_key_published_anew(run, ledger, tmp_path):
    """An approval under a second key of somebody who approved, put where another person's was, and all published anew."""
    release(run, tmp_path / "out", trust(), key("e.moss"), DETAILS, now=NOW, book=ledger)
    found = grant(trust(), "d.ruiz", [role for _, role in APPROVERS], Grant(key("d.ruiz again").public, FIRST, LAST))
    out = tmp_path / "out"
    path = next(path for path in (out / "attestations").iterdir() if APPROVERS[1][1] in path.name)
    theirs = attestations.read(path.read_bytes(), path.name, found)
    path.write_bytes(attestations.attest(theirs.claim, theirs.subjects, key("d.ruiz again")))
    published_anew(out)
    with pytest.raises(SynguardError, match=r"d\.ruiz counts already as") as caught:
        verify(out, found, NOW)
    assert caught.value.exit_code == 21


def reordered(value):
    """The same values, every list and mapping the other way round."""
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return [reordered(item) for item in reversed(value)] if isinstance(value, list) else value


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("name", ["results.json", "policy.json", "manifest.json", "attestations/0002-"])
def test_json_reordered_into_another_meaning(run, ledger, name, anew):
    path = next(run.glob(f"{name}*"))
    path.write_text(json.dumps(reordered(json.loads(path.read_bytes())), indent=1) + "\n")
    refused(signed_anew(run) if anew else run, ledger, 30, path.name)


def test_labels_of_two_images_exchanged(run, ledger, tmp_path):
    """By the publisher, in lines that are as good as the ones that were approved."""
    out = tmp_path / "out"
    release(run, out, trust(), key("e.moss"), DETAILS, now=NOW, book=ledger)
    path = out / "data" / "metadata.jsonl"
    one, other, *rest = [json.loads(line) for line in path.read_text().splitlines()]
    one["file_name"], other["file_name"] = other["file_name"], one["file_name"]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in (other, one, *rest)))
    published_anew(out)
    with pytest.raises(SynguardError, match="found other images or labels than were approved") as caught:
        verify(out, trust(), NOW)
    assert caught.value.exit_code == 30


def twice(line: str) -> str:
    """A label twice: the last one is what was approved, the first one what another reader may take."""
    name = next(name for name in json.loads(line.splitlines()[0]) if name.endswith("grade"))
    return line.replace("{", f'{{"{name}": "severe", ', 1)


def test_a_label_twice_in_what_is_released(run, ledger, tmp_path):
    for layout in ("imagefolder", "webdataset"):
        out = tmp_path / layout
        release(run, out, trust(), key("e.moss"), DETAILS, now=NOW, book=ledger, layout=layout)
        _label_twice(out, layout)
        published_anew(out)
        with pytest.raises(SynguardError, match=r"data: found no .* layout \(a key stands twice\)") as caught:
            verify(out, trust(), NOW)
        assert caught.value.exit_code == 30


def _label_twice(out: Path, layout: str) -> None:
    if layout == "imagefolder":
        path = out / "data" / "metadata.jsonl"
        path.write_text(twice(path.read_text()))
        return
    path = out / "data" / "00000.tar"
    with tarfile.open(path) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (member, data) in enumerate(members):
            changed = twice(data.decode()).encode() if number == 0 else data
            member.size = len(changed)
            tar.addfile(member, BytesIO(changed))


def test_a_label_twice_in_what_is_signed(tmp_path, ledger):
    run = governed_run(tmp_path / "run", seed=50)
    path = run / "accepted" / "metadata.jsonl"
    path.write_text(twice(path.read_text()))
    manifest.write(manifest.build(run / "accepted"), run / "manifest.json")
    recorded(signed_anew(run), ledger)
    refused(run, ledger, 30, "metadata.jsonl")


PHOTOGRAPH = random.Random(7).randbytes(20_000)
"""What nobody approved, and the publisher puts into a release."""


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def repacked(png: bytes, change) -> bytes:
    """With another zlib stream as its image data, all in one chunk."""
    start = png.index(b"IDAT") - 4
    length = int.from_bytes(png[start : start + 4], "big")
    return png[:start] + chunk(b"IDAT", change(png[start + 8 : start + 8 + length])) + png[start + 12 + length :]


IN_A_PNG = {
    "the body of the end": lambda png: png[:-12] + chunk(b"IEND", PHOTOGRAPH),
    "image data after the stream, in its chunk": lambda png: repacked(png, lambda data: data + PHOTOGRAPH),
    "image data after the stream, in one more": lambda png: png[:-12] + chunk(b"IDAT", PHOTOGRAPH) + png[-12:],
    "a longer stream": lambda png: repacked(png, lambda data: zlib.compress(zlib.decompress(data) + PHOTOGRAPH)),
    "a longer header": lambda png: png[:8] + chunk(b"IHDR", png[16:29] + PHOTOGRAPH) + png[33:],
    "blocks without a pixel": lambda png: repacked(png, lambda data: data[:2] + b"\0\0\0\xff\xff" * 4000 + data[2:]),
    "a stream without its end": lambda png: repacked(png, lambda data: data[:-4]),
    "data that are no stream": lambda png: repacked(png, lambda _: PHOTOGRAPH),
    "a chunk before the pixels": lambda png: png[:33] + chunk(b"IDAT", b"") + png[33:],
}


IN_LINES = {
    "blanks": lambda data: data.replace(b"{", b"{" + b" \t" * 9000, 1),
    "digits": lambda data: data.replace(b".5", b".5" + b"0" * 20 + b"314159", 1),
    "ends of lines": lambda data: data.replace(b"\n", b"\r\n", 1),
}
IN_A_TAR = {
    "bytes after the end": lambda tar: tar + PHOTOGRAPH,
    "another record": lambda tar: tar + bytes(10_240),
    "bytes in the padding of the end": lambda tar: tar[:-2000] + PHOTOGRAPH[:2000],
    "bytes in the padding of a member": lambda tar: tar[:1000] + PHOTOGRAPH[:24] + tar[1024:],
    "an owner": lambda tar: members(tar, lambda member: setattr(member, "uname", "patient-4711")),
    "a time": lambda tar: members(tar, lambda member: setattr(member, "mtime", 4711)),
    "a further header": lambda tar: members(tar, lambda member: member.pax_headers.update(comment=PHOTOGRAPH.hex())),
    "blanks in labels": lambda tar: members(tar, blanks=b" \t" * 9000),
}


def members(tar: bytes, change=lambda _: None, blanks: bytes = b"") -> bytes:
    """The tar written again, with other headers or longer labels."""
    out = BytesIO()
    with tarfile.open(fileobj=BytesIO(tar)) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in old:
            data = old.extractfile(member).read()  # type: ignore[union-attr]
            data = data.replace(b"{", b"{" + blanks, 1) if member.name.endswith(".json") else data
            member.size = len(data)
            change(member)
            new.addfile(member, BytesIO(data))
    return out.getvalue()


def written(table: pa.Table, **options) -> bytes:
    out = BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def wider(table: pa.Table) -> pa.Table:
    """A photograph beside bytes and path of each image."""
    files = table["image"].combine_chunks()
    parts = {"bytes": files.field("bytes"), "path": files.field("path"), "more": pa.array([PHOTOGRAPH] * len(files))}
    image = pa.StructArray.from_arrays(list(parts.values()), list(parts))
    return table.set_column(0, "image", image).replace_schema_metadata(table.schema.metadata)


def noted(table: pa.Table) -> bytes:
    """Said of the file, and not in the schema that Arrow keeps in it."""
    out = BytesIO()
    with pq.ParquetWriter(out, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"note": PHOTOGRAPH.hex()})
    return out.getvalue()


def before_the_footer(data: bytes, more: bytes = PHOTOGRAPH) -> bytes:
    length = int.from_bytes(data[-8:-4], "little") + 8
    return data[:-length] + more + data[-length:]


def said_of(table: pa.Table, **more: bytes) -> pa.Table:
    return table.replace_schema_metadata({**table.schema.metadata, **more})


IN_PARQUET = {
    "a further field of the image": lambda table, _: written(wider(table)),
    "a further column": lambda table, _: written(table.append_column("read_more", pa.array([PHOTOGRAPH] * len(table)))),
    "a list": lambda table, _: written(table.append_column("read_more", pa.array([[1]] * len(table)))),
    "metadata": lambda table, _: written(said_of(table, note=PHOTOGRAPH)),
    "metadata of the file": lambda table, _: noted(table),
    "other words to datasets": lambda table, _: written(said_of(table, huggingface=base64.b64encode(PHOTOGRAPH))),
    "several groups": lambda table, _: written(table, row_group_size=1),
    "another packing": lambda table, _: written(table, compression="zstd"),
    "bytes before the footer": lambda _, data: before_the_footer(data),
    "four bytes before the footer": lambda _, data: before_the_footer(data, b"4711"),
}
URI = b"\n![eye](data:image/png;base64," + base64.b64encode(PHOTOGRAPH) + b")\n"
IN_PAPERS = {
    "README.md": lambda data: data + URI,
    "DATASHEET.md": lambda data: URI + data,
    "LICENCE.md": lambda data: data + base64.encodebytes(PHOTOGRAPH),
    "croissant.json": lambda data: data.replace(b"{", b'{"image": "' + base64.b64encode(PHOTOGRAPH) + b'",', 1),
}
LONGER = {
    "README.md": lambda data: data + b" " * 5 * 2**20,
    "DATASHEET.md": lambda data: data.replace(b"1.0.0", b"1.0." + b"0" * 9000),
    "LICENCE.md": lambda data: data.replace(b"write to ", b"write to " + b"x" * 9000),
    "croissant.json": lambda data: b"[" * 100_000,
}


def hidden(made: Path, path: Path, data: bytes) -> None:
    """Not found before the publisher signs anew, and then it is."""
    assert data != path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(IntegrityError) as caught:
        verify(resigned(made), trust(), NOW)
    assert caught.value.exit_code == 30
    said = str(caught.value)
    assert path.stem in said, said
    assert "found" in said, said
    assert len(said) < 1000, said


@pytest.mark.parametrize("change", IN_A_PNG.values(), ids=IN_A_PNG)
def test_a_photograph_in_an_image(made, change):
    path = sorted((made / "data" / "images").iterdir())[0]
    hidden(made, path, change(path.read_bytes()))


@pytest.mark.parametrize("change", IN_LINES.values(), ids=IN_LINES)
def test_a_photograph_in_the_form_of_the_labels(made, change):
    path = made / "data" / "metadata.jsonl"
    hidden(made, path, change(path.read_bytes()))


@pytest.mark.parametrize("change", IN_A_TAR.values(), ids=IN_A_TAR)
def test_a_photograph_in_a_tar(published, tmp_path, change):
    made = shutil.copytree(published["webdataset"], tmp_path / "release")
    path = made / "data" / "00000.tar"
    hidden(made, path, change(path.read_bytes()))


@pytest.mark.parametrize("change", IN_PARQUET.values(), ids=IN_PARQUET)
def test_a_photograph_in_parquet(published, tmp_path, change):
    made = shutil.copytree(published["parquet"], tmp_path / "release")
    path = made / "data" / "train-00000.parquet"
    hidden(made, path, change(pq.read_table(path), path.read_bytes()))


def test_parquet_by_another_version_of_its_library(published, tmp_path, monkeypatch):
    """It may be a little larger, and verify says so; a photograph does not fit."""
    monkeypatch.setattr(layouts, "_WRITER", "parquet-cpp-arrow version 1.0.0")
    made = shutil.copytree(published["parquet"], tmp_path / "release")
    path = made / "data" / "train-00000.parquet"
    good = path.read_bytes()
    path.write_bytes(before_the_footer(good, b"another form"))
    assert "not checked: up to 16,384 bytes of a Parquet file" in "\n".join(verify(resigned(made), trust(), NOW).lines)
    hidden(made, path, before_the_footer(good))


@pytest.mark.parametrize("how", [IN_PAPERS, LONGER], ids=["more", "longer"])
@pytest.mark.parametrize("name", list(IN_PAPERS))
def test_a_photograph_in_a_paper(made, name, how):
    hidden(made, made / name, how[name]((made / name).read_bytes()))


def test_what_papers_say_is_the_publishers(made):
    said = "\n".join(verify(made, trust(), NOW).lines)
    assert "the papers say what `synguard release` writes" in said
    assert "not checked: what the publisher gave them: title, publisher, contact, licence" in said
