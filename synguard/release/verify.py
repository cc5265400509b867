"""Verifying a release: any copy, offline, with public keys alone.

What is held together: the publisher's signature covers the manifest, the manifest every other file. The approvals cover
pixels, labels and public report, which are digested anew from the copy; so not even the publisher can put other images under
them. Files and papers are held to what our own writers make of what was read, so that nothing else lies in them either
(decision 0034).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from synguard.errors import IntegrityError, SynguardError
from synguard.governance import attestations, envelope, manifest
from synguard.governance.approvals import Occasion, Standing, require_approved, standing
from synguard.governance.content import Labelled, Labels, content_digest
from synguard.governance.files import sha256_of
from synguard.governance.keys.public import key_id
from synguard.governance.keys.trust import Trust
from synguard.governance.manifest import Manifest
from synguard.release.c2pa_mark import check_c2pa
from synguard.release.dicom import require_pydicom
from synguard.release.documents import PAPERS, documents, own_words
from synguard.release.layouts import LAYOUTS, NAME, UNREADABLE, tables
from synguard.release.marks import C2PA, DICOM, TOLD, unmarked
from synguard.release.statement import ATTESTATIONS, MANIFEST, STATEMENT, Published, read_published

__all__ = ["REPORT", "Verified", "covered", "verify"]

REPORT = "report/public.html"
_APART = frozenset({MANIFEST, STATEMENT})
"""Not in the manifest: itself, and the statement about it."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A release that is what was approved. `lines` say in words what was checked."""

    published: Published
    publisher: str
    standing: Standing
    lines: tuple[str, ...]


def verify(folder: Path, trust: Trust, now: datetime) -> Verified:
    """Checks a release. `now` only tells statements from the future; what expired since the release stays good.

    Raises IntegrityError naming what is not as it was published, and ApprovalError naming approvals that do not count.
    """
    published, publisher = read_published(_bytes(folder, STATEMENT), f"{folder / STATEMENT}", trust)
    if published.released > now + timedelta(days=1):
        raise IntegrityError(
            f"{folder / STATEMENT}: found a release of {published.released:%Y-%m-%d}, which is in the future"
        )
    if trust.serial < published.trust_serial:
        raise IntegrityError(
            f"trust file: found number {trust.serial}, expected {published.trust_serial} or later, as at the release"
        )
    found = _check_files(folder, published)
    labels, signers = _check_images(folder, published, found)
    approved = _check_approvals(folder, published, trust)
    _check_papers(folder, published, labels)
    return Verified(
        published, publisher, approved, tuple(_lines(published, publisher, found, len(labels), signers, approved, trust))
    )


def covered(folder: Path) -> Manifest:
    """The manifest of a release folder as it is now: every file but itself and the publisher's statement."""
    return Manifest(tuple(entry for entry in manifest.build(folder).files if entry.path not in _APART))


def _check_files(folder: Path, published: Published) -> Manifest:
    listed = manifest.read(folder / MANIFEST)
    if sha256_of(folder / MANIFEST) != published.manifest:
        raise IntegrityError(
            f"{folder / MANIFEST}: found another manifest, expected sha256 {published.manifest[:16]} as signed"
        )
    apart = tuple(manifest.Entry(name, sha256_of(folder / name), (folder / name).stat().st_size) for name in _APART)
    manifest.verify(folder, Manifest(tuple(sorted((*listed.files, *apart)))))
    return listed


def _check_images(folder: Path, published: Published, listed: Manifest) -> tuple[dict[str, Labels], set[str | None]]:
    """Pixels and labels of the copy, held against what was approved; the two tables, held against the labels.

    Returns the labels by image, and who signed the C2PA manifests: None where no library can tell. A file that belongs to
    neither images nor tables is refused although the publisher signed it: nobody approved what it shows.
    """
    layout = LAYOUTS.get(published.layout)
    if layout is None:
        raise IntegrityError(
            f"{folder / STATEMENT}: found the layout {published.layout!r}, expected one of {sorted(LAYOUTS)}"
        )
    if published.marks not in layout.marks:
        raise IntegrityError(f"{folder / STATEMENT}: found the marks {published.marks}, expected those of the layout")
    if DICOM in published.marks:
        require_pydicom()
    labels: dict[str, Labels] = {}
    signers: set[str | None] = set()

    def seen() -> Iterator[Labelled]:
        for image in layout.read(folder):
            labels[image.name] = image.labels
            yield unmarked(image, published.marks)
            if C2PA in published.marks:
                signers.add(check_c2pa(image.data, image.name))

    try:
        digest = content_digest(seen())
    except UNREADABLE as error:
        raise IntegrityError(f"{folder / 'data'}: found no {published.layout} layout ({error}), expected one") from error
    except SynguardError as error:
        raise IntegrityError(f"{folder / 'data'}: {error}") from error
    if digest != published.approved["content"]:
        raise IntegrityError(f"{folder / 'data'}: found other images or labels than were approved ({digest[:16]})")
    if len(labels) != published.images:
        raise IntegrityError(f"{folder / 'data'}: found {len(labels)} images, expected {published.images}")
    strange = sorted(name for name in labels if not NAME.fullmatch(name))
    if strange:
        raise IntegrityError(f"{folder / 'data'}: found an image named {strange[0]!r}, expected 16 random digits")
    known = {*PAPERS, REPORT, *tables(labels), *layout.files(len(labels), list(labels))}
    known |= {f"{ATTESTATIONS}/{name}" for name in published.attestations}
    for entry in listed.files:
        if entry.path not in known:
            raise IntegrityError(f"{folder / entry.path}: found a file that no release of this layout has")
    for name, data in tables(labels).items():
        if _bytes(folder, name) != data:
            raise IntegrityError(f"{folder / name}: found another table than the labels beside the images make")
    return labels, signers


def _check_approvals(folder: Path, published: Published, trust: Trust) -> Standing:
    found = []
    for name in sorted(published.attestations):
        data = _bytes(folder, f"{ATTESTATIONS}/{name}")
        attestation = attestations.read(data, f"{ATTESTATIONS}/{name}", trust)
        if attestation.sha256 != published.attestations[name]:
            raise IntegrityError(f"{ATTESTATIONS}/{name}: found another statement than the publisher's statement names")
        found.append(attestation)
    there = {path.name for path in (folder / ATTESTATIONS).iterdir()}
    if there != set(published.attestations):
        extra = sorted(there ^ set(published.attestations))[0]
        raise IntegrityError(f"{ATTESTATIONS}/{extra}: found it in the folder or the publisher's statement alone")
    if sha256_of(folder / REPORT) != published.approved[REPORT]:
        raise IntegrityError(f"{folder / REPORT}: found another report than was approved")
    occasion = Occasion(
        run=published.run,
        subjects=published.approved,
        required=published.required,
        today=published.released.astimezone(UTC).date(),
    )
    approved = standing(found, trust, occasion)
    require_approved(approved, folder)
    return approved


def _check_papers(folder: Path, published: Published, labels: Mapping[str, Labels]) -> None:
    """The papers of the copy, held against those that are made again with the publisher's few own words."""
    papers = {name: _bytes(folder, name) for name in PAPERS}
    day = published.released.astimezone(UTC).date()
    try:
        details, policy = own_words(papers, day)
    except IntegrityError as error:
        raise IntegrityError(f"{folder}: {error}") from error
    made = documents(
        details,
        LAYOUTS[published.layout],
        published.marks,
        labels,
        tables(labels),
        policy=policy,
        roles=Counter({need.role: need.count for need in published.required}),
        day=day,
    )
    for name, data in made.items():
        if papers[name] != data:
            raise IntegrityError(f"{folder / name}: found another paper than `synguard release` writes, expected that one")


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise IntegrityError(f"{path}: found no such file, expected that of a release")
    if (path.name.endswith(".dsse.json") or name in PAPERS) and path.stat().st_size > envelope.LARGEST:
        raise IntegrityError(f"{path}: found {path.stat().st_size:,} bytes, expected at most {envelope.LARGEST:,}")
    return path.read_bytes()


def _lines(
    published: Published,
    publisher: str,
    listed: Manifest,
    images: int,
    signers: set[str | None],
    approved: Standing,
    trust: Trust,
) -> Iterator[str]:
    day = published.released.astimezone(UTC).date()
    yield f"the release was signed on {day} by {publisher}, whom the trust file names as a publisher"
    yield f"all {len(listed.files):,} files are there, no other is, and none was changed"
    yield f"pixels and labels of all {images:,} images are those that were approved; each is marked as synthetic"
    yield f"the mark is {' and '.join(TOLD[mark] for mark in published.marks)}"
    if None in signers:
        yield "not read: what the C2PA manifests say (pip install 'synguard[c2pa]'); their bytes are those of the publisher"
    elif signers:
        yield f"the C2PA manifests are bound to their files and signed by {'; '.join(sorted(filter(None, signers)))}"
        yield "not checked: whether that certificate can be trusted, and whether it has ended or was taken back since"
    if unchecked := LAYOUTS[published.layout].unchecked:
        yield f"not checked: {unchecked}"
    yield "the public report is the one that was approved"
    yield "the papers say what `synguard release` writes of these images and labels, and nothing else"
    yield "not checked: what the publisher gave them: title, publisher, contact, licence, name and version of the policy"
    people = ", ".join(f"{item.person} ({item.role})" for item in approved.approvals)
    yield f"approved by {len(approved.approvals)} people, of whom none ran the generator: {people}"
    asked = ", ".join(f"{need.count} x {need.role}" for need in published.required)
    yield f"that is what the policy asked for ({asked}), on the day of the release"
    yield f"trust file number {trust.serial}, root key {key_id(trust.root)}: compare it with what the publisher told you"
    yield "not checked: whether the policy is a good one, and what the audit could not see (both are in the public report)"
