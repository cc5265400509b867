"""What somebody on the inside can do who writes to run folders, has the tool and a good key, and cannot reach the ledger."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from synguard.errors import SynguardError
from synguard.governance import attestations, manifest
from synguard.governance.files import canonical, sha256_of
from synguard.governance.keys.trust import Grant, grant
from synguard.governance.ledger import Ledger
from synguard.governance.record import read_run, write_run
from synguard.governance.sign_off import sign_off, signable
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
