"""Images as DICOM objects: pydicom reads them, and an object with anything more, less or other is refused."""

from __future__ import annotations

import io
import shutil
import sys
import tracemalloc

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from synguard.errors import InputError, IntegrityError
from synguard.release.dicom import dicom_object, pixels_of_object
from synguard.release.layouts import LAYOUTS
from synguard.release.make import release
from synguard.release.verify import verify
from tests.support.governed import NOW, key, resigned, trust

from .conftest import DETAILS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of what is written here to be refused
NAME = "0123456789abcdef"
OBJECT = dicom_object(np.arange(75, dtype=np.uint8).reshape(5, 5, 3), NAME)


def test_pydicom_shows_the_mark_and_the_approved_pixels(published):
    found = {path.stem: pydicom.dcmread(path) for path in (published["dicom"] / "data" / "images").iterdir()}
    read = {image.name: image for image in LAYOUTS["dicom"].read(published["dicom"])}
    assert len(found) == 3
    assert set(found) == set(read)
    for name, shown in found.items():
        assert shown.SyntheticData == shown.PatientIdentityRemoved == "YES"
        assert shown.SOPClassUID.name == "Secondary Capture Image Storage"
        assert (shown.ConversionType, shown.PatientName, shown.PatientID) == ("SYN", "SYNTHETIC", name)
        assert np.array_equal(shown.pixel_array, pixels_of_object(read[name].data, name))
        assert not shown.preamble.strip(b"\0")
        assert not any(element.tag.is_private for element in shown.iterall())
        assert not any(element.value for element in shown.iterall() if element.VR in ("DA", "TM", "DT"))


def test_identifiers_are_fresh(published):
    found = [pydicom.dcmread(path) for path in (published["dicom"] / "data" / "images").iterdir()]
    keywords = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    uids = [str(shown[keyword].value) for shown in found for keyword in keywords]
    assert len(set(uids)) == 9
    assert all(uid.startswith("2.25.") for uid in uids)
    assert dicom_object(np.zeros((2, 2, 3), np.uint8), NAME) != dicom_object(np.zeros((2, 2, 3), np.uint8), NAME)


@given(st.integers(1, 9).flatmap(lambda side: st.binary(min_size=side * side * 3, max_size=side * side * 3)))
def test_what_is_written_is_read_back(raw):
    side = round((len(raw) / 3) ** 0.5)
    pixels = np.frombuffer(raw, np.uint8).reshape(side, side, 3)
    data = dicom_object(pixels, NAME)
    assert np.array_equal(pixels_of_object(data, NAME), pixels)
    assert np.array_equal(pydicom.dcmread(io.BytesIO(data)).pixel_array, pixels)


def written(shown, **options):
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, shown, **options)
    return stream.getvalue()


def changed(**elements):
    """The object with elements set, or left out where they are None."""
    shown = pydicom.dcmread(io.BytesIO(OBJECT))
    for keyword, value in elements.items():
        if value is None:
            delattr(shown, keyword)
        else:
            setattr(shown, keyword, value)
    return written(shown)


def private():
    shown = pydicom.dcmread(io.BytesIO(OBJECT))
    shown.private_block(0x0011, "HOSPITAL X", create=True).add_new(0x01, "LO", "patient-4711")
    return written(shown)


def in_syntax(syntax, **options):
    shown = pydicom.dcmread(io.BytesIO(OBJECT))
    shown.file_meta.TransferSyntaxUID = syntax
    return written(shown, **options)


def meta():
    shown = pydicom.dcmread(io.BytesIO(OBJECT))
    shown.file_meta.SourceApplicationEntityTitle = "ARCHIVE"
    return written(shown)


HOSTILE = {
    "empty": lambda: b"",
    "not-dicom": lambda: b"\x89PNG\r\n\x1a\n" + bytes(500),
    "a-preamble": lambda: b"MZ" + OBJECT[2:],
    "a-byte-behind": lambda: OBJECT + b"\0",
    "a-second-object-behind": lambda: OBJECT + OBJECT,
    "cut": lambda: OBJECT[:-1],
    "padding-used": lambda: OBJECT[:-1] + b"x",
    "a-private-element": private,
    "a-comment": lambda: changed(ImageComments="patient-4711"),
    "a-date": lambda: changed(StudyDate="20260101"),
    "a-sequence": lambda: changed(ReferencedImageSequence=[pydicom.Dataset()]),
    "after-the-pixels": lambda: changed(DataSetTrailingPadding=b"patient-4711"),
    "an-element-of-the-file-header": meta,
    "another-patient": lambda: changed(PatientName="Doe^Jane"),
    "another-patient-id": lambda: changed(PatientID="4711"),
    "no-mark": lambda: changed(SyntheticData=None),
    "mark-says-no": lambda: changed(SyntheticData="NO"),
    "identity-not-removed": lambda: changed(PatientIdentityRemoved="NO"),
    "root-of-a-maker": lambda: changed(StudyInstanceUID="1.2.840.113619.2.55.3.4711"),
    "root-alone": lambda: changed(SeriesInstanceUID="2.25."),
    "several-identifiers": lambda: changed(StudyInstanceUID=["2.25.1", "2.25.2"]),
    "instance-other-than-in-the-header": lambda: changed(SOPInstanceUID="2.25.1"),
    "not-square": lambda: changed(Rows=1, Columns=25),
    "no-rows": lambda: changed(Rows=0, Columns=0),
    "rows-beyond-the-file": lambda: changed(Rows=65535, Columns=65535),
    "implicit": lambda: in_syntax(ImplicitVRLittleEndian, implicit_vr=True),
    "deflated": lambda: in_syntax(DeflatedExplicitVRLittleEndian),
}


def test_the_same_object_written_by_others_is_the_same():
    assert changed() == OBJECT


@pytest.mark.parametrize("case", HOSTILE)
def test_anything_more_less_or_other_is_refused(case):
    with pytest.raises(IntegrityError, match=f"^{NAME}: found ") as caught:
        pixels_of_object(HOSTILE[case](), NAME)
    assert "\n" not in str(caught.value)


def test_an_object_of_another_name_is_refused():
    with pytest.raises(IntegrityError, match="fedcba9876543210: found a DICOM object with more"):
        pixels_of_object(OBJECT, "fedcba9876543210")


def test_nothing_of_a_stranger_is_inflated():
    shown = pydicom.dcmread(io.BytesIO(OBJECT))
    shown.ImageComments = "x" * 50_000_000
    shown.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb = written(shown)
    del shown
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            pixels_of_object(bomb, NAME)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", ["a-private-element", "a-comment", "no-mark", "a-preamble", "a-byte-behind"])
def test_not_even_its_publisher_can_put_one_into_a_release(published, tmp_path, monkeypatch, case):
    made = shutil.copytree(published["dicom"], tmp_path / "release")
    path = next((made / "data" / "images").iterdir())
    monkeypatch.setattr(sys.modules[__name__], "OBJECT", path.read_bytes())
    path.write_bytes(HOSTILE[case]())
    with pytest.raises(IntegrityError, match=f"{path.stem}: found a DICOM object with more"):
        verify(resigned(made), trust(), NOW)


def test_without_pydicom_it_says_how_to_get_it(run, published, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"found no pydicom.*pip install 'synguard\[dicom\]'"):
        release(run, tmp_path / "out", trust(), key("e.moss"), DETAILS, layout="dicom", now=NOW)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"pip install 'synguard\[dicom\]'"):
        verify(published["dicom"], trust(), NOW)
    verify(published["imagefolder"], trust(), NOW)


def test_its_papers_say_how_to_load_it(published):
    card = (published["dicom"] / "README.md").read_text()
    assert 'pydicom.dcmread("data/images/NAME.dcm")' in card
    assert "Synthetic Data (0008,001C), which is YES" in card
    assert "IPTC" not in card + (published["dicom"] / "DATASHEET.md").read_text()
