"""A released image as a DICOM object: Secondary Capture, marked as synthetic (DICOM PS3.3 2024d, A.8.1, C.8.6.1, C.12.1).

Secondary Capture says what these images are: its conversion type has SYN, synthetic image, and it asks for no device and no
eye. Ophthalmic Photography and its like would have them invented. Each image is a patient, study and series of its own, so
that no archive takes two for photographs of one person. Nothing varies but pixels, name and three random identifiers; an
object is read by writing it again, and whatever differs by a byte is refused.
"""

from __future__ import annotations

import io
import re
import uuid
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from synguard.errors import InputError, IntegrityError
from synguard.protocols import Images

__all__ = ["dicom_object", "pixels_of_object", "require_pydicom"]

_HEAD = 2048
"""Bytes before the pixels, at most. A stranger's object is parsed no further, so that nothing in it is ever inflated."""
_UID = re.compile(r"2[.]25[.](0|[1-9][0-9]{0,38})")
"""Identifiers under the root for random ones: PS3.5, B.2."""
_IDENTIFIERS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_WRITER = "2.25.57027259260262498556109343842041622996"
"""Random once, and kept: names the form, not a version, or every new version would refuse what older ones wrote."""
_SAID = {
    "SyntheticData": "YES",
    "ConversionType": "SYN",
    "Modality": "OT",
    "PatientName": "SYNTHETIC",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "Made by a generative model; shows no patient",
    "BurnedInAnnotation": "NO",
    "StudyID": "1",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
}
_UNKNOWN = (
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
    *("PatientBirthDate", "PatientSex", "PatientOrientation", "Laterality"),
)
"""Elements that have to be there and may be empty (type 2)."""
_PIXELS = {
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "RGB",
    "PlanarConfiguration": 0,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
}


def require_pydicom() -> None:
    """Raises InputError where the library is not installed."""
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise InputError.of("the layout dicom", "no pydicom", "the extra: pip install 'synguard[dicom]'") from error


def dicom_object(pixels: Images, name: str) -> bytes:
    """Pixels (side, side, 3) as a DICOM file under fresh identifiers, uncompressed. `name` becomes the patient's id."""
    return _encode(pixels, name, [f"2.25.{uuid.uuid4().int}" for _ in _IDENTIFIERS])


def pixels_of_object(data: bytes, name: str) -> Images:
    """Pixels (side, side, 3) of a file that `dicom_object` wrote. Raises IntegrityError for any other."""
    identifiers, height, width = _parse(data, name)
    size = height * width * 3
    if height != width or not 0 < size <= len(data) or not all(map(_UID.fullmatch, identifiers)):
        raise IntegrityError(f"{name}: found a DICOM object of another kind, expected a square one under random identifiers")
    start = len(data) - size - size % 2
    pixels = np.frombuffer(data, np.uint8, size, start).reshape(height, width, 3)
    if _encode(pixels, name, identifiers) != data:
        raise IntegrityError(f"{name}: found a DICOM object with more, less or other than its pixels and the mark")
    return pixels


def _encode(pixels: Images, name: str, identifiers: Sequence[str]) -> bytes:
    import pydicom
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    said: dict[str, Any] = {
        **_SAID,
        **dict.fromkeys(_UNKNOWN, ""),
        **_PIXELS,
        **dict(zip(_IDENTIFIERS, identifiers, strict=True)),
    }
    said |= {"SOPClassUID": SecondaryCaptureImageStorage, "PatientID": name}
    said["Rows"], said["Columns"] = pixels.shape[:2]
    shown = pydicom.Dataset()
    for keyword, value in said.items():
        setattr(shown, keyword, value)
    raw = pixels.tobytes()
    shown.add_new("PixelData", "OB", raw + bytes(len(raw) % 2))
    shown.file_meta = pydicom.dataset.FileMetaDataset()
    shown.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    shown.file_meta.ImplementationClassUID = UID(_WRITER)
    shown.file_meta.ImplementationVersionName = "SYNGUARD"
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, shown, enforce_file_format=True)
    return stream.getvalue()


def _parse(data: bytes, name: str) -> tuple[list[str], int, int]:
    """The identifiers, height and width that the head of a stranger's file gives."""
    import pydicom

    try:
        with warnings.catch_warnings(action="ignore"):
            head = pydicom.dcmread(io.BytesIO(data[:_HEAD]), stop_before_pixels=True)
            return [str(head[keyword].value) for keyword in _IDENTIFIERS], int(head.Rows), int(head.Columns)
    except Exception as error:  # whatever the parser trips over in a hostile file; no shorter list would be complete
        raise IntegrityError(
            f"{name}: found no DICOM object that can be read ({type(error).__name__}), expected one"
        ) from error
