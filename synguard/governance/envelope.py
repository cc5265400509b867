"""Signed statements: an in-toto statement over digests, in a DSSE envelope, signed with Ed25519.

Source: DSSE protocol 1.0 (github.com/secure-systems-lab/dsse, protocol.md) and in-toto Statement v1. A key's id is the
sha256 of the key itself, so that one key under two names is still one key. Envelopes have one form only: whatever differs
from it by a byte, base64 padding and key ids included, is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from synguard.errors import IntegrityError
from synguard.governance.files import canonical

__all__ = ["PAYLOAD_TYPE", "STATEMENT_TYPE", "key_id", "new_key", "public_text", "sign", "statement", "verify"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


def new_key() -> Ed25519PrivateKey:
    """A fresh key."""
    return Ed25519PrivateKey.generate()


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half as base64 of its 32 bytes."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def key_id(public: str) -> str:
    """sha256 of the public key's bytes."""
    return hashlib.sha256(_public_bytes(public, "the public key")).hexdigest()


def statement(subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """An in-toto statement over named sha256 digests, sorted by name."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def sign(payload: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """The envelope, as the bytes of its file."""
    return _envelope(canonical(payload), key.sign(_encoded(canonical(payload))), public_text(key))


def verify(envelope: bytes, public: str, where: str) -> dict[str, Any]:
    """The statement in an envelope that this key signed. Raises IntegrityError, `where` names the file."""
    try:
        outer = json.loads(envelope)
        payload = base64.b64decode(outer["payload"], validate=True)
        signature = base64.b64decode(outer["signatures"][0]["sig"], validate=True)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise IntegrityError(
            f"{where}: found no DSSE envelope, expected the signed statement that synguard wrote"
        ) from error
    key = Ed25519PublicKey.from_public_bytes(_public_bytes(public, where))
    if envelope != _envelope(payload, signature, public):
        raise IntegrityError(
            f"{where}: found an envelope in another form or by another key, expected exactly what was written"
        )
    try:
        key.verify(signature, _encoded(payload))
    except InvalidSignature:
        raise IntegrityError(
            f"{where}: found a signature that does not fit, expected one by key {key_id(public)[:16]}"
        ) from None
    found: dict[str, Any] = json.loads(payload)
    return found


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding of type and payload."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _envelope(payload: bytes, signature: bytes, public: str) -> bytes:
    return canonical(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": key_id(public), "sig": base64.b64encode(signature).decode()}],
        }
    )


def _public_bytes(public: str, where: str) -> bytes:
    try:
        raw = base64.b64decode(public, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raw = b""
    if len(raw) != 32 or base64.b64encode(raw).decode() != public:
        raise IntegrityError(f"{where}: found no Ed25519 public key, expected 32 bytes as base64")
    return raw
