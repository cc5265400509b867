"""An open run: its folder, what it is about, and the record of how it came about."""

from __future__ import annotations

import platform
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from synguard.config import RunConfig
from synguard.errors import InputError, SynguardError
from synguard.governance.files import canonical, read_json, write_private
from synguard.governance.ledger import Ledger
from synguard.governance.ledger.place import Where
from synguard.governance.policy import Policy
from synguard.governance.record import RunRecord, RunState, read_run, write_run
from synguard.runs.folder import RunFolder
from synguard.runs.ledger import RunLedger
from synguard.runs.material import Material
from synguard.runs.progress import Progress, Timings

__all__ = ["OpenRun"]

_PACKAGES = (
    "synguard",
    "torch",
    "diffusers",
    "faiss-gpu",
    "faiss-cpu",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pillow",
)


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run under way."""

    folder: RunFolder
    config: RunConfig
    base: Path
    policy: Policy
    record: RunRecord
    ledger: RunLedger
    progress: Progress
    timings: Timings = field(default_factory=Timings)

    @classmethod
    def open(
        cls,
        path: Path,
        config: RunConfig,
        base: Path,
        material: Material,
        policy: Policy,
        *,
        candidates: str,
        ledger: Where,
        resume: bool,
        progress: Progress,
    ) -> OpenRun:
        """A new run folder, or with `resume` the one there, if it is of the same configuration, images, labels and policy.

        `candidates` is the digest of what they come from: images or a generator that was given, and what it is asked for.
        The run's first entry is in the ledger before its folder is made.
        """
        identity = {
            "config": config.model_dump(mode="json"),
            "private": material.private.digest,
            "holdout": material.holdout.digest,
            "labels": material.labels_digest,
            "candidates": candidates,
            "policy": policy.sha256,
        }
        if resume and path.exists():
            folder = RunFolder(path)
            if not folder.config.is_file():
                raise InputError.of(path, "no config.json", "the folder of a run to resume")
            if canonical(read_json(folder.config)) != canonical(identity):
                raise InputError.of(
                    path, "a run of another configuration, other images, labels or another policy", "the same as before"
                )
            record = read_run(path)
            rows = RunLedger(Ledger.open(ledger), record.id)
            run = cls(folder, config, base, policy, record, rows, progress)
            if not run.ended:
                rows.resumed(record.ledger, identity, path)
            return run
        rows = RunLedger(Ledger.open(ledger), uuid.uuid4().hex)
        rows.began(config, identity, policy)
        folder = RunFolder.create(path)
        record = RunRecord(
            id=rows.run,
            state="running",
            config=config.model_dump(mode="json"),
            command=_command(),
            started=_now(),
            versions=_versions(),
            seeds={"run": config.seed},
            ledger=rows.ledger.head().as_dict(),
        )
        # The record first: a folder with a configuration is one that can be resumed.
        write_run(path, record)
        write_private(folder.config, canonical(identity))
        return cls(folder, config, base, policy, record, rows, progress)

    @property
    def ended(self) -> bool:
        """Whether an earlier execution of this run came to its end."""
        return self.record.state in ("complete", "stopped")

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write into ledger and run.json that the block ended with an error, if it did."""
        try:
            yield
        except Exception as error:
            # The error itself is what the user has to read, also where it was the ledger that could not be written.
            with suppress(SynguardError):
                self.ledger.state("failed", error=type(error).__name__)
            if isinstance(error, SynguardError):
                self.write("failed")
            raise

    def end(self, state: RunState, *, key: str, data: Mapping[str, Any]) -> None:
        """Write into ledger and run.json that the run has come to its end; run.json keeps the ledger's head after it."""
        self.write(state, key=key, data=data, ledger=self.ledger.ended(state).as_dict())

    def write(
        self,
        state: RunState,
        *,
        key: str = "",
        data: Mapping[str, Any] | None = None,
        ledger: Mapping[str, Any] | None = None,
    ) -> None:
        """Write run.json with its state, times and timings."""
        changed = replace(
            self.record,
            state=state,
            finished="" if state == "running" else _now(),
            timings=self.timings.seconds,
            results_key=key,
            data=dict(data or {}),
            ledger=ledger or self.record.ledger,
        )
        write_run(self.folder.path, changed)


def _command() -> tuple[str, ...]:
    """The command line with folders cut off: where on which machine is nobody's business."""
    return ("synguard", *(Path(part).name if "/" in part else part for part in sys.argv[1:]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
