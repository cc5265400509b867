"""Which sets count as overlapping: after renaming, saving again, resizing; and that others do not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synguard.data.decode import decode_image, square
from synguard.data.fingerprints import CODES, pixel_codes
from synguard.data.phantom import phantom_set
from synguard.errors import InputError
from synguard.governance.ledger import BlindingKey, Fingerprints
from synguard.protocols import Images

KEY = BlindingKey(bytes(range(32)))


@pytest.fixture(scope="module")
def phantoms() -> Images:
    return phantom_set("private", patients=60, images_per_patient=2, size=64, seed=7).pixels


def saved(pixels: Images, form: str, size: int = 64, **options: object) -> Images:
    def again(image: Images) -> Images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, form, **options)
        return decode_image(stream.getvalue(), size=size, where="image")

    return np.stack([again(image) for image in pixels])


SAME = {
    "the same": lambda p: p,
    "in another order": lambda p: p[::-1],
    "saved as PNG": lambda p: saved(p, "png"),
    "saved as TIFF": lambda p: saved(p, "tiff"),
    "saved as lossless WebP": lambda p: saved(p, "webp", lossless=True),
    "saved as JPEG 95": lambda p: saved(p, "jpeg", quality=95),
    "saved as JPEG 75": lambda p: saved(p, "jpeg", quality=75),
    "decoded at 48 pixels": lambda p: saved(p, "png", size=48),
    "decoded at 33 pixels": lambda p: saved(p, "png", size=33),
    "brighter by two levels": lambda p: np.clip(p.astype(int) + 2, 0, 255).astype(np.uint8),
    "one in ten of it": lambda p: p[::10],
}


@pytest.mark.parametrize("change", SAME)
def test_a_set_that_was_saved_again_overlaps(phantoms: Images, change: str):
    assert KEY.blind(phantoms).overlaps(KEY.blind(SAME[change](phantoms)))


def test_one_picture_in_common_is_enough_in_small_sets(phantoms: Images):
    ours, theirs = KEY.blind(phantoms[:60]), KEY.blind(phantoms[59:])
    assert ours.shared_with(theirs) == theirs.shared_with(ours) == 1
    assert ours.overlaps(theirs)
    assert not KEY.blind(phantoms[:59]).overlaps(theirs)


def test_a_thousandth_of_large_sets_is_what_chance_may_give():
    words = np.arange(8000, dtype=np.uint64).reshape(2000, CODES)
    other = words + np.uint64(10**6)
    other[:1] = words[:1]
    assert not Fingerprints(words).overlaps(Fingerprints(other))
    other[:2] = words[:2]
    assert Fingerprints(words).overlaps(Fingerprints(other))
    assert not Fingerprints(words).overlaps(Fingerprints(words[:0]))


def test_photographs_of_other_patients_do_not_overlap(test_data: Path):
    """Two halves of HAM10000 (every image another lesion) and of nothing else share less than chance is allowed."""
    with tarfile.open(test_data / "ham10000" / "images_128.tar") as tar:
        names = [member for member in tar.getmembers() if member.name.endswith(".jpg")][:2000]
        images = [np.asarray(Image.open(tar.extractfile(name)).convert("RGB")) for name in names]  # type: ignore[arg-type]
    pixels = np.stack([square(image, 64) for image in images])
    ours, theirs = KEY.blind(pixels[::2]), KEY.blind(pixels[1::2])
    assert ours.shared_with(theirs) == 0
    again = KEY.blind(saved(pixels[::20], "jpeg", quality=75, size=48))
    assert again.shared_with(ours) > 0.6 * len(again)
    assert again.shared_with(theirs) == 0


def test_codes_do_not_depend_on_the_chunk(phantoms: Images):
    many = np.concatenate([phantoms] * 5)
    assert (pixel_codes(many)[: len(phantoms)] == pixel_codes(phantoms)).all()
    assert pixel_codes(phantoms[:0]).shape == (0, CODES, 18)


def test_another_key_finds_nothing_and_words_tell_no_order(phantoms: Images):
    ours, theirs = KEY.blind(phantoms), BlindingKey(bytes(32)).blind(phantoms)
    assert ours.shared_with(theirs) == 0
    assert ours.digest != theirs.digest
    assert ours.digest == KEY.blind(phantoms[::-1]).digest
    assert Fingerprints.of_bytes(ours.to_bytes()).digest == ours.digest
    assert len(ours.to_bytes()) == 32 * len(phantoms)


@pytest.mark.parametrize("data", [b"1", bytes(31), bytes(40)])
def test_other_bytes_are_no_fingerprints(data: bytes):
    with pytest.raises(ValueError, match=r"buffer size|reshape"):
        Fingerprints.of_bytes(data)


def test_a_key_is_made_once_and_is_its_owners(tmp_path: Path):
    path = tmp_path / "new" / "ledger.key"
    key = BlindingKey.create(path)
    assert BlindingKey.create(path) == BlindingKey.read(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["ledger.key"]
    assert key.secret.hex() not in repr(key)
    path.write_bytes(b"short")
    with pytest.raises(InputError, match="found 5 bytes"):
        BlindingKey.read(path)
    with pytest.raises(InputError, match="no regular file"):
        BlindingKey.read(tmp_path)
