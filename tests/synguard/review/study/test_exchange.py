"""Readers elsewhere: a folder goes out, a table comes back; a faulty one changes nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synguard.errors import InputError
from synguard.governance.ledger import Ledger
from synguard.review.study.answers import KIND, read_answers
from synguard.review.study.exchange import TABLE
from synguard.review.study.plan import Terms, pixel_digest
from synguard.runs.study import EXPORTED, Study, open_study
from tests.support.studied import HOSTILE, RUN, SIDE, answer_all, studied_run

TERMS = Terms(images=6, readers=1, margin=0.2)
Rows = list[dict[str, str]]


@pytest.fixture
def sent(tmp_path: Path, study: Study) -> Path:
    study.fix(TERMS)
    assert study.export("Ann", tmp_path / "ann") == 12
    return tmp_path / "ann"


def table(folder: Path) -> Rows:
    return list(csv.DictReader(io.StringIO((folder / TABLE).read_text(encoding="utf-8-sig"), newline="")))


def write(folder: Path, rows: Rows, *, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    path = folder.parent / "back.csv"
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def filled(folder: Path) -> Rows:
    answers = {"answer": "real", "confidence": "4", "condition.grade": "mild", "condition.drusen": ""}
    return [row | answers for row in table(folder)]


def test_a_folder_goes_out_and_its_table_comes_back(study: Study, sent: Path, ledger: Ledger):
    rows = filled(sent)
    rows[3] |= {"answer": "Synthetic", "confidence": "1", "condition.grade": "", "condition.drusen": "1"}
    assert study.take_back("Ann", write(sent, rows)) == 12
    found = read_answers(study.plan(), ledger.entries(KIND, RUN))
    assert {answer.name for answer in found} == {"Ann"}
    by_name = {name: item.id for name, item in study.plan().for_reader("ann").items()}
    odd = next(answer for answer in found if answer.item == by_name[rows[3]["image"].removesuffix(".png")])
    assert odd.given is not None
    assert (odd.given.said, odd.given.confidence, odd.given.seen) == ("synthetic", 1, {"drusen": "1"})
    assert study.take_back("Ann", write(sent, rows)) == 0, "the same table again changes nothing"
    assert len(ledger.entries(KIND, RUN)) == 12
    assert [entry.payload["reviewer"] for entry in ledger.entries(EXPORTED, RUN)] == ["Ann"]


def test_nothing_but_pixels_goes_out(study: Study, sent: Path):
    names = [path.name for path in sorted((sent / "images").iterdir())]
    assert sorted(path.name for path in sent.iterdir()) == ["README.txt", TABLE, "images"]
    assert [row["image"] for row in table(sent)] == names
    assert [set(row.values()) for row in table(sent)] == [{name, ""} for name in names], "the table is blank"
    assert len({(path.stat().st_size, path.stat().st_mtime) for path in (sent / "images").iterdir()}) == 1
    for path in (sent / "images").iterdir():
        with Image.open(path) as image:
            assert (image.format, image.size, image.info) == ("PNG", (SIDE, SIDE), {})
            digest = pixel_digest(np.asarray(image))
        assert study.plan().for_reader("ann")[path.stem].sha256 == digest
    for path in sent.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
        assert b"MARIA" not in path.name.encode() + (b"" if path.is_dir() else path.read_bytes())


def test_two_readers_get_other_names_and_another_order(tmp_path: Path, study: Study, sent: Path):
    study.export("Bob", tmp_path / "bob")
    data = [[path.read_bytes() for path in sorted((folder / "images").iterdir())] for folder in (sent, tmp_path / "bob")]
    assert data[0] != data[1]
    assert sorted(data[0]) == sorted(data[1])
    assert not {p.name for p in (sent / "images").iterdir()} & {p.name for p in (tmp_path / "bob" / "images").iterdir()}


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_tables_as_spreadsheets_save_them(study: Study, sent: Path, delimiter: str, encoding: str):
    rows = [{name: row[name] for name in sorted(row, key=lambda n: n != "image")} for row in reversed(filled(sent))]
    assert study.take_back(" ANN", write(sent, rows, delimiter=delimiter, encoding=encoding)) == 12


def fault(row: int, **cells: str) -> Callable[[Rows], Rows]:
    return lambda rows: [old | (cells if number == row else {}) for number, old in enumerate(rows)]


FAULTS: dict[str, tuple[Callable[[Rows], Rows], str]] = {
    "no answer": (fault(4, answer=""), r"row 6, column answer: found nothing, expected real or synthetic"),
    "no such answer": (fault(0, answer="fake"), r"row 2, column answer: found 'fake'"),
    "no confidence": (fault(11, confidence=""), r"row 13, column confidence: found nothing, expected a whole number"),
    "too sure": (fault(2, confidence="100 %"), r"row 4, column confidence: found '100 %'"),
    "no such level": (
        fault(1, **{"condition.grade": "=1+1"}),
        r"row 3, column condition\.grade: found '=1\+1', expected none",
    ),
    "another image": (fault(5, image="0" * 24 + ".png"), r"row 7, column image: found '0{24}\.png', expected an image of"),
    "a path": (fault(5, image="../../etc/passwd"), r"row 7, column image"),
    "an image twice": (
        lambda rows: [*rows, rows[0]],
        r"row 14, column image: found .* as in row 2, expected each image once",
    ),
    "a row is missing": (
        lambda rows: rows[:-1],
        r"found no row for [0-9a-f]{24}\.png, expected a row for each of 12 images",
    ),
    "a column is missing": (lambda rows: [{k: r[k] for k in r if k != "answer"} for r in rows], r"row 1: found the columns"),
    "a column too many": (lambda rows: [r | {"note": "x"} for r in rows], r"row 1: found the columns .*note"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_table_changes_nothing(study: Study, sent: Path, ledger: Ledger, name: str):
    change, message = FAULTS[name]
    path = write(sent, change(filled(sent)))
    with pytest.raises(InputError, match=message) as error:
        study.take_back("Ann", path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert ledger.entries(KIND, RUN) == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "row 1: found the columns none"),
        (b"\xff\xfe\x00", "no UTF-8 text"),
        (b'image,answer\n"a', "found text that is no table"),
        (b"x" * (8 * 2**20 + 1), "found a file of 8,388,609 bytes"),
        (b"image,answer,confidence,condition.grade,condition.drusen\na.png,real\n", "row 2: found 2 cells, expected 5"),
    ],
)
def test_files_that_are_no_tables(study: Study, sent: Path, ledger: Ledger, data: bytes, message: str):
    path = sent.parent / "back.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        study.take_back("Ann", path)
    with pytest.raises(InputError, match="found nothing, expected the table"):
        study.take_back("Ann", sent.parent / "missing.csv")
    assert ledger.entries(KIND, RUN) == ()


def test_a_table_of_another_reader(study: Study, sent: Path):
    with pytest.raises(InputError, match="expected an image of this reader's export"):
        study.take_back("Bob", write(sent, filled(sent)))


def test_a_reader_who_said_otherwise_on_the_page(study: Study, sent: Path, ledger: Ledger):
    answer_all(study, "Ann", lambda _: ("synthetic", 2))
    with pytest.raises(InputError, match="found another answer"):
        study.take_back("Ann", write(sent, filled(sent)))
    assert len(ledger.entries(KIND, RUN)) == 12


def test_an_import_that_was_killed_is_completed(study: Study, sent: Path, ledger: Ledger):
    path = write(sent, filled(sent))

    class Dying:
        left = 5

        def append(self, kind: str, payload: object) -> object:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return ledger.append(kind, payload)  # type: ignore[arg-type]

        def entries(self, *asked: str) -> object:
            return ledger.entries(*asked)

    with pytest.raises(KeyboardInterrupt):
        Study(study.run, study.record, Dying()).take_back("Ann", path)  # type: ignore[arg-type]
    assert len(ledger.entries(KIND, RUN)) == 5
    assert study.take_back("Ann", path) == 7
    assert len(ledger.entries(KIND, RUN)) == 12


def test_an_export_writes_over_nothing(tmp_path: Path, study: Study, sent: Path, ledger: Ledger):
    with pytest.raises(InputError, match="expected a new folder"):
        study.export("Bob", sent)
    assert len(ledger.entries(EXPORTED, RUN)) == 1


@pytest.mark.parametrize("name", [HOSTILE, "=cmd|' /C calc'!A0", "+1", "-1", "@x", "x\ty", 'a,b\n"c', "image"])
def test_hostile_names_are_inert_in_the_table_and_come_back(tmp_path: Path, ledger: Ledger, name: str):
    levels = (name, f"={name}")
    run = studied_run(tmp_path / "world", ledger, attribute=name, levels=levels)
    study = open_study(run, ledger.place)
    study.fix(TERMS)
    study.export(name, tmp_path / "out")
    text = (tmp_path / "out" / TABLE).read_text(encoding="utf-8-sig")
    cells = [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line if cell]
    assert cells
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r\0'"], "a spreadsheet would run it"
    words = (tmp_path / "out" / "README.txt").read_text()
    assert "\u202e" not in words
    rows = [row | {"answer": "real", "confidence": "1", f"condition.{name}": f"={name}"} for row in table(tmp_path / "out")]
    assert study.take_back(name, write(tmp_path / "out", rows)) == 12
    entry = ledger.entries(KIND, RUN)[0]
    assert entry.payload["seen"][name] == f"={name}"
    assert ledger.verify() == ()
