"""Hostile and odd files: each is refused with one line that names it, or decoded to what a viewer would show."""

import contextlib
import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from synguard.data.decode import DecodeLimits, decode_image, square
from synguard.errors import UnreadableImageError

# Pillow warns about what it finds odd in a file before it gives up on it.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _picture(height=40, width=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _bytes(image, kind="PNG", **options):
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width, height, *chunks, bits=8, colour=2):
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IEND", b"")


def _decode(data, size=16, **options):
    return decode_image(data, size=size, where="set/x.png", **options)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_an_image_of_the_right_size_is_untouched(kind):
    picture = _picture()
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(_decode(_bytes(picture, kind, **options), size=40), picture)


def test_jpeg_of_the_right_size_is_what_pillow_decodes():
    data = _bytes(_picture(), "JPEG", quality=90)
    np.testing.assert_array_equal(_decode(data, size=40), np.asarray(Image.open(io.BytesIO(data))))


def test_what_is_not_square_is_cropped_in_the_middle():
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = (200, 100, 50)
    np.testing.assert_array_equal(_decode(_bytes(picture), size=20), np.full((20, 20, 3), (200, 100, 50), np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_reducing_is_antialiased(kind):
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    reduced = _decode(_bytes(stripes, kind, **({"quality": 95} if kind == "JPEG" else {})), size=32)
    assert reduced.std() < 8
    assert abs(reduced.mean() - 127.5) < 4


def test_exif_orientation_is_applied():
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:8] = 255  # white at the top
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: white at the right
    shown = _decode(_bytes(picture, "PNG", exif=exif), size=32)
    assert shown[:, 24:].min() == 255
    assert shown[:, :24].max() == 0


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (8, 8), 77), (77, 77, 77)),
        (Image.new("LA", (8, 8), (77, 3)), (77, 77, 77)),
        (Image.new("RGBA", (8, 8), (10, 20, 30, 0)), (10, 20, 30)),
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (Image.new("RGB", (8, 8), (10, 20, 30)).quantize(4), (10, 20, 30)),
        (Image.fromarray(np.full((8, 8), 65535, np.uint16)), (255, 255, 255)),
        (Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)), (100, 100, 100)),
    ],
    ids=["grey", "grey-alpha", "alpha", "bits", "palette", "16-bit-white", "16-bit"],
)
def test_modes_become_rgb(image, expected):
    np.testing.assert_array_equal(_decode(_bytes(image), size=8), np.full((8, 8, 3), expected, np.uint8))


def test_16_bit_tiff():
    assert (_decode(_bytes(Image.fromarray(np.full((8, 8), 257 * 9, np.uint16)), "TIFF"), size=8) == 9).all()


def test_floating_point_is_refused():
    with pytest.raises(UnreadableImageError, match=r"x.png: found floating-point pixels, expected 8 or 16 bit"):
        _decode(_bytes(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"this is text", "a file that is no image"),
        (_bytes(_picture(), "GIF"), "a GIF file"),
        (_bytes(_picture(), "BMP"), "a BMP file"),
        (b"\0" * 128 + b"DICM" + b"\0" * 100, "a DICOM file, which is no format of"),
        (b"%PDF-1.7", "a PDF file"),
    ],
)
def test_other_formats_are_refused_by_their_bytes(data, found):
    with pytest.raises(
        UnreadableImageError, match=rf"^set/x\.png: found {found}.*expected a PNG, JPEG, WebP or TIFF image$"
    ):
        _decode(data)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("JPEG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_truncated_files_are_refused(kind, options, share):
    data = _bytes(_picture(), kind, **options)
    with pytest.raises(UnreadableImageError, match=r"^set/x\.png: found .*(truncated or damaged|no image|pixels)"):
        _decode(data[: int(len(data) * share)])


def test_a_png_that_lacks_only_its_end_is_refused():
    with pytest.raises(UnreadableImageError, match="truncated"):
        _decode(_bytes(_picture())[:-12])


def test_a_png_with_a_wrong_checksum_is_refused():
    data = bytearray(_bytes(_picture()))
    data[data.index(b"IDAT") + 40] ^= 1
    with pytest.raises(UnreadableImageError, match="damaged PNG"):
        _decode(bytes(data))


def test_pixels_are_counted_before_decoding():
    # No image data at all: to complain about anything but the size it would have had to try and decode.
    bomb = _png(30_000, 30_000, _chunk(b"IDAT", zlib.compress(b"")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableImageError, match="found an image of 30,000 x 30,000 pixels, expected 1 to 64,000,000"):
            _decode(bomb)


def test_pillows_own_limit_does_not_matter(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _decode(_bytes(_picture()), size=40).shape == (40, 40, 3)


def test_a_webp_bomb_is_refused_by_its_header():
    header = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (16382).to_bytes(3, "little") * 2
    with pytest.raises(UnreadableImageError, match="16,383 x 16,383"):
        _decode(b"RIFF" + struct.pack("<I", len(header)) + header)


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_headers_are_read(lossless):
    data = _bytes(_picture(30, 50), "WEBP", lossless=lossless)
    with pytest.raises(UnreadableImageError, match="50 x 30"):
        _decode(data, limits=DecodeLimits(pixels=1499))
    assert _decode(data, limits=DecodeLimits(pixels=1500)).shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_the_pixel_limit_holds_for_each_format(kind):
    with pytest.raises(UnreadableImageError, match="40 x 40 pixels, expected 1 to 1,599"):
        _decode(_bytes(_picture(), kind), limits=DecodeLimits(pixels=1599))


def test_large_files_are_refused():
    with pytest.raises(UnreadableImageError, match="bytes, expected at most 100"):
        _decode(_bytes(_picture()), limits=DecodeLimits(bytes=100))


@pytest.mark.parametrize("chunk", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_compressed_text_bomb_is_not_unpacked(chunk):
    packed = zlib.compress(b"\0" * 50_000_000, 9)
    body = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[chunk] + packed
    pixels = zlib.compress(b"".join(b"\0" + b"\x07" * 24 for _ in range(8)))
    data = _png(8, 8, _chunk(chunk, body), _chunk(b"IDAT", pixels))
    tracemalloc.start()
    with contextlib.suppress(UnreadableImageError):
        assert (_decode(data, size=8) == 7).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused(kind):
    frames = [Image.fromarray(_picture(seed=seed)) for seed in range(3)]
    with pytest.raises(UnreadableImageError, match="several frames or pages, expected a single image"):
        _decode(_bytes(frames[0], kind, save_all=True, append_images=frames[1:]))


def test_an_animation_of_one_frame_beside_the_picture_is_refused():
    """What is decoded is the picture; what a browser shows is the frame."""
    png = _bytes(Image.fromarray(_picture()), "PNG")
    rows = b"".join(b"\0" + row.tobytes() for row in _picture(seed=1))
    height, width = _picture().shape[:2]
    frame = _chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 1, 0, 0))
    frame += _chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(rows))
    animated = png[:33] + _chunk(b"acTL", struct.pack(">II", 1, 0)) + png[33:-12] + frame + png[-12:]
    with pytest.raises(UnreadableImageError, match="several frames or pages"):
        _decode(animated)


def test_a_large_jpeg_is_reduced_from_all_its_pixels():
    """Light that clips: at an eighth of the resolution, as JPEG can be decoded, the picture would be a lighter one."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    data = _bytes(Image.fromarray(stripes), "JPEG", quality=95)
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    np.testing.assert_array_equal(_decode(data, size=16), square(np.asarray(whole), 16))


def test_a_second_picture_hidden_in_a_jpeg_is_refused():
    frames = [Image.fromarray(_picture(seed=seed)) for seed in range(2)]
    with pytest.raises(UnreadableImageError, match="several frames"):
        _decode(_bytes(frames[0], "MPO", save_all=True, append_images=frames[1:]))


def test_damaged_files_raise_no_other_error():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        data = bytearray(_bytes(_picture(), ["PNG", "JPEG", "WEBP", "TIFF"][seed % 4]))
        for place in rng.integers(8, len(data), 5):
            data[place] = rng.integers(256)
        with contextlib.suppress(UnreadableImageError):
            assert _decode(bytes(data)).shape == (16, 16, 3)
