"""Readers: what a set holds, and each way in which a set can be wrong, with the message that says so."""

import csv
import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synguard.config import DataSource
from synguard.data import images as image_sets
from synguard.data.readers import read_images, shorter_side
from synguard.errors import InputError, UnreadableImageError


def _save(path: Path, seed: int, size: int = 8) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(path)
    return path.read_bytes()


def _csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _read(path, **options):
    options = {"size": 8, "name": "private", **options}
    patient = options.pop("patient", None)
    return read_images(DataSource(path=str(path), patient=patient), **options)


@pytest.fixture
def folder(tmp_path):
    """Three images of two patients, with metadata.csv."""
    for number in range(3):
        _save(tmp_path / "set/images" / f"{number}.png", number)
    rows = [
        ["file_name", "patient", "grade"],
        ["images/2.png", "007", "1"],
        ["images/0.png", "007", ""],
        ["images/1.png", "8", "NA"],
    ]
    _csv(tmp_path / "set/metadata.csv", rows)
    return tmp_path / "set"


def _refused(path, match, error=InputError, **options):
    with pytest.raises(error, match=match) as caught:
        _read(path, **options)
    assert "\n" not in str(caught.value)
    assert ": found " in str(caught.value)
    assert ", expected " in str(caught.value)


class TestFolder:
    def test_rows_are_in_the_order_of_the_metadata(self, folder):
        images = _read(folder, patient="patient")
        assert images.files == ("images/2.png", "images/0.png", "images/1.png")
        assert images.patients.tolist() == ["007", "007", "8"]
        assert images.has_patient_ids
        for row, file in enumerate(images.files):
            data = (folder / file).read_bytes()
            assert images.sha256[row] == hashlib.sha256(data).hexdigest()
            np.testing.assert_array_equal(images.pixels[row], np.asarray(Image.open(folder / file)))

    def test_cells_stay_text_and_only_empty_ones_are_missing(self, folder):
        grade = _read(folder).metadata["grade"]
        assert grade.dtype == "string"
        assert grade.isna().tolist() == [False, True, False]
        assert grade[2] == "NA"

    def test_without_patient_column_each_image_is_a_patient(self, folder):
        images = _read(folder)
        assert not images.has_patient_ids
        assert images.patients.tolist() == list(images.files)

    def test_without_metadata_all_images_below_sorted(self, tmp_path):
        for name in ("b/x.png", "a.PNG", "b/c/y.jpeg"):
            _save(tmp_path / name, 1)
        (tmp_path / "README.txt").write_text("no image")
        images = _read(tmp_path)
        assert images.files == ("a.PNG", "b/c/y.jpeg", "b/x.png")
        assert list(images.metadata.columns) == ["file_name"]

    @pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
    def test_other_metadata_says_the_same(self, folder, suffix):
        expected = _read(folder, patient="patient")
        frame = pd.read_csv(folder / "metadata.csv", dtype={"patient": str}, keep_default_na=False)
        rows = frame.replace({"": None}).to_dict("records")
        (folder / "metadata.csv").unlink()
        if suffix == "jsonl":
            (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pd.DataFrame(rows).to_parquet(folder / "metadata.parquet")
        images = _read(folder, patient="patient")
        assert images.digest == expected.digest
        pd.testing.assert_frame_equal(images.metadata, expected.metadata)

    def test_numbers_of_jsonl_become_short_text(self, tmp_path):
        _save(tmp_path / "a.png", 0)
        row = {"file_name": "a.png", "whole": 3, "share": 0.5, "yes": True, "none": None}
        (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
        read = _read(tmp_path).metadata.iloc[0]
        assert read[["whole", "share", "yes"]].tolist() == ["3", "0.5", "true"]
        assert pd.isna(read["none"])

    def test_relative_to_base(self, folder):
        assert len(_read("set", base=folder.parent)) == 3

    def test_a_path_may_hold_a_hash(self, folder):
        folder.rename(folder.with_name("set#1"))
        assert len(_read(folder.with_name("set#1"))) == 3

    def test_progress_counts_to_the_end(self, folder):
        seen = []
        _read(folder, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_order_of_threads_does_not_matter(self, tmp_path):
        for number in range(60):
            _save(tmp_path / f"{number:02}.png", number, size=8 if number % 2 else 90)
        images = _read(tmp_path)
        for row in (0, 31, 59):
            assert images.sha256[row] == hashlib.sha256((tmp_path / images.files[row]).read_bytes()).hexdigest()
        np.testing.assert_array_equal(images.pixels[31], np.asarray(Image.open(tmp_path / "31.png")))

    def test_pixels_of_large_sets_lie_in_a_file(self, folder, monkeypatch):
        expected = _read(folder)
        monkeypatch.setattr(image_sets, "_MAP_FROM", 100)
        images = _read(folder)
        assert isinstance(images.pixels, np.memmap)
        np.testing.assert_array_equal(images.pixels, expected.pixels)


class TestRefused:
    def test_missing_path(self, tmp_path):
        _refused(tmp_path / "none", r"none: found nothing, expected an image folder")

    def test_other_file(self, tmp_path):
        (tmp_path / "x.zip").write_bytes(b"PK")
        _refused(tmp_path / "x.zip", "found a file of another kind")

    def test_empty_folder(self, tmp_path):
        _refused(tmp_path, "found a folder without images, expected at least one image")

    @pytest.mark.parametrize("name", ["a.ppm", "x/b.nii.gz", "c.npy", "d.zip", "scan", "e.tga", "README.nii", "sheet.pdf"])
    def test_a_file_of_an_unknown_kind(self, folder, name):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"P6 16 16 255 ...")
        with pytest.raises(InputError, match=rf"{name}: found a file of an unknown kind, expected images, their metadata"):
            _read(folder)

    def test_files_of_unknown_kinds_are_counted(self, folder):
        for name in ("a.npy", "b.npy", "c.npy"):
            (folder / name).write_bytes(b"...")
        with pytest.raises(InputError, match=r"a\.npy: found a file of an unknown kind and 2 more such files"):
            _read(folder)

    def test_a_file_that_is_text_by_name_alone(self, folder):
        (folder / "notes.txt").write_bytes(b"\x5c\x01\0\0 a volume under another name")
        with pytest.raises(InputError, match=r"notes\.txt: found a file of an unknown kind"):
            _read(folder)

    @pytest.mark.parametrize(
        "name",
        [
            *("README", "README.md", "LICENSE", "licence.txt", "x/notes.txt", "a.json", "b.YAML", "index.csv", "SHA256SUMS"),
            *("a.png.sha256", "checksums", ".gitattributes"),
        ],
    )
    def test_text_beside_the_images_is_none_of_them(self, folder, name):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no image")
        assert name not in _read(folder).files

    @pytest.mark.parametrize("name", [".DS_Store", "x/Thumbs.db", "desktop.ini"])
    def test_what_systems_leave_is_none_of_them(self, folder, name):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\0\0\1Bud1")
        assert name not in _read(folder).files

    def test_image_that_no_row_names(self, folder):
        _save(folder / "images/9.png", 9)
        _save(folder / "extra.webp", 9)
        _refused(folder, r"metadata.csv: found no row for extra.webp and 1 more images, expected a row for each")

    def test_image_that_no_row_names_and_no_suffix_tells(self, folder):
        (folder / "thumbs.db").write_bytes(_save(folder.parent / "x.png", 1))
        _refused(folder, "found no row for thumbs.db")

    def test_missing_image(self, folder):
        (folder / "images/1.png").unlink()
        _refused(folder, r"images/1.png: found nothing, expected a file")

    def test_missing_image_is_no_unreadable_one(self, folder):
        (folder / "images/1.png").unlink()
        _refused(folder, "found nothing", skip_unreadable=True)

    def test_missing_patient_column(self, folder):
        _refused(
            folder,
            r"set: patient: found the columns file_name, patient, grade, expected a column 'person'",
            patient="person",
        )

    def test_missing_patient_id(self, folder):
        _refused(folder, r"images/0.png: found no grade, expected a patient id", patient="grade")

    def test_two_tables(self, folder):
        (folder / "metadata.jsonl").write_text("{}")
        _refused(folder, "found metadata.csv and metadata.jsonl, expected one metadata table")

    def test_table_further_down(self, folder):
        (folder / "metadata.csv").rename(folder / "images/metadata.csv")
        _refused(folder, "found images/metadata.csv, expected one metadata table, at the top")

    def test_patient_where_there_is_no_metadata(self, tmp_path):
        _save(tmp_path / "a.png", 0)
        _refused(tmp_path, "expected a column 'patient'", patient="patient")

    @pytest.mark.parametrize(
        "name", ["../outside.png", "images/../../outside.png", "/etc/passwd", "C:/x.png", "a\\b.png", ".", "a\0b"]
    )
    def test_path_that_leads_outside(self, folder, name):
        _save(folder.parent / "outside.png", 5)
        (folder / "metadata.csv").unlink()
        (folder / "metadata.jsonl").write_text(json.dumps({"file_name": name}))
        for number in range(3):
            (folder / "images" / f"{number}.png").unlink()
        _save(folder / "x.png", 1)
        table = folder / "table.jsonl"
        table.write_text(json.dumps({"path": name}))
        _refused(table, "table.jsonl row 1: found the path .* expected a relative path that stays inside")
        _refused(folder, "metadata.jsonl row 1: found the path .* expected a relative path that stays inside")

    def test_link_that_leads_outside(self, folder):
        _save(folder.parent / "outside.png", 5)
        (folder / "images/1.png").unlink()
        (folder / "images/1.png").symlink_to(folder.parent / "outside.png")
        _refused(folder, r"images/1.png: found a link that leads outside the set's folder")

    def test_linked_folder(self, folder):
        (folder / "more").symlink_to(folder.parent)
        _refused(folder, "more: found a link to a folder")

    def test_folder_that_cannot_be_listed(self, folder, monkeypatch):
        (folder / "locked").mkdir()
        scandir = os.scandir

        def refusing(path):
            if str(path).endswith("locked"):
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)
        _refused(folder, "locked: found Permission denied, expected a folder that can be listed")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe_is_not_waited_on(self, folder):
        (folder / "images/1.png").unlink()
        os.mkfifo(folder / "images/1.png")
        _refused(folder, r"images/1.png: found something else, expected a file")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "found no header"),
            ("file_name\n", "found no rows"),
            ("name,grade\na.png,1\n", "found the columns name, grade, expected a column file_name"),
            ("file_name,grade,grade\na.png,1,2\n", "found the column 'grade' twice"),
            ("file_name,grade\na.png\n", "line 2: found 1 cells, expected 2"),
            ("file_name,grade\na.png,1,2\n", "line 2: found 3 cells, expected 2"),
            ("file_name\na.png\n./a.png\n", "row 2: found 'a.png' as in row 1, expected each image once"),
            ("file_name,grade\n,1\n", "row 1: found an empty file_name, expected a path"),
            ('file_name\n"a.png\n', "expected a row of comma-separated values"),
        ],
    )
    def test_bad_csv(self, tmp_path, text, message):
        _save(tmp_path / "a.png", 0)
        (tmp_path / "metadata.csv").write_text(text)
        _refused(tmp_path, message)

    def test_csv_in_another_encoding(self, tmp_path):
        _save(tmp_path / "a.png", 0)
        (tmp_path / "metadata.csv").write_bytes("file_name,name\na.png,Jürgen\n".encode("latin-1"))
        _refused(tmp_path, r"metadata.csv: found byte 0xfc at 22, expected UTF-8 text")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{]", "line 1: found no valid JSON"),
            ('{"file_name": "a.png"}\n[1]', "line 2: found a JSON list"),
            ("", "found the columns none"),
        ],
    )
    def test_bad_jsonl(self, tmp_path, text, message):
        _save(tmp_path / "a.png", 0)
        (tmp_path / "metadata.jsonl").write_text(text)
        _refused(tmp_path, message)

    def test_bad_parquet(self, tmp_path):
        (tmp_path / "table.parquet").write_bytes(b"PAR1 no")
        _refused(tmp_path / "table.parquet", "found no readable Parquet table")


class TestUnreadable:
    @pytest.fixture
    def broken(self, folder):
        (folder / "images/0.png").write_text("text")
        (folder / "images/1.png").write_bytes((folder / "images/1.png").read_bytes()[:60])
        return folder

    def test_the_first_is_named_with_the_count(self, broken):
        message = (
            r"images/0.png: found a file that is no image, expected .*; 1 more cannot be read, the next is images/1.png"
        )
        _refused(broken, message, UnreadableImageError)

    def test_skipping_lists_them(self, broken):
        images = _read(broken, skip_unreadable=True, patient="patient")
        assert images.files == ("images/2.png",)
        assert images.skipped == ("images/0.png", "images/1.png")
        assert images.metadata["file_name"].tolist() == ["images/2.png"]
        np.testing.assert_array_equal(images.pixels[0], np.asarray(Image.open(broken / "images/2.png")))

    def test_rows_move_up_where_others_are_skipped(self, tmp_path):
        for number in range(6):
            _save(tmp_path / f"{number}.png", number)
        for number in (0, 3):
            (tmp_path / f"{number}.png").write_text("text")
        images = _read(tmp_path, skip_unreadable=True)
        assert images.files == ("1.png", "2.png", "4.png", "5.png")
        for row, file in enumerate(images.files):
            np.testing.assert_array_equal(images.pixels[row], np.asarray(Image.open(tmp_path / file)))

    def test_nothing_left(self, tmp_path):
        (tmp_path / "a.png").write_text("text")
        _refused(tmp_path, "a.png: found a file that is no image", UnreadableImageError, skip_unreadable=True)


class TestTable:
    @pytest.mark.parametrize("column", ["path", "file_name"])
    def test_paths_are_relative_to_the_table(self, folder, column):
        _csv(folder / "some.csv", [[column, "patient"], ["images/1.png", "8"]])
        images = _read(folder / "some.csv", patient="patient")
        assert images.files == ("images/1.png",)
        assert images.patients.tolist() == ["8"]

    def test_by_url(self, folder):
        import fsspec

        memory = fsspec.filesystem("memory")
        for path in folder.rglob("*"):
            if path.is_file():
                memory.pipe(f"/readers/{path.relative_to(folder).as_posix()}", path.read_bytes())
        assert _read("memory://readers", patient="patient").digest == _read(folder, patient="patient").digest
        assert len(_read("memory://readers/metadata.csv")) == 3
        _refused("memory://nowhere", "memory://nowhere: found nothing, expected an image folder")
        _refused("nosuchscheme://x", "expected an address that fsspec can open")


class TestMedmnist:
    @pytest.fixture
    def file(self, tmp_path):
        rng = np.random.default_rng(0)
        arrays = {}
        for split, count in (("train", 5), ("val", 3), ("test", 2)):
            arrays[f"{split}_images"] = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
            arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None]
        np.savez_compressed(tmp_path / "some.npz", **arrays)
        return tmp_path / "some.npz", arrays

    def test_splits(self, file):
        path, arrays = file
        images = _read(f"{path}#train,val")
        assert images.files == ("train/0", "train/1", "train/2", "train/3", "train/4", "val/0", "val/1", "val/2")
        np.testing.assert_array_equal(images.pixels, np.concatenate([arrays["train_images"], arrays["val_images"]]))
        assert images.metadata["label"].tolist() == ["0", "1", "2", "3", "4", "0", "1", "2"]
        assert images.sha256[6] == hashlib.sha256(arrays["val_images"][1].tobytes()).hexdigest()
        assert len(_read(path)) == 10

    def test_a_folder_with_a_hash(self, file):
        path, _ = file
        (path.parent / "a#b.npz#c").mkdir()
        path.rename(path.parent / "a#b.npz#c/x.npz")
        assert len(_read(f"{path.parent}/a#b.npz#c/x.npz#val")) == 3

    def test_sizes_and_grey(self, tmp_path):
        np.savez(
            tmp_path / "grey.npz", test_images=np.full((2, 28, 28), 9, np.uint8), test_labels=np.zeros((2, 3), np.uint8)
        )
        images = _read(tmp_path / "grey.npz", size=32)
        assert images.pixels.shape == (2, 32, 32, 3)
        assert (images.pixels == 9).all()
        assert list(images.metadata.columns) == ["file_name", "label_0", "label_1", "label_2"]

    def test_unknown_split(self, file):
        _refused(
            f"{file[0]}#train,tets", r"some.npz#train,tets: found the split 'tets', expected each once of train, val, test"
        )

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"images": np.zeros((2, 8, 8, 3), np.uint8)}, "found no array `\\*_images`"),
            ({"train_images": np.zeros((2, 8, 8, 8, 3), np.uint8)}, "found images of shape 2 x 8 x 8 x 8 x 3"),
            ({"train_images": np.zeros((2, 8, 8, 3))}, "found an array of float64, expected an array of uint8"),
            ({"train_images": np.array([{}, {}])}, "found an array of object"),
            ({"train_images": np.zeros((2, 8, 8), np.uint8), "train_labels": np.zeros((3, 1))}, "labels of shape 3 x 1"),
            ({"train_images": np.zeros((2, 8, 8), np.uint8), "train_labels": np.array([{}, {}])}, "without unpickling"),
        ],
        ids=["keys", "volumes", "floats", "pickles", "label rows", "pickled labels"],
    )
    def test_bad_arrays(self, tmp_path, arrays, message):
        np.savez(tmp_path / "bad.npz", **arrays)
        _refused(tmp_path / "bad.npz", message)

    def test_no_zip(self, tmp_path):
        (tmp_path / "bad.npz").write_text("text")
        _refused(tmp_path / "bad.npz", "bad.npz: found no readable .npz file")

    def test_header_that_announces_more_than_there_is(self, tmp_path):
        head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000, 4000, 4000, 3), }\n"
        with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
            archive.writestr("train_images.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\0" * 10)
        _refused(tmp_path / "bomb.npz", r"train_images: found 10 bytes, expected 4,800,000,000,000")


class TestShorterSide:
    def test_is_that_of_the_first_image(self, tmp_path):
        (tmp_path / "set").mkdir()
        Image.new("RGB", (50, 30)).save(tmp_path / "set/a.png")
        _save(tmp_path / "set/b.png", 0, size=9)
        assert shorter_side(DataSource(path="set"), base=tmp_path) == 30
        np.savez(tmp_path / "x.npz", val_images=np.zeros((2, 28, 20), np.uint8), test_images=np.zeros((2, 8, 8), np.uint8))
        assert shorter_side(DataSource(path="x.npz"), base=tmp_path) == 20
        assert shorter_side(DataSource(path="x.npz#test"), base=tmp_path) == 8
