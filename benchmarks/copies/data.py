"""The data sets of the benchmark and their splits by patient or lesion."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from audits.memorisation.exact import canonical_digest

__all__ = ["PARTS", "Photographs", "Split", "load", "split"]

PARTS: Mapping[str, tuple[int, int, int]] = {"ham10000": (3000, 500, 1500), "fundus600": (150, 30, 60)}
"""Patients (lesions) for index, background and calibration; all others are for the test."""

_EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ham10000" / "prepare.py"
_HOSTS = 5
"""One test patient in so many lends photographs for patches and blends, if that many are needed."""


@dataclass(frozen=True, slots=True, eq=False)
class Photographs:
    """Images uint8 (n, size, size, 3) with patient and diagnosis; `same` numbers groups of exact duplicates."""

    pixels: NDArray[np.uint8]
    patient: NDArray[np.str_]
    label: NDArray[np.str_]
    same: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Photographs:
        """Some of them."""
        return Photographs(self.pixels[rows], self.patient[rows], self.label[rows], self.same[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """No patient is in two parts, but for `fellows`: other photographs of patients of the index.

    `hosts` are photographs of test patients that patches are pasted on; `negatives` are those of all other test patients.
    """

    index: Photographs
    background: Photographs
    calibration: Photographs
    negatives: Photographs
    hosts: Photographs
    fellows: Photographs


def load(name: str, data: Path, size: int) -> Photographs:
    """All photographs of a data set at `size` px; of HAM10000's lesions that were photographed twice, the first image only.

    Photographs that are exact duplicates are given one patient, whatever their source says.
    """
    pixels, patient, label = {"ham10000": _lesions, "fundus600": _fundi}[name](data, size)
    _, same = np.unique([canonical_digest(image) for image in pixels], return_inverse=True)
    return Photographs(pixels, _joined(patient, same), label, same)


def split(photographs: Photographs, parts: tuple[int, int, int], seed: int, hosts: int) -> Split:
    """Patients at random: so many for index, background and calibration, the others for the test. ValueError if too few.

    Of every second index patient that has several photographs only one (with its duplicates) is in the index; the others
    are `fellows`. At most `hosts` test patients, and at most a fifth of them, are hosts.
    """
    rng = np.random.default_rng([seed, 0x5B117])
    patients = rng.permutation(np.unique(photographs.patient))
    if len(patients) <= sum(parts):
        raise ValueError(f"patients: found {len(patients)}, expected more than {sum(parts)}")
    ends = np.cumsum(parts)
    groups = np.split(patients, [*ends, ends[-1] + min(hosts, (len(patients) - ends[-1]) // _HOSTS)])
    index, background, calibration, lending, others = (photographs.take(np.isin(photographs.patient, g)) for g in groups)
    held = _held_back(index, groups[0][::2], rng)
    return Split(index.take(~held), background, calibration, others, lending, index.take(held))


def _joined(patient: NDArray[np.str_], same: NDArray[np.int64]) -> NDArray[np.str_]:
    """Patient ids, one for all patients that exact duplicates link."""
    names, codes = np.unique(patient, return_inverse=True)
    links = coo_array((np.ones(len(codes)), (codes, len(names) + same)), shape=(len(names) + int(same.max()) + 1,) * 2)
    _, group = connected_components(links, directed=False)
    _, first = np.unique(group[: len(names)], return_index=True)
    leader = {int(group[i]): names[i] for i in first}
    return np.array([leader[int(group[code])] for code in codes])


def _held_back(index: Photographs, patients: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """All photographs of the patients but one each, drawn at random, and its duplicates."""
    held = np.zeros(len(index), bool)
    for who in patients:
        rows = np.flatnonzero(index.patient == who)
        held[rows] = index.same[rows] != index.same[rng.choice(rows)]
    return held


def _lesions(data: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.str_], NDArray[np.str_]]:
    example = _example()
    first: dict[str, dict[str, str]] = {}
    for row in example.with_groups(example.read_index(data)):
        first.setdefault(row["group"], row)
    images = example.read_images(data, size)
    pixels = np.stack([np.asarray(images[row["image_id"]]) for row in first.values()])
    return pixels, np.array(list(first)), np.array([row["dx"] for row in first.values()])


def _fundi(data: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.str_], NDArray[np.str_]]:
    folder = data / "fundus600"
    with (folder / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(folder / "fundus600_128.npz") as stored:
        images = stored["images"]
    pixels = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)) for image in images]
    return np.stack(pixels), np.array([row["patient"] for row in rows]), np.array([row["class10"] for row in rows])


def _example() -> Any:
    """examples/ham10000/prepare.py, which knows the lesions that were photographed twice."""
    spec = importlib.util.spec_from_file_location("ham10000_prepare", _EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
