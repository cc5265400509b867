"""Files of an image folder that are neither image nor metadata: harmless by their names, or an error.

A photograph in a format that we do not know (`.nii.gz`, `.npy`, `.ppm`, `.zip`) would be left out without a word, and nobody
could look for copies of it. So what may lie beside images is listed, and not what may not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from synguard.data._store import Store
from synguard.errors import InputError

__all__ = ["refuse_strays"]

_TEXT = re.compile(
    r".*\.(txt|md|rst|jsonl?|ya?ml|toml|csv|tsv|cff|bib|md5|sha1|sha256|sha512)"
    r"|(readme|licen[cs]e|copying|notice|authors|citation|changelog|checksums)"
    r"|(md5|sha1|sha256|sha512)sums?"
    r"|\.git(attributes|ignore|keep)",
    re.IGNORECASE,
)
_OF_SYSTEMS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_HEAD = 1024


def refuse_strays(store: Store, names: Sequence[str]) -> None:
    """InputError that names the first file that is not harmless; what has the name of a text has to be text."""
    strays = [name for name in names if not _is_harmless(store, name)]
    if strays:
        more = f" and {len(strays) - 1} more such files" if len(strays) > 1 else ""
        expected = "images, their metadata, and text such as README.md (convert what is an image, move what is none)"
        raise InputError.of(f"{store.where}/{strays[0]}", f"a file of an unknown kind{more}", expected)


def _is_harmless(store: Store, name: str) -> bool:
    own = name.rpartition("/")[2]
    return own in _OF_SYSTEMS or (_TEXT.fullmatch(own) is not None and b"\0" not in store.head(name, _HEAD))
