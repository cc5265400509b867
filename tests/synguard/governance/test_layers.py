"""Governance decides on figures alone: neither it nor what it imports loads a learning framework."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import synguard.governance

HEAVY = ("torch", "diffusers", "faiss", "sklearn", "matplotlib", "click")


def test_no_heavy_module_is_loaded():
    names = [f"synguard.governance.{module.name}" for module in pkgutil.iter_modules(synguard.governance.__path__)]
    code = f"import sys, {', '.join(names)}; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert found.stdout.strip() == "[]"
