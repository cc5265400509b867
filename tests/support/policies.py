"""Policies written by code, for tests: a base file and files that extend it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from synguard.governance.policy import Policy, load_policy

BASES = Path(__file__).parents[1] / "synguard" / "governance" / "policy" / "bases"
WHY = {"reason": "Twenty characters and a few more.", "source": "a test"}
WAIVER = {
    "id": "w-1",
    "check": "near-copies",
    "ceiling": {"above": "1.5%"},
    "reason": "Lesion-free fields look alike between patients.",
    "owner": "p.ito",
    "approver": "a.osei",
    "issued": "2026-11-20",
    "expires": "2027-01-31",
}


def write(folder: Path, name: str = "child", base: Path | str | None = None, **keys: Any) -> Path:
    """A policy file with the keys given; with `base` it extends that one."""
    document: dict[str, Any] = {"schema": "synguard/policy/v1", "name": name, "version": "1.0.0"}
    if base is not None:
        source = base if isinstance(base, Path) else BASES / f"{base}.yaml"
        data = source.read_bytes()
        (folder / source.name).write_bytes(data)
        document["extends"] = {"policy": source.name, "sha256": hashlib.sha256(data).hexdigest()}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**document, **keys}, sort_keys=False), encoding="utf-8")
    return path


def extended(folder: Path, **keys: Any) -> Policy:
    """A policy that extends `bases/base.yaml` by these keys."""
    return load_policy(write(folder, base="base", **keys))


def tighter(check: str, **more: Any) -> dict[str, Any]:
    return {"check": check, **more, **WHY}
