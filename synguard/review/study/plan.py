"""The plan of a study: how many images and readers, the margin, and which images. It is fixed before anybody sees one.

`study/plan.json` in the run folder holds it, `study/pictures/` the images at the run's size; the ledger holds the plan's
digest. The file is private data: it says which images are real, and its key is what names of images are derived from.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synguard.errors import InputError, IntegrityError
from synguard.governance.files import canonical, read_json, sha256_of
from synguard.metrics.ranks import null_bounds
from synguard.review.decisions import Row

__all__ = [
    "FEWEST_IMAGES",
    "FOLDER",
    "KIND",
    "PICTURES",
    "Book",
    "Condition",
    "Item",
    "Plan",
    "Terms",
    "item_name",
    "load_picture",
    "pixel_digest",
    "read_plan",
    "recorded",
    "smallest_margin",
]

KIND = "study-plan"
"""The kind of its entry in the ledger."""
FOLDER = "study"
PICTURES = "pictures"
FEWEST_IMAGES = 5
"""Of each side. With fewer no interval of an AUC means anything."""
_SCHEMA = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")

Pixels = NDArray[np.uint8]


class Book(Protocol):
    """The ledger, as far as a study needs it."""

    def append(self, kind: str, payload: Mapping[str, Any]) -> object:
        """Adds an entry."""

    def entries(self, kind: str | None = None, run: str | None = None) -> Iterable[Row]:
        """Entries of a kind and run, oldest first."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a study is held to: images of each side, readers whose answers decide, and the margin around an AUC of 0.5.

    Raises InputError for what no study can be held to.
    """

    images: int
    readers: int
    margin: float

    def __post_init__(self) -> None:
        if self.images < FEWEST_IMAGES:
            raise InputError.of("--study-images", self.images, f"at least {FEWEST_IMAGES} of each side")
        if self.readers < 1:
            raise InputError.of("--readers", self.readers, "at least 1")
        if not 0 < self.margin < 0.5:
            raise InputError.of("--margin", f"{self.margin:g}", "a number above 0 and below 0.5")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that readers are asked about, with its levels in order."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """An image of the study. `id` is what answers call it; `levels` what it shows by its label (real) or what was asked."""

    id: str
    sha256: str
    picture: str
    real: bool
    file: str
    levels: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """A whole plan. `balanced` is the condition that real and synthetic images were matched by, "" where there was none."""

    run: str
    terms: Terms
    size: int
    seed: int
    key: str
    balanced: str
    conditions: tuple[Condition, ...]
    items: tuple[Item, ...]

    def to_bytes(self) -> bytes:
        """The plan as it is written and digested."""
        return canonical({"schema_version": _SCHEMA, **asdict(self)})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is written: what ledger and answers name the plan by."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @cached_property
    def by_id(self) -> Mapping[str, Item]:
        """The items by what answers call them."""
        return {item.id: item for item in self.items}

    def for_reader(self, reader: str) -> Mapping[str, Item]:
        """All items by their names for one reader, in the random order of that reader: the same whenever they come back.

        Names are a keyed digest, so nobody without the plan can tell what an image is called elsewhere, or by a colleague.
        """
        named = {_keyed(self.key, f"{reader}\n{item.id}")[:24]: item for item in self.items}
        return dict(sorted(named.items()))


def item_name(key: str, number: int, pixels: Pixels) -> str:
    """What answers call an image: a keyed digest of its pixels, and of its place, for a picture may be there twice."""
    return _keyed(key, f"{number}\n{pixel_digest(pixels)}")


def pixel_digest(pixels: Pixels) -> str:
    """SHA-256 over pixels (height, width, 3) and their shape."""
    return hashlib.sha256(f"{pixels.shape};".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def recorded(plan: Plan) -> dict[str, Any]:
    """The plan's entry in the ledger."""
    return {"run": plan.run, "plan": plan.digest, **asdict(plan.terms)}


def read_plan(run: Path, run_id: str, book: Book) -> Plan | None:
    """The plan of a run; None where the ledger has none. IntegrityError where the file is not what the ledger recorded."""
    rows = list(book.entries(KIND, run_id))
    if not rows:
        return None
    path = run / FOLDER / "plan.json"
    found = sha256_of(path) if path.is_file() and not path.is_symlink() else "no such file"
    # The first entry is the plan that was fixed. A later one could only have been added to change it.
    if found != rows[0].payload.get("plan"):
        wanted = f"sha256 {str(rows[0].payload.get('plan'))[:16]}, the plan fixed at {rows[0].at}"
        raise IntegrityError(f"{path}: found {found[:16]}, expected {wanted}")
    return _parsed(read_json(path), path)


def load_picture(run: Path, item: Item) -> Pixels:
    """The pixels (size, size, 3) of an item. InputError where the run was purged, IntegrityError for another picture."""
    path = run / FOLDER / PICTURES / f"{item.picture}.png"
    if not path.parent.is_dir():
        raise InputError.of(run, "no pictures of the study", "a run that was not purged")
    try:
        with Image.open(path, formats=("PNG",)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}: found no picture, expected that of the plan") from error
    if pixel_digest(pixels) != item.sha256:
        raise IntegrityError(f"{path}: found another picture, expected that of the plan")
    return pixels


def smallest_margin(images: int) -> float:
    """The margin that one reader with an AUC of exactly 0.5 would stay within on so many images of each side.

    Readers who answer with few grades of confidence tie, and do a little better than this.
    """
    return null_bounds(images, images)[1] - 0.5


def _parsed(found: Mapping[str, Any], path: Path) -> Plan:
    if found.get("schema_version") != _SCHEMA:
        raise IntegrityError(f"{path}: found schema_version {found.get('schema_version')!r}, expected {_SCHEMA}")
    try:
        items = tuple(Item(**row) for row in found["items"])
        conditions = tuple(Condition(row["name"], tuple(row["levels"])) for row in found["conditions"])
        plain = {name: found[name] for name in ("run", "size", "seed", "key", "balanced")}
        plan = Plan(**plain, terms=Terms(**found["terms"]), conditions=conditions, items=items)
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: found a plan without {error}, expected what synguard wrote") from error
    if not all(_DIGEST.fullmatch(item.id) and re.fullmatch(r"\d{1,9}", item.picture) for item in items):
        raise IntegrityError(f"{path}: found an item without its digest or picture, expected both")
    return plan


def _keyed(key: str, text: str) -> str:
    return hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).hexdigest()
