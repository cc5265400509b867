"""The index folder: owner-only, plain arrays, and a record of what it was made from and with.

Private data: it holds reduced copies of the private images. Arrays are `.npy` without pickle, each under its sha256.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synguard.errors import IntegrityError

__all__ = ["is_index", "load_index", "save_index"]

_META = "meta.json"
_FORMAT = 1


def is_index(folder: Path) -> bool:
    """Whether `folder` holds an index."""
    return (folder / _META).is_file()


def save_index(folder: Path, identity: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], record: Any) -> None:
    """Writes an index beside `folder`, owner-only, and moves it there when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    digests = {}
    for name, array in arrays.items():
        path = partial / f"{name}.npy"
        with _private(path) as file:
            np.save(file, array, allow_pickle=False)
        digests[name] = _sha256(path)
    meta = {"format": _FORMAT, "identity": dict(identity), "arrays": digests, "record": record}
    with _private(partial / _META) as file:
        file.write((json.dumps(meta, indent=1, sort_keys=True) + "\n").encode())
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    partial.rename(folder)


def load_index(folder: Path, identity: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], Any]:
    """The arrays and the record of an index that was made from and with exactly `identity`.

    Raises `IntegrityError` for an index of something else, and where a file does not match its digest.
    """
    try:
        meta = json.loads((folder / _META).read_text())
        recorded, digests, record = meta["identity"], meta["arrays"], meta["record"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{folder / _META}: found no readable record, expected the record of an index") from error
    for key, expected in identity.items():
        found = recorded.get(key)
        if found != json.loads(json.dumps(expected)):
            raise IntegrityError(
                f"{folder}: found an index with another {key} ({_short(found)}), expected {_short(expected)}"
            )
    arrays = {}
    for name, digest in digests.items():
        path = folder / f"{name}.npy"
        if not path.is_file() or _sha256(path) != digest:
            raise IntegrityError(f"{path}: found another content than was written, expected sha256 {digest[:12]}")
        arrays[name] = np.load(path, allow_pickle=False)
    return arrays, record


def _private(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
