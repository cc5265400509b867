"""The batch loop: generate, examine, accept or quarantine, replace; state is committed per batch."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image

from synguard.protocols import FromSources, Generator, Images
from synguard.runs.folder import RunFolder, check_recorded, whole_folder
from synguard.runs.plan import Attempt, Queue, attempt_seed
from synguard.runs.progress import Progress

__all__ = [
    "MADE_BY",
    "Batch",
    "Examine",
    "Origin",
    "committed_rows",
    "encode_png",
    "origins_of",
    "origins_told",
    "run_batches",
]

Examine = Callable[["Batch"], pd.DataFrame]
"""Turns a batch into its rows of images.parquet; `accepted` and `reason` carry the stages' verdict."""


MADE_BY = "generator."
"""Prefix of what metadata tell of how an image was made. It is no label, and never released."""


class Origin(NamedTuple):
    """How a candidate was made, and the file of the private image that it was made from, None for none."""

    strategy: str
    source: str | None

    def told(self) -> dict[str, str | None]:
        """As metadata tell it."""
        return {f"{MADE_BY}{name}": value for name, value in self._asdict().items()}


@dataclass(frozen=True, slots=True)
class Batch:
    """Candidates to be examined together. `asked` has a row of conditions a candidate."""

    files: tuple[str, ...]
    sha256: tuple[str, ...]
    pixels: Images
    asked: pd.DataFrame
    seeds: tuple[int | None, ...]
    attempts: tuple[Attempt, ...]
    encoded: tuple[bytes, ...] = ()
    origins: tuple[Origin, ...] = ()
    """One a candidate where the generator has a strategy; none otherwise."""


def encode_png(pixels: Images) -> bytes:
    """One image (height, width, 3) as PNG bytes, the same for the same pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def run_batches(
    folder: RunFolder,
    generator: Generator,
    conditions: pd.DataFrame,
    examine: Examine,
    *,
    queue: Queue,
    seed: int,
    progress: Progress,
    recorded: Mapping[int, str],
    committed: Callable[[int, pd.DataFrame, str], None],
) -> pd.DataFrame:
    """Fill every slot of `conditions` with an accepted candidate, or stop at the queue's limit; return all rows.

    Batches that an earlier, killed run committed and `recorded` (digests of their rows by number) are read back instead of
    being made again. The next batch is generated while this one is examined. `committed` is told of each batch that was
    made, with the digest of its rows. Raises IntegrityError where rows are not those that were recorded.
    """
    folder.batches.mkdir(mode=0o700, exist_ok=True)
    done = committed_rows(folder, recorded)
    rows: list[pd.DataFrame] = []
    accepted = 0
    ahead: Future[Batch] | None = None
    attempts = queue.next_batch()
    with ThreadPoolExecutor(max_workers=1) as pool:
        while attempts:
            following = queue.next_batch()
            if len(rows) < len(done):
                frame = done[len(rows)]
            else:
                batch = (ahead or pool.submit(_generate, generator, conditions, attempts, seed)).result()
                ahead = pool.submit(_generate, generator, conditions, following, seed) if following else None
                _commit(folder, len(rows), batch, examine(batch))
                # Read back, so that a resumed run and this one hold the very same values.
                frame, digest = _read_rows(folder, len(rows), recorded)
                committed(len(rows), frame, digest)
            rows.append(frame)
            queue.refuse(a for a, ok in zip(attempts, frame["accepted"], strict=True) if not ok)
            accepted += int(frame["accepted"].sum())
            progress("generate and examine", accepted, len(conditions))
            attempts = following or queue.next_batch()
    return pd.concat([frame.assign(batch=i) for i, frame in enumerate(rows)], ignore_index=True)


def committed_rows(folder: RunFolder, recorded: Mapping[int, str]) -> list[pd.DataFrame]:
    """The rows of each batch that was committed and recorded, in order. A batch is committed by the rename of its folder.

    What lies behind them is removed: who was killed between folder and record cannot be told from who put a batch there.
    """
    rows: list[pd.DataFrame] = []
    while len(rows) in recorded and _rows_file(folder, len(rows)).exists():
        rows.append(_read_rows(folder, len(rows), recorded)[0])
    for path in set(folder.batches.glob("[0-9]*")) - {_rows_file(folder, number).parent for number in range(len(rows))}:
        shutil.rmtree(path)
    return rows


def _rows_file(folder: RunFolder, number: int) -> Path:
    return folder.batches / f"{number:05d}" / "rows.parquet"


def _read_rows(folder: RunFolder, number: int, recorded: Mapping[int, str]) -> tuple[pd.DataFrame, str]:
    """The rows of a committed batch, and the digest of their file."""
    path = _rows_file(folder, number)
    data = path.read_bytes()
    digest = check_recorded(path, data, recorded.get(number))
    return pd.read_parquet(io.BytesIO(data)), digest


def _generate(generator: Generator, conditions: pd.DataFrame, attempts: Sequence[Attempt], seed: int) -> Batch:
    asked = conditions.iloc[[a.slot for a in attempts]].reset_index(drop=True)
    seeds = tuple(attempt_seed(seed, a.slot, a.attempt) for a in attempts)
    pixels = generator.generate(asked, seeds)
    encoded = tuple(encode_png(image) for image in pixels)
    return Batch(
        origins=origins_of(generator, asked, seeds),
        files=tuple(f"images/{a.slot:06d}-{a.attempt}.png" for a in attempts),
        sha256=tuple(hashlib.sha256(data).hexdigest() for data in encoded),
        pixels=pixels,
        asked=asked,
        seeds=seeds,
        attempts=tuple(attempts),
        encoded=encoded,
    )


def origins_told(metadata: pd.DataFrame) -> tuple[Origin, ...]:
    """Where candidates come from as their metadata tell it; none where these have no strategy."""
    columns = [f"{MADE_BY}{name}" for name in Origin._fields]
    if columns[0] not in metadata.columns:
        return ()
    told = metadata.reindex(columns=columns).astype(object)
    told = told.where(told.notna() & (told != ""), None)
    return tuple(Origin(strategy or "not told", source) for strategy, source in told.itertuples(index=False))


def origins_of(generator: Generator, asked: pd.DataFrame, seeds: Sequence[int]) -> tuple[Origin, ...]:
    """Where candidates of these conditions and seeds come from; none of a generator without strategies."""
    if not isinstance(generator, FromSources):
        return ()
    return tuple(Origin(generator.strategy, source) for source in generator.sources(asked, seeds))


def _commit(folder: RunFolder, number: int, batch: Batch, rows: pd.DataFrame) -> None:
    with whole_folder(_rows_file(folder, number).parent) as scratch:
        (scratch / "images").mkdir()
        for file, data in zip(batch.files, batch.encoded, strict=True):
            (scratch / file).write_bytes(data)
        rows.to_parquet(scratch / "rows.parquet", index=False)
