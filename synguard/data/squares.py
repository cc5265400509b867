"""What the centred square of a long photograph leaves out: the whole of it, squeezed, and squares along it.

Who trains a generator elsewhere may have squeezed pictures into squares, or cut them otherwise than at their middle. Copies
of those look like nothing that the centred squares show (`docs/decisions/0036-photographs-that-are-no-squares.md`).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence

import numpy as np
from PIL import Image

from synguard.data.decode import resized
from synguard.data.images import ImageSet
from synguard.protocols import Images

__all__ = ["Squares", "further_squares"]

_WHOLE = 1.2
"""Long side over short side up to which the search's own alignment undoes the squeeze: 60 of 60 at 1.2."""
_PARTS = 1.45
"""Up to here a square at an end shares three quarters with the centred one, as a crop does that the search finds."""
_LONGEST = 8.0
"""Beyond this, squares along a picture leave gaps."""


def further_squares(picture: Images, size: int) -> tuple[tuple[str, Images], ...]:
    """Pixels (size, size, 3) by name, of a picture (height, width, 3). Squares share half; the centred one is left out."""
    height, width = picture.shape[:2]
    short, long = sorted((height, width))
    ratio = long / short
    if ratio <= _WHOLE:
        return ()
    boxes = {"whole": (0.0, 0.0, float(width), float(height))}
    if ratio > _PARTS:
        steps = math.ceil(min(ratio, _LONGEST) - 1)
        starts = np.linspace(0, long - short, 2 * steps + 1).tolist()
        for number, start in enumerate(starts, start=1):
            if number != steps + 1:
                left, top = (start, 0.0) if width > height else (0.0, start)
                boxes[f"square {number} of {len(starts)}"] = (left, top, left + short, top + short)
    image = Image.fromarray(picture)
    return tuple((name, resized(image, size, box)) for name, box in boxes.items())


class Squares:
    """Further squares of the pictures of a set as they are read, in a file that vanishes with the process."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as its pixels are looked at
        self._rows: list[int] = []
        self._names: list[str] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, found: Sequence[tuple[str, Images]]) -> None:
        """Those of the picture in a row of the set."""
        for name, pixels in found:
            self._file.write(pixels.tobytes())
            self._rows.append(row)
            self._names.append(name)

    def beside(self, images: ImageSet) -> ImageSet:
        """The set, and behind it the further squares: of the same file digest, patient and metadata, without a box."""
        if not self._rows:
            return images
        self._file.flush()
        shape = (len(self._rows), self._size, self._size, 3)
        further = ImageSet(
            name=images.name,
            files=tuple(f"{images.files[row]} ({name})" for row, name in zip(self._rows, self._names, strict=True)),
            sha256=tuple(images.sha256[row] for row in self._rows),
            pixels=np.memmap(self._file, dtype=np.uint8, mode="r", shape=shape),
            patients=images.patients[self._rows],
            metadata=images.metadata.iloc[self._rows].reset_index(drop=True),
            has_patient_ids=images.has_patient_ids,
        )
        return images.joined(further, images.name)
