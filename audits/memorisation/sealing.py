"""Encryption at rest: files under a key of the user's, AES-256-GCM in chunks, decrypted into memory only.

A sealed file is a header (magic, salt) and chunks of 64 KiB, each with a tag of its own. Its key is derived from the user's
key, the salt and the file's name; a chunk's nonce is its number and whether it is the last. So a chunk that was altered,
moved, taken from another file or cut off the end is refused: the STREAM construction of Hoang et al. 2015
(doi 10.1007/978-3-662-47989-6_24).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from synguard.errors import InputError, IntegrityError
from synguard.governance.files import read_secret

__all__ = ["Key", "SealedReader", "SealedWriter"]

_MAGIC = b"synguard-sealed1"
_SALT = 32
_HEADER = len(_MAGIC) + _SALT
_CHUNK = 2**16
_TAG = 16
_KEY = 32
_EXPECTED = f"a file of {_KEY} random bytes that only its owner can read (`synguard index key FILE` makes one)"


@dataclass(frozen=True, slots=True)
class Key:
    """32 random bytes that live in a file of the user's, never beside what they protect."""

    secret: bytes = field(repr=False)

    @staticmethod
    def create(path: Path) -> Key:
        """A new key in a new owner-only file. InputError where the file exists or cannot be written."""
        secret = secrets.token_bytes(_KEY)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise InputError.of(path, error.strerror, "a new file in a folder that can be written") from error
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        return Key(secret)

    @staticmethod
    def read(path: Path) -> Key:
        """The key in a file. InputError where it is no regular file of 32 bytes, or where others may read or change it."""
        secret = read_secret(path, "a key", _EXPECTED)
        if len(secret) != _KEY:
            raise InputError.of(path, f"{len(secret)} bytes", _EXPECTED)
        return Key(secret)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell keys apart and give nothing of them away."""
        return hmac.digest(self.secret, b"synguard key fingerprint", "sha256").hex()[:16]

    def mark(self, data: bytes) -> str:
        """A mark (HMAC-SHA256) that only who has the key can make for `data`."""
        own = self._derive(b"", "synguard record mark")
        return hmac.digest(own, data, "sha256").hex()

    def cipher(self, salt: bytes, name: str) -> AESGCM:
        """The cipher of the file `name` with this salt."""
        return AESGCM(self._derive(salt, f"synguard sealed file {name}"))

    def _derive(self, salt: bytes, purpose: str) -> bytes:
        return HKDF(SHA256(), _KEY, salt, purpose.encode()).derive(self.secret)


class SealedWriter:
    """Writes a sealed file from front to back; `name` is part of its key. Closing writes the last chunk."""

    def __init__(self, file: BinaryIO, key: Key, name: str) -> None:
        salt = secrets.token_bytes(_SALT)
        self._file = file
        self._cipher = key.cipher(salt, name)
        self._digest = hashlib.sha256()
        self._pending = bytearray()
        self._chunks = 0
        self._put(_MAGIC + salt)

    def write(self, data: bytes | memoryview) -> None:
        """Appends bytes."""
        self._pending += data
        whole = max(len(self._pending) - 1, 0) // _CHUNK  # what may be the last chunk stays back
        for start in range(0, whole * _CHUNK, _CHUNK):
            self._seal(self._pending[start : start + _CHUNK], last=False)
        del self._pending[: whole * _CHUNK]

    def close(self) -> str:
        """Ends the file; returns the sha256 of what was written to it."""
        self._seal(self._pending, last=True)
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def _seal(self, chunk: bytearray, *, last: bool) -> None:
        self._put(self._cipher.encrypt(_nonce(self._chunks, last), bytes(chunk), None))
        self._chunks += 1

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)


class SealedReader:
    """Reads any part of a sealed file. Every error of `read_into` is an IntegrityError: nothing unverified is handed out."""

    def __init__(self, path: Path, key: Key, name: str) -> None:
        self._where = path
        self._file = path.open("rb", buffering=0)
        header = os.pread(self._file.fileno(), _HEADER, 0)
        body = os.fstat(self._file.fileno()).st_size - _HEADER
        self._chunks = -(-body // (_CHUNK + _TAG))
        self.length = body - self._chunks * _TAG
        """Bytes of plain content."""
        if not header.startswith(_MAGIC) or self._chunks < 1 or self.length < 0:
            raise IntegrityError(f"{path}: found no sealed file, expected one that synguard encrypted")
        self._cipher = key.cipher(header[len(_MAGIC) :], name)
        self._latest = (-1, b"")

    def read_into(self, start: int, out: memoryview) -> None:
        """Fills `out` with the content from byte `start` on."""
        done = 0
        while done < len(out):
            number, skipped = divmod(start + done, _CHUNK)
            part = self._chunk(number)[skipped : skipped + len(out) - done]
            if not part:
                raise IntegrityError(f"{self._where}: found the end of the file, expected more; it was cut short")
            out[done : done + len(part)] = part
            done += len(part)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> SealedReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _chunk(self, number: int) -> bytes:
        latest, content = self._latest  # one assignment, so that threads may share the reader
        if latest == number:
            return content
        sealed = os.pread(self._file.fileno(), _CHUNK + _TAG, _HEADER + number * (_CHUNK + _TAG))
        try:
            content = self._cipher.decrypt(_nonce(number, number == self._chunks - 1), sealed, None)
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(
                f"{self._where}: found a part (chunk {number}) that this key did not write there, "
                "expected the file as it was encrypted: it was altered, cut or moved, or the key is another one"
            ) from error
        self._latest = (number, content)
        return content


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
