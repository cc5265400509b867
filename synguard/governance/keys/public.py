"""Public keys as one line of text: Ed25519 in software, ECDSA P-256 in hardware tokens.

The text is base64 of the key's only form: the 32 bytes of RFC 8032 for Ed25519, the 33 bytes of a compressed point (SEC 1,
2.3.3) for P-256. A key's id is the sha256 of these bytes, so that one key under two names is still one key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from synguard.errors import IntegrityError

__all__ = ["Signer", "key_id", "low_s", "public_text", "scheme", "verify"]

PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of P-256's base point: SEC 2, 2.4.2."""


class Signer(Protocol):
    """Whatever can sign: a key file that was opened, a key in a token."""

    @property
    def public(self) -> str:
        """The public half, as `public_text` writes it."""

    @property
    def key_id(self) -> str:
        """sha256 of the public half."""

    def sign(self, data: bytes) -> bytes:
        """A signature over `data`: 64 bytes of Ed25519, or DER of ECDSA P-256 with SHA-256 and the lower s."""


def public_text(key: PublicKey) -> str:
    """A public key as text. Raises ValueError for a curve other than P-256."""
    if isinstance(key, Ed25519PublicKey):
        return base64.b64encode(key.public_bytes_raw()).decode()
    if not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(f"found the curve {key.curve.name}, expected P-256")
    return base64.b64encode(key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)).decode()


def key_id(public: str, where: str = "the public key") -> str:
    """sha256 of the public key's bytes. Raises IntegrityError where `public`, from `where`, is no key in its one form."""
    _load(public, where)
    return hashlib.sha256(base64.b64decode(public)).hexdigest()


def scheme(public: str) -> str:
    """The signature's name for people. Raises IntegrityError as `key_id`."""
    return "Ed25519" if isinstance(_load(public, "the public key"), Ed25519PublicKey) else "ECDSA P-256"


def verify(public: str, signature: bytes, data: bytes, where: str) -> None:
    """Holds a signature over `data` against a public key. Raises IntegrityError, `where` names the signed file.

    Of the two signatures that are as good as each other in ECDSA, only the one with the lower s counts.
    """
    key = _load(public, where)
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, data)
        else:
            if signature != low_s(*decode_dss_signature(signature)):
                raise InvalidSignature
            key.verify(signature, data, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        raise IntegrityError(
            f"{where}: found a signature that does not fit, expected one by key {key_id(public)[:16]}"
        ) from None


def low_s(r: int, s: int) -> bytes:
    """An ECDSA signature over P-256 as DER in its one form, with the lower s."""
    return encode_dss_signature(r, min(s, _ORDER - s))


def _load(public: str, where: str) -> PublicKey:
    key = _parsed(public) if isinstance(public, str) else None
    if key is None:
        raise IntegrityError(
            f"{where}: found no public key, expected base64 of 32 bytes (Ed25519) or of a compressed point (P-256)"
        )
    return key


@lru_cache(maxsize=1024)
def _parsed(public: str) -> PublicKey | None:
    try:
        raw = base64.b64decode(public, validate=True)
        if len(raw) == 32:
            key: PublicKey = Ed25519PublicKey.from_public_bytes(raw)
        else:
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    except (binascii.Error, ValueError):
        return None
    return key if public_text(key) == public else None
