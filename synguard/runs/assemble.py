"""Laying out what a run leaves: accepted images, quarantine, pictures of flagged pairs."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from synguard.config import DataSource
from synguard.data.images import ImageSet
from synguard.data.readers import native_pixels
from synguard.data.released import released_name
from synguard.errors import IntegrityError
from synguard.governance import manifest
from synguard.governance.manifest import Manifest
from synguard.protocols import Images
from synguard.runs.engine import MADE_BY, Origin, encode_png
from synguard.runs.folder import RunFolder, whole_folder

__all__ = ["accept_given", "lay_out_batches", "write_pairs"]

_AT_ONCE = 64
"""Images that are encoded side by side."""


def lay_out_batches(folder: RunFolder, rows: pd.DataFrame, made_by: Mapping[str, Any] | None = None) -> Manifest:
    """Put the images of committed batches into `accepted/` and `quarantine/`, each folder whole or not at all.

    `made_by` stands beside each seed in the metadata. Both folders are made anew, whatever an earlier execution left.
    Returns the manifest of `accepted/`; IntegrityError where an image is not the one that was examined.
    """
    for target, chosen in ((folder.accepted, rows[rows["accepted"]]), (folder.quarantine, rows[~rows["accepted"]])):
        with _made_anew(target) as scratch:
            (scratch / "images").mkdir()
            for batch, file, digest in zip(chosen["batch"], chosen["file"], chosen["sha256"], strict=True):
                source = folder.batches / f"{batch:05d}" / file
                _check(source, source.read_bytes(), digest)
                _link(source, scratch / file)
            _write_metadata(scratch, chosen, made_by)
    return manifest.build(folder.accepted)


def accept_given(folder: RunFolder, synthetic: ImageSet, source: DataSource, base: Path, rows: pd.DataFrame) -> Manifest:
    """Write the images of an audit to `accepted/`, so that what is decided on is what is there to release.

    None that was taken out by hand. Written anew as PNG from the pixels that were examined, at their own resolution, under
    `released_name`: a file may carry more than its picture. Returns the manifest; IntegrityError where a file changed since
    it was read.
    """
    with _made_anew(folder.accepted) as scratch:

        def write(image: tuple[str, Images]) -> None:
            target = scratch / released_name(image[0])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encode_png(image[1]))

        read = zip(synthetic.files, native_pixels(source, synthetic, base=base), rows["accepted"].tolist(), strict=True)
        kept = ((file, pixels) for file, pixels, accepted in read if accepted)
        with ThreadPoolExecutor() as pool:
            while some := list(itertools.islice(kept, _AT_ONCE)):
                list(pool.map(write, some))
        _write_metadata(scratch, rows[rows["accepted"]])
    return manifest.build(folder.accepted)


def write_pairs(folder: RunFolder, pictures: Iterable[tuple[str, Mapping[str, Images]]]) -> None:
    """Write the pictures of pairs: `pairs/PAIR-NAME.png` for each pair and each of its pictures."""
    with _made_anew(folder.pairs) as scratch:
        for pair, panels in pictures:
            for name, pixels in panels.items():
                (scratch / f"{pair}-{name}.png").write_bytes(encode_png(pixels))


@contextmanager
def _made_anew(path: Path) -> Iterator[Path]:
    """A folder to fill, in place of the one that an earlier execution may have left."""
    with whole_folder(path) as scratch:
        yield scratch
        if path.exists():
            shutil.rmtree(path)


def _check(path: Path, data: bytes, digest: str) -> None:
    if hashlib.sha256(data).hexdigest() != digest:
        raise IntegrityError(f"{path}: found other bytes than were audited, expected {digest[:16]}")


def _write_metadata(folder: Path, rows: pd.DataFrame, made_by: Mapping[str, Any] | None = None) -> None:
    """metadata.jsonl: the file, what was asked under the attribute's own name, and what the diagnostic model read.

    Of images that were generated here, their seeds and `made_by` too.
    """
    labels = [name for name in rows.columns if name.startswith(("condition.", "annotation."))]
    lines = []
    origins = [name for name in Origin._fields if made_by is not None and name in rows.columns]
    for place, record in enumerate(json.loads(rows[["file", *origins, *labels]].to_json(orient="records"))):
        file = released_name(record.pop("file"))
        origin = {f"{MADE_BY}{name}": record.pop(name) for name in origins}
        own = {name.removeprefix("condition."): value for name, value in record.items()}
        about = {} if made_by is None else {f"{MADE_BY}seed": int(rows["seed"].iloc[place]), **made_by}
        lines.append(json.dumps({"file_name": file, **own, **about, **origin}))
    (folder / "metadata.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system has them, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
