"""An open run: its folder, what it is about, and the record of how it came about."""

from __future__ import annotations

import platform
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from synguard.config import RunConfig
from synguard.errors import InputError, SynguardError
from synguard.governance.files import canonical, read_json, write_private
from synguard.governance.policy import Policy
from synguard.governance.record import RunRecord, RunState, read_run, write_run
from synguard.runs.folder import RunFolder
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
        resume: bool,
        progress: Progress,
    ) -> OpenRun:
        """A new run folder, or with `resume` the one there, if it is of the same configuration, images, labels and policy.

        `candidates` is the digest of what they come from: images or a generator that was given, "" where one is trained.
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
            return cls(folder, config, base, policy, read_run(path), progress)
        folder = RunFolder.create(path)
        record = RunRecord(
            id=uuid.uuid4().hex,
            state="running",
            config=config.model_dump(mode="json"),
            command=_command(),
            started=_now(),
            versions=_versions(),
            seeds={"run": config.seed},
        )
        # The record first: a folder with a configuration is one that can be resumed.
        write_run(path, record)
        write_private(folder.config, canonical(identity))
        return cls(folder, config, base, policy, record, progress)

    @property
    def ended(self) -> bool:
        """Whether an earlier execution of this run came to its end."""
        return self.record.state in ("complete", "stopped")

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write into run.json that the block ended with an error, if it did."""
        try:
            yield
        except SynguardError:
            self.write("failed")
            raise

    def write(self, state: RunState, *, key: str = "", data: Mapping[str, Any] | None = None) -> None:
        """Write run.json with its state, times and timings."""
        finished = "" if state == "running" else _now()
        changed = replace(
            self.record, state=state, finished=finished, timings=self.timings.seconds, results_key=key, data=dict(data or {})
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
