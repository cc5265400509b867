"""Margins of one colour: bars and borders around a picture that was reduced, as padding to a square leaves them.

A copy that is shown smaller than its source matches no window of it. So the picture inside the margins is cut out, and
examined beside the image as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MARGINS", "Inner", "without_margins"]

_NEAR = 8
"""Steps of 256 that a margin may be away from its colour, the median of its outermost line: compression leaves some."""
_SPECKS = 0.02
"""Share of a line that may show something else."""
_LEAST, _MOST = 0.2, 0.96
"""Sides of inner pictures that are cut out, as shares of the image: smaller ones show nothing, larger ones are found as they
are."""

MARGINS = {"near": _NEAR, "specks": _SPECKS, "sides": [_LEAST, _MOST]}
"""What an index must have been calibrated with."""


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """The pictures inside the margins of m images: `rows` (m,) of those that have margins, their central squares `pixels`
    (m, size, size, 3) at full size, and `maps` (m, 2, 3) from the square's frame to the image's."""

    rows: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    maps: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


def without_margins(pixels: NDArray[np.uint8]) -> Inner:
    """The pictures inside the margins of images (n, size, size, 3)."""
    size = pixels.shape[1]
    rows, cut, maps = [], [np.zeros((0, size, size, 3), np.uint8)], [np.zeros((0, 2, 3))]
    for row in _plain_edged(pixels):
        image = pixels[row]
        (top, bottom), (left, right) = (_span(np.moveaxis(image, axis, 0)) for axis in (0, 1))
        side = min(bottom - top, right - left)
        if not _LEAST * size <= side <= _MOST * size:
            continue
        top, left = (top + bottom - side) // 2, (left + right - side) // 2
        square = Image.fromarray(image[top : top + side, left : left + side])
        rows.append(row)
        cut.append(np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))[None])
        scale = side / size
        maps.append(np.array([[[scale, 0, scale + 2 * left / size - 1], [0, scale, scale + 2 * top / size - 1]]]))
    return Inner(np.array(rows, np.int64), np.concatenate(cut), np.concatenate(maps))


def _plain_edged(pixels: NDArray[np.uint8]) -> list[int]:
    """Which images have an outermost line of one colour: few have, and only these are looked at one by one."""
    edges = np.stack([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]])
    colour = np.median(edges, axis=2, keepdims=True)
    rows: list[int] = np.flatnonzero((_away(edges, colour) <= _SPECKS).any(axis=0)).tolist()
    return rows


def _span(lines: NDArray[np.uint8]) -> tuple[int, int]:
    """From the first to behind the last of an image's lines (n, length, 3) that belong to no margin; (0, 0) if all do."""
    first, last = _margin(lines), _margin(lines[::-1])
    return (first, len(lines) - last) if first < len(lines) else (0, 0)


def _margin(lines: NDArray[np.uint8]) -> int:
    """How many lines from the first on show the colour of the first one and nothing else."""
    colour = np.median(lines[0], axis=0)
    return int(np.argmax(np.append(_away(lines, colour), 1.0) > _SPECKS))


def _away(lines: NDArray[np.uint8], colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the pixels of lines (..., length, 3) that are not of a colour."""
    # Colour by colour: numpy is slow along an axis of three.
    red, green, blue = (np.abs(lines[..., channel] - colour[..., channel]) > _NEAR for channel in range(3))
    away: NDArray[np.float64] = (red | green | blue).mean(axis=-1)
    return away
