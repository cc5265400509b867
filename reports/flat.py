"""Nested records as names and values that a page can list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.numbers import ABSENT
from reports.runfolder import text

__all__ = ["flat"]


def flat(items: Mapping[str, Any], before: str = "") -> tuple[tuple[str, str], ...]:
    """Nested mappings as one list of names and values."""
    found: list[tuple[str, str]] = []
    for key, value in items.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            found += flat(value, f"{name} · ")
        else:
            found.append((name, _said(value)))
    return tuple(found)


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ABSENT
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = "; ".join(_joined(item) for item in value[:20])
        return f"{len(value)}: {shown}{' …' if len(value) > 20 else ''}" if value else "none"
    return text(value) or ABSENT


def _joined(item: object) -> str:
    if isinstance(item, Sequence) and not isinstance(item, str):
        return " = ".join(text(part) for part in item)
    if isinstance(item, Mapping):
        return ", ".join(f"{key} {text(value)}" for key, value in item.items() if text(value))
    return text(item)
