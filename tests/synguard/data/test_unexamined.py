"""A file that is to be released holds the picture that was examined and nothing else."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from synguard.data.decode import decode_image
from synguard.data.unexamined import refuse_unexamined
from synguard.errors import UnreadableImageError

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
SECRET = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG file with more chunks before its end."""
    return png[:-12] + b"".join(chunks) + png[-12:]


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG file with one more segment behind its first."""
    return jpeg[:20] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + jpeg[20:]


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x010E] = "Mr Smith"
    return made


def text() -> PngImagePlugin.PngInfo:
    made = PngImagePlugin.PngInfo()
    made.add_text("source", "private/patient-7.png")
    return made


def transparent() -> Image.Image:
    image = PICTURE.convert("RGBA")
    image.putalpha(SECRET.convert("L"))
    return image


def hidden_frame() -> bytes:
    """What is audited is the default image; what a browser shows is the one frame of the animation."""
    frame = struct.pack(">IIIIIHHBB", 0, 16, 16, 0, 0, 1, 1, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(SECRET))
    shown = chunk(b"fcTL", frame) + chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(rows))
    png = saved(PICTURE, "PNG")
    return with_chunks(png[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + png[33:], shown)


PNG, JPEG, WEBP = saved(PICTURE, "PNG"), saved(PICTURE, "JPEG"), saved(PICTURE, "WEBP", lossless=True)


@pytest.mark.parametrize(
    "data",
    [
        PNG,
        saved(PICTURE, "PNG", dpi=(72, 72), icc_profile=b"profile"),
        saved(PICTURE.convert("L"), "PNG"),
        saved(PICTURE.quantize(16), "PNG"),
        saved(PICTURE.convert("RGBA"), "PNG"),
        JPEG,
        saved(PICTURE, "JPEG", quality=100, subsampling=0, optimize=True, icc_profile=b"profile", dpi=(72, 72)),
        saved(PICTURE, "JPEG", progressive=True, restart_marker_blocks=1),
        saved(PICTURE.convert("CMYK"), "JPEG"),
        WEBP,
        saved(PICTURE, "WEBP", quality=50, icc_profile=b"profile"),
        saved(PICTURE.convert("RGBA"), "WEBP"),
    ],
)
def test_a_plain_picture_may_be_released(data: bytes):
    decode_image(data, size=16, where="x")
    refuse_unexamined(data, "x")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (saved(PICTURE.resize((48, 16)), "PNG"), "48 x 16 pixels, of which only the central square"),
        (saved(transparent(), "PNG"), "transparency"),
        (saved(transparent(), "WEBP", lossless=True), "transparency"),
        (saved(PICTURE.convert("P"), "PNG", transparency=3), "a tRNS chunk"),
        (saved(Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16)), "PNG"), "16 bits a colour"),
        (saved(PICTURE, "PNG", exif=exif()), "a eXIf chunk"),
        (saved(PICTURE, "PNG", pnginfo=text()), "a tEXt chunk"),
        (with_chunks(PNG, chunk(b"prVt", b"secret")), "a prVt chunk"),
        (hidden_frame(), "a acTL chunk"),
        (PNG + JPEG, "bytes after its end"),
        (saved(PICTURE, "JPEG", exif=exif()), "EXIF, a preview"),
        (saved(PICTURE, "JPEG", comment="Mr Smith"), "a comment"),
        (with_segment(JPEG, 0xE0, b"JFXX\0\x10" + JPEG), "EXIF, a preview"),
        (with_segment(JPEG, 0xE0, b"JFIF\0\1\2\0\0\1\0\1\2\2" + bytes(12)), "a preview"),
        (with_segment(JPEG, 0xED, b"Photoshop 3.0\0"), "EXIF, a preview"),
        (JPEG + JPEG, "bytes after its end"),
        (saved(PICTURE, "WEBP", exif=exif()), "a EXIF chunk"),
        (saved(PICTURE, "WEBP", xmp=b"Mr Smith"), "a XMP chunk"),
        (WEBP + PNG, "bytes after its end"),
        (saved(PICTURE, "TIFF"), "a TIFF file, which can hold more"),
    ],
)
def test_a_file_with_more_than_the_picture_is_refused(data: bytes, found: str):
    with pytest.raises(UnreadableImageError, match=f"^set/x: found {found}.*, expected a square picture and nothing else"):
        refuse_unexamined(data, "set/x")
