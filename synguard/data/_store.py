"""Where the files of a set live: a folder on this machine, or any folder that fsspec can open."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from synguard.errors import InputError, UnreadableImageError

__all__ = ["LocalStore", "RemoteStore", "Store", "is_url", "safe_name"]


class Store(Protocol):
    """A folder. Names are relative to it and have forward slashes; no name leads outside."""

    where: str

    def names(self) -> list[str]:
        """All files below, sorted."""
        ...

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The file's bytes. Raises InputError where it is missing, UnreadableImageError above `limit` bytes."""
        ...

    def head(self, name: str, count: int) -> bytes:
        """The first bytes of the file."""
        ...


def is_url(path: str) -> bool:
    """Whether fsspec has to open it."""
    return "://" in path and not path.startswith("file://")


def safe_name(name: str, where: str) -> str:
    """`name` in its shortest form. Raises InputError where it is empty, absolute, or leads upwards."""
    pure = PurePosixPath(name)
    bad = pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name or re.match("[A-Za-z]:", name)
    if bad or str(pure) == ".":
        raise InputError.of(where, f"the path {name!r}", "a relative path that stays inside the set's folder")
    return str(pure)


class LocalStore:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self.where = str(root)
        self._root = root.resolve()

    def names(self) -> list[str]:
        """All files below, sorted. Raises InputError on a folder that cannot be listed, since images may be in it, and on a
        linked one: walking it could leave the set, or never end.
        """

        def refuse(error: OSError) -> None:
            raise InputError.of(error.filename, error.strerror, "a folder that can be listed") from error

        found = []
        for folder, folders, files in os.walk(self._root, onerror=refuse):
            for name in folders:
                if Path(folder, name).is_symlink():
                    raise InputError.of(Path(folder, name), "a link to a folder", "folders and files")
            found += [Path(folder, name).relative_to(self._root).as_posix() for name in files]
        return sorted(found)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The file's bytes; see `Store`."""
        path = self._inside(name)
        try:
            size = path.stat().st_size
            if limit is not None and size > limit:
                raise UnreadableImageError.of(self._name(name), f"a file of {size:,} bytes", f"at most {limit:,}")
            return path.read_bytes()
        except OSError as error:
            raise UnreadableImageError.of(self._name(name), error.strerror or error, "a readable file") from error

    def head(self, name: str, count: int) -> bytes:
        """The first bytes of the file; none where it cannot be read, so that reading it later tells why."""
        try:
            with self._inside(name).open("rb") as file:
                return file.read(count)
        except OSError:
            return b""

    def _inside(self, name: str) -> Path:
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root):
            raise InputError.of(self._name(name), "a link that leads outside the set's folder", "a file inside it")
        if not path.is_file():  # also keeps us from waiting on a pipe
            raise InputError.of(self._name(name), "something else" if path.exists() else "nothing", "a file")
        return path

    def _name(self, name: str) -> str:
        return str(Path(self.where) / name)


class RemoteStore:
    """A folder behind an fsspec URL, for example `s3://bucket/set`. Opened only because the user gave such an address."""

    def __init__(self, url: str) -> None:
        import fsspec  # type: ignore[import-untyped]

        self.where = url.rstrip("/")
        try:
            self._system, root = fsspec.core.url_to_fs(self.where)
        except (ImportError, OSError, ValueError) as error:
            raise InputError.of(url, error, "an address that fsspec can open") from error
        self._root: str = root.rstrip("/")

    def is_folder(self) -> bool:
        """Whether there is a folder at that address."""
        return bool(self._ask("isdir", self._root))

    def is_file(self) -> bool:
        """Whether there is a file at that address."""
        return bool(self._ask("isfile", self._root))

    def names(self) -> list[str]:
        """All files below, sorted."""
        found: list[str] = self._ask("find", self._root)
        return sorted(path.removeprefix(self._root).lstrip("/") for path in found)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The file's bytes; see `Store`."""
        path = f"{self._root}/{name}"
        if not self._ask("isfile", path):
            raise InputError.of(f"{self.where}/{name}", "nothing", "a file")
        if limit is not None and (size := int(self._ask("size", path) or 0)) > limit:
            raise UnreadableImageError.of(f"{self.where}/{name}", f"a file of {size:,} bytes", f"at most {limit:,}")
        return bytes(self._ask("cat_file", path))

    def head(self, name: str, count: int) -> bytes:
        """The first bytes of the file."""
        return bytes(self._ask("cat_file", f"{self._root}/{name}", 0, count))

    def _ask(self, method: str, *arguments: object) -> Any:
        try:
            return getattr(self._system, method)(*arguments)
        except (OSError, ValueError, NotImplementedError) as error:
            raise InputError.of(self.where, error, "an address that fsspec can read") from error
