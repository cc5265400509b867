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
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synguard.errors import IntegrityError
from synguard.governance.content import Labels
from synguard.governance.files import parse_json
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
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, tarfile.TarError, pa.ArrowException)
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
            stream.write(json.dumps({"file_name": file, **_flat(image.labels)}, ensure_ascii=False) + "\n")


def _read_folder(root: Path, suffix: str = "png") -> Iterator[Released]:
    for line in (root / _METADATA).read_text(encoding="utf-8").splitlines():
        row = parse_json(line)
        file = row.pop("file_name")
        if re.fullmatch(f"images/{NAME.pattern}[.]{suffix}", file) is None:
            raise IntegrityError(f"{root / _METADATA}: found the file {file!r}, expected images/NAME.{suffix}")
        yield Released(Path(file).stem, (root / "data" / file).read_bytes(), _labels(row))


def _write_parquet(root: Path, images: Iterable[Released]) -> None:
    (root / "data").mkdir()
    rows = list(images)
    flat = [_flat(image.labels) for image in rows]
    columns = {name: pa.array([row.get(name) for row in flat]) for name in sorted({name for row in flat for name in row})}
    schema = pa.schema([_IMAGE, *(pa.field(name, values.type) for name, values in columns.items())])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": _features(schema)}})})
    for number, start in enumerate(range(0, len(rows), SHARD)):
        chosen = rows[start : start + SHARD]
        files = pa.array([{"bytes": image.data, "path": f"{image.name}.png"} for image in chosen], type=_IMAGE.type)
        values = [column.slice(start, len(chosen)) for column in columns.values()]
        pq.write_table(pa.Table.from_arrays([files, *values], schema=schema), root / "data" / f"train-{number:05d}.parquet")


_IMAGE = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
_DTYPES = {pa.null(): "null", pa.bool_(): "bool", pa.int64(): "int64", pa.float64(): "float64", pa.string(): "string"}


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What `datasets` is told about the columns, so that it decodes the images."""
    plain = {field.name: {"dtype": _DTYPES[field.type], "_type": "Value"} for field in schema if field.name != "image"}
    return {"image": {"_type": "Image"}, **plain}


def _read_parquet(root: Path) -> Iterator[Released]:
    for path in sorted((root / "data").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=64):
            for row in batch.to_pylist():
                image = row.pop("image")
                yield Released(Path(image["path"]).stem, image["bytes"], _labels(row))


def _write_tars(root: Path, images: Iterable[Released]) -> None:
    (root / "data").mkdir()
    rest = iter(images)
    number = 0
    while chosen := list(islice(rest, SHARD)):
        samples = ((image.name, json.dumps(_flat(image.labels), ensure_ascii=False), image.data) for image in chosen)
        write_tar(root / "data" / f"{number:05d}.tar", samples)
        number += 1


def write_tar(path: Path, samples: Iterable[tuple[str, str, bytes]]) -> None:
    """One shard of WebDataset: NAME.json and NAME.png of each sample, the same bytes wherever it is written."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, about, png in samples:
            for suffix, data in ((".json", about.encode()), (".png", png)):
                member = tarfile.TarInfo(name + suffix)  # no time, owner or mode of this machine
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def _read_tars(root: Path) -> Iterator[Released]:
    for path in sorted((root / "data").glob("*.tar")):
        with tarfile.open(path, "r:") as tar:
            members = list(tar)
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
        Layout("parquet", _write_parquet, _read_parquet, _parquet_files, "data/*.parquet", _LOAD.format("parquet")),
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
