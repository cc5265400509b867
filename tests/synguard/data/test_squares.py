"""Photographs that are no squares: copies of what the centred square leaves out are found as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synguard.config import DataSource, MemorisationConfig, RunConfig
from synguard.data.decode import square
from synguard.data.readers import read_images
from synguard.data.squares import Squares, further_squares
from synguard.runs.material import Material, read_material
from synguard.runs.prepare import prepare_memorisation
from synguard.runs.progress import silent
from tests.support.textures import digests, textures

SIDE = 32


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "names"),
    [
        (64, 64, []),
        (50, 60, []),
        (48, 64, ["whole"]),
        (64, 48, ["whole"]),
        (64, 96, ["whole", "square 1 of 3", "square 3 of 3"]),
        (128, 64, ["whole", "square 1 of 3", "square 3 of 3"]),
        (40, 90, ["whole", "square 1 of 5", "square 2 of 5", "square 4 of 5", "square 5 of 5"]),
    ],
)
def test_what_the_centred_square_leaves_out(height, width, names):
    found = further_squares(picture(height, width), SIDE)
    assert [name for name, _ in found] == names
    assert all(pixels.shape == (SIDE, SIDE, 3) for _, pixels in found)


def test_squares_are_those_of_the_picture():
    tall, wide = picture(130, 64), picture(64, 130)
    for found, first, last in (
        (further_squares(tall, SIDE), tall[:64], tall[-64:]),
        (further_squares(wide, SIDE), wide[:, :64], wide[:, -64:]),
    ):
        squares = dict(found)
        # But for the filter, which reaches over the cut.
        for name, part in (("square 1 of 5", first), ("square 5 of 5", last)):
            assert np.abs(squares[name].astype(int) - square(part, SIDE)).mean() < 3


def test_a_strip_has_no_end_of_squares():
    assert len(further_squares(picture(2, 3000), 16)) == 15


def written(folder: Path, pictures: np.ndarray) -> Path:
    folder.mkdir()
    for row, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{row:03d}.png")
    return folder


def test_they_lie_behind_the_images_of_their_file(tmp_path):
    folder = written(tmp_path / "set", textures(3, 1, 64))
    Image.fromarray(picture(40, 80)).save(folder / "001.png")
    squares = Squares(SIDE)
    plain = read_images(DataSource(path=str(folder)), size=SIDE, name="private", squares=squares)
    wider = squares.beside(plain)
    assert plain.files == ("000.png", "001.png", "002.png")
    assert wider.files[3:] == ("001.png (whole)", "001.png (square 1 of 3)", "001.png (square 3 of 3)")
    assert wider.sha256[3:] == (plain.sha256[1],) * 3
    assert wider.patients[3:].tolist() == ["001.png"] * 3
    np.testing.assert_array_equal(wider.pixels[:3], plain.pixels)
    np.testing.assert_array_equal(wider.pixels[3:], [pixels for _, pixels in further_squares(picture(40, 80), SIDE)])
    empty = Squares(SIDE)
    assert empty.beside(plain) is plain


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Material]:
    """Private photographs of 16:9, and a holdout of the same kind."""
    folder = tmp_path_factory.mktemp("long")
    pictures = textures(120, 7, 128)[:, 28:100]
    for name, part in (("private", pictures[:60]), ("holdout", pictures[60:])):
        written(folder / name, part)
    config = RunConfig(private=DataSource(path="private"), holdout=DataSource(path="holdout"), image_size=64)
    return pictures[:60], read_material(config, folder, silent)


def test_copies_that_were_squeezed_or_cut_elsewhere_are_found(long, tmp_path):
    pictures, material = long
    assert len(material.searched) == 4 * len(material.private)
    assert material.members.tolist() == list(range(60))
    config = RunConfig(private=DataSource(path="private"), holdout=DataSource(path="holdout"), image_size=64)
    audits = config.audits.model_copy(update={"memorisation": MemorisationConfig(planted_per_transform=4)})
    config = config.model_copy(update={"audits": audits})
    _, _, prepared = prepare_memorisation(material, config, tmp_path / "index", None, silent)
    rows = np.arange(20)
    resized = [Image.fromarray(pictures[row]).resize((64, 64), Image.Resampling.BICUBIC) for row in rows]
    squeezed = np.stack([np.asarray(image) for image in resized])
    ends = np.stack([square(pictures[row][:, :72], 64) for row in rows])
    centred = material.private.pixels[rows, :, ::-1]
    for copies in (squeezed, ends, centred):
        found = prepared.examine(copies, digests(copies))
        assert found.flagged.all()
        named = [material.searched.files[row].partition(" (")[0] for row in found.nearest]
        assert named == [f"{row:03d}.png" for row in rows]
    # A copy of one square that another square of the same picture is named for is found right.
    assert all(count.found == count.n for count in prepared.planted() if count.transform in ("identity", "mirrored"))
    # What the model learned from is compared with as it was learned: the centred squares.
    assert prepared.proximity is not None
    assert prepared.proximity.private_rows.max() < 60
