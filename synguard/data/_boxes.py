"""Boxes of the metadata, `x y width height` in pixels of the file, and the same boxes in the frame that is examined."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synguard.errors import InputError

__all__ = ["Size", "frame_boxes", "parse_boxes"]

Size = tuple[int, int]
"""Width and height of a picture in pixels."""

_NUMBER = r"(-?[0-9]{1,9}(?:\.[0-9]{0,20})?)"
_BOX = re.compile(r"\s*" + r"(?:\s*,\s*|\s+)".join([_NUMBER] * 4) + r"\s*")
_LISTED = re.compile(r"\[(.*)\]")
_EXPECTED = "four numbers, x y width height in pixels, separated by spaces or commas, or an empty cell"
_LONGEST = 200
_SHOWN = 40
_ROUNDING = 0.5
"""Pixels by which a box may leave its picture: tools write edges with and without rounding."""


def parse_boxes(table: pd.DataFrame, column: str, where: str) -> NDArray[np.float64]:
    """The boxes (n, 4) of a table's column as x, y, width, height; NaN for an empty cell. A JSON list of four will do.

    InputError naming file, row and column where a cell is anything else, begins outside of the picture, or has no area.
    """
    if column not in table.columns:
        columns = ", ".join(table.columns[:8])
        raise InputError.of(f"{where}: box", f"the columns {columns}", f"a column {column!r}")
    boxes = np.full((len(table), 4), np.nan)
    for row, value in enumerate(table[column]):
        if pd.isna(value):
            continue
        text = str(value)
        listed = _LISTED.fullmatch(text)
        found = _BOX.fullmatch(listed[1] if listed else text) if len(text) <= _LONGEST else None
        if found is None:
            raise InputError.of(_place(where, row, column), _shown(text), _EXPECTED)
        x, y, width, height = (float(part) for part in found.groups())
        if x < 0 or y < 0 or width <= 0 or height <= 0:
            raise InputError.of(_place(where, row, column), _shown(text), "x and y from 0 on, width and height above 0")
        boxes[row] = x, y, width, height
    return boxes


def frame_boxes(boxes: NDArray[np.float64], sizes: Mapping[int, Size], column: str, where: str) -> NDArray[np.float32]:
    """Boxes as left, top, right, bottom in the largest centred square of each picture, from -1 to 1: (len(sizes), 4).

    `sizes` are those of the upright pictures by row of `boxes` (x, y, width, height). What lies outside of the square is cut
    off, as `decode.square` cuts it; NaN where nothing is left. InputError naming a box that leaves its picture.
    """
    framed = np.full((len(sizes), 4), np.nan, np.float32)
    for to, (row, (width, height)) in enumerate(sizes.items()):
        x, y, wide, high = boxes[row].tolist()
        if np.isnan(x):
            continue
        if x + wide > width + _ROUNDING or y + high > height + _ROUNDING:
            found = f"a box that ends at {x + wide:g}, {y + high:g}"
            raise InputError.of(_place(where, row, column), found, f"one inside the picture of {width} x {height} pixels")
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        corners = (np.array([x - left, y - top, x + wide - left, y + high - top]) * 2 / side - 1).clip(-1, 1)
        if corners[0] < corners[2] and corners[1] < corners[3]:
            framed[to] = corners
    return framed


def _place(where: str, row: int, column: str) -> str:
    return f"{where} row {row + 1}: {column}"


def _shown(text: str) -> str:
    """Text of a stranger, on one line and not too long."""
    shown = ascii(text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
