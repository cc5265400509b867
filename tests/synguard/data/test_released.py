"""What is released is what was examined: a picture that is looked at whole, written anew under a name of its own."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin

from synguard.config import DataSource
from synguard.data.decode import decode_native
from synguard.data.readers import read_images
from synguard.data.released import (
    refuse_equal_names,
    refuse_outsized,
    refuse_transparent,
    refuse_unexamined,
    released_name,
)
from synguard.errors import InputError, UnreadableImageError
from synguard.runs.assemble import accept_given
from synguard.runs.folder import RunFolder

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


PNG, JPEG, WEBP = saved(PICTURE, "PNG"), saved(PICTURE, "JPEG"), saved(PICTURE, "WEBP", lossless=True)


STOWAWAY = b"a private photograph, whole" * 40


def with_icc(jpeg: bytes) -> bytes:
    return with_segment(jpeg, 0xE2, b"ICC_PROFILE\0\1\1" + STOWAWAY)


def with_end(png: bytes, body: bytes) -> bytes:
    return png[:-12] + chunk(b"IEND", body)


def behind_the_pixels(png: bytes) -> bytes:
    """A PNG file whose image data goes on after the end of its zlib stream."""
    length = int.from_bytes(png[33:37], "big")
    return png[:33] + chunk(b"IDAT", png[41 : 41 + length] + STOWAWAY) + png[45 + length :]


def second_picture(webp: bytes) -> bytes:
    """A WebP file with another VP8L chunk behind its first."""
    parts = webp[8:] + b"VP8L" + struct.pack("<I", len(STOWAWAY)) + STOWAWAY
    return b"RIFF" + struct.pack("<I", len(parts)) + parts


CARRIERS = {
    "plain.png": PNG,
    "profile.png": saved(PICTURE, "PNG", icc_profile=STOWAWAY),
    "end.png": with_end(PNG, STOWAWAY),
    "phys.png": PNG[:33] + chunk(b"pHYs", STOWAWAY) + PNG[33:],
    "pixels.png": behind_the_pixels(PNG),
    "text.png": saved(PICTURE, "PNG", pnginfo=text(), exif=exif()),
    "private.png": with_chunks(PNG, chunk(b"prVt", STOWAWAY)),
    "after.png": PNG + STOWAWAY,
    "gamma.png": PNG[:33] + chunk(b"gAMA", struct.pack(">I", 10_000)) + PNG[33:],
    "app14.jpg": with_segment(JPEG, 0xEE, b"Adobe\0\x64\0\0\0\0\1" + STOWAWAY),
    "app2.jpg": with_icc(JPEG),
    "app0.jpg": with_segment(JPEG, 0xE0, b"JFXX\0\x10" + STOWAWAY),
    "comment.jpg": saved(PICTURE, "JPEG", comment=STOWAWAY, exif=exif()),
    "after.jpeg": JPEG + STOWAWAY,
    "second.webp": second_picture(WEBP),
    "exif.webp": saved(PICTURE, "WEBP", exif=exif(), xmp=STOWAWAY),
    "tagged.tiff": saved(PICTURE, "TIFF", exif=exif(), compression="raw"),
    "grey.png": saved(PICTURE.convert("L"), "PNG"),
    "palette.png": saved(PICTURE.quantize(16), "PNG"),
    "deep.png": saved(Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257), "PNG"),
    "opaque.png": saved(PICTURE.convert("RGBA"), "PNG"),
    "cmyk.jpg": saved(PICTURE.convert("CMYK"), "JPEG"),
}
SHOWN = {b"IHDR", b"IDAT", b"IEND"}


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        found.append((png[place + 4 : place + 8], png[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


@pytest.mark.parametrize("name", CARRIERS)
def test_nothing_but_the_examined_pixels_is_released(tmp_path: Path, name: str):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / name).write_bytes(CARRIERS[name])
    source = DataSource(path=str(tmp_path / "made"))
    images = read_images(source, size=16, name="synthetic", released=True)
    folder = RunFolder.create(tmp_path / "run")
    accept_given(folder, images, source, Path(), pd.DataFrame({"file": images.files, "accepted": True}))

    data = (folder.accepted / released_name(name)).read_bytes()
    assert {kind for kind, _ in chunks(data)} == SHOWN
    assert chunks(data)[-1][1] == b""
    packed = zlib.decompressobj()
    rows = packed.decompress(b"".join(body for kind, body in chunks(data) if kind == b"IDAT"))
    assert (len(rows), packed.unused_data) == (16 * (1 + 16 * 3), b"")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), images.pixels[0])


def test_a_turned_photograph_is_released_upright(tmp_path: Path):
    turned = Image.Exif()
    turned[0x0112] = 6
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.png").write_bytes(saved(PICTURE, "PNG", exif=turned))
    source = DataSource(path=str(tmp_path / "made"))
    images = read_images(source, size=16, name="synthetic", released=True)
    folder = RunFolder.create(tmp_path / "run")
    accept_given(folder, images, source, Path(), pd.DataFrame({"file": images.files, "accepted": True}))
    np.testing.assert_array_equal(images.pixels[0], np.rot90(np.asarray(PICTURE), -1))
    np.testing.assert_array_equal(np.asarray(Image.open(folder.accepted / "a.png")), images.pixels[0])


@pytest.mark.parametrize(
    "data",
    [
        saved(transparent(), "PNG"),
        saved(transparent(), "WEBP", lossless=True),
        saved(transparent().convert("LA"), "PNG"),
        saved(PICTURE.quantize(16), "PNG", transparency=3),
        saved(PICTURE, "PNG", transparency=PICTURE.getpixel((3, 4))),
        saved(transparent(), "TIFF"),
    ],
)
def test_what_looks_different_on_another_ground_is_refused(data: bytes):
    decode_native(data, where="set/x")
    with pytest.raises(UnreadableImageError, match=r"^set/x: found transparency"):
        refuse_transparent(data, "set/x")


def test_a_part_that_is_not_examined_is_refused():
    with pytest.raises(UnreadableImageError, match=r"^set/x: found 48 x 16 pixels, of which only the central square"):
        refuse_unexamined(np.asarray(PICTURE.resize((48, 16))), "set/x")


def test_far_larger_files_are_refused():
    refuse_outsized({"a": 64, "b": 64, "c": 128, "d": 32}, "set")
    with pytest.raises(InputError, match=r"^set: c: found a side of 129 pixels, expected at most 128, twice that of most"):
        refuse_outsized({"a": 64, "b": 64, "c": 129, "d": 32}, "set")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("images/a.png", "images/a.png"),
        ("images/a.JPG", "images/a.png"),
        ("a.b/c.d.tiff", "a.b/c.d.png"),
        ("train/17", "train/17.png"),
        ("case.1", "case.1.png"),
    ],
)
def test_names(file: str, name: str):
    assert released_name(file) == name


@pytest.mark.parametrize(("one", "other"), [("x/a.jpg", "x/a.png"), ("x/a.jpg", "x/A.webp"), ("a", "a.png")])
def test_two_images_of_one_name_are_refused(one: str, other: str):
    refuse_equal_names([one, f"y/{other}"], "set")
    with pytest.raises(InputError, match=f"^set: found {one} and {other}, both to be released as"):
        refuse_equal_names([one, other], "set")
