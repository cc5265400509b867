"""Sheets of many pictures are told from single pictures, however they are laid together and saved."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synguard.config import DataSource
from synguard.data.phantom import phantom_set
from synguard.data.readers import read_images
from synguard.data.sheets import Sheet, find_sheet
from synguard.errors import InputError
from tests.support.runs import fundus
from tests.support.textures import textures

Pixels = NDArray[np.uint8]
BLACK, GREY, WHITE = 0, 128, 255
MOST = 60
"""Real images of each set that the test looks at; the decision record tells of all."""


def sheet(pictures: Pixels, columns: int, rows: int, *, side: int = 64, gap: int = 0, colour: int = BLACK) -> Pixels:
    """Pictures (n, h, w, 3) laid together, begun again where there are too few."""
    out = np.full((rows * (side + gap) - gap, columns * (side + gap) - gap, 3), colour, np.uint8)
    for place in range(rows * columns):
        top, left = (index * (side + gap) for index in divmod(place, columns))
        picture = Image.fromarray(pictures[place % len(pictures)]).resize((side, side), Image.Resampling.LANCZOS)
        out[top : top + side, left : left + side] = np.asarray(picture)
    return out


def jpeg(pixels: Pixels, quality: int = 75) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.fixture(scope="module")
def phantoms() -> Pixels:
    return phantom_set("phantoms", patients=20, images_per_patient=1, size=128, seed=3).pixels


@pytest.fixture(scope="module")
def skin() -> Pixels:
    """Pictures that fill their square and are of one colour on the whole."""
    return textures(20, 5, 64)


@pytest.mark.parametrize(("columns", "rows"), [(2, 1), (2, 2), (3, 3), (2, 3), (4, 4), (8, 8)])
@pytest.mark.parametrize(("gap", "colour"), [(0, BLACK), (1, BLACK), (2, GREY), (4, WHITE), (4, BLACK)])
@pytest.mark.parametrize("made", ["phantoms", "skin"])
def test_sheets_are_found(request: pytest.FixtureRequest, made: str, columns: int, rows: int, gap: int, colour: int):
    pixels = sheet(request.getfixturevalue(made), columns, rows, gap=gap, colour=colour)
    assert find_sheet(pixels) == Sheet(columns, rows)
    assert find_sheet(jpeg(pixels)) == Sheet(columns, rows)


def test_a_sheet_of_nine_hundred(skin: Pixels):
    assert find_sheet(sheet(skin, 30, 30, side=32)) == Sheet(30, 30)


def test_a_sheet_with_a_margin(skin: Pixels):
    assert find_sheet(np.pad(sheet(skin, 4, 4, gap=2), ((2, 2), (2, 2), (0, 0)))) == Sheet(4, 4)


def test_two_pictures_of_different_width_with_a_gutter(skin: Pixels):
    pixels = sheet(skin, 1, 1, side=128)
    pixels[:, 40:44] = WHITE
    assert find_sheet(pixels) is not None


@pytest.mark.parametrize("quality", [None, 30, 50, 75])
def test_single_pictures_are_none(phantoms: Pixels, skin: Pixels, quality: int | None):
    for picture in (*phantoms, *skin, fundus(1)):
        assert find_sheet(picture if quality is None else jpeg(picture, quality)) is None


@pytest.mark.parametrize("colour", [BLACK, GREY, WHITE])
def test_a_frame_is_no_picture(skin: Pixels, colour: int):
    assert find_sheet(np.pad(skin[0], ((32, 32), (32, 32), (0, 0)), constant_values=colour)) is None


def test_one_colour_is_no_sheet():
    assert find_sheet(np.full((128, 128, 3), GREY, np.uint8)) is None
    assert find_sheet(np.zeros((16, 16, 3), np.uint8)) is None


def _photographs(folder: Path, name: str) -> list[Pixels]:
    if name == "fundus600":
        return list(np.load(folder / "fundus600/fundus600_128.npz", allow_pickle=False)["images"][::10])
    found = []
    with tarfile.open(folder / "ham10000/images_128.tar") as tar:
        for entry in [member for member in tar if member.isfile()][:: 7496 // MOST]:
            file = tar.extractfile(entry)
            assert file is not None
            found.append(np.asarray(Image.open(file).convert("RGB")))
    return found


@pytest.mark.parametrize("name", ["ham10000", "fundus600"])
def test_photographs(test_data: Path, name: str):
    pictures = _photographs(test_data, name)
    assert len(pictures) >= MOST
    for picture in pictures:
        assert find_sheet(picture) is None
        assert find_sheet(jpeg(picture, 30)) is None
    for columns, rows in ((2, 2), (3, 3), (4, 4)):
        for gap in (0, 2):
            made = jpeg(sheet(np.array(pictures), columns, rows, side=64, gap=gap))
            assert find_sheet(made) == Sheet(columns, rows)


@pytest.mark.parametrize("skip", [False, True])
def test_a_sheet_in_a_release_stops_the_run(tmp_path: Path, skin: Pixels, skip: bool):
    for number, picture in enumerate(skin[:5]):
        Image.fromarray(picture).resize((256, 256)).save(tmp_path / f"{number}.png")
    Image.fromarray(sheet(skin, 4, 4)).save(tmp_path / "x.png")
    source = DataSource(path=str(tmp_path))
    read_images(source, size=64, name="private", skip_unreadable=skip)
    with pytest.raises(InputError, match=r"x\.png: found a sheet of about 4 x 4 pictures, expected one picture"):
        read_images(source, size=64, name="synthetic", released=True, skip_unreadable=skip)


def test_a_file_far_larger_than_the_rest_stops_the_run(tmp_path: Path, skin: Pixels):
    for number, picture in enumerate(skin[:5]):
        Image.fromarray(picture).resize((40, 40) if number else (84, 84)).save(tmp_path / f"{number}.png")
    with pytest.raises(InputError, match=r"0\.png: found a side of 84 pixels, expected at most 80, twice"):
        read_images(DataSource(path=str(tmp_path)), size=64, name="synthetic", released=True, skip_unreadable=True)
