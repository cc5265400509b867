"""Blinded fingerprints of image sets: who has the ledger but not its key cannot tell whether a given picture is in it.

A picture's codes (`synguard.data.fingerprints`) go through HMAC-SHA256 under the ledger's key and are cut to 64 bits (RFC
2104, section 5). The key is 32 random bytes in a file of its owner, made together with the ledger. The ledger records the
key's id, so that another key, under which no picture would be found again, is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synguard.data.fingerprints import CODES, pixel_codes
from synguard.errors import InputError
from synguard.governance.files import read_secret
from synguard.protocols import Images

__all__ = ["LEAST_SHARE", "BlindingKey", "Fingerprints"]

LEAST_SHARE = 0.001
"""Sets overlap where they share this much of the smaller one, and at least one picture: less is what chance gives."""

_BYTES = 32
_EXPECTED = f"the ledger's key: a file of {_BYTES} random bytes that only its owner can read"


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """The pictures of a set, blinded: 64-bit words (n, CODES), sorted, so that their order tells nothing of the set's."""

    words: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def of_bytes(cls, data: bytes) -> Fingerprints:
        """What `to_bytes` gave. Raises ValueError for anything else."""
        return cls(np.frombuffer(data, dtype=">u8").astype(np.uint64).reshape(-1, CODES))

    def to_bytes(self) -> bytes:
        """The words, big-endian, picture by picture."""
        return self.words.astype(">u8").tobytes()

    @cached_property
    def digest(self) -> str:
        """sha256 of `to_bytes`: equal for equal sets under one key."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def shared_with(self, other: Fingerprints) -> int:
        """How many pictures of the smaller set are in the other one."""
        small, large = sorted((self, other), key=len)
        return int(np.isin(small.words, np.unique(large.words)).any(axis=1).sum())

    def overlaps(self, other: Fingerprints) -> bool:
        """Whether the sets share more pictures than chance gives; see `LEAST_SHARE`."""
        smaller = min(len(self), len(other))
        return smaller > 0 and self.shared_with(other) >= max(1, LEAST_SHARE * smaller)


@dataclass(frozen=True, slots=True)
class BlindingKey:
    """The key of a ledger's fingerprints."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Tells keys apart without telling the key."""
        return hashlib.sha256(b"synguard ledger key\n" + self.secret).hexdigest()[:32]

    def blind(self, pixels: Images) -> Fingerprints:
        """The fingerprints of a set's pictures (n, size, size, 3)."""
        codes = pixel_codes(pixels)
        words = (self._word(number, code.tobytes()) for row in codes.astype(">i2") for number, code in enumerate(row))
        found = np.fromiter(words, dtype=np.uint64, count=len(codes) * CODES).reshape(-1, CODES)
        return Fingerprints(found[np.lexsort(found.T[::-1])])

    def seal(self, data: bytes) -> str:
        """A digest of `data` that only who has the key can hold against a guess."""
        return hmac.digest(self.secret, b"sealed\n" + data, "sha256").hex()

    def _word(self, number: int, code: bytes) -> int:
        return int.from_bytes(hmac.digest(self.secret, bytes([number]) + code, "sha256")[:8], "big")

    @staticmethod
    def create(path: Path) -> BlindingKey:
        """The key in a file; a new one where there is no such file. Processes that ask at once get the same one."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_BYTES))
                file.flush()
                os.fsync(file.fileno())
            # A link and no rename: a key that is there already must stay.
            if not path.exists():
                os.link(scratch, path)
        except FileExistsError:
            pass
        finally:
            scratch.unlink()
        return BlindingKey.read(path)

    @staticmethod
    def read(path: Path) -> BlindingKey:
        """The key in a file. Raises InputError where it is no such file, or where others may read it."""
        secret = read_secret(path, "a key", _EXPECTED)
        if len(secret) != _BYTES:
            raise InputError.of(path, f"{len(secret)} bytes", _EXPECTED)
        return BlindingKey(secret)
