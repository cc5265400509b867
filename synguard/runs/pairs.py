"""Pictures of pairs: those that were flagged, and those that the people who look at them are measured on.

The measures are controls (candidates that nothing was found about) and known copies (private images that the audit changed
itself), each beside the private image that the audit names. They are made where all pixels are at hand, and shown by
`synguard.review`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from audits import memorisation
from audits.memorisation import Examined
from synguard.data.images import ImageSet
from synguard.protocols import Images
from synguard.review.queue import pair_digest
from synguard.runs.assemble import write_pairs
from synguard.runs.examine import examined_of
from synguard.runs.folder import RunFolder
from synguard.runs.prepare import Prepared

__all__ = ["picture_pairs"]

SHOWN = 1000
"""Pairs, flagged before those for review, of which pictures are written; the rest are rows, and stay open for readers."""
MEASURES = 30
"""Controls, and known copies. 29 found of 29 are the fewest that show, at 95 %, a reader who finds nine of ten."""
_PANELS = ("candidate", "private", "difference", "area")
_Panels = dict[str, Images]


def picture_pairs(
    folder: RunFolder,
    rows: pd.DataFrame,
    prepared: Prepared,
    candidates: ImageSet,
    listed: Sequence[dict[str, Any]],
    seed: int,
    samples: Sequence[dict[str, Any]] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Writes the pictures, and place and digest of each into the entries of `listed`, flagged pairs first.

    Likewise into those of `samples`, which name accepted images alone: each beside the private image nearest to it. Returns
    the evidence on the measures: `controls` and `known`.
    """
    private, examined = prepared.material.searched, examined_of(rows)
    originals = {file: row for row, file in enumerate(private.files)}
    places = {file: row for row, file in enumerate(candidates.files)}
    found = {file: row for row, file in enumerate(rows["file"])}
    pixels, seen = prepared.memorisation.known_copies(MEASURES, seed)
    shown = [entry for entry in listed if entry["nearest"]][:SHOWN]
    controls = [{"file": file} for file in _unlisted(rows["file"].tolist(), examined, listed, seed)]
    known: list[dict[str, Any]] = [{} for _ in pixels]

    def of_candidate(file: str, nearest: int) -> _Panels:
        return _panels(candidates.pixels[places[file]], private.pixels[nearest], examined, found[file])

    def beside(entries: Sequence[dict[str, Any]], letter: str) -> Iterator[tuple[dict[str, Any], str, _Panels, int]]:
        for number, entry in enumerate(entries, start=1):
            nearest = int(examined.nearest[found[entry["file"]]])
            if nearest >= 0:
                entry["nearest"] = private.files[nearest]
                yield entry, f"{letter}{number:04d}", of_candidate(entry["file"], nearest), 2

    def drawn() -> Iterator[tuple[dict[str, Any], str, _Panels, int]]:
        for number, entry in enumerate(shown, start=1):
            yield entry, f"{number:04d}", of_candidate(entry["file"], originals[entry["nearest"]]), len(_PANELS)
        yield from beside(controls, "c")
        yield from beside(samples, "s")
        for row, entry in enumerate(known):
            yield entry, f"k{row + 1:04d}", _panels(pixels[row], private.pixels[seen.nearest[row]], seen, row), 2

    def noted() -> Iterator[tuple[str, _Panels]]:
        for entry, name, panels, kept in drawn():
            entry |= {"pair": f"pairs/{name}", "pair_sha256": pair_digest(panels["candidate"], panels["private"])}
            yield name, {panel: panels[panel] for panel in _PANELS[:kept]}

    write_pairs(folder, noted())
    return {"controls": controls, "known": known}


def _panels(candidate: Images, original: Images, examined: Examined, row: int) -> _Panels:
    pictures = memorisation.pair_pictures(
        candidate,
        original,
        examined.maps[row],
        copied=examined.copied[row],
        inverted=bool(examined.inverted[row]),
    )
    return dict(zip(_PANELS, pictures, strict=True))


def _unlisted(files: Sequence[str], examined: Examined, listed: Sequence[dict[str, Any]], seed: int) -> Iterator[str]:
    """Candidates, in random order, with a nearest private image that nothing was found about."""
    taken = {entry["file"] for entry in listed}
    free = [file for file, nearest in zip(files, examined.nearest, strict=True) if nearest >= 0 and file not in taken]
    order = np.random.default_rng([seed, 0xC0]).permutation(len(free))[:MEASURES]
    return (free[row] for row in order)
