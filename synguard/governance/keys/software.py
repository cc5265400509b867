"""Key files: Ed25519 in the format of OpenSSH, encrypted under a passphrase, for their owner only.

Format: openssh-key-v1 with AES-256-CTR; bcrypt stretches the passphrase, in more rounds than `ssh-keygen` takes. PKCS#8 as
the `cryptography` package writes it takes 2,048 rounds of PBKDF2, too few for a file that is stolen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, load_ssh_private_key

from synguard.errors import InputError
from synguard.governance.files import read_secret, write_private
from synguard.governance.keys.public import key_id, public_text

__all__ = ["SHORTEST", "SoftwareKey", "create", "new_key", "open_key"]

SHORTEST = 12
"""Characters of a passphrase, at least."""
_ROUNDS = 64
"""About a second: a person signs a few times a year."""


@dataclass(frozen=True)
class SoftwareKey:
    """An Ed25519 key in memory."""

    private: Ed25519PrivateKey = field(repr=False)

    @cached_property
    def public(self) -> str:
        """The public half as text."""
        return public_text(self.private.public_key())

    @property
    def key_id(self) -> str:
        """sha256 of the public half."""
        return key_id(self.public)

    def sign(self, data: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return self.private.sign(data)


def new_key() -> SoftwareKey:
    """A fresh key that is nowhere but in memory."""
    return SoftwareKey(Ed25519PrivateKey.generate())


def create(path: Path, passphrase: str) -> SoftwareKey:
    """A fresh key, written encrypted to `path` and its public half to `path`.pub.

    Raises InputError where either file exists, or the passphrase is shorter than `SHORTEST` characters.
    """
    public = path.with_name(f"{path.name}.pub")
    for file in (path, public):
        if file.exists() or file.is_symlink():
            raise InputError.of(file, "a file that exists already", "a name for a new key")
    if not path.parent.is_dir():
        raise InputError.of(path.parent, "no folder", "the folder that the key is to lie in")
    if len(passphrase) < SHORTEST:
        raise InputError.of("passphrase", f"{len(passphrase)} characters", f"{SHORTEST} or more")
    key = new_key()
    protection = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(_ROUNDS).build(passphrase.encode())
    write_private(path, key.private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, protection))
    write_private(public, f"{key.public}\n".encode())
    public.chmod(0o644)
    return key


def open_key(path: Path, passphrase: str) -> SoftwareKey:
    """The key in a file. Raises InputError where there is none, it is not encrypted, others can read it, or the
    passphrase is another.
    """
    data = read_secret(path, "a key", "a key file of `synguard keys init`")
    try:
        key = load_ssh_private_key(data, passphrase.encode())
    except TypeError as error:
        raise InputError.of(path, "a key that is not encrypted", "one of `synguard keys init`") from error
    except ValueError as error:
        raise InputError.of(path, "no key that this passphrase opens", "a key file of `synguard keys init`") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError.of(path, "a key of another kind", "Ed25519")
    return SoftwareKey(key)
