"""The pairs of a finished run that people look at: flagged ones, mixed with controls and with known copies.

A run lists them in `evidence.json`, which its signature covers, each with the digest of its pictures in `pairs/`. Nothing
that a reader is shown says which of the three kinds a pair is of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synguard.errors import InputError, IntegrityError
from synguard.governance.files import read_json

__all__ = ["Kind", "Pair", "load", "pair_digest", "read_pairs", "shuffled"]

Kind = Literal["flagged", "control", "known"]
Pixels = NDArray[np.uint8]

_PLACE = re.compile(r"pairs/[a-z0-9]{1,20}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pair:
    """A candidate and the private image that the audit found nearest, at `place` in the run folder.

    `flagged` pairs (verified copies and the review list) are what is judged; `control` and `known` ones measure the reader.
    `digest` and `place` are empty where the run kept no pictures of a flagged pair; `file` names the candidate of a flagged
    one, `accepted` says whether it would be released, and `verified` whether the audit itself calls it a copy.
    """

    digest: str
    place: str
    kind: Kind
    file: str = ""
    accepted: bool = False
    verified: bool = False


def pair_digest(candidate: Pixels, private: Pixels) -> str:
    """SHA-256 over the pixels of both images (height, width, 3), their shapes included."""
    digest = hashlib.sha256()
    for image in (candidate, private):
        digest.update(f"{image.shape};".encode())
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def read_pairs(run: Path) -> tuple[Pair, ...]:
    """All pairs of a run, each pair of pictures once.

    Raises InputError for a run that kept none to measure readers on, IntegrityError where its evidence is not as written.
    """
    evidence = read_json(run / "evidence.json")
    if "review" not in evidence:
        raise InputError.of(run, "a run of a version that kept no pairs for readers", "one that was audited by this version")
    said = evidence.get("memorisation", {})
    found = [
        *_pairs(said.get("flagged", ()), "flagged", run, verified=True),
        *_pairs(said.get("review", ()), "flagged", run),
        *_pairs(evidence["review"].get("known", ()), "known", run),
        *_pairs(evidence["review"].get("controls", ()), "control", run),
    ]
    # Two candidates may be the same picture beside the same private image. The first of a digest is the weightiest kind.
    kinds: dict[str, Kind] = {}
    for pair in found:
        kinds.setdefault(pair.digest, pair.kind)
    return tuple(pair for pair in found if kinds[pair.digest] == pair.kind)


def shuffled(pairs: Sequence[Pair], run: str, reader: str) -> tuple[Pair, ...]:
    """The pairs that can be shown, each once, in the random order of one reader: the same whenever they come back."""
    shown = list({pair.digest: pair for pair in reversed(pairs) if pair.digest}.values())
    shown.sort(key=lambda pair: pair.digest)
    seed = int.from_bytes(hashlib.sha256(f"{run}\n{reader}".encode()).digest())
    return tuple(shown[row] for row in np.random.default_rng(seed).permutation(len(shown)))


def load(run: Path, pair: Pair) -> tuple[Pixels, Pixels]:
    """Candidate and private image, in the candidate's frame. IntegrityError where they are not those of the run."""
    try:
        candidate, private = (_pixels(run / f"{pair.place}-{name}.png") for name in ("candidate", "private"))
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{run / pair.place}: found no picture of the pair, expected those of the run") from error
    if pair_digest(candidate, private) != pair.digest:
        raise IntegrityError(f"{run / pair.place}: found other pictures than the audit recorded, expected those")
    return candidate, private


def _pairs(rows: Sequence[Mapping[str, Any]], kind: Kind, run: Path, *, verified: bool = False) -> Iterator[Pair]:
    for row in rows:
        place, digest = str(row.get("pair", "")), str(row.get("pair_sha256", ""))
        if (place or digest) and not (_PLACE.fullmatch(place) and _DIGEST.fullmatch(digest)):
            raise IntegrityError(f"{run / 'evidence.json'}: found a pair at {place!r}, expected its place and digest")
        yield Pair(digest, place, kind, str(row.get("file", "")), row.get("accepted") is True, verified)


def _pixels(path: Path) -> Pixels:
    with Image.open(path, formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB"))
