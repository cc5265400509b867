"""Making a release: from a run that passed and was signed off, through one staged copy, to a folder that verifies."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from synguard.errors import EvidenceError, InputError, IntegrityError, RefusedError
from synguard.governance import sign_off
from synguard.governance.approvals import Counted, Standing, require_approved
from synguard.governance.content import METADATA, Labels, parse_labels, pixels_of
from synguard.governance.files import private_folder, write_private
from synguard.governance.keys.public import Signer
from synguard.governance.keys.trust import Trust
from synguard.governance.manifest import read_file
from synguard.governance.sign_off import Book, Signable, signable, standing_of
from synguard.protocols import Images
from synguard.release.c2pa_mark import Credentials
from synguard.release.dicom import require_pydicom
from synguard.release.documents import Details, documents
from synguard.release.images import Released
from synguard.release.layouts import LAYOUTS, Layout, tables
from synguard.release.marks import C2PA, DICOM, marked
from synguard.release.staging import staged
from synguard.release.statement import ATTESTATIONS, MANIFEST, STATEMENT, Published, check_publisher, publish
from synguard.release.verify import REPORT, Verified, covered, verify

__all__ = ["RELEASES", "release"]

RELEASES = "releases"
"""Folder of a run with the statements of the releases that were made of it."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Fresh:
    """The accepted files under fresh names, in the order of these."""

    names: Mapping[str, str]

    @classmethod
    def of(cls, files: list[str]) -> _Fresh:
        """Random names from the system, which nobody can trace back, not even with the run's seed."""
        names: dict[str, str] = {}
        for file in files:
            while (name := secrets.token_hex(8)) in names:
                pass
            names[name] = file
        return cls(dict(sorted(names.items())))


def release(
    folder: Path,
    to: Path,
    trust: Trust,
    key: Signer,
    details: Details,
    *,
    layout: str = "imagefolder",
    credentials: Credentials | None = None,
    now: datetime,
    book: Book | None = None,
    progress: Progress = lambda *_: None,
) -> Verified:
    """Publishes the accepted images of a run as `to`, which is there whole at the end, or not at all.

    With `credentials` each image carries a C2PA manifest as well.

    Raises RefusedError or EvidenceError where the decision is no pass, ApprovalError where approvals are missing or stale or
    the key is no publisher's, IntegrityError where anything is not as it was audited and signed, InputError for what was
    asked.
    """
    details.check()
    if layout not in LAYOUTS:
        raise InputError.of("layout", repr(layout), f"one of: {', '.join(LAYOUTS)}")
    marks = _marks(LAYOUTS[layout], credentials)
    run = signable(folder)
    _require_pass(run)
    today = now.astimezone(UTC).date()
    approved = standing_of(run, trust, today, book)
    require_approved(approved, folder)
    check_publisher(key.key_id, "key", trust, today)
    with staged(to) as scratch:
        mark = partial(marked, marks=marks, credentials=credentials)
        labels = _write_images(run, scratch, layout, mark, progress)
        attestations = _write_attestations(run, approved, scratch)
        _write_report(run, scratch)
        _write_papers(run, scratch, details, layout, marks, labels, now)
        listed = covered(scratch)
        (scratch / MANIFEST).write_bytes(listed.to_bytes())
        statement = publish(
            Published(
                manifest=listed.digest,
                run=run.run,
                released=now,
                layout=layout,
                marks=marks,
                images=len(labels),
                trust_serial=trust.serial,
                required=run.required,
                approved=run.subjects,
                attestations=attestations,
            ),
            key,
        )
        (scratch / STATEMENT).write_bytes(statement)
        progress("check the release", 0, 1)
        verified = verify(scratch, trust, now)
        progress("check the release", 1, 1)
        # Before the release is there: one that nobody knows of could not be recalled.
        write_private(private_folder(folder / RELEASES) / f"{listed.digest[:16]}.dsse.json", statement)
        if book is not None:
            book.append("release", {"run": run.run, "manifest_sha256": listed.digest, "images": len(labels)})
    return verified


def _require_pass(run: Signable) -> None:
    decision = run.results["decision"]
    if run.exit_code == 0 and "images" in run.results["released"]:
        return
    reasons = "; ".join(decision["reasons"][:3])
    message = f"{run.folder}: found the decision {decision['status']} ({reasons}), expected a pass that covers images"
    raise EvidenceError(message) if run.exit_code == EvidenceError.exit_code else RefusedError(message)


def _marks(layout: Layout, credentials: Credentials | None) -> tuple[str, ...]:
    """Those that the images get. Raises InputError where the layout has none of that kind, or an extra is missing."""
    chosen = next((marks for marks in layout.marks if (C2PA in marks) == (credentials is not None)), None)
    if chosen is None:
        raise InputError.of("the C2PA mark", f"the layout {layout.name}, which has none", "another layout, or no C2PA key")
    if DICOM in chosen:
        require_pydicom()
    return chosen


def _write_images(
    run: Signable, scratch: Path, layout: str, mark: Callable[[str, Images], bytes], progress: Progress
) -> dict[str, Labels]:
    """The accepted images, each read once and held against the manifest, under fresh names. Returns labels by name."""
    accepted = run.folder / "accepted"
    files = {entry.path: entry for entry in run.accepted.files}
    own = parse_labels(read_file(accepted, files.pop(METADATA)), str(accepted / METADATA))
    fresh = _Fresh.of(list(files))
    labels: dict[str, Labels] = {}

    def images() -> Iterator[Released]:
        for number, (name, file) in enumerate(fresh.names.items()):
            pixels = pixels_of(read_file(accepted, files[file]), str(accepted / file))
            labels[name] = own[file]
            progress("write the images", number, len(files))
            yield Released(name, mark(name, pixels), own[file])

    LAYOUTS[layout].write(scratch, images())
    progress("write the images", len(files), len(files))
    return labels


def _write_attestations(run: Signable, approved: Standing, scratch: Path) -> dict[str, str]:
    """The statements that count, and no others: a No that was taken back may say what is nobody's business outside."""
    place = scratch / ATTESTATIONS
    place.mkdir()
    counted: tuple[Counted, ...] = (*approved.operators, *approved.approvals)
    for item in counted:
        data = (run.folder / sign_off.FOLDER / item.attestation.file).read_bytes()
        if hashlib.sha256(data).hexdigest() != item.attestation.sha256:
            raise IntegrityError(f"{item.attestation.file}: found another statement than a moment ago")
        (place / item.attestation.file).write_bytes(data)
    return {item.attestation.file: item.attestation.sha256 for item in counted}


def _write_report(run: Signable, scratch: Path) -> None:
    data = (run.folder / REPORT).read_bytes()
    if hashlib.sha256(data).hexdigest() != run.subjects[REPORT]:
        raise IntegrityError(f"{run.folder / REPORT}: found another report than was approved")
    (scratch / REPORT).parent.mkdir()
    (scratch / REPORT).write_bytes(data)


def _write_papers(
    run: Signable,
    scratch: Path,
    details: Details,
    layout: str,
    marks: tuple[str, ...],
    labels: Mapping[str, Labels],
    now: datetime,
) -> None:
    written = tables(labels)
    policy = run.results["policy"]
    papers = documents(
        details,
        LAYOUTS[layout],
        marks,
        labels,
        written,
        policy={"name": policy["name"], "version": policy["version"]},
        roles=Counter({need.role: need.count for need in run.required}),
        day=now.astimezone(UTC).date(),
    )
    (scratch / "tables").mkdir()
    for name, data in {**papers, **written}.items():
        (scratch / name).write_bytes(data)
