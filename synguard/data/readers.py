"""Readers: an image folder, a table of paths or a MedMNIST file becomes an `ImageSet`, or one error that says what is wrong.

What a source may be is told at `read_images`. All its images are looked at before it fails, so that one message
tells how many cannot be read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from synguard.config import DataSource
from synguard.data._boxes import Size, frame_boxes, parse_boxes
from synguard.data._medmnist import Split, read_split, splits
from synguard.data._store import LocalStore, RemoteStore, Store, is_url, safe_name
from synguard.data._strays import refuse_strays
from synguard.data._tables import TABLE_SUFFIXES, parse_table
from synguard.data.decode import IMAGE_SUFFIXES, LIMITS, decode_native, image_format, native_side, square
from synguard.data.images import ImageSet, allocate
from synguard.data.released import refuse_equal_names, refuse_outsized, refuse_transparent, refuse_unexamined
from synguard.data.squares import Squares, further_squares
from synguard.errors import InputError, IntegrityError, UnreadableImageError
from synguard.protocols import Images

__all__ = ["Progress", "native_pixels", "read_images", "read_table", "shorter_side"]

_Item = TypeVar("_Item")

Progress = Callable[[int, int], None]
"""Called with the number of images done and the number of all."""

_IMAGE_FORMATS = frozenset({"PNG", "JPEG", "WebP", "TIFF", "DICOM", "GIF"})
_SOURCES = "an image folder, a .csv, .jsonl or .parquet table of paths, or a MedMNIST .npz"
_LARGEST_TABLE = 64 << 20
"""Bytes of a table that names no images."""


def read_images(
    source: DataSource,
    *,
    size: int,
    name: str,
    base: Path | None = None,
    skip_unreadable: bool = False,
    released: bool = False,
    progress: Progress | None = None,
    squares: Squares | None = None,
) -> ImageSet:
    """All images of a source, decoded to `size` x `size` RGB; see `decode.decode_image` for how.

    `source.path` is relative to `base` (default: the current folder), or an address that fsspec can open. It is

    * an image folder with `metadata.csv`, `.jsonl` or `.parquet` at its top, whose column `file_name` names each image of
      the folder exactly once; or without metadata, then all images below it, sorted by path (folder names are not labels);
    * a CSV, JSONL or Parquet table with a column `file_name` or `path`, relative to the table's folder;
    * a MedMNIST file, `name.npz` or `name.npz#train,val`; files are called `train/17`, labels are the column `label`, and
      the digest is of the row's pixels.

    Metadata columns are pandas `string`, empty cells NA. Raises InputError for anything that is missing, named twice,
    unlisted, outside the folder or of an unknown kind (`_strays`), and for a cell of the column `source.box` that is no box
    in its picture (`_boxes`); UnreadableImageError naming the first image that cannot be decoded and how many cannot;
    with `skip_unreadable` these are left out and listed in `ImageSet.skipped`. With `released`, pictures that are not
    examined whole count among them; sheets, far larger files and names that would be one are InputErrors (`data.released`).
    `squares` is given what the centred squares of long pictures leave out; not together with `skip_unreadable`.
    """
    store, file, wanted = _locate(source.path, base or Path.cwd())
    where = f"{store.where}/{file}" if file else store.where
    if file is not None and file.endswith(".npz"):
        if source.box is not None:
            raise InputError.of(f"{where}: box", "a MedMNIST file, which has no boxes", "an image folder or a table")
        images, sizes = _read_medmnist(store, file, wanted, size, name, released, progress, squares)
    else:
        table = _folder_table(store) if file is None else _path_table(store, file)
        # Before any image is decoded, so that a cell that is no box is told at once.
        boxes = None if source.box is None else parse_boxes(table, source.box, where)
        images, sizes = _read_files(store, table, size, name, skip_unreadable, released, progress, squares)
        if boxes is not None and source.box is not None:
            images = replace(images, boxes=frame_boxes(boxes, sizes, source.box, where))
    if released:
        refuse_equal_names(images.files, where)
        sides = (max(size) for size in sizes.values())
        refuse_outsized(dict(zip(images.files, sides, strict=True)), where)
    return images if source.patient is None else _with_patients(images, source.patient, where)


def native_pixels(source: DataSource, images: ImageSet, *, base: Path | None = None) -> Iterator[Images]:
    """Each picture (height, width, 3) of a set that was read from `source`, at its own resolution, in the order of its rows.

    IntegrityError where one is no longer what it was.
    """
    store, file, wanted = _locate(source.path, base or Path.cwd())
    if file is not None and file.endswith(".npz"):
        where, data = f"{store.where}/{file}", store.read(file)
        parts = [read_split(data, split, where) for split in splits(data, wanted, where)]
        found = ((image.tobytes(), image) for part in parts for image in part.images)
        for name, digest, (content, image) in zip(images.files, images.sha256, found, strict=True):
            _refuse_changed(content, digest, f"{where}#{name}")
            yield _three_channels(image)
        return
    for name, digest in zip(images.files, images.sha256, strict=True):
        where, data = f"{store.where}/{name}", store.read(name, LIMITS.bytes)
        _refuse_changed(data, digest, where)
        yield decode_native(data, where=where)


def shorter_side(source: DataSource, *, base: Path | None = None) -> int:
    """The shorter side in pixels of a source's first image, from its header alone. Raises as `read_images` does."""
    store, file, wanted = _locate(source.path, base or Path.cwd())
    if file is not None and file.endswith(".npz"):
        where, data = f"{store.where}/{file}", store.read(file)
        first = next(iter(read_split(data, splits(data, wanted, where)[0], where).images))
        return int(min(first.shape[:2]))
    table = _folder_table(store) if file is None else _path_table(store, file)
    name = str(table["file_name"].iloc[0])
    return native_side(store.read(name, LIMITS.bytes), where=f"{store.where}/{name}")


def _locate(path: str, base: Path) -> tuple[Store, str | None, str]:
    """The folder; the table or MedMNIST file in it, or None where the folder itself is the set; the splits asked for."""
    head, _, wanted = path.rpartition("#")
    path, wanted = (head, wanted) if head.endswith(".npz") else (path, "")
    if is_url(path):
        store = RemoteStore(path)
        if store.is_folder():
            return store, None, wanted
        folder, _, file = path.rstrip("/").rpartition("/")
        if not store.is_file() or not file.endswith((*TABLE_SUFFIXES, ".npz")):
            raise InputError.of(path, "a file of another kind" if store.is_file() else "nothing", _SOURCES)
        return RemoteStore(folder), file, wanted
    local = Path(unquote(urlsplit(path).path)) if path.startswith("file://") else base / path
    if local.is_dir():
        return LocalStore(local), None, wanted
    if not local.is_file() or local.suffix not in (*TABLE_SUFFIXES, ".npz"):
        raise InputError.of(local, "a file of another kind" if local.exists() else "nothing", _SOURCES)
    return LocalStore(local.parent), local.name, wanted


def read_table(path: Path) -> pd.DataFrame:
    """A table of text that stands on its own, CSV, JSONL or Parquet. InputError where it is none, or far too large."""
    if not path.is_file() or path.suffix not in TABLE_SUFFIXES:
        raise InputError.of(
            path, "a file of another kind" if path.exists() else "nothing", f"one of {', '.join(TABLE_SUFFIXES)}"
        )
    if (size := path.stat().st_size) > _LARGEST_TABLE:
        raise InputError.of(path, f"{size:,} bytes", f"a table of at most {_LARGEST_TABLE:,}")
    return parse_table(path.read_bytes(), str(path))


def _folder_table(store: Store) -> pd.DataFrame:
    """The metadata of an image folder; without any, the names of its images alone."""
    names = store.names()
    tables = [name for name in names if name.rpartition("/")[2] in {f"metadata{suffix}" for suffix in TABLE_SUFFIXES}]
    images = [name for name in names if name not in tables and _is_image(store, name)]
    known = {*tables, *images}
    refuse_strays(store, [name for name in names if name not in known])
    if not images:
        raise InputError.of(store.where, "a folder without images", "at least one image")
    if not tables:
        return pd.DataFrame({"file_name": pd.array(images, dtype="string")})
    if len(tables) > 1 or "/" in tables[0]:
        raise InputError.of(store.where, " and ".join(tables[:2]), "one metadata table, at the top of the folder")
    where = f"{store.where}/{tables[0]}"
    table = _listed(parse_table(store.read(tables[0]), where), ("file_name",), where)
    listed = set(table["file_name"])
    if unlisted := [name for name in images if name not in listed]:
        found = f"{unlisted[0]}" + (f" and {len(unlisted) - 1} more images" if len(unlisted) > 1 else "")
        raise InputError.of(where, f"no row for {found}", "a row for each image of the folder")
    return table


def _path_table(store: Store, file: str) -> pd.DataFrame:
    where = f"{store.where}/{file}"
    return _listed(parse_table(store.read(file), where), ("file_name", "path"), where)


def _listed(table: pd.DataFrame, columns: Sequence[str], where: str) -> pd.DataFrame:
    """The table with checked, shortened names in the column `file_name`."""
    column = next((name for name in columns if name in table.columns), None)
    if column is None:
        found = ", ".join(table.columns[:8]) or "none"
        raise InputError.of(where, f"the columns {found}", f"a column {' or '.join(columns)}")
    if table.empty:
        raise InputError.of(where, "no rows", "a row for each image")
    names: dict[str, int] = {}
    for row, value in enumerate(table[column], start=1):
        if pd.isna(value):
            raise InputError.of(f"{where} row {row}", f"an empty {column}", "a path")
        name = safe_name(str(value), f"{where} row {row}")
        if name in names:
            raise InputError.of(f"{where} row {row}", f"{name!r} as in row {names[name]}", "each image once")
        names[name] = row
    return table.assign(file_name=pd.array(list(names), dtype="string"))


def _is_image(store: Store, name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) or image_format(store.head(name, 132)) in _IMAGE_FORMATS


def _read_files(
    store: Store,
    table: pd.DataFrame,
    size: int,
    name: str,
    skip_unreadable: bool,
    released: bool,
    progress: Progress | None,
    squares: Squares | None,
) -> tuple[ImageSet, dict[int, Size]]:
    """The set, and width and height of the pictures by the row of the table that names them."""
    names = [str(value) for value in table["file_name"]]
    pixels = allocate(len(names), size)
    sizes: dict[int, Size] = {}

    def read(row: int) -> tuple[str, tuple[tuple[str, Images], ...]] | UnreadableImageError:
        try:
            data = store.read(names[row], LIMITS.bytes)
            where = f"{store.where}/{names[row]}"
            native = decode_native(data, where=where)
            if released:
                refuse_transparent(data, where)
                refuse_unexamined(native, where)
            pixels[row], sizes[row] = square(native, size), (native.shape[1], native.shape[0])
            further = () if squares is None else further_squares(native, size)
        except UnreadableImageError as error:
            return error
        return hashlib.sha256(data).hexdigest(), further

    digests: list[str] = []
    bad: dict[int, UnreadableImageError] = {}
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for row, result in enumerate(_counted(pool.map(read, range(len(names))), len(names), progress)):
            if isinstance(result, UnreadableImageError):
                bad[row] = result
                continue
            if squares is not None:
                squares.add(len(digests), result[1])
            digests.append(result[0])
    if bad and (not skip_unreadable or not digests):
        _refuse(list(bad.values()), [names[row] for row in bad])
    good = [row for row in range(len(names)) if row not in bad]
    if bad:
        for to, row in enumerate(good):  # in place: the pixels may be larger than the memory
            pixels[to] = pixels[row]
    files = tuple(names[row] for row in good)
    images = ImageSet(
        name=name,
        files=files,
        sha256=tuple(digests),
        pixels=pixels[: len(good)],
        patients=np.array(files, dtype=np.str_),
        metadata=table.iloc[good].reset_index(drop=True),
        has_patient_ids=False,
        skipped=tuple(names[row] for row in bad),
    )
    return images, {row: sizes[row] for row in good}


def _refuse(errors: Sequence[UnreadableImageError], names: Sequence[str]) -> None:
    more = f"; {len(names) - 1} more cannot be read, the next is {names[1]}" if len(names) > 1 else ""
    raise UnreadableImageError(f"{errors[0]}{more}") from errors[0]


def _refuse_changed(data: bytes, digest: str, where: str) -> None:
    if hashlib.sha256(data).hexdigest() != digest:
        raise IntegrityError(f"{where}: found other bytes than were audited, expected {digest[:16]}")


def _three_channels(image: NDArray[np.uint8]) -> Images:
    return np.array(Image.fromarray(image).convert("RGB"), dtype=np.uint8)


def _read_medmnist(
    store: Store,
    file: str,
    wanted: str,
    size: int,
    name: str,
    released: bool,
    progress: Progress | None,
    squares: Squares | None,
) -> tuple[ImageSet, dict[int, Size]]:
    where = f"{store.where}/{file}"
    data = store.read(file)
    parts = [read_split(data, split, where) for split in splits(data, wanted, where)]
    total = sum(part.rows for part in parts)
    pixels = allocate(total, size)
    digests = []
    sizes: dict[int, Size] = {}
    files = tuple(f"{part.name}/{row}" for part in parts for row in range(part.rows))
    for row, image in enumerate(_counted((image for part in parts for image in part.images), total, progress)):
        native = _three_channels(image)
        if released:
            refuse_unexamined(native, f"{where}#{files[row]}")
        digests.append(hashlib.sha256(image.tobytes()).hexdigest())
        pixels[row], sizes[row] = square(native, size), (native.shape[1], native.shape[0])
        if squares is not None:
            squares.add(row, further_squares(native, size))
    images = ImageSet(
        name=name,
        files=files,
        sha256=tuple(digests),
        pixels=pixels,
        patients=np.array(files, dtype=np.str_),
        metadata=_labels(parts, files),
        has_patient_ids=False,
    )
    return images, sizes


def _labels(parts: Sequence[Split], files: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame({"file_name": pd.array(list(files), dtype="string")})
    for column in dict.fromkeys(column for part in parts for column in part.labels):
        values = [value for part in parts for value in part.labels.get(column, [None] * part.rows)]
        frame[column] = pd.array(values, dtype="string")
    return frame


def _with_patients(images: ImageSet, column: str, where: str) -> ImageSet:
    if column not in images.metadata.columns:
        found = ", ".join(images.metadata.columns[:8])
        raise InputError.of(f"{where}: patient", f"the columns {found}", f"a column {column!r}")
    values = images.metadata[column]
    if values.isna().any():
        row = int(values.isna().to_numpy().argmax())
        raise InputError.of(f"{where}: {images.files[row]}", f"no {column}", "a patient id for each image")
    return replace(images, patients=values.to_numpy(dtype=np.str_), has_patient_ids=True)


def _counted(items: Iterable[_Item], total: int, progress: Progress | None) -> Iterable[_Item]:
    for done, item in enumerate(items, start=1):
        yield item
        if progress is not None:
            progress(done, total)
