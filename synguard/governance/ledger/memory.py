"""What this user has seen of each ledger: the furthest head, so that a ledger cut short or made anew is noticed.

A file a ledger, in the user's data folder. It is a witness and no lock: who may write to both can rewrite both, which is why
heads also stand in every report and can be signed by a second party.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from synguard.errors import IntegrityError
from synguard.governance.files import canonical, private_folder, read_json, write_private
from synguard.governance.ledger.chain import Head
from synguard.governance.ledger.place import Place

__all__ = ["Kept", "recall", "remember"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A head that was seen, the place that it was seen at, and the file that remembers it."""

    path: Path
    place: str
    head: Head

    @property
    def said(self) -> str:
        """For people."""
        return f"the head that {self.path} remembers"


def remember(place: Place, head: Head) -> None:
    """Keep the head, unless one further on is kept already."""
    path = place.heads / f"{head.ledger[:32]}.json"
    # A user without a folder to write to (a container) has heads in reports alone; runs must not fail for it.
    with contextlib.suppress(OSError):
        if path.exists():
            with contextlib.suppress(IntegrityError):
                if _read(path).head.number > head.number:
                    return
        write_private(private_folder(place.heads) / path.name, canonical({"place": str(place), **head.as_dict()}))


def recall(folder: Path) -> tuple[Kept, ...]:
    """All heads that are kept. Raises IntegrityError for a damaged file."""
    return tuple(_read(path) for path in sorted(folder.glob("*.json"))) if folder.is_dir() else ()


def _read(path: Path) -> Kept:
    found = read_json(path)
    return Kept(path, str(found.get("place", "")), Head.of_dict(found, str(path)))
