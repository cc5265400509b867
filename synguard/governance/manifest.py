"""The manifest: sha256 and size of every file of a folder, sorted, with no file more and none less."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath

from synguard.errors import IntegrityError
from synguard.governance.files import canonical, read_json, write_private

__all__ = ["Entry", "Manifest", "build", "read", "read_file", "verify", "write"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file: its path below the folder, with forward slashes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a folder, sorted by path."""

    files: tuple[Entry, ...]

    @property
    def digest(self) -> str:
        """sha256 of the manifest's own file: what statements are bound to."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The bytes of its file."""
        return canonical({"schema_version": SCHEMA_VERSION, "files": self.files})


def build(folder: Path) -> Manifest:
    """The manifest of a folder as it is now.

    Raises IntegrityError for links, for what is neither file nor folder, and for names that some systems cannot tell apart
    or cannot hold.
    """
    return Manifest(tuple(sorted(Entry(path, *_digest(folder, path)) for path in _paths(folder))))


def write(manifest: Manifest, path: Path) -> None:
    """Writes the manifest, owner-only."""
    write_private(path, manifest.to_bytes())


def read(path: Path) -> Manifest:
    """A manifest from its file. Raises IntegrityError where its bytes are not exactly what `write` would have written."""
    found = read_json(path)
    try:
        manifest = Manifest(tuple(Entry(str(row["path"]), str(row["sha256"]), int(row["size"])) for row in found["files"]))
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path}: found a manifest without files, expected path, sha256 and size of each") from error
    names = [entry.path for entry in manifest.files]
    if names != sorted(set(names)) or path.read_bytes() != manifest.to_bytes():
        raise IntegrityError(f"{path}: found a manifest in another form, expected sorted files as synguard writes them")
    for name in names:
        _check_name(path, name)
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Holds a folder against a manifest. Raises IntegrityError that names files: extra, missing or changed."""
    expected = {entry.path: entry for entry in manifest.files}
    present = set(_paths(folder))
    wrong = [f"{name}: an extra file" for name in sorted(present - set(expected))]
    wrong += [f"{name}: missing" for name in sorted(set(expected) - present)]
    for name in sorted(present & set(expected)):
        digest, size = _digest(folder, name)
        if (digest, size) != (expected[name].sha256, expected[name].size):
            wrong.append(f"{name}: changed ({size:,} bytes, expected {expected[name].size:,}; sha256 {digest[:16]})")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise IntegrityError(f"{folder}: found {'; '.join(wrong[:5])}{more}; expected exactly the files of the manifest")


def read_file(folder: Path, entry: Entry) -> bytes:
    """The bytes of one file of a manifest, read once. Raises IntegrityError where they are not those of the manifest."""
    path = folder / entry.path
    with _opened(folder, entry.path) as stream:
        data = stream.read(entry.size + 1)
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise IntegrityError(f"{path}: found other bytes than the manifest's, expected sha256 {entry.sha256[:16]}")
    return data


def _paths(folder: Path) -> Iterator[str]:
    """Paths of all files below `folder`, which must be plain."""
    if folder.is_symlink() or not folder.is_dir():
        raise IntegrityError(f"{folder}: found no folder, expected the folder of the manifest")
    seen: dict[str, str] = {}
    for parent, folders, files in os.walk(folder, onerror=_unreadable):
        for name in folders + files:
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a link" if stat.S_ISLNK(mode) else "something that is no plain file"
                raise IntegrityError(f"{path}: found {kind}, expected plain files only")
            _check_name(folder, relative)
            folded = unicodedata.normalize("NFC", relative).casefold()
            if folded in seen:
                raise IntegrityError(
                    f"{path}: found a name that some systems cannot tell from {seen[folded]!r}, expected distinct ones"
                )
            seen[folded] = relative
            if stat.S_ISREG(mode):
                yield relative


def _digest(folder: Path, name: str) -> tuple[str, int]:
    """Digest and size of one file, of the same open file, never through a link."""
    with _opened(folder, name) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return digest, stream.tell()


def _opened(folder: Path, name: str) -> BufferedReader:
    try:
        return os.fdopen(os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError as error:
        raise IntegrityError(f"{folder / name}: found a file that cannot be opened ({error.strerror})") from error


def _check_name(where: Path, name: str) -> None:
    pure = PurePosixPath(name)
    plain = name.isprintable() and "\\" not in name and name == pure.as_posix()
    if not plain or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise IntegrityError(f"{where}: found the name {name!r}, expected a plain relative path")


def _unreadable(error: OSError) -> None:
    raise IntegrityError(f"{error.filename}: found a folder that cannot be read ({error.strerror})")
