"""Owner-only files that are there whole or not at all, and JSON that has one form only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

from synguard.errors import InputError, IntegrityError

__all__ = ["canonical", "parse_json", "private_folder", "read_json", "read_secret", "sha256_of", "write_private"]

_DIGITS = 12
_LARGEST_SECRET = 64 * 1024


def canonical(value: Any) -> bytes:
    """`value` as JSON with sorted keys, a final newline, and floats of 12 significant digits: equal values, equal bytes.

    Infinite numbers become the text "inf"; NaN raises ValueError, since no reader could tell what it stood for.
    """
    plain = _plain(value)
    return (json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_private(path: Path, data: bytes) -> None:
    """Writes a file that only its owner can read, through a temporary file, fsync and rename."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def private_folder(path: Path) -> Path:
    """Makes a folder, and those above it, that only its owner can enter; one that is there is closed to others."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    return path


def read_secret(path: Path, what: str, expected: str, *, pipe: bool = False) -> bytes:
    """What is in a file of a user's that holds a secret, the first 64 KiB of it. `what` is its name: "a key".

    Raises InputError where it cannot be read, is not theirs, or others can reach it; and where it is no regular file, unless
    it is a pipe and may be one, as what a password manager hands over.
    """
    # Where no pipe may be, one is opened without waiting for its writer, and refused below.
    more = 0 if pipe else os.O_NONBLOCK
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | more)) as stream:
            found = os.fstat(stream.fileno())
            if not (stat.S_ISREG(found.st_mode) or (pipe and stat.S_ISFIFO(found.st_mode))):
                raise InputError.of(path, "no regular file", expected)
            if found.st_mode & 0o077 or found.st_uid != os.geteuid():
                rights = f"the rights {stat.S_IMODE(found.st_mode):o} of user {found.st_uid}"
                raise InputError.of(path, f"{what} that others can reach ({rights})", f"{expected}: 600, yours")
            return stream.read(_LARGEST_SECRET)
    except IsADirectoryError as error:
        raise InputError.of(path, "no regular file", expected) from error
    except OSError as error:
        raise InputError.of(path, error.strerror, expected) from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of the record. Raises IntegrityError for anything else, duplicate keys included."""
    try:
        found = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"unreadable JSON ({error})"
        raise IntegrityError(f"{path}: found {what}, expected the JSON object that synguard wrote") from error
    if not isinstance(found, dict):
        raise IntegrityError(f"{path}: found JSON that is not an object, expected the object that synguard wrote")
    return found


def parse_json(data: str | bytes) -> Any:
    """JSON that means the same to every reader. Raises ValueError also where a key stands twice."""
    return json.loads(data, object_pairs_hook=_once)


def sha256_of(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "item"):  # a numpy scalar
        return _plain(value.item())
    raise TypeError(f"found {type(value).__name__}, expected a JSON value")


def _number(value: float) -> float | str:
    if math.isnan(value):
        raise ValueError("found NaN, expected a number")
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    rounded = float(f"{value:.{_DIGITS}g}")
    return 0.0 if rounded == 0 else rounded


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
