"""Boxes of the metadata: in the frame that is examined, and each cell that is no box, with the message that says so."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synguard.config import DataSource
from synguard.data.readers import read_images
from synguard.errors import InputError

NAN = [float("nan")] * 4


def _set(folder, cells, column="box"):
    """An image folder with one image of 40 x 20 pixels a cell."""
    folder.mkdir()
    for row in range(len(cells)):
        Image.fromarray(np.full((20, 40, 3), 10 * row, np.uint8)).save(folder / f"{row}.png")
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", column], *([f"{row}.png", cell] for row, cell in enumerate(cells))])
    return folder


def _jpeg(folder, pixels, cell, **options):
    """A folder with one JPEG file."""
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / "0.jpg", **options)
    (folder / "metadata.csv").write_text(f"file_name,box\n0.jpg,{cell}\n")
    return folder


def _read(folder, size=16, **options):
    return read_images(DataSource(path=str(folder), box="box"), size=size, name="private", **options)


def test_boxes_are_in_the_square_that_is_examined(tmp_path):
    cells = ["10 0 20 20", "15,5,10,10", " 10 , 0.0, 5 5 ", "", "0 0 40 20", "0 0 9 20", "[10, 10, 5.5, 10]"]
    images = _read(_set(tmp_path / "set", cells))
    expected = [
        [-1, -1, 1, 1],
        [-0.5, -0.5, 0.5, 0.5],
        [-1, -1, -0.5, -0.5],
        NAN,
        [-1, -1, 1, 1],  # cut off, as the picture is
        NAN,  # outside of the square: nobody examines it
        [-1, 0, -0.45, 1],
    ]
    assert images.boxes.dtype == np.float32
    np.testing.assert_allclose(images.boxes, expected, atol=1e-6)


def test_the_box_shows_what_the_file_shows_there(tmp_path):
    pixels = np.zeros((90, 60, 3), np.uint8)
    pixels[40:52, 20:44] = 255
    images = _read(_jpeg(tmp_path / "set", pixels, "20 40 24 12", quality=100, subsampling=0), size=60)
    left, top, right, bottom = np.rint((images.boxes[0] + 1) * 30).astype(int)
    shown = images.pixels[0, top:bottom, left:right]
    assert shown.min() > 128
    assert (images.pixels[0] > 128).sum() == shown.size


def test_a_picture_that_lies_on_its_side_is_turned_first(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((20, 40, 3), np.uint8)
    upright = _read(_jpeg(tmp_path / "set", pixels, "0 20 20 10", exif=exif))
    np.testing.assert_allclose(upright.boxes, [[-1, 0, 1, 1]])
    with pytest.raises(InputError, match="inside the picture of 20 x 40 pixels"):
        _read(_jpeg(tmp_path / "set", pixels, "20 0 20 20", exif=exif))


def test_boxes_are_in_pixels_of_the_file_even_where_it_is_decoded_at_a_fraction(tmp_path):
    images = _read(_jpeg(tmp_path / "set", np.zeros((400, 400, 3), np.uint8), "0 0 400 200"))
    np.testing.assert_allclose(images.boxes, [[-1, -1, 1, 0]])


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("1 2 3", "'1 2 3'"),
        ("1 2 3 4 5", "'1 2 3 4 5'"),
        ("1,,2,3", "'1,,2,3'"),
        ("a b c d", "'a b c d'"),
        ("nan nan nan nan", "'nan nan nan nan'"),
        ("inf 0 1 1", "'inf 0 1 1'"),
        ("1e999 0 1 1", "'1e999 0 1 1'"),
        ("\u0661 0 1 1", r"'\\u0661 0 1 1'"),
        ("1_0 0 1 1", "'1_0 0 1 1'"),
        ("-1 0 5 5", "'-1 0 5 5'"),
        ("0 0 0 5", "'0 0 0 5'"),
        ("0 0 5 -5", "'0 0 5 -5'"),
        ("35 0 10 10", "a box that ends at 45, 10"),
        ("0 0 999999999 1", r"a box that ends at 1e\+09, 1"),
        ("__import__('os') 1 1 1", '"__import__'),
        ("1 1 1 1\x1b[2J", r"'1 1 1 1\\x1b"),
        ("1 1 1 1\nbox: found nothing", r"'1 1 1 1\\nbox"),
        ("1" + " " * 100_000 + "x", r"'1  .*\.\.\."),
        ("9" * 5000 + " 1 1 1", r"'9999.*\.\.\."),
    ],
)
def test_a_cell_that_is_no_box_is_told_with_its_place(tmp_path, cell, found):
    folder = _set(tmp_path / "set", ["", "1 1 1 1", cell])
    with pytest.raises(InputError, match=rf"set row 3: box: found {found}.*, expected ") as caught:
        _read(folder)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_column_that_is_not_there_is_told(tmp_path):
    folder = _set(tmp_path / "set", ["1 1 1 1"], column="lesion")
    with pytest.raises(InputError, match="set: box: found the columns file_name, lesion, expected a column 'box'"):
        _read(folder)


def test_a_medmnist_file_has_no_boxes(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=np.zeros((2, 8, 8, 3), np.uint8), train_labels=np.zeros((2, 1)))
    with pytest.raises(InputError, match="box: found a MedMNIST file"):
        _read(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_lists_of_other_tables_are_boxes_too(tmp_path, suffix):
    folder = _set(tmp_path / "set", ["", ""])
    (folder / "metadata.csv").unlink()
    rows = [{"file_name": "0.png", "box": [15, 5, 10, 10]}, {"file_name": "1.png", "box": None}]
    if suffix == "jsonl":
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pd.DataFrame(rows).to_parquet(folder / "metadata.parquet")
    np.testing.assert_allclose(_read(folder).boxes, [[-0.5, -0.5, 0.5, 0.5], NAN])


def test_boxes_stay_with_their_images(tmp_path):
    folder = _set(tmp_path / "set", ["10 0 10 10", "1 2 3 4", "20 10 10 10", ""])
    (folder / "1.png").write_bytes(b"no image")
    images = _read(folder, skip_unreadable=True)
    assert images.files == ("0.png", "2.png", "3.png")
    np.testing.assert_allclose(images.boxes, [[-1, -1, 0, 0], [0, 0, 1, 1], NAN])
    np.testing.assert_allclose(images.take([2, 1]).boxes, [NAN, [0, 0, 1, 1]])
    plain = read_images(DataSource(path=str(_set(tmp_path / "other", ["5"], column="age"))), size=16, name="other")
    assert plain.boxes is None
    assert plain.take([0]).boxes is None
    assert plain.joined(plain, "both").boxes is None
    np.testing.assert_allclose(plain.joined(images, "both").boxes, [NAN, [-1, -1, 0, 0], [0, 0, 1, 1], NAN])
