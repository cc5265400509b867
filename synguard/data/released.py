"""What may be released: files whose picture is examined whole, and under which names they go out.

What is released is written anew, from the pixels that were examined: a PNG of eight bits a colour, upright, without colour
profile. So nothing that a file carries beside its picture (comments, previews, EXIF, bytes between its parts or after its
end) can reach anybody, and none of it has to be looked for. Refused is only where it would be in doubt what was examined: a
part of a picture, one that looks different on another ground, or many in one file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from statistics import median_low

from synguard.data.decode import IMAGE_SUFFIXES, opened
from synguard.data.sheets import find_sheet
from synguard.errors import InputError, UnreadableImageError
from synguard.protocols import Images

__all__ = ["refuse_equal_names", "refuse_outsized", "refuse_transparent", "refuse_unexamined", "released_name"]

_LARGER = 2
"""How many times the side of most files a side may be: what is far larger is examined in far less detail than the rest."""


def released_name(file: str) -> str:
    """The name under which an image of a set is released: `a/b.jpg` as `a/b.png`, `train/17` as `train/17.png`."""
    pure = PurePosixPath(file)
    return str(pure.with_suffix(".png") if pure.suffix.lower() in IMAGE_SUFFIXES else pure.with_name(f"{pure.name}.png"))


def refuse_equal_names(files: Sequence[str], where: str) -> None:
    """InputError where two images would be released under one name, or under two that some systems cannot tell apart."""
    taken: dict[str, str] = {}
    for file in files:
        first = taken.setdefault(unicodedata.normalize("NFC", released_name(file)).casefold(), file)
        if first != file:
            found = f"{first} and {file}, both to be released as {released_name(file)}"
            raise InputError.of(where, found, "names that differ in more than suffix and case")


def refuse_outsized(sides: Mapping[str, int], where: str) -> None:
    """InputError where the side of a file, in pixels, is more than twice that of most files."""
    most = median_low(sides.values())
    for file, side in sides.items():
        if side > _LARGER * most:
            expected = f"at most {_LARGER * most:,}, twice that of most files of the release"
            raise InputError.of(f"{where}: {file}", f"a side of {side:,} pixels", expected)


def refuse_transparent(data: bytes, where: str) -> None:
    """UnreadableImageError where a file that can be decoded is transparent anywhere."""
    with opened(data, where) as image:
        if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise UnreadableImageError.of(where, "transparency, which is not examined", "an opaque picture")


def refuse_unexamined(pixels: Images, where: str) -> None:
    """UnreadableImageError where a picture is not square, InputError where it is a sheet of several.

    A sheet is no file to skip: whoever made it may have made others that are not told.
    """
    height, width = pixels.shape[:2]
    if width != height:
        found = f"{width} x {height} pixels, of which only the central square is examined"
        raise UnreadableImageError.of(where, found, "a square picture")
    if sheet := find_sheet(pixels):
        raise InputError.of(where, f"a sheet of about {sheet.columns} x {sheet.rows} pictures", "one picture")
