"""What a file holds beside the picture that is examined. Nobody audits it, so a file with any of it is not released.

Examined are the colours of the central square, eight bits each. Margins, transparency, further bits, previews, comments,
EXIF and whatever follows the end of the picture reach the recipient all the same: cameras leave thumbnails of the photograph
that an image was made from, and editors its name. Only what belongs to the picture itself is allowed, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from synguard.data.decode import image_format, opened
from synguard.errors import UnreadableImageError

__all__ = ["refuse_unexamined"]

_PNG = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"cHRM", b"gAMA", b"iCCP", b"pHYs", b"sBIT", b"sRGB"})
_WEBP = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"})
_JPEG = frozenset({0xC4, *range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xD0), 0xDA, 0xDB, 0xDD})
"""Frames, tables, restart interval and scans."""
_JPEG_APPLICATION = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
_WANTED = "a square picture and nothing else (save it anew as PNG, without metadata)"


def refuse_unexamined(data: bytes, where: str) -> None:
    """UnreadableImageError where a file that `decode_image` can read holds more than is examined of it."""
    with opened(data, where) as image:
        if image.width != image.height:
            raise _refusal(where, f"{image.width} x {image.height} pixels, of which only the central square is examined")
        if "A" in image.getbands() and image.getchannel("A").getextrema()[0] != 255:
            raise _refusal(where, "transparency, which is not examined")
    kind = image_format(data[:132])
    parts = _PARTS.get(kind or "")
    if parts is None:
        raise _refusal(where, f"a {kind} file, which can hold more than a picture")
    for extra in parts(data):
        raise _refusal(where, extra)


def _refusal(where: str, found: str) -> UnreadableImageError:
    return UnreadableImageError(f"{where}: found {found}, expected {_WANTED}")


def _png(data: bytes) -> Iterator[str]:
    """What a PNG file should not hold, in words."""
    if data[24] > 8:
        yield f"{data[24]} bits a colour, of which 8 are examined"
    place, kind = 8, b""
    while kind != b"IEND" and place + 12 <= len(data):
        kind = data[place + 4 : place + 8]
        if kind not in _PNG:
            yield f"a {kind.decode('latin-1')} chunk"
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    if place != len(data):
        yield "bytes after its end"


def _jpeg(data: bytes) -> Iterator[str]:
    """What a JPEG file should not hold, in words."""
    place = 2
    while data[place : place + 2] != b"\xff\xd9":
        marker = data[place + 1] if place + 4 <= len(data) and data[place] == 0xFF else 0
        body = data[place + 4 :]
        known = body.startswith(_JPEG_APPLICATION[marker]) if marker in _JPEG_APPLICATION else marker in _JPEG
        if not known:
            yield "a comment" if marker == 0xFE else "EXIF, a preview or other data of an application"
            return
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xE0 and length != 16:
            yield "a preview"
        place += 2 + length
        if marker == 0xDA:
            place = _scan_end(data, place)
    if place + 2 != len(data):
        yield "bytes after its end"


def _scan_end(data: bytes, place: int) -> int:
    """Where the marker stands that ends a scan: neither a stuffed byte nor a restart."""
    while (place := data.find(b"\xff", place)) >= 0 and place + 1 < len(data):
        if data[place + 1] != 0 and not 0xD0 <= data[place + 1] <= 0xD7:
            return place
        place += 2
    return len(data)


def _webp(data: bytes) -> Iterator[str]:
    """What a WebP file should not hold, in words."""
    if int.from_bytes(data[4:8], "little") + 8 != len(data):
        yield "bytes after its end"
    place = 12
    while place + 8 <= len(data):
        kind = data[place : place + 4]
        if kind not in _WEBP:
            yield f"a {kind.decode('latin-1').strip()} chunk"
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + size + size % 2


_PARTS: dict[str, Callable[[bytes], Iterator[str]]] = {"PNG": _png, "JPEG": _jpeg, "WebP": _webp}
