"""Safe decoding: bytes of a stranger's file to square RGB pixels, or one clear error.

The format is told from the first bytes, never from the suffix. The number of pixels is read from the header and held
against the limit before anything is decoded. A file that holds more than the one picture we would look at (frames, pages)
is refused, since nobody would audit the rest of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from synguard.errors import UnreadableImageError
from synguard.protocols import Images

__all__ = [
    "IMAGE_SUFFIXES",
    "LIMITS",
    "DecodeLimits",
    "decode_image",
    "decode_native",
    "image_format",
    "native_side",
    "opened",
    "resized",
    "square",
]

ALLOWED = "a PNG, JPEG, WebP or TIFF image"

IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".dcm", ".dicom", ".gif", ".heic", ".heif", ".j2k", ".jfif"),
    *(".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".png", ".tif", ".tiff", ".webp"),
)
"""A file of these counts as an image of its set even where we cannot decode it: an image that nobody audits is dangerous."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
)
_OPENERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": jpeg_factory,
    "WebP": WebPImageFile,
    "TIFF": TiffImageFile,
}


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The largest image that is decoded, in pixels, and the largest file, in bytes."""

    pixels: int = 64_000_000
    bytes: int = 256 * 2**20


LIMITS = DecodeLimits()


def image_format(head: bytes) -> str | None:
    """The format that the first 132 bytes of a file announce, or None if they announce no format we know."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[128:132] == b"DICM":
        return "DICOM"
    return None


def decode_image(data: bytes, *, size: int, where: str, limits: DecodeLimits = LIMITS) -> Images:
    """Pixels (size, size, 3), RGB uint8, of one image file: `square` of what `decode_native` gives. Raises as that does."""
    return square(decode_native(data, where=where, limits=limits), size)


def decode_native(data: bytes, *, where: str, limits: DecodeLimits = LIMITS) -> Images:
    """Pixels (height, width, 3), RGB uint8, of one image file at its own resolution.

    EXIF orientation is applied; 16 bit pixels are scaled by their full range; palettes and grey become RGB. Transparency is
    dropped and the colours under it kept, as whoever gets the file can do: what is hidden there has to be audited too.
    Embedded colour profiles are ignored. `where` names the file in errors.

    Raises UnreadableImageError.
    """
    with opened(data, where, limits) as image:
        if _more_than_one(image):
            raise UnreadableImageError.of(where, f"a {image.format} file with several frames or pages", "a single image")
        if isinstance(image, PngImageFile):
            PngImageFile(io.BytesIO(data)).verify()  # load() does not look at checksums or for the end of the file
        # Never at a part of the resolution, as JPEG could: a picture made for it shows something else when decoded whole.
        image.load()
        return np.array(_rgb(ImageOps.exif_transpose(image), where), dtype=np.uint8)


def native_side(data: bytes, *, where: str, limits: DecodeLimits = LIMITS) -> int:
    """The shorter side in pixels that the header of an image file announces. Raises UnreadableImageError."""
    with opened(data, where, limits) as image:
        return min(image.size)


@contextmanager
def opened(data: bytes, where: str, limits: DecodeLimits = LIMITS) -> Iterator[ImageFile]:
    """The image in a file whose size and format are allowed; nothing is decoded yet."""
    if len(data) > limits.bytes:
        raise UnreadableImageError.of(where, f"a file of {len(data):,} bytes", f"at most {limits.bytes:,}")
    kind = image_format(data[:132])
    opener = _OPENERS.get(kind or "")
    if opener is None:
        raise UnreadableImageError.of(where, _name(kind, data), ALLOWED)
    if kind == "WebP":
        _check_pixels(_webp_size(data), where, limits)
    with _guarded(where, kind), opener(io.BytesIO(data)) as image:
        # Opened by its own class, not by Image.open, whose own limit is a process-wide setting that only warns.
        _check_pixels(image.size, where, limits)
        yield image


def square(pixels: Images, size: int) -> Images:
    """Pixels (size, size, 3) of an image (height, width, 3): its largest centred square, resized with antialiasing.

    Cropped and not padded: bars would be the same in every image, which makes images look alike to any likeness measure
    and teaches the generator bars; and what medical photographs show is in the middle. An image of that size is returned
    as it is.
    """
    height, width = pixels.shape[:2]
    if height == width == size:
        return pixels
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return resized(Image.fromarray(pixels), size, (left, top, left + side, top + side))


def resized(image: Image.Image, size: int, box: tuple[float, float, float, float]) -> Images:
    """Pixels (size, size, 3) of a part of an image (left, top, right, bottom), with antialiasing."""
    found = image.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    return np.array(found, dtype=np.uint8)


@contextmanager
def _guarded(where: str, kind: str | None) -> Iterator[None]:
    """Turns whatever Pillow trips over inside a hostile file into our error.

    Its parsers raise struct.error, KeyError, SyntaxError, zlib.error and more, so that no shorter list would be complete.
    """
    try:
        yield
    except UnreadableImageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnreadableImageError.of(where, f"a truncated or damaged {kind} file ({reason})", "a whole image") from error


def _name(kind: str | None, data: bytes) -> str:
    if not data:
        return "an empty file"
    if kind == "DICOM":
        return "a DICOM file, which is no format of candidates or private images,"
    return f"a {kind} file" if kind else "a file that is no image"


def _check_pixels(size: tuple[int, int], where: str, limits: DecodeLimits) -> None:
    width, height = size
    if width < 1 or height < 1 or width * height > limits.pixels:
        raise UnreadableImageError.of(where, f"an image of {width:,} x {height:,} pixels", f"1 to {limits.pixels:,} pixels")


def _webp_size(data: bytes) -> tuple[int, int]:
    """The canvas that a WebP header announces; its decoder allocates that much when it is made. RFC 9649, section 2."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _more_than_one(image: ImageFile) -> bool:
    if isinstance(image, TiffImageFile):  # its n_frames walks all pages of the file; the second one is enough
        try:
            image.seek(1)
        except EOFError:
            return False
        return True
    # An animated PNG of one frame is two pictures: that frame, and the one for viewers that know no animation.
    animated = bool(getattr(image, "is_animated", False)) or image.get_format_mimetype() == "image/apng"
    return animated or int(getattr(image, "n_frames", 1)) > 1


def _rgb(image: Image.Image, where: str) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise UnreadableImageError.of(where, "floating-point pixels", "8 or 16 bit ones")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableImageError.of(where, "32 bit pixels", "8 or 16 bit ones")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
