"""A folder that appears under its name whole, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synguard.errors import InputError, SynguardError

__all__ = ["staged"]


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A folder beside `target` to fill. Where the block ends without an error, it is on the disk and becomes `target`.

    What a killed process left is removed first; the folder of one that is still at work is locked and stays. Raises
    InputError where `target` exists, SynguardError where the disk is full.
    """
    _require_absent(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.*.staging"):
        _remove_unless_locked(stale)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".staging"))
    lock = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield scratch
        _settle(scratch)
        _require_absent(target)
        scratch.rename(target)
        _sync(target.parent)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SynguardError(
                f"{target.parent}: found no room left, expected enough for the release; nothing is there"
            ) from error
        raise
    finally:
        os.close(lock)


def _require_absent(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise InputError.of(target, "something that exists already", "a new folder for the release")


def _remove_unless_locked(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder)
    finally:
        os.close(handle)


def _settle(folder: Path) -> None:
    """Makes everything readable, and durable before the rename is."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(parent, name)
            path.chmod(0o644)
            _sync(path)
        Path(parent).chmod(0o755)
        _sync(Path(parent))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
