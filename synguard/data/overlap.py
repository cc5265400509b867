"""Overlap: what private set and holdout have in common, and pictures that appear under two patients of one set."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from synguard.data._identity import pixel_digests
from synguard.data.images import ImageSet

__all__ = ["Duplicate", "Overlap", "Pair", "duplicates", "find_overlap"]


@dataclass(frozen=True, slots=True)
class Pair:
    """An image of the holdout and the first image of the private set that it shares something with."""

    private: str
    holdout: str
    private_patient: str
    holdout_patient: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the two sets share; an image of the holdout is named once in each list at most.

    `same_patient` is empty where either set has no patient ids (`patients_compared` is False then). `same_pixels` holds
    only pairs of different files, for example one picture saved twice.
    """

    same_patient: tuple[Pair, ...]
    same_bytes: tuple[Pair, ...]
    same_pixels: tuple[Pair, ...]
    patients_compared: bool

    def __bool__(self) -> bool:
        return bool(self.same_patient or self.same_bytes or self.same_pixels)

    @property
    def files(self) -> tuple[str, ...]:
        """The images of the holdout that are named, sorted."""
        return tuple(sorted({pair.holdout for pair in (*self.same_patient, *self.same_bytes, *self.same_pixels)}))

    def describe(self) -> str:
        """One sentence that names the first pairs; empty without overlap."""
        kinds = (
            ("the same file", self.same_bytes),
            ("the same pixels", self.same_pixels),
            ("the same patient", self.same_patient),
        )
        parts = [f"{len(pairs)} by {kind} ({_named(pairs)})" for kind, pairs in kinds if pairs]
        return f"the private set and the holdout share images: {'; '.join(parts)}" if parts else ""

    def as_json(self, most: int = 100) -> dict[str, Any]:
        """Counts, and the first `most` pairs of each kind, as JSON values."""
        lists = {"same_patient": self.same_patient, "same_bytes": self.same_bytes, "same_pixels": self.same_pixels}
        return {
            "patients_compared": self.patients_compared,
            "counts": {name: len(pairs) for name, pairs in lists.items()},
            **{name: [asdict(pair) for pair in pairs[:most]] for name, pairs in lists.items()},
        }


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One picture under two patients of one set."""

    first: str
    second: str
    first_patient: str
    second_patient: str
    same: Literal["bytes", "pixels"]

    def as_json(self) -> dict[str, str]:
        """The fields as a JSON object."""
        return asdict(self)


def find_overlap(private: ImageSet, holdout: ImageSet) -> Overlap:
    """Pairs by patient id (where both sets have ids), by digest of the file, and by digest of the decoded pixels."""
    compared = private.has_patient_ids and holdout.has_patient_ids
    same_bytes = _pairs(private, holdout, private.sha256, holdout.sha256)
    taken = {pair.holdout for pair in same_bytes}
    if private.size == holdout.size:
        same_pixels = _pairs(private, holdout, pixel_digests(private.pixels), pixel_digests(holdout.pixels))
    else:
        raise ValueError(
            f"{holdout.name}: found images of {holdout.size} px, expected {private.size} px as in {private.name}"
        )
    return Overlap(
        same_patient=_pairs(private, holdout, _meant(private), _meant(holdout)) if compared else (),
        same_bytes=same_bytes,
        same_pixels=tuple(pair for pair in same_pixels if pair.holdout not in taken),
        patients_compared=compared,
    )


def duplicates(images: ImageSet) -> tuple[Duplicate, ...]:
    """Pictures that appear under more than one patient: each later patient's first image beside the first patient's.

    Without patient ids each image counts as a patient of its own, so all repeated pictures are named.
    """
    patients = images.patients.tolist()
    found: dict[tuple[str, str], Duplicate] = {}
    columns: tuple[tuple[Literal["bytes", "pixels"], Sequence[Hashable]], ...] = (
        ("bytes", images.sha256),
        ("pixels", pixel_digests(images.pixels)),
    )
    for same, keys in columns:
        first: dict[Hashable, int] = {}
        for row, key in enumerate(keys):
            start = first.setdefault(key, row)
            if patients[start] != patients[row]:
                a, b = images.files[start], images.files[row]
                found.setdefault((a, b), Duplicate(a, b, patients[start], patients[row], same))
    return tuple(found[pair] for pair in sorted(found))


def _meant(images: ImageSet) -> list[str]:
    """Patient ids without what another table may write otherwise: form, capitals, leading zeros, the ".0" of a number.

    Rather two patients taken for one, which is named and can be mended, than one patient on both sides.
    """
    found = []
    for patient in images.patients.tolist():
        plain = unicodedata.normalize("NFKC", patient).strip().casefold()
        number = plain.removesuffix(".0")
        found.append(number.lstrip("0") if number.isdecimal() else plain)
    return found


def _pairs(private: ImageSet, holdout: ImageSet, ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> tuple[Pair, ...]:
    first: dict[Hashable, int] = {}
    for row, key in enumerate(ours):
        first.setdefault(key, row)
    return tuple(
        Pair(private.files[first[key]], holdout.files[row], str(private.patients[first[key]]), str(holdout.patients[row]))
        for row, key in enumerate(theirs)
        if key in first
    )


def _named(pairs: Sequence[Pair], most: int = 3) -> str:
    names = ", ".join(f"{pair.holdout} = {pair.private}" for pair in pairs[:most])
    return names + (f" and {len(pairs) - most} more" if len(pairs) > most else "")
