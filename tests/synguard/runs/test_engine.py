"""The batch loop: replacement, commit per batch, and a resume that ends like an unbroken run."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synguard.errors import IntegrityError
from synguard.protocols import Images
from synguard.runs.engine import Batch, Origin, committed_rows, origins_of, origins_told, run_batches
from synguard.runs.folder import RunFolder
from synguard.runs.plan import Queue
from synguard.runs.progress import silent

SLOTS = 23


class Noise:
    """A generator whose image depends on the seed alone."""

    size = 8
    digest = "noise"

    def generate(self, conditions: pd.DataFrame, seeds: Sequence[int]) -> Images:
        assert len(conditions) == len(seeds)
        images = [np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8) for seed in seeds]
        return np.stack(images)


class Killed(BaseException):
    """Stands for SIGKILL between two operations."""


def examine(batch: Batch) -> pd.DataFrame:
    """Refuse every image whose first byte is below 64: about a quarter."""
    accepted = batch.pixels[:, 0, 0, 0] >= 64
    return pd.DataFrame(
        {
            "file": batch.files,
            "sha256": batch.sha256,
            "seed": batch.seeds,
            "accepted": accepted,
            "asked": batch.asked["grade"],
        }
    )


class Book(dict[int, str]):
    """Stands for the ledger; is killed before it has written `kill_at`."""

    kill_at = -1

    def batch(self, number: int, rows: pd.DataFrame, file: str) -> None:
        if number == self.kill_at:
            raise Killed
        assert self.setdefault(number, file) == file


def run(
    folder: RunFolder, examine=examine, limit: int = 200, book: Book | None = None, generator: Noise | None = None
) -> pd.DataFrame:
    conditions = pd.DataFrame({"grade": pd.array(np.arange(SLOTS) % 3, dtype="Int8")})
    queue, book = Queue(slots=SLOTS, batch_size=5, limit=limit), Book() if book is None else book
    return run_batches(
        folder,
        generator or Noise(),
        conditions,
        examine,
        queue=queue,
        seed=9,
        progress=silent,
        recorded=dict(book),
        committed=book.batch,
    )


def test_every_slot_is_filled_and_refusals_are_replaced(tmp_path: Path):
    rows = run(RunFolder.create(tmp_path / "run"))
    assert rows["accepted"].sum() == SLOTS
    assert (~rows["accepted"]).sum() > 0
    slots = rows.loc[rows["accepted"], "file"].str.extract(r"images/(\d+)-")[0].astype(int)
    assert sorted(slots) == list(range(SLOTS))
    # A replacement is asked for the same condition as the candidate that it replaces.
    assert (rows["asked"].to_numpy() == rows["file"].str.extract(r"(\d+)-")[0].astype(int).to_numpy() % 3).all()


def test_the_limit_stops_a_generator_that_is_always_refused(tmp_path: Path):
    rows = run(RunFolder.create(tmp_path / "run"), lambda batch: examine(batch).assign(accepted=False), limit=40)
    assert len(rows) == 40


@pytest.mark.parametrize("kill_at", range(7))
def test_a_resumed_run_ends_like_an_unbroken_one(tmp_path: Path, kill_at: int):
    whole = RunFolder.create(tmp_path / "whole")
    expected = run(whole)
    broken, book = RunFolder.create(tmp_path / "broken"), Book()
    counter = itertools.count()

    def examine_or_die(batch: Batch) -> pd.DataFrame:
        if next(counter) == kill_at:
            raise Killed
        return examine(batch)

    try:
        run(broken, examine_or_die, book=book)
    except Killed:
        assert len(committed_rows(broken, book)) == kill_at
    pd.testing.assert_frame_equal(run(broken, book=book), expected)
    same_files(whole, broken)


def same_files(whole: RunFolder, broken: RunFolder) -> None:
    files = sorted(p.relative_to(whole.path) for p in whole.batches.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(broken.path) for p in broken.batches.rglob("*") if p.is_file())
    assert all((whole.path / f).read_bytes() == (broken.path / f).read_bytes() for f in files)


def refused(rows: pd.DataFrame) -> pd.DataFrame:
    """What was accepted refused, and what was refused accepted."""
    return rows.assign(accepted=~rows["accepted"])


def turn_round(folder: RunFolder, number: int) -> None:
    """What somebody does to a batch who wants its refused images."""
    path = folder.batches / f"{number:05d}" / "rows.parquet"
    refused(pd.read_parquet(path)).to_parquet(path, index=False)


def test_a_batch_that_was_changed_after_the_kill_is_not_read_back(tmp_path: Path):
    folder, book = RunFolder.create(tmp_path / "run"), Book()
    book.kill_at = 2
    with pytest.raises(Killed):
        run(folder, book=book)
    turn_round(folder, 0)
    with pytest.raises(IntegrityError, match=r"00000/rows.parquet: found .*, expected sha256 .* as the ledger has it"):
        run(folder, book=book)


@pytest.mark.parametrize("kill_at", [0, 2])
def test_a_batch_that_the_ledger_does_not_know_is_made_again(tmp_path: Path, kill_at: int):
    """Killed between folder and ledger; and whatever else was put behind it."""
    whole = RunFolder.create(tmp_path / "whole")
    expected = run(whole)
    folder, book = RunFolder.create(tmp_path / "run"), Book()
    book.kill_at = kill_at
    with pytest.raises(Killed):
        run(folder, book=book)
    book.kill_at = -1
    turn_round(folder, kill_at)
    shutil.copytree(folder.batches / "00000", folder.batches / f"{kill_at + 2:05d}")
    pd.testing.assert_frame_equal(run(folder, book=book), expected)
    same_files(whole, folder)


def test_a_batch_that_was_taken_away_is_made_again_as_it_was(tmp_path: Path):
    folder, book = RunFolder.create(tmp_path / "run"), Book()
    expected = run(folder, book=book)
    shutil.rmtree(folder.batches / "00001")
    pd.testing.assert_frame_equal(run(folder, book=book), expected)
    shutil.rmtree(folder.batches / "00001")
    with pytest.raises(IntegrityError, match=r"00001/rows.parquet"):
        run(folder, lambda batch: refused(examine(batch)), book=book)


class Redrawn(Noise):
    """Starts each image from a private one; every third from noise alone."""

    strategy = "image-to-image"

    def sources(self, conditions: pd.DataFrame, seeds: Sequence[int]) -> list[str | None]:
        return [None if seed % 3 == 0 else f"private/{seed % 5}.png" for seed in seeds]


def test_every_candidate_carries_the_private_image_that_it_was_made_from(tmp_path: Path):
    seen: list[Batch] = []

    def look(batch: Batch) -> pd.DataFrame:
        seen.append(batch)
        return examine(batch)

    run(RunFolder.create(tmp_path / "run"), look, generator=Redrawn())
    for batch in seen:
        assert [origin.source for origin in batch.origins] == Redrawn().sources(batch.asked, list(batch.seeds))
        assert {origin.strategy for origin in batch.origins} == {"image-to-image"}
    assert not origins_of(Noise(), seen[0].asked, seen[0].seeds)


def test_origins_are_read_back_as_metadata_tell_them():
    origins = (Origin("inpainting", "a.png"), Origin("text-to-image", None))
    told = pd.DataFrame([origin.told() for origin in origins])
    assert origins_told(told) == origins
    assert origins_told(told.drop(columns="generator.source")) == tuple(Origin(o.strategy, None) for o in origins)
    assert origins_told(pd.DataFrame({"dx": ["nv"]})) == ()
    # A table that mixes images of several makers tells some of them nothing.
    assert origins_told(pd.DataFrame({"generator.strategy": [None, "inpainting"]}))[0] == Origin("not told", None)
