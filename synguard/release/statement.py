"""The publisher's statement: which files a release has, from which run they come, and which approvals it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from synguard.errors import ApprovalError, IntegrityError
from synguard.governance import envelope
from synguard.governance.attestations import PUBLISHER, SUBJECTS, Required
from synguard.governance.keys.public import Signer
from synguard.governance.keys.trust import Trust

__all__ = ["ATTESTATIONS", "MANIFEST", "STATEMENT", "Published", "check_publisher", "publish", "read_published"]

PREDICATE_TYPE = "urn:synguard:release:v1"
MANIFEST = "manifest.json"
STATEMENT = "release.dsse.json"
ATTESTATIONS = "attestations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is stated. `approved` are the digests that the approvals are bound to, `attestations` those of their files.

    `marks` are those of every image: without them a release could gain or lose one, and nobody could tell.
    """

    manifest: str
    run: str
    released: datetime
    layout: str
    marks: tuple[str, ...]
    images: int
    trust_serial: int
    required: tuple[Required, ...]
    approved: Mapping[str, str]
    attestations: Mapping[str, str]


def publish(published: Published, key: Signer) -> bytes:
    """The signed envelope."""
    return envelope.sign(_document(published), key)


def read_published(data: bytes, where: str, trust: Trust) -> tuple[Published, str]:
    """The statement in an envelope, and the name of the publisher.

    Raises ApprovalError where the key is not one that could publish then, IntegrityError for anything else that is amiss.
    """
    key = envelope.signed_by(data, where)
    holder = trust.holder(key)
    if holder is None:
        raise ApprovalError(f"{where}: found a signature by key {key[:16]}, expected one of a person in the trust file")
    stated = envelope.verify(data, holder[1].public, where)
    try:
        published = _parse(stated)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{where}: found a statement in another form, expected that of a release") from error
    if _document(published) != stated or set(published.approved) != set(SUBJECTS):
        raise IntegrityError(f"{where}: found a statement about something else, expected that of a release")
    return published, check_publisher(key, where, trust, published.released.astimezone(UTC).date())


def check_publisher(key: str, where: object, trust: Trust, day: date) -> str:
    """The name of the person who may publish with that key on that day. Raises ApprovalError."""
    holder = trust.holder(key)
    if holder is None:
        raise ApprovalError(f"{where}: found key {key[:16]}, of nobody in the trust file, expected a publisher's")
    person, held = holder
    if held.revoked is not None:
        raise ApprovalError(f"{where}: found the key of {person.name}, revoked on {held.revoked.on}: {held.revoked.reason}")
    if not held.first <= day <= held.last:
        raise ApprovalError(f"{where}: found a key valid from {held.first} to {held.last}, expected one valid on {day}")
    if PUBLISHER not in person.roles:
        raise ApprovalError(f"{where}: found {person.name}, who is no {PUBLISHER} in the trust file")
    return person.name


def _document(published: Published) -> dict[str, Any]:
    predicate = {
        "run": published.run,
        "released": published.released.astimezone(UTC).isoformat(timespec="seconds"),
        "layout": published.layout,
        "marks": list(published.marks),
        "images": published.images,
        "trust_serial": published.trust_serial,
        "required": [{"role": need.role, "count": need.count} for need in published.required],
        "approved": dict(published.approved),
        "attestations": dict(published.attestations),
    }
    return envelope.statement({MANIFEST: published.manifest}, PREDICATE_TYPE, predicate)


def _parse(stated: Mapping[str, Any]) -> Published:
    found = stated["predicate"]
    return Published(
        manifest=stated["subject"][0]["digest"]["sha256"],
        run=found["run"],
        released=datetime.fromisoformat(found["released"]),
        layout=found["layout"],
        marks=tuple(found["marks"]),
        images=found["images"],
        trust_serial=found["trust_serial"],
        required=tuple(Required(row["role"], row["count"]) for row in found["required"]),
        approved=dict(found["approved"]),
        attestations=dict(found["attestations"]),
    )
