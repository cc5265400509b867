"""`synguard generate`: candidates and nothing else, shard by shard, so that a million take no more memory than a few.

A shard is committed by its name alone: an interrupted work goes on after the last one, to the same bytes.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from synguard.config import RunConfig
from synguard.data.canaries import Canaries
from synguard.data.conditions import ConditionSchema
from synguard.data.readers import read_images
from synguard.errors import InputError, SynguardError
from synguard.governance.files import canonical, read_json, write_private
from synguard.protocols import Generator, Images
from synguard.release.layouts import write_tar
from synguard.runs.asked import plan
from synguard.runs.canaries import coins_of
from synguard.runs.configuration import load_config
from synguard.runs.engine import MADE_BY, encode_png, origins_of
from synguard.runs.generator import open_generator, provenance
from synguard.runs.material import labels_digest
from synguard.runs.plan import attempt_seed
from synguard.runs.progress import Progress

__all__ = ["LAYOUTS", "Layout", "generate_only"]

Layout = Literal["images", "parquet", "webdataset"]
SHARD = 2000
"""Images that are committed together."""
TOGETHER = 250
"""Images asked of the generator at once."""
_PARTS = ".parts"
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image as PNG, and everything that is known about it."""

    name: str
    png: bytes
    record: dict[str, Any]


def generate_only(
    path: Path, out: Path, *, images: int | None, progress: Progress, layout: Layout = "images", resume: bool = False
) -> Path:
    """Candidates by the configuration `path` in a new folder `out`, with a file that says that nobody audited them.

    With `resume` an interrupted work goes on. Raises InputError for a folder of something else, and SynguardError where the
    disk is full: what was committed by then stays.
    """
    config, base = load_config(path), path.parent
    if config.generator.path is None or config.generator.kind == "folder":
        raise InputError.of(
            f"{path}: generator.path", "nothing to generate with", "a trained pipeline folder (`synguard train`)"
        )
    if out.exists() and not resume:
        raise InputError.of(out, "a folder that exists already", "a new folder for the candidates (or --resume)")
    private = read_images(config.private, size=config.image_size, name="private", base=base)
    schema, patients = ConditionSchema(config.conditions), private.patients.tolist()
    conditions = schema.parse(private.metadata, f"private ({config.private.path})")
    folder = base / config.generator.path
    drawn = coins_of(folder, private)
    generator = open_generator(config, base, folder, drawn.trained_on(private) if isinstance(drawn, Canaries) else private)
    asked = plan(config, conditions, patients, schema, base, images=images, progress=progress)
    _claim(out, {"generator": generator.digest, "asked": labels_digest(asked), "seed": config.seed, "layout": layout})
    write, committed = LAYOUTS[layout]
    whole = (out / "metadata.jsonl").is_file()
    starts = [start for start in range(0, len(asked), SHARD) if not whole and not committed(out, start // SHARD).is_file()]
    with _room_on_disk(out):
        for start in starts:
            rows = range(start, min(start + SHARD, len(asked)))
            target = committed(out, start // SHARD)
            partial = target.with_name(f"{target.name}.partial")
            write(out, partial, list(_made(generator, config, asked, rows)))
            partial.replace(target)
            progress("generate", rows[-1] + 1, len(asked))
        if layout == "images":
            _join(out)
    return out


def _made(generator: Generator, config: RunConfig, asked: pd.DataFrame, rows: range) -> Iterator[Candidate]:
    """Candidates of these rows. While some are encoded, the next are sampled."""
    seeds = {row: attempt_seed(config.seed, row, 0) for row in rows}
    made_by = provenance(generator)

    def sampled(part: range) -> tuple[range, Images, list[dict[str, Any]]]:
        chosen, numbers = asked.iloc[part.start : part.stop].reset_index(drop=True), [seeds[row] for row in part]
        origins: list[dict[str, Any]] = [origin.told() for origin in origins_of(generator, chosen, numbers)]
        return part, generator.generate(chosen, numbers), origins or [{}] * len(part)

    parts = [rows[first : first + TOGETHER] for first in range(0, len(rows), TOGETHER)]
    with ThreadPoolExecutor() as pool:
        for part, pixels, origins in _ahead(sampled, parts):
            wanted = json.loads(asked.iloc[part.start : part.stop].to_json(orient="records"))
            for row, png, labels, origin in zip(part, pool.map(encode_png, pixels), wanted, origins, strict=True):
                yield Candidate(f"{row:06d}", png, {**labels, f"{MADE_BY}seed": seeds[row], **made_by, **origin})


def _ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results in order, each begun while the one before it is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = None
        for item in items:
            coming = pool.submit(work, item)
            if following is not None:
                yield following.result()
            following = coming
        if following is not None:
            yield following.result()


def _claim(out: Path, identity: dict[str, Any]) -> None:
    """Makes the folder, or InputError where another work lies in it. What it is comes first, and that nobody audited it."""
    record, unaudited = out / "generation.json", out / "UNAUDITED.txt"
    if record.is_file():
        if canonical(read_json(record)) != canonical(identity):
            raise InputError.of(out, "candidates of another configuration or model", "the same as before")
        return
    # A process killed before the record was in place leaves the text, the record under another name, or nothing.
    parts = list(out.glob(f".{record.name}.*.part"))
    if out.exists() and (not out.is_dir() or set(out.iterdir()) - {unaudited, *parts}):
        raise InputError.of(out, "something else", "a new folder, or candidates to go on with")
    for part in parts:
        part.unlink()
    out.mkdir(parents=True, exist_ok=True)
    unaudited.write_text("No audit has examined these images and no gate has decided on them.\n")
    write_private(record, canonical(identity))


@contextmanager
def _room_on_disk(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SynguardError(f"{out}: found no space left on the disk, expected some; then go on with --resume") from error


def _write_images(out: Path, partial: Path, candidates: Sequence[Candidate]) -> None:
    for folder in (out / "images", out / _PARTS):
        folder.mkdir(exist_ok=True)
    lines = []
    for one in candidates:
        (out / "images" / f"{one.name}.png").write_bytes(one.png)
        lines.append(json.dumps({"file_name": f"images/{one.name}.png", **one.record}) + "\n")
    partial.write_text("".join(lines))


def _join(out: Path) -> None:
    """metadata.jsonl out of its parts, once all are there; it is there as a whole before the first of them goes."""
    parts = sorted((out / _PARTS).glob("*.jsonl"))
    if not (out / "metadata.jsonl").is_file():
        partial = out / _PARTS / "metadata.partial"
        with partial.open("w") as whole:
            for part in parts:
                whole.write(part.read_text())
        partial.replace(out / "metadata.jsonl")
    for part in parts:
        part.unlink()
    if (out / _PARTS).is_dir():
        (out / _PARTS).rmdir()


def _write_parquet(out: Path, partial: Path, candidates: Sequence[Candidate]) -> None:
    rows = [{"image": {"bytes": one.png, "path": f"{one.name}.png"}, **one.record} for one in candidates]
    pq.write_table(pa.Table.from_pylist(rows), partial)


def _write_tar(out: Path, partial: Path, candidates: Sequence[Candidate]) -> None:
    write_tar(partial, ((one.name, json.dumps(one.record), one.png) for one in candidates))


LAYOUTS: dict[str, tuple[Callable[[Path, Path, Sequence[Candidate]], None], Callable[[Path, int], Path]]] = {
    "images": (_write_images, lambda out, number: out / _PARTS / f"{number:05d}.jsonl"),
    "parquet": (_write_parquet, lambda out, number: out / f"{number:05d}.parquet"),
    "webdataset": (_write_tar, lambda out, number: out / f"{number:05d}.tar"),
}
"""How a shard is written, and the file that it is committed by."""
