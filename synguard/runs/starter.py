"""`synguard init`: commented files to start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from synguard.errors import InputError
from synguard.governance.policy import load_policy

__all__ = ["write_starter"]


def write_starter(folder: Path) -> tuple[Path, Path]:
    """Write synguard.yaml and policy.yaml, which extends `public-release`, into `folder`.

    Raises InputError where one of them exists already.
    """
    targets = (folder / "synguard.yaml", folder / "policy.yaml")
    for target in targets:
        if target.exists():
            raise InputError.of(target, "a file that exists already", "a folder without it")
    folder.mkdir(parents=True, exist_ok=True)
    templates = files("synguard.runs").joinpath("templates")
    base = load_policy("public-release").sha256
    targets[0].write_text(templates.joinpath("synguard.yaml").read_text())
    targets[1].write_text(templates.joinpath("policy.yaml").read_text().replace("BASE", base))
    return targets
