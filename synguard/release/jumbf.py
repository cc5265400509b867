"""The boxes that C2PA keeps a manifest in (JUMBF, ISO 19566-5; C2PA specification 2.1, 11.1), told without its library.

Names of boxes and the room that is left behind a signature are covered by no hash of the manifest, and readers skip them: a
kilobyte of anything could lie there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["says_nothing_more"]

_ASSERTIONS = [(b"c2pa.actions.v2", [b"cbor"]), (b"c2pa.hash.data", [b"cbor"])]
_PARTS = [(b"c2pa.assertions", _ASSERTIONS), (b"c2pa.claim.v2", [b"cbor"]), (b"c2pa.signature", [b"cbor"])]
_DESCRIPTION = re.compile(rb".{16}(?:\x03([!-~]+)\0|\x13([!-~]+)\0.{4}c2sh.{16,32})", re.DOTALL)
"""Type, name, and where the box is hashed a salt."""
_NAME = re.compile(rb"urn:c2pa:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_END = re.compile(rb"\xa1cpad(?:[@-W]|X.|Y..)\0*\xf6(?:X.|Y..).{64,512}", re.DOTALL)
"""Of a COSE signature (RFC 9052, 4.2): no header but zeros to fill the room, no payload, the signature itself."""


def says_nothing_more(store: bytes) -> bool:
    """Whether a manifest store is one manifest with actions, hash, claim and signature, and nothing in between or behind."""
    try:
        (kind, content), *others = _boxes(store)
        name, manifests = _tree(content)
        ((label, parts),) = manifests
    except (ValueError, RecursionError):
        return False
    framed = (kind, name, parts) == (b"jumb", b"c2pa", _PARTS) and not others
    end = store.rfind(b"\xa1cpad")
    return framed and _NAME.fullmatch(label) is not None and end > 0 and _END.fullmatch(store, end) is not None


def _tree(content: bytes) -> tuple[bytes, list[Any]]:
    """A superbox: its name, and the trees or kinds of the boxes in it."""
    (_, description), *parts = _boxes(content)
    found = _DESCRIPTION.fullmatch(description)
    if found is None:
        raise ValueError("found a box that is described in another way")
    return found[1] or found[2], [_tree(inner) if kind == b"jumb" else kind for kind, inner in parts]


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        length = int.from_bytes(data[:4], "big")
        if not 8 <= length <= len(data):
            raise ValueError("found a box that ends elsewhere")
        yield data[4:8], data[8:length]
        data = data[length:]
