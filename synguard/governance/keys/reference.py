"""What a user names a key by: a file, or the URI of a key in a token."""

from __future__ import annotations

from pathlib import Path

from synguard.governance.keys import software, token
from synguard.governance.keys.public import Signer

__all__ = ["create_key", "open_key"]


def open_key(named: str, secret: str) -> Signer:
    """The key, opened with its passphrase or PIN. Raises InputError."""
    if named.startswith(token.SCHEME):
        return token.open_key(named, secret)
    return software.open_key(Path(named), secret)


def create_key(named: str, secret: str) -> Signer:
    """A fresh key under that name: an encrypted Ed25519 file, or P-256 in a token. Raises InputError."""
    if named.startswith(token.SCHEME):
        return token.create(named, secret)
    return software.create(Path(named), secret)
