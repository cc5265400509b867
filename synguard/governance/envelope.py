"""Signed statements: an in-toto statement over digests, in a DSSE envelope, signed by one key.

Source: DSSE protocol 1.0 (github.com/secure-systems-lab/dsse, protocol.md) and in-toto Statement v1. Keys are those of
`keys.public`. Envelopes have one form only: whatever differs from it by a byte, base64 padding and key ids included, is
refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from synguard.errors import IntegrityError
from synguard.governance.files import canonical
from synguard.governance.keys import public as public_keys
from synguard.governance.keys.public import Signer

__all__ = ["LARGEST", "PAYLOAD_TYPE", "STATEMENT_TYPE", "sign", "signed_by", "statement", "unverified", "verify"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
LARGEST = 4 * 2**20
"""Bytes of an envelope, at most: those of a stranger are read before anything about them is known."""
_MALFORMED = (ValueError, KeyError, IndexError, TypeError, RecursionError)


def statement(subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """An in-toto statement over named sha256 digests, sorted by name."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def sign(payload: Mapping[str, Any], key: Signer, *, kind: str = PAYLOAD_TYPE) -> bytes:
    """The envelope, as the bytes of its file."""
    body = canonical(payload)
    return _envelope(body, key.sign(_encoded(body, kind)), key.key_id, kind)


def signed_by(envelope: bytes, where: str) -> str:
    """The key id that an envelope names, which proves nothing before `verify` has held it against that key."""
    try:
        return str(json.loads(envelope)["signatures"][0]["keyid"])
    except _MALFORMED as error:
        raise _no_envelope(where) from error


def unverified(envelope: bytes, where: str) -> dict[str, Any]:
    """The payload of an envelope, to see what it says of itself before `verify` proves it."""
    try:
        found = json.loads(base64.b64decode(json.loads(envelope)["payload"], validate=True))
    except _MALFORMED as error:
        raise _no_envelope(where) from error
    if not isinstance(found, dict):
        raise _no_envelope(where)
    return found


def verify(envelope: bytes, public: str, where: str, *, kind: str = PAYLOAD_TYPE) -> dict[str, Any]:
    """The payload of an envelope that this key signed. Raises IntegrityError, `where` names the file."""
    try:
        outer = json.loads(envelope)
        payload = base64.b64decode(outer["payload"], validate=True)
        signature = base64.b64decode(outer["signatures"][0]["sig"], validate=True)
    except _MALFORMED as error:
        raise _no_envelope(where) from error
    if envelope != _envelope(payload, signature, public_keys.key_id(public, where), kind):
        raise IntegrityError(
            f"{where}: found an envelope in another form or by another key, expected exactly what was written"
        )
    public_keys.verify(public, signature, _encoded(payload, kind), where)
    found = json.loads(payload)
    if not isinstance(found, dict) or canonical(found) != payload:
        raise IntegrityError(f"{where}: found a payload in another form, expected JSON as synguard writes it")
    return found


def _encoded(payload: bytes, kind: str) -> bytes:
    """DSSE's pre-authentication encoding of type and payload."""
    return b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _envelope(payload: bytes, signature: bytes, key_id: str, kind: str) -> bytes:
    return canonical(
        {
            "payloadType": kind,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
        }
    )


def _no_envelope(where: str) -> IntegrityError:
    return IntegrityError(f"{where}: found no DSSE envelope, expected the signed statement that synguard wrote")
