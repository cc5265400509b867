"""The run folder: where everything that one execution writes lies, owner-only, each part whole or not there at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from synguard.errors import InputError, IntegrityError

__all__ = ["RunFolder", "check_recorded", "whole_folder"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names of the parts of a run folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, written first; `--resume` compares it."""
        return self.path / "config.json"

    @property
    def generator(self) -> Path:
        """The pipeline folder of the generator trained in this run."""
        return self.path / "generator"

    @property
    def reference(self) -> Path:
        """The reference model trained in this run on the holdout's reference role. Private data."""
        return self.path / "reference"

    @property
    def index(self) -> Path:
        """The embedding index of the private set and its calibration. Private data."""
        return self.path / "index"

    @property
    def diagnostic(self) -> Path:
        """The diagnostic model trained in this run. Private data."""
        return self.path / "diagnostic"

    @property
    def batches(self) -> Path:
        """Committed batches, one folder each, while the run goes on."""
        return self.path / "batches"

    @property
    def probes(self) -> Path:
        """Results of finished audits, so that a resumed run does not repeat them."""
        return self.path / "probes"

    @property
    def accepted(self) -> Path:
        """Unreleased accepted images, in the image-folder layout."""
        return self.path / "accepted"

    @property
    def quarantine(self) -> Path:
        """Refused candidates; never released."""
        return self.path / "quarantine"

    @property
    def pairs(self) -> Path:
        """Pictures of flagged pairs for the internal report. Private data."""
        return self.path / "pairs"

    @property
    def images(self) -> Path:
        """One row a candidate."""
        return self.path / "images.parquet"

    @property
    def policy(self) -> Path:
        """The policy as resolved: what the decision was made by, whatever becomes of the files it was written in."""
        return self.path / "policy.json"

    @property
    def evidence(self) -> Path:
        """Curves, histograms and tables for the report."""
        return self.path / "evidence.json"

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new, owner-only run folder. One that exists is an InputError: nothing is ever written over."""
        if path.exists():
            raise InputError.of(path, "a folder that exists already", "a new folder for the run (or --resume)")
        path.mkdir(parents=True, mode=0o700)
        path.chmod(0o700)
        return cls(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that appears under its name only when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stale in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(stale)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield scratch
        scratch.rename(path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def check_recorded(path: Path, data: bytes, recorded: str | None) -> str:
    """The digest of a file's bytes. IntegrityError where the ledger has another one of it."""
    found = hashlib.sha256(data).hexdigest()
    if recorded is not None and found != recorded:
        raise IntegrityError(f"{path}: found {found[:16]}, expected sha256 {recorded[:16]} as the ledger has it")
    return found
