"""A released image: a PNG of exactly the pixels that were approved, and the mark that says a model made it.

The file is written anew from its pixels, so nothing that a source file held beside them can come along. The mark is IPTC's
digital source type in an XMP packet (IPTC Photo Metadata 2022.1; PNG specification 3rd edition, iTXt "XML:com.adobe.xmp").
A C2PA manifest may be added to it (`c2pa_mark`), and `dicom` writes the same pixels as a DICOM object.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from synguard.data.decode import LIMITS
from synguard.errors import IntegrityError
from synguard.governance.content import Labels
from synguard.protocols import Images

__all__ = ["C2PA_CHUNK", "SOURCE_TYPE", "Released", "check_marked", "marked_png"]

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
C2PA_CHUNK = b"caBX"
"""Where a PNG file keeps its C2PA manifests: C2PA specification 2.1, appendix A."""
_KEYWORD = "XML:com.adobe.xmp"
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)
_RGB = b"\x08\x02\0\0\0"
"""End of the header: 8 bits, red, green and blue, deflate, filters by row, not interlaced (PNG specification, 11.2.1)."""
_MARK = _KEYWORD.encode() + b"\0\0\0\0\0" + _XMP.encode()


@dataclass(frozen=True, slots=True)
class Released:
    """An image of a release: its fresh name, the bytes of its file, and its labels."""

    name: str
    data: bytes
    labels: Labels


def marked_png(pixels: Images) -> bytes:
    """Pixels (side, side, 3) as a PNG file that holds nothing but them and the mark."""
    mark = PngInfo()
    mark.add_itxt(_KEYWORD, _XMP)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="png", pnginfo=mark)
    return stream.getvalue()


def check_marked(data: bytes, where: str, *, c2pa: bool = False) -> None:
    """Raises IntegrityError unless a PNG file holds the mark, its pixels, a C2PA chunk where asked, and nothing else."""
    chunks = list(_chunks(data, where))
    head = [b"IHDR", *([C2PA_CHUNK] if c2pa else []), b"iTXt"]
    packed = [body for kind, body in chunks if kind == b"IDAT"]
    kinds = [*head, *[b"IDAT"] * len(packed), b"IEND"]
    if [kind for kind, _ in chunks] != kinds or chunks[len(head) - 1][1] != _MARK or chunks[-1][1]:
        raise IntegrityError(
            f"{where}: found an image without the mark or with more than it, expected its pixels and marks alone"
        )
    _check_pixels(chunks[0][1], b"".join(packed), where)


def _check_pixels(header: bytes, packed: bytes, where: str) -> None:
    """Raises IntegrityError unless the image data are one zlib stream of just as many bytes as the header announces."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    if len(header) != 13 or header[8:] != _RGB or not 0 < width * height <= LIMITS.pixels:
        raise IntegrityError(f"{where}: found a PNG header of another kind, expected one of 8 bit RGB, not interlaced")
    wanted = height * (1 + 3 * width)
    stream = zlib.decompressobj()
    try:
        found = len(stream.decompress(packed, wanted + 1))
    except zlib.error as error:
        raise IntegrityError(f"{where}: found image data that cannot be unpacked ({error}), expected one stream") from error
    # A stream can be blown up with blocks that hold no pixel.
    if found != wanted or not stream.eof or stream.unused_data or len(packed) > wanted + wanted // 100 + 1024:
        raise IntegrityError(
            f"{where}: found image data of another length, expected one zlib stream of {wanted:,} bytes and nothing after it"
        )


def _chunks(data: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length
    if place != len(data) or not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise IntegrityError(f"{where}: found no whole PNG file, expected one of this release")
