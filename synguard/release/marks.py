"""The marks that say that a model made an image: which there are, and an image with exactly those that a release states."""

from __future__ import annotations

from synguard.governance.content import Labelled, pixels_of
from synguard.protocols import Images
from synguard.release.c2pa_mark import Credentials, signed_png
from synguard.release.dicom import dicom_object, pixels_of_object
from synguard.release.images import SOURCE_TYPE, Released, check_marked, marked_png

__all__ = ["C2PA", "DICOM", "IPTC", "TOLD", "marked", "unmarked"]

IPTC, C2PA, DICOM = "iptc", "c2pa", "dicom"
TOLD = {
    IPTC: f"IPTC's digital source type ({SOURCE_TYPE})",
    C2PA: "a signed C2PA manifest with the action c2pa.created and the same source type",
    DICOM: "Synthetic Data (0008,001C), which is YES",
}
"""What each mark is, for people."""


def marked(name: str, pixels: Images, marks: tuple[str, ...], credentials: Credentials | None) -> bytes:
    """A file of these pixels and marks, for an image of that fresh name. Raises InputError where an extra is missing."""
    if DICOM in marks:
        return dicom_object(pixels, name)
    png = marked_png(pixels)
    return signed_png(png, credentials) if credentials else png


def unmarked(image: Released, marks: tuple[str, ...]) -> Labelled:
    """An image with its pixels, after a look at what else its file holds; what a C2PA manifest says is not read here.

    Raises IntegrityError, UnreadableImageError.
    """
    if DICOM in marks:
        return Labelled(image.name, pixels_of_object(image.data, image.name), image.labels)
    check_marked(image.data, image.name, c2pa=C2PA in marks)
    return Labelled(image.name, pixels_of(image.data, image.name), image.labels)
