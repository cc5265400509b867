"""Phantom sets in memory and as image folders."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from synguard.data.images import ImageSet
from synguard.data.phantom.drawing import draw
from synguard.data.phantom.labels import SCHEMA, Labels, photograph_labels
from synguard.errors import InputError

__all__ = ["phantom_set", "write_phantoms"]

_COLUMNS = ("file_name", "patient", *(attribute.name for attribute in SCHEMA))


def _rows(
    patients: int, images_per_patient: int, seed: int, first_patient: int
) -> Iterator[tuple[int, int, str, str, Labels]]:
    for patient in range(first_patient, first_patient + patients):
        for photograph in range(images_per_patient):
            file = f"images/{patient:06}_{photograph}.png"
            yield patient, photograph, file, f"P{patient:06}", photograph_labels(seed, patient, photograph)


def phantom_set(
    name: str, *, patients: int, images_per_patient: int, size: int, seed: int, first_patient: int = 0
) -> ImageSet:
    """The photographs of patients `first_patient` to `first_patient + patients - 1`; digests are of the pixels.

    Files, patients, metadata and pixels are those that `write_phantoms` with the same arguments writes.
    """
    rows = list(_rows(patients, images_per_patient, seed, first_patient))
    pixels = np.empty((len(rows), size, size, 3), dtype=np.uint8)
    for i, (patient, photograph, _, _, labels) in enumerate(rows):
        pixels[i] = draw(labels, size=size, seed=seed, patient=patient, photograph=photograph)
    table = [(file, person, *(labels[name] for name in _COLUMNS[2:])) for _, _, file, person, labels in rows]
    return ImageSet(
        name=name,
        files=tuple(row[2] for row in rows),
        sha256=tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels),
        pixels=pixels,
        patients=np.array([row[3] for row in rows], dtype=np.str_),
        metadata=pd.DataFrame(table, columns=list(_COLUMNS), dtype="string"),
        has_patient_ids=True,
    )


def write_phantoms(
    folder: Path,
    *,
    patients: int,
    images_per_patient: int,
    size: int,
    seed: int,
    first_patient: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """An image folder: `images/*.png` and `metadata.csv` with `file_name`, `patient` and the attributes of `SCHEMA`.

    The folder appears complete or not at all. Raises InputError where it exists.
    """
    if folder.exists():
        raise InputError.of(folder, "an existing folder", "a new one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.parent / f".{folder.name}.{os.getpid()}.part"
    try:
        (part / "images").mkdir(parents=True)
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(_COLUMNS)
        rows = _rows(patients, images_per_patient, seed, first_patient)
        for done, (patient, photograph, file, person, labels) in enumerate(rows, start=1):
            pixels = draw(labels, size=size, seed=seed, patient=patient, photograph=photograph)
            Image.fromarray(pixels).save(part / file, compress_level=1)
            writer.writerow([file, person, *(labels[name] for name in _COLUMNS[2:])])
            if progress is not None:
                progress(done, patients * images_per_patient)
        (part / "metadata.csv").write_text(table.getvalue())
        part.replace(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
