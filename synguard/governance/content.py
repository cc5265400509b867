"""What the images of a set show and are labelled, as one digest that knows neither names nor order nor file format.

Approvals are bound to it beside the manifest of the run. A release has fresh names, marks and another layout, so its files
have other digests than those that were audited; that they show exactly what was approved can still be told from it alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synguard.data.decode import decode_image, native_side
from synguard.errors import IntegrityError
from synguard.governance.files import canonical, parse_json
from synguard.governance.manifest import Manifest, read_file
from synguard.protocols import Images

__all__ = ["METADATA", "Labelled", "Labels", "accepted_images", "content_digest", "parse_labels", "pixels_of"]

METADATA = "metadata.jsonl"
_READ, _MADE = "annotation.", "generator."


@dataclass(frozen=True, slots=True)
class Labels:
    """What was asked of the generator, and what the diagnostic model read, by attribute: text, numbers or None."""

    asked: Mapping[str, Any]
    read: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image of a set: its name there, its pixels (side, side, 3) and its labels."""

    name: str
    pixels: Images
    labels: Labels


def content_digest(images: Iterable[Labelled]) -> str:
    """sha256 over the sorted digests of all images, each over its pixels and labels."""
    return hashlib.sha256(canonical(sorted(_digest(image) for image in images))).hexdigest()


def accepted_images(folder: Path, manifest: Manifest) -> Iterator[Labelled]:
    """The accepted images of a run, of the very bytes whose digests stand in the manifest.

    Raises IntegrityError where a file is not the one of the manifest, or images and labels do not belong together.
    """
    files = {entry.path: entry for entry in manifest.files}
    if METADATA not in files:
        raise IntegrityError(f"{folder / METADATA}: found no such file in the manifest, expected the labels of the images")
    labels = parse_labels(read_file(folder, files.pop(METADATA)), str(folder / METADATA))
    if set(labels) != set(files):
        wrong = sorted(set(labels) ^ set(files))[0]
        raise IntegrityError(f"{folder / wrong}: found it among images or labels alone, expected it among both")
    for name, entry in files.items():
        yield Labelled(name, pixels_of(read_file(folder, entry), str(folder / name)), labels[name])


def pixels_of(data: bytes, where: str) -> Images:
    """Pixels of a square image file at its own size, as RGB. Raises UnreadableImageError."""
    return decode_image(data, size=native_side(data, where=where), where=where)


def parse_labels(data: bytes, where: str) -> dict[str, Labels]:
    """The labels by file name, from lines of JSON. Raises IntegrityError.

    What was read carries the prefix "annotation."; what made an image, "generator.", is no label and never released.
    """
    found: dict[str, Labels] = {}
    try:
        for line in data.decode().splitlines():
            row = parse_json(line)
            name = str(row.pop("file_name"))
            if name in found:
                raise ValueError(f"{name} twice")
            read = {key.removeprefix(_READ): value for key, value in row.items() if key.startswith(_READ)}
            asked = {key: value for key, value in row.items() if not key.startswith((_READ, _MADE))}
            found[name] = Labels(asked, read)
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{where}: found no lines of JSON with file names ({error}), expected the labels") from error
    return found


def _digest(image: Labelled) -> str:
    height, width = image.pixels.shape[:2]
    pixels = hashlib.sha256(b"%d %d\n" % (width, height) + image.pixels.tobytes()).hexdigest()
    labels = {"asked": _plain(image.labels.asked), "read": _plain(image.labels.read)}
    return hashlib.sha256(canonical({"pixels": pixels, **labels})).hexdigest()


def _plain(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Whole numbers as integers: a table of a column type of its own gives 1 back as 1.0."""
    return {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in labels.items()}
