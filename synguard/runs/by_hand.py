"""Images that people took out before an audit: a record of each, with its reason and who answers for it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from synguard.config import RunConfig
from synguard.data.images import ImageSet
from synguard.data.readers import read_table
from synguard.errors import InputError

__all__ = ["BY_HAND", "reasons_by_hand"]

BY_HAND = "by hand"
"""How the reason of an image that was taken out begins."""
_COLUMNS = ("file_name", "reason", "by")


def reasons_by_hand(config: RunConfig, base: Path, synthetic: ImageSet) -> tuple[str, ...]:
    """Why each image of the set (n,) is not to be released, "" for those that are.

    InputError for a table without the columns `file_name`, `reason` and `by`, a gap in it, or an image that is not there:
    what was taken out stays in the folder, is examined and counted like every candidate, and only not released.
    """
    if config.release.taken_out is None:
        return ("",) * len(synthetic)
    path = base / config.release.taken_out
    table = read_table(path)
    if missing := [name for name in _COLUMNS if name not in table.columns]:
        raise InputError.of(path, f"no column {missing[0]}", f"the columns {', '.join(_COLUMNS)}")
    reasons: dict[str, str] = {}
    files = frozenset(synthetic.files)
    for number, row in enumerate(table[list(_COLUMNS)].itertuples(index=False), start=1):
        file, why, who = (_cell(value) for value in row)
        _check(file, why, who, files, reasons, f"{path} row {number}")
        reasons[file] = f"{BY_HAND}: {why} ({who})"
    return tuple(reasons.get(file, "") for file in synthetic.files)


def _check(file: str, why: str, who: str, files: Collection[str], earlier: dict[str, str], where: str) -> None:
    if not (file and why and who):
        raise InputError.of(where, "an empty cell", "the image, why it was taken out, and who did it")
    if file not in files:
        raise InputError.of(where, f"{file!r}, which is not there", "an image of the set: leave it there, so that it counts")
    if file in earlier:
        raise InputError.of(where, f"{file!r} a second time", "each image once")


def _cell(value: object) -> str:
    return "" if value is None or value != value else " ".join(str(value).split())
