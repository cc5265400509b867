"""The curve of a training as a page of its own, from `training/curve.json` alone. Private, like the folder it lies in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports import evidence, sections
from reports.editions import environment, style_sheet, write
from reports.facts import CurveFacts
from reports.numbers import Numbers
from reports.runfolder import read_mapping
from reports.wording import STATUS_WORDS
from synguard.errors import InputError

__all__ = ["curve_summary", "render_curve"]


def render_curve(path: Path) -> Path:
    """Writes the page beside `path`, a curve.json, readable by its owner only, and returns its path.

    InputError where the file holds no point of a curve.
    """
    target = path.with_suffix(".html")
    (section,) = sections.training(_read(path), Numbers())
    style, policy = style_sheet("internal")
    page = environment().get_template("curve.html")
    write(target, page.render(part=section, style=style, policy=policy, status_words=STATUS_WORDS))
    return target


def curve_summary(path: Path) -> str:
    """What the curve says, in a sentence for a terminal."""
    return sections.onset_in_words(_read(path)).replace("\u00a0", " ")


def _read(path: Path) -> CurveFacts:
    said: Mapping[str, Any] = read_mapping(path)
    found = evidence.curve(said)
    if found is None:
        raise InputError.of(path, "no point of a curve", "the curve.json of a training")
    return found
