"""Marks planted in every input of a run (ids, paths, EXIF, comments, seeds, thumbnails) reach no byte of what leaves it."""

from __future__ import annotations

import base64
import csv
import io
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import synguard
from synguard.data.phantom import write_phantoms
from synguard.governance.attestations import OPERATOR
from synguard.governance.ledger import Ledger
from synguard.governance.sign_off import sign_off, signable
from synguard.release.documents import Details
from synguard.release.layouts import LAYOUTS
from synguard.release.make import release
from tests.support.governed import APPROVERS, key, trust
from tests.support.lookalike import LOOKALIKE, likeness, pictures_in

pytestmark = pytest.mark.system

SEED = 2718281829
DETAILS = Details(title="Invented eyes", publisher="Hospital X", contact="privacy@hospital-x.example", licence="cc-by-4.0")
TEXTS = ("ROOTMARK", "IDMARK", "NAMEMARK", "EXIFMARK", "COMMENTMARK", "COLUMNMARK", "VALUEMARK", "LEDGERMARK", str(SEED))
CONFIG = f"""\
name: leaks
seed: {SEED}
image_size: 32
private: {{path: private, patient: patient}}
holdout: {{path: holdout, patient: patient}}
conditions:
  - {{name: eye_side, kind: categorical, levels: [left, right]}}
generator: {{kind: folder, path: made}}
release: {{images: 20, covers: [images]}}
audits:
  memorisation: {{planted_per_transform: 2}}
  membership: {{permutations: 199, resamples: 200, draws: 1}}
  labels: {{steps: 20}}
policy: policy.yaml
"""
POLICY = """\
schema: synguard/policy/v1
name: leaks
version: 1.0.0
releases: [images]
approvals:
  - {role: privacy-officer, count: 1 person}
  - {role: clinical-reviewer, count: 1 person}
  - {role: board, count: 1 person}
checks:
  - id: no-copies
    title: No copy of a private image in what would be released
    metric: memorisation.verified_copies
    group: accepted
    fail: {above: 0 images}
    reason: A copy is a patient.
    source: this test
"""


def planted(folder: Path, *, first: int, patients: int) -> list[bytes]:
    """A set whose ids, names, files and columns are marked. Returns what its images look like as bytes."""
    write_phantoms(folder, patients=patients, images_per_patient=1, size=32, seed=5, first_patient=first)
    with (folder / "metadata.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    seen: list[bytes] = []
    for number, row in enumerate(rows):
        path = folder / row["file_name"]
        image = Image.open(path).convert("RGB")
        thumbnail = io.BytesIO()
        image.resize((16, 16)).save(thumbnail, "JPEG")
        exif = Image.Exif()
        exif[0x010E] = "EXIFMARK of a patient"
        comment = PngInfo()
        comment.add_text("Comment", "COMMENTMARK")
        comment.add_text("Thumbnail", base64.b64encode(thumbnail.getvalue()).decode())
        renamed = path.with_name(f"NAMEMARK-{number:04d}.png")
        path.unlink()
        image.save(renamed, exif=exif, pnginfo=comment)
        row |= {
            "file_name": renamed.relative_to(folder).as_posix(),
            "patient": f"IDMARK-{row['patient']}",
            "COLUMNMARK": "VALUEMARK",
        }
        seen += [thumbnail.getvalue()[-48:], np.asarray(image).tobytes()[1500:1548], renamed.read_bytes()[-60:-12]]
    with (folder / "metadata.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return seen


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A run that three people signed, and everything that may not leave it."""
    folder = tmp_path_factory.mktemp("ROOTMARK")
    private = [
        seen for i, name in enumerate(("private", "holdout")) for seen in planted(folder / name, first=60 * i, patients=40)
    ]
    planted(folder / "made", first=160, patients=20)
    (folder / "synguard.yaml").write_text(CONFIG)
    (folder / "policy.yaml").write_text(POLICY)
    ledger = Ledger.open(folder / "LEDGERMARK" / "ledger.sqlite")
    result = synguard.generate_and_audit(folder / "synguard.yaml", folder / "run", ledger=ledger.place)
    assert result.decision.exit_code == 0, result.decision.reasons
    now = datetime.now(UTC)
    for person, role in (("e.moss", OPERATOR), *APPROVERS):
        sign_off(signable(folder / "run"), trust(), key(person), role=role, now=now, book=ledger)
    return folder, [*(text.encode() for text in TEXTS), *private]


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_no_mark_reaches_a_release(world: tuple[Path, list[bytes]], tmp_path: Path, layout: str):
    folder, marks = world
    ledger = Ledger.open(folder / "LEDGERMARK" / "ledger.sqlite")
    now = datetime.now(UTC)
    release(folder / "run", tmp_path / "out", trust(), key("e.moss"), DETAILS, layout=layout, now=now, book=ledger)
    blob = b"\n".join(readings(tmp_path / "out"))
    found = [mark for mark in marks for form in (mark, *in_base64(mark)) if form in blob]
    assert found == []


def test_no_mark_and_no_likeness_reaches_the_public_edition(world: tuple[Path, list[bytes]]):
    """Neither in its bytes nor in the pictures it holds, and none of these looks like a private image."""
    folder, marks = world
    html = (folder / "run" / "report" / "public.html").read_text()
    shown = pictures_in(html)
    assert shown, "a release that passes is shown"
    blob = b"\n".join([html.encode(), *embedded(html), *(pixels.tobytes() for pixels in shown)])
    assert [mark for mark in marks for form in (mark, *in_base64(mark)) if form in blob] == []
    private = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((folder / "private").rglob("*.png"))]
    assert max(likeness(one, private) for one in shown) < LOOKALIKE
    # The search finds one that is there.
    assert likeness(np.rot90(private[0]), private) > LOOKALIKE


def embedded(html: str) -> list[bytes]:
    """What a page holds in base64, as bytes."""
    return [base64.b64decode(data) for data in re.findall(r";base64,([A-Za-z0-9+/=]+)", html)]


def test_the_marks_would_be_seen(world: tuple[Path, list[bytes]]):
    """In the run folder they are everywhere: the search can find what is there."""
    folder, marks = world
    blob = b"\n".join(readings(folder))
    assert all(mark in blob for mark in marks)


def readings(folder: Path) -> list[bytes]:
    """Names and bytes of all files, and what packed ones hold."""
    found = []
    for path in sorted(folder.rglob("*")):
        found.append(str(path.relative_to(folder)).encode())
        if path.is_file():
            data = path.read_bytes()
            found.append(data)
            if path.suffix == ".parquet":
                found.append(repr(pq.read_table(path).to_pylist()).encode())
            if path.suffix == ".png":
                with Image.open(path) as image:
                    found += [repr(image.info).encode(), np.asarray(image.convert("RGB")).tobytes()]
                    found += [base64.b64decode(v) for k, v in image.info.items() if k == "Thumbnail"]
    return [*found, str(folder).encode()] if (folder / "synguard.yaml").exists() else found


def in_base64(mark: bytes) -> list[bytes]:
    """How it looks in base64, at each of three places; without the ends, which depend on what is beside it."""
    return [base64.b64encode(bytes(shift) + mark)[4:-4] for shift in range(3)] if len(mark) > 8 else []
