"""The study for readers elsewhere: a folder of images with a blank table, and that table with answers as it comes back.

Names in the folder are those of one reader, images are of one form, size, length and date. The table holds nothing that a
spreadsheet takes for a formula: names of images are hexadecimal, and columns begin with words of ours (CWE-1236).
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from synguard.errors import InputError
from synguard.review.pictures import plain_png
from synguard.review.study.answers import CONFIDENCE, Given, check_answer
from synguard.review.study.plan import Condition, Item, Plan, load_picture

__all__ = ["LARGEST_TABLE", "TABLE", "inert", "parse_table", "write_export"]

TABLE = "answers.csv"
_COLUMNS = ("image", "answer", "confidence")
LARGEST_TABLE = 8 * 2**20
"""Bytes of a table that is taken."""
_MOMENT = 946_684_800
"""2000-01-01: dates of files tell nothing."""

_README = """\
A reader study: which of these images are photographs of patients, and which were made by a computer?

Some of the images in images/ ARE photographs of patients. Keep this folder as safe as patient records, and delete it when
you have sent your answers.

Open answers.csv in any spreadsheet, and fill in every row, in the order of the rows:

  image       leave as it is: the file in images/
  answer      real or synthetic
  confidence  {first} (guessing) to {last} (certain)
{conditions}
Save it as CSV again and send back that file alone. Look at nothing else than the images, and talk to nobody about them
before all have read.

Looking real is not being private: this study says nothing about whether the synthetic images give patients away.
"""


def write_export(folder: Path, run: Path, plan: Plan, reader: str) -> None:
    """Writes `images/`, the blank table and a page of instructions for one reader into a folder."""
    items = plan.for_reader(reader)
    (folder / "images").mkdir()
    for name, item in items.items():
        (folder / "images" / f"{name}.png").write_bytes(plain_png(load_picture(run, item)))
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(_header(plan))
    writer.writerows([f"{name}.png", *[""] * (len(_header(plan)) - 1)] for name in items)
    # The mark at the start tells spreadsheets that it is UTF-8.
    (folder / TABLE).write_bytes(table.getvalue().encode("utf-8-sig"))
    levels = {_column(condition): ", ".join(condition.levels) for condition in plan.conditions}
    asked = [f"  {inert(name)}\n              {inert(known)}; empty: cannot tell\n" for name, known in levels.items()]
    words = _README.format(first=CONFIDENCE[0], last=CONFIDENCE[-1], conditions="".join(asked))
    (folder / "README.txt").write_text(words, encoding="utf-8")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (_MOMENT, _MOMENT))


def parse_table(data: bytes, where: str, plan: Plan, reader: str) -> tuple[tuple[Item, Given], ...]:
    """The answers of a table that came back, one for each image of the plan.

    Raises InputError naming file, row (the header is row 1) and column for the first thing that is wrong.
    """
    rows = _rows(data, where, plan)
    items = plan.for_reader(reader)
    seen: dict[str, int] = {}
    found = []
    for number, row in rows:
        place = f"{where} row {number}"
        name = row["image"].strip().removesuffix(".png")
        if name not in items:
            raise InputError.of(f"{place}, column image", repr(row["image"][:60]), "an image of this reader's export")
        if name in seen:
            raise InputError.of(f"{place}, column image", f"{name}.png as in row {seen[name]}", "each image once")
        seen[name] = number
        levels = {condition.name: row[_column(condition)] for condition in plan.conditions}
        try:
            found.append((items[name], check_answer(plan.conditions, row["answer"], row["confidence"], levels)))
        except InputError as error:
            raise InputError(f"{place}, column {error}") from error
    if missing := [name for name in items if name not in seen]:
        raise InputError.of(where, f"no row for {missing[0]}.png", f"a row for each of {len(items):,} images")
    return tuple(found)


def _rows(data: bytes, where: str, plan: Plan) -> list[tuple[int, dict[str, str]]]:
    """The rows below the header with their numbers, empty ones left out; commas or, as some programs save, semicolons."""
    if len(data) > LARGEST_TABLE:
        raise InputError.of(where, f"a file of {len(data):,} bytes", f"at most {LARGEST_TABLE:,}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.of(where, "bytes that are no UTF-8 text", "the exported table, saved as CSV in UTF-8") from error
    wanted = _header(plan)
    delimiter = ";" if text.partition("\n")[0].startswith(("image;", '"image";')) else ","
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError.of(where, f"text that is no table ({error})", "the exported table, saved as CSV") from error
    header = lines[0] if lines else []
    if sorted(header) != sorted(wanted):
        raise InputError.of(f"{where} row 1", f"the columns {', '.join(header)[:200] or 'none'}", ", ".join(wanted))
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(header):
            raise InputError.of(f"{where} row {number}", f"{len(line)} cells", f"{len(header)}, one a column")
        rows.append((number, dict(zip(header, line, strict=True))))
    return rows


def _header(plan: Plan) -> Sequence[str]:
    return (*_COLUMNS, *(_column(condition) for condition in plan.conditions))


def _column(condition: Condition) -> str:
    return f"condition.{condition.name}"


def inert(text: str) -> str:
    """Without signs that steer a terminal or turn text round."""
    return "".join("\ufffd" if unicodedata.category(sign) in ("Cc", "Cf") else sign for sign in text)
