"""The batch loop: generate, examine, accept or quarantine, replace; state is committed per batch."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image

from synguard.protocols import FromSources, Generator, Images
from synguard.runs.folder import RunFolder, whole_folder
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
    committed: Callable[[int, pd.DataFrame], None] = lambda number, rows: None,
) -> pd.DataFrame:
    """Fill every slot of `conditions` with an accepted candidate, or stop at the queue's limit; return all rows.

    Batches that an earlier, killed run committed are read back instead of being made again. The next batch is generated
    while this one is examined. `committed` is told of each batch, those of an earlier run among them.
    """
    folder.batches.mkdir(mode=0o700, exist_ok=True)
    done = committed_rows(folder)
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
                frame = _commit(folder, len(rows), batch, examine(batch))
            committed(len(rows), frame)
            rows.append(frame)
            queue.refuse(a for a, ok in zip(attempts, frame["accepted"], strict=True) if not ok)
            accepted += int(frame["accepted"].sum())
            progress("generate and examine", accepted, len(conditions))
            attempts = following or queue.next_batch()
    return pd.concat([frame.assign(batch=i) for i, frame in enumerate(rows)], ignore_index=True)


def committed_rows(folder: RunFolder) -> list[pd.DataFrame]:
    """The rows of each batch that was committed, in order. A batch is committed by the rename of its folder."""
    rows: list[pd.DataFrame] = []
    while (path := folder.batches / f"{len(rows):05d}" / "rows.parquet").exists():
        rows.append(pd.read_parquet(path))
    return rows


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


def _commit(folder: RunFolder, number: int, batch: Batch, rows: pd.DataFrame) -> pd.DataFrame:
    target: Path = folder.batches / f"{number:05d}"
    with whole_folder(target) as scratch:
        (scratch / "images").mkdir()
        for file, data in zip(batch.files, batch.encoded, strict=True):
            (scratch / file).write_bytes(data)
        rows.to_parquet(scratch / "rows.parquet", index=False)
    # Read back, so that a resumed run and this one hold the very same values.
    return pd.read_parquet(target / "rows.parquet")
