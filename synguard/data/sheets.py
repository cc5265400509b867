"""Contact sheets: whether one file holds several pictures, in rows and columns.

The copy search looks at a release in small, where a sheet of nine hundred private photographs is a texture, and the file
goes out at full size. So pixels are looked at here at their own resolution, for seams: whole straight lines along which,
almost from end to end, either

* the colour steps, into the next picture or into a gutter and out of it, more than at the lines beside (those within a few
  pixels, and those 8 and 16 away, so that the edges of JPEG's blocks do not count); or
* there is nothing but black or white,

and with a picture on both sides, so that frames and black borders do not count. `seam_share` is the figure. Its limits were
measured; `docs/decisions/0016-contact-sheets.md` has the measurements, and what cannot be seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synguard.protocols import Images

__all__ = ["Sheet", "find_sheet", "seam_share"]

_LINE_LIMIT, _LATTICE_LIMIT = 0.75, 0.6
"""Which share of its length a single line has to be a seam, and the lines of an even division on average."""
_SMALLEST = 24
"""Pixels that a picture of a sheet has at least to a side."""
_PIECE = 4
"""Pixels of a line that are averaged: the noise of a photograph vanishes, the step between two of them stays."""
_BESIDE = (2, 3, 4, 8, 16)
"""How far off the lines are that a step has to exceed. The very next is none of them: filters smear a step into it."""
_GUTTERS = (*range(9), 10, 12, 16)
"""Widths of gutters that are tried. Wider ones are found by their edges, which are steps too, or by being black or white."""
_FILLED = 0.3
"""Share of a line that has to be neither black nor white for a picture to be there."""
_ENDS, _TOUCH = 0.4, 0.1
"""Where a line is black for the most part: which share of the rest has to be steps, unless the rest is that little."""
_PLAIN = 12
"""Levels by which the colours along a line of a frame differ at most."""


_Judged = tuple[float, dict[int, float]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """How many pictures a file seems to hold, side by side and one above the other."""

    columns: int
    rows: int


def find_sheet(pixels: Images) -> Sheet | None:
    """The sheet that a file's pixels (height, width, 3) are, at their own resolution; None where they are one picture."""
    if not (_may_be_seamed(pixels) or _may_be_seamed(pixels.swapaxes(0, 1))):
        return None
    across, down = _judged(pixels), _judged(pixels.swapaxes(0, 1))
    columns, rows = _cells(*across), _cells(*down)
    if columns == rows == 1 and _crossed(across, down) >= _LATTICE_LIMIT:
        columns = rows = 2
    return Sheet(columns, rows) if max(columns, rows) > 1 else None


def seam_share(pixels: Images) -> tuple[float, float]:
    """What `find_sheet` holds against its two limits: the best single line, and the best average of several."""
    across, down = _judged(pixels), _judged(pixels.swapaxes(0, 1))
    several = [share for _, parts in (across, down) for count, share in parts.items() if count > 2]
    return max(across[0], down[0]), max(_crossed(across, down), *several, 0.0)


def _may_be_seamed(pixels: Images) -> bool:
    """Whether some column could begin a seam, of whatever gutter: in most photographs none could, which is soon seen."""
    width = pixels.shape[1]
    if width < 2 * _SMALLEST or pixels.shape[0] < _PIECE:
        return False
    pieces = _pieces(pixels)
    into, _ = _steps(pieces)
    most = (into[:, 1:] | _empty(pieces)[:, :-1]).mean(axis=0)
    return bool(most[_SMALLEST - 2 : width - _SMALLEST + 1].max() >= min(_LINE_LIMIT, _LATTICE_LIMIT))


def _crossed(across: _Judged, down: _Judged) -> float:
    """The average of the two middle lines."""
    return (across[1].get(2, 0.0) + down[1].get(2, 0.0)) / 2


def _cells(line: float, parts: dict[int, float]) -> int:
    """How many pictures lie side by side."""
    several = [count for count, share in parts.items() if count > 2 and share >= _LATTICE_LIMIT]
    return max(several, default=2 if line >= _LINE_LIMIT else 1)


def _judged(pixels: Images) -> _Judged:
    """The seam share of the best single line, and of the best division into 2, 3 and so on pictures side by side."""
    width = pixels.shape[1]
    if width < 2 * _SMALLEST or pixels.shape[0] < _PIECE:
        return 0.0, {}
    parts: dict[int, float] = {}
    line = 0.0
    for gutter, seams in _seams(pixels).items():
        line = max(line, float(seams[_SMALLEST : width - _SMALLEST - gutter + 1].max(initial=0)))
        # A place that is no whole number of pixels is rounded, and not always as we would.
        nearby = np.maximum(seams, np.maximum(np.roll(seams, 1), np.roll(seams, -1)))
        for margin in sorted({0, gutter}):
            inner = width - 2 * margin
            for count in range(2, (inner + gutter) // (_SMALLEST + gutter) + 1):
                period = (inner + gutter) / count
                places = np.rint(margin - gutter + period * np.arange(1, count)).astype(np.int64)
                parts[count] = max(parts.get(count, 0.0), float(nearby[places].mean()))
    return line, parts


def _seams(pixels: Images) -> dict[int, NDArray[np.float32]]:
    """By width of the gutter: for each column, which share of its length is a seam with a gutter that begins there."""
    width = pixels.shape[1]
    pieces = _pieces(pixels)
    into, out_of = _steps(pieces)
    empty = _empty(pieces)
    filled = 1 - empty.mean(axis=0)
    filled[np.ptp(pieces, axis=0).max(axis=1) <= _PLAIN] = 0
    either_side = np.minimum(np.maximum.accumulate(filled), np.maximum.accumulate(filled[::-1])[::-1])
    found = {}
    for gutter in _GUTTERS:
        end = width - gutter
        if end < 2 * _SMALLEST:
            break
        steps = into[:, 1:end] & out_of[:, 1 + gutter :]
        gap = empty[:, : end - 1] & empty[:, 1 + gutter :]
        # Black counts where a picture narrows towards the line from both sides, and no picture goes on across it.
        rest = 1 - gap.mean(axis=0)
        ends = (steps & ~gap).mean(axis=0) >= _ENDS * rest
        narrows = (either_side[1:end] - rest >= _FILLED) & (ends | (rest <= _TOUCH))
        share = np.where(narrows, (steps | gap).mean(axis=0), steps.mean(axis=0))
        found[gutter] = np.zeros(width, np.float32)
        found[gutter][1:end] = np.where(either_side[1:end] >= _FILLED, share, 0)
    return found


def _pieces(pixels: Images) -> NDArray[np.float32]:
    """Columns (pieces, width, 3), averaged piece by piece."""
    count = len(pixels) // _PIECE
    whole: NDArray[np.float32] = pixels[: count * _PIECE].reshape(count, _PIECE, -1, 3).mean(axis=1, dtype=np.float32)
    return whole


def _steps(pieces: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the colour steps more than at the lines before, and more than at those behind."""
    step = np.zeros(pieces.shape[:2], np.float32)
    red, green, blue = np.moveaxis(np.abs(np.diff(pieces, axis=1)), 2, 0)
    step[:, 1:] = red + green + blue
    into: NDArray[np.bool_] = np.ones(step.shape, np.bool_)
    out_of = into.copy()
    for far in _BESIDE:
        into[:, far + 1 :] &= step[:, far + 1 :] > step[:, 1:-far] + 1
        out_of[:, :-far] &= step[:, :-far] > step[:, far:] + 1
    return into, out_of


def _empty(pieces: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a picture is white, or black beside its own lights."""
    red, green, blue = np.moveaxis(pieces, 2, 0)  # three planes: numpy is slow along an axis of three
    light = np.maximum(np.maximum(red, green), blue)
    dark: NDArray[np.bool_] = light <= max(16.0, 0.12 * float(np.percentile(light, 98)))
    white: NDArray[np.bool_] = np.minimum(np.minimum(red, green), blue) >= 250
    return dark | white
