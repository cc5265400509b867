"""Metadata tables: CSV, JSONL and Parquet to frames of text, where an empty cell is NA and nothing else is."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pandas as pd

from synguard.errors import InputError

__all__ = ["TABLE_SUFFIXES", "parse_table"]

TABLE_SUFFIXES = (".csv", ".jsonl", ".parquet")


def parse_table(data: bytes, where: str) -> pd.DataFrame:
    """The table with every column as pandas `string`. Numbers become "1", "0.5"; truth "true", "false".

    Text, not numbers, whatever the format: what a cell means is decided by the condition schema alone, so that a patient
    "007" stays one, and "1" in a CSV file equals 1 in a JSONL file. Raises InputError naming the row.
    """
    if where.endswith(".csv"):
        return _csv(data, where)
    return _jsonl(data, where) if where.endswith(".jsonl") else _parquet(data, where)


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.of(where, f"byte {data[error.start]:#04x} at {error.start}", "UTF-8 text") from error


def _frame(columns: dict[str, list[str | None]], rows: int) -> pd.DataFrame:
    return pd.DataFrame({name: pd.array(values, dtype="string") for name, values in columns.items()}, index=range(rows))


def _csv(data: bytes, where: str) -> pd.DataFrame:
    lines = csv.reader(io.StringIO(_decode(data, where), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        if not any(header):
            raise InputError.of(where, "no header", "a first row with the names of the columns")
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise InputError.of(where, f"the column {twice[0]!r} twice", "columns with different names")
        cells: list[list[str]] = []
        for row in lines:
            if row and len(row) != len(header):
                raise InputError.of(f"{where} line {lines.line_num}", f"{len(row)} cells", f"{len(header)}")
            if row:
                cells.append(row)
    except csv.Error as error:
        raise InputError.of(f"{where} line {lines.line_num}", error, "a row of comma-separated values") from error
    return _frame({name: [row[i].strip() or None for row in cells] for i, name in enumerate(header)}, len(cells))


def _jsonl(data: bytes, where: str) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_decode(data, where).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError.of(f"{where} line {number}", "no valid JSON", "one JSON object a line") from error
        if not isinstance(row, dict):
            raise InputError.of(f"{where} line {number}", f"a JSON {type(row).__name__}", "one JSON object a line")
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _frame({name: [_text(row.get(name)) for row in rows] for name in names}, len(rows))


def _parquet(data: bytes, where: str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
        columns = {
            str(name): [_text(value) for value in table.column(i).to_pylist()]
            for i, name in enumerate(table.column_names)
            if not pa.types.is_binary(table.schema.field(i).type)
        }
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError.of(where, "no readable Parquet table", "one") from error
    if len(columns) < len(set(columns)):
        raise InputError.of(where, "columns of equal name", "columns with different names")
    return _frame(columns, table.num_rows)


def _text(value: object) -> str | None:
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value).strip() or None
