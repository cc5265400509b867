"""Four layouts of the same images and labels: a folder of images, one of DICOM objects, Parquet, WebDataset. Each can read
what it wrote.

All lie below `data/`. Asked and read labels stand there beside the images, and once more as two tables below `tables/`, so
that nobody takes what was asked for what is shown.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import RawIOBase
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from synguard.errors import IntegrityError
from synguard.governance.content import Labels
from synguard.governance.files import parse_json
from synguard.release.anew import written_anew
from synguard.release.images import Released
from synguard.release.marks import C2PA, DICOM, IPTC

__all__ = ["LAYOUTS", "NAME", "UNREADABLE", "Layout", "tables", "write_tar"]

NAME = re.compile("[0-9a-f]{16}")
"""Names of released images: 64 random bits."""
SHARD = 5000
"""Images a Parquet file or tar, at most."""
_ASKED, _READ = "asked_", "read_"
_METADATA = "data/metadata.jsonl"
_LOAD = 'load_dataset("{}", data_dir="data")'
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, tarfile.TarError, pa.ArrowException)
"""What `Layout.read` may trip over in files of a stranger, besides IntegrityError."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the images of a release lie below its folder. `read` raises IntegrityError where they do not lie that way."""

    name: str
    write: Callable[[Path, Iterable[Released]], None]
    read: Callable[[Path], Iterator[Released]]
    files: Callable[[int, Sequence[str]], list[str]]
    """Paths of the files that so many images of these names lie in."""
    pattern: str
    """The same, as `datasets` is told."""
    load: str
    """How its user loads it."""
    marks: tuple[tuple[str, ...], ...] = ((IPTC,), (C2PA, IPTC))
    """The sets of marks that its images can carry."""
    unchecked: str = ""
    """What `read` does not hold to what `write` makes."""


def tables(labels: Mapping[str, Labels]) -> dict[str, bytes]:
    """The asked and the read labels by image name as two CSV tables, RFC 4180, by their path in the release.

    Text that a spreadsheet would take for a formula gets an apostrophe before it (CWE-1236).
    """
    return {
        "tables/asked.csv": _table({name: found.asked for name, found in labels.items()}),
        "tables/read.csv": _table({name: found.read for name, found in labels.items()}),
    }


def _table(rows: Mapping[str, Mapping[str, Any]]) -> bytes:
    columns = sorted({column for row in rows.values() for column in row})
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["image", *columns])
    writer.writerows([name, *(_cell(rows[name].get(column)) for column in columns)] for name in sorted(rows))
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r\0"):
        return f"'{value}"
    return int(value) if isinstance(value, bool) else value


def _write_folder(root: Path, images: Iterable[Released], suffix: str = "png") -> None:
    (root / "data" / "images").mkdir(parents=True)
    with (root / _METADATA).open("w", encoding="utf-8", newline="\n") as stream:
        for image in images:
            file = f"images/{image.name}.{suffix}"
            (root / "data" / file).write_bytes(image.data)
            stream.write(_line(file, image.labels))


def _read_folder(root: Path, suffix: str = "png") -> Iterator[Released]:
    data = (root / _METADATA).read_bytes()
    labels: list[tuple[str, Labels]] = []
    for line in data.decode().splitlines():
        row = parse_json(line)
        file = row.pop("file_name")
        if re.fullmatch(f"images/{NAME.pattern}[.]{suffix}", file) is None:
            raise IntegrityError(f"{root / _METADATA}: found the file {file!r}, expected images/NAME.{suffix}")
        labels.append((file, _labels(row)))
    if "".join(_line(file, found) for file, found in labels).encode() != data:
        raise IntegrityError(f"{root / _METADATA}: found labels in another form, expected lines as synguard writes them")
    for file, found in labels:
        yield Released(Path(file).stem, (root / "data" / file).read_bytes(), found)


def _line(file: str, labels: Labels) -> str:
    return json.dumps({"file_name": file, **_flat(labels)}, ensure_ascii=False) + "\n"


def _write_parquet(root: Path, images: Iterable[Released]) -> None:
    (root / "data").mkdir()
    rows = list(images)
    flat = [_flat(image.labels) for image in rows]
    names = {name for row in flat for name in row}
    schema = _schema({name: pa.array([row.get(name) for row in flat]).type for name in names})
    for number, start in enumerate(range(0, len(rows), SHARD)):
        _put(rows[start : start + SHARD], schema, root / "data" / f"train-{number:05d}.parquet")


def _schema(types: Mapping[str, pa.DataType]) -> pa.Schema:
    schema = pa.schema([_IMAGE, *(pa.field(name, types[name]) for name in sorted(types))])
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": _features(schema)}})})


def _put(images: Sequence[Released], schema: pa.Schema, where: Path | RawIOBase) -> None:
    flat = [_flat(image.labels) for image in images]
    files = pa.array([{"bytes": image.data, "path": f"{image.name}.png"} for image in images], type=_IMAGE.type)
    labels = [pa.array([row.get(field.name) for row in flat], type=field.type) for field in list(schema)[1:]]
    pq.write_table(pa.Table.from_arrays([files, *labels], schema=schema), where)


_IMAGE = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
_WRITER = f"parquet-cpp-arrow version {pa.cpp_version}"
_ROOM = 16 * 1024
"""Bytes that another version of the library may need more for the same rows: measured, 2.5 KiB (16.1 against 26.0)."""
_DTYPES = {pa.null(): "null", pa.bool_(): "bool", pa.int64(): "int64", pa.float64(): "float64", pa.string(): "string"}


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What `datasets` is told about the columns, so that it decodes the images."""
    plain = {field.name: {"dtype": _DTYPES[field.type], "_type": "Value"} for field in schema if field.name != "image"}
    return {"image": {"_type": "Image"}, **plain}


def _read_parquet(root: Path) -> Iterator[Released]:
    for path in sorted((root / "data").glob("*.parquet")):
        file = pq.ParquetFile(path)
        _check_columns(file, path)
        images = list(_rows(file, path))
        anew = written_anew(path, partial(_put, images, file.schema_arrow))
        room = 0 if file.metadata.created_by == _WRITER else _ROOM
        if not anew.same and (not room or path.stat().st_size > anew.size + room):
            raise _other_bytes(path, anew.size)
        yield from images


def _check_columns(file: pq.ParquetFile, path: Path) -> None:
    """Before a row is read. Raises IntegrityError where the file has other columns or says more of them than ours do."""
    schema, about = file.schema_arrow, file.metadata
    types = {field.name: field.type for field in schema if field.name != "image"}
    _labels(types)
    strange = [str(kind) for kind in types.values() if kind not in _DTYPES]
    if strange:
        raise IntegrityError(f"{path}: found a column of {strange[0]}, expected text, numbers and truth values")
    wanted = _schema(types)
    if not schema.equals(wanted, check_metadata=True):
        raise IntegrityError(f"{path}: found other columns, or more said of them, than expected: image and labels alone")
    if odd := set(about.metadata) ^ {b"ARROW:schema", *wanted.metadata}:
        raise IntegrityError(f"{path}: found {min(odd)[:40]!r} more or less said of the file, expected what synguard writes")
    parts = [about.row_group(i) for i in range(about.num_row_groups)]
    packed = {part.column(i).compression for part in parts for i in range(part.num_columns)}
    if about.num_rows > SHARD or len(parts) > 1 or packed - {"SNAPPY"}:
        raise IntegrityError(
            f"{path}: found {about.num_rows:,} rows in {len(parts)} groups, packed by {', '.join(sorted(packed))}, "
            f"expected at most {SHARD:,} in one group, by SNAPPY"
        )


def _rows(file: pq.ParquetFile, path: Path) -> Iterator[Released]:
    room = 4 * path.stat().st_size + 2**26  # a value that stands once in the file can be that of every row
    for batch in file.iter_batches(batch_size=1):
        for row in batch.to_pylist():
            image = row.pop("image")
            found = Released(Path(image["path"]).stem, image["bytes"], _labels(row))
            if image["path"] != f"{found.name}.png":
                raise IntegrityError(f"{path}: found the file name {image['path']!r}, expected NAME.png")
            room -= len(found.data)
            if room < 0:
                raise IntegrityError(f"{path}: found images far larger than the file, expected about its size")
            yield found


def _write_tars(root: Path, images: Iterable[Released]) -> None:
    (root / "data").mkdir()
    rest = iter(images)
    number = 0
    while chosen := list(islice(rest, SHARD)):
        write_tar(root / "data" / f"{number:05d}.tar", map(_sample, chosen))
        number += 1


def write_tar(path: Path, samples: Iterable[tuple[str, str, bytes]]) -> None:
    """One shard of WebDataset: NAME.json and NAME.png of each sample, the same bytes wherever it is written."""
    with path.open("wb") as stream:
        _put_tar(samples, stream)


def _put_tar(samples: Iterable[tuple[str, str, bytes]], stream: IO[bytes] | RawIOBase) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, about, png in samples:
            for suffix, data in ((".json", about.encode()), (".png", png)):
                member = tarfile.TarInfo(name + suffix)  # no time, owner or mode of this machine
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def _sample(image: Released) -> tuple[str, str, bytes]:
    return image.name, json.dumps(_flat(image.labels), ensure_ascii=False), image.data


def _read_tars(root: Path) -> Iterator[Released]:
    for path in sorted((root / "data").glob("*.tar")):
        anew = written_anew(path, partial(_put_tar, map(_sample, _members(path))))
        if not anew.same:
            raise _other_bytes(path, anew.size)
        yield from _members(path)


def _members(path: Path) -> Iterator[Released]:
    with tarfile.open(path, "r:") as tar:
        members = list(tar)
        strange = [member.name for member in members if not member.isreg() or member.issparse()]
        if strange:
            raise IntegrityError(f"{path}: found {strange[0]!r}, which is no plain file, expected images and their labels")
        held = {member.name: tar.extractfile(member) for member in members}
        if len(held) != len(members):
            raise IntegrityError(f"{path}: found a name twice, expected each image once")
        for name in sorted(name.removesuffix(".png") for name in held if name.endswith(".png")):
            labels, image = held.pop(f"{name}.json", None), held.pop(f"{name}.png")
            if labels is None or image is None:
                raise IntegrityError(f"{path}: found {name} without labels or image, expected both")
            yield Released(name, image.read(), _labels(parse_json(labels.read())))
        if held:
            raise IntegrityError(f"{path}: found {sorted(held)[0]}, expected images and their labels only")


def _other_bytes(path: Path, expected: int) -> IntegrityError:
    return IntegrityError(
        f"{path}: found {path.stat().st_size:,} bytes with more or less in them than images and labels, "
        f"expected the {expected:,} that these make"
    )


def _folder_files(_: int, names: Sequence[str], suffix: str = "png") -> list[str]:
    return [_METADATA, *(f"data/images/{name}.{suffix}" for name in names)]


def _parquet_files(images: int, _: Sequence[str]) -> list[str]:
    return [f"data/train-{number:05d}.parquet" for number in range(-(-images // SHARD))]


def _tar_files(images: int, _: Sequence[str]) -> list[str]:
    return [f"data/{number:05d}.tar" for number in range(-(-images // SHARD))]


def _flat(labels: Labels) -> dict[str, Any]:
    asked = {f"{_ASKED}{name}": value for name, value in sorted(labels.asked.items())}
    return asked | {f"{_READ}{name}": value for name, value in sorted(labels.read.items())}


def _labels(row: Mapping[str, Any]) -> Labels:
    strange = [name for name in row if not name.startswith((_ASKED, _READ))]
    if strange:
        raise IntegrityError(f"labels: found the column {strange[0]}, expected asked_ and read_ ones only")
    return Labels(
        {name.removeprefix(_ASKED): value for name, value in row.items() if name.startswith(_ASKED)},
        {name.removeprefix(_READ): value for name, value in row.items() if name.startswith(_READ)},
    )


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("imagefolder", _write_folder, _read_folder, _folder_files, "data/**", _LOAD.format("imagefolder")),
        Layout(
            "parquet",
            _write_parquet,
            _read_parquet,
            _parquet_files,
            "data/*.parquet",
            _LOAD.format("parquet"),
            unchecked=f"up to {_ROOM:,} bytes of a Parquet file that another version of pyarrow than {pa.__version__} wrote",
        ),
        Layout("webdataset", _write_tars, _read_tars, _tar_files, "data/*.tar", _LOAD.format("webdataset")),
        Layout(
            "dicom",
            partial(_write_folder, suffix="dcm"),
            partial(_read_folder, suffix="dcm"),
            partial(_folder_files, suffix="dcm"),
            _METADATA,
            'pydicom.dcmread("data/images/NAME.dcm")`, labels: `load_dataset("json", data_files="data/metadata.jsonl")',
            ((DICOM,),),
        ),
    )
}
