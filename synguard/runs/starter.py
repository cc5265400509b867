"""`synguard init`: commented files to start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from synguard.errors import InputError

__all__ = ["write_starter"]


def write_starter(folder: Path) -> tuple[Path, Path]:
    """Write synguard.yaml and policy.yaml into `folder`; InputError where one of them exists already."""
    targets = (folder / "synguard.yaml", folder / "policy.yaml")
    for target in targets:
        if target.exists():
            raise InputError.of(target, "a file that exists already", "a folder without it")
    folder.mkdir(parents=True, exist_ok=True)
    targets[0].write_text(files("synguard.runs").joinpath("templates/synguard.yaml").read_text())
    targets[1].write_text(files("synguard.governance").joinpath("policies/public-release.yaml").read_text())
    return targets
