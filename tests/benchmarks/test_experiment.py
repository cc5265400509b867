"""The splits, the planting, and what counts as found, on images made up for it; a generator's copies on a tiny model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.copies.data import Photographs, Split, _joined, split
from benchmarks.copies.experiment import OWN, Copies, examine, plant
from benchmarks.copies.generated import image_to_image, made, trained
from benchmarks.copies.measure import Count
from benchmarks.copies.protocol import Answer, Method
from benchmarks.copies.tables import report
from benchmarks.copies.transforms import TRANSFORMS
from synguard.config import AutoencoderConfig, DenoiserConfig, GeneratorConfig

SIDE = 16


def photographs(patients: int, each: int) -> Photographs:
    n = patients * each
    pixels = np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3)).astype(np.uint8)
    patient = np.array([f"{row // each:03d}" for row in range(n)])
    return Photographs(pixels, patient, np.array(["a", "b"])[np.arange(n) % 2], np.arange(n))


def test_no_patient_is_in_two_parts_but_for_the_fellows():
    whole = photographs(40, 2)
    parts = split(whole, (20, 4, 6), 0, 100)
    sets = [set(getattr(parts, name).patient) for name in ("index", "background", "calibration", "negatives", "hosts")]
    assert [len(patients) for patients in sets] == [20, 4, 6, 8, 2]
    assert len(set().union(*sets)) == 40
    # One photograph each of every second patient.
    assert len(parts.fellows) == len(set(parts.fellows.patient)) == 10
    assert set(parts.fellows.patient) < sets[0]
    assert not set(parts.fellows.same) & set(parts.index.same)
    assert len(parts.index) == 30


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    whole = photographs(40, 2)
    first, again, other = (split(whole, (20, 4, 6), seed, 3).index.same.tolist() for seed in (0, 0, 1))
    assert first == again != other
    with pytest.raises(ValueError, match="expected more than 40"):
        split(whole, (20, 10, 10), 0, 3)


def test_patients_with_duplicates_are_one_and_a_duplicate_is_no_fellow():
    patient = np.array(["1", "1", "2", "2", "3", "3"])
    same = np.array([0, 1, 2, 1, 3, 4])
    assert _joined(patient, same).tolist() == ["1", "1", "1", "1", "3", "3"]
    whole = photographs(1, 4)
    doubled = Photographs(whole.pixels[[0, 1, 0, 1]], whole.patient, whole.label, np.array([0, 1, 0, 1]))
    others = photographs(9, 1)
    patients = np.concatenate([doubled.patient, [f"x{row}" for row in range(9)]])
    both = Photographs(
        np.concatenate([doubled.pixels, others.pixels]),
        patients,
        np.concatenate([doubled.label, others.label]),
        np.concatenate([doubled.same, others.same + 2]),
    )
    for seed in range(20):
        parts = split(both, (6, 1, 1), seed, 1)
        assert not set(parts.fellows.same) & set(parts.index.same)


def test_planting_is_by_name_and_seed_alone():
    parts = split(photographs(40, 2), (20, 4, 6), 0, 100)
    first, again, other = plant(parts, 5, 0), plant(parts, 5, 0), plant(parts, 5, 1)
    assert list(first) == list(TRANSFORMS)
    for name, copies in first.items():
        assert np.array_equal(copies.pixels, again[name].pixels)
        assert len(set(copies.source)) == 5
        assert copies.truth.shape == (5, SIDE, SIDE)
    assert any(not np.array_equal(first[name].source, other[name].source) for name in first)
    assert np.array_equal(first["identity"].pixels, parts.index.pixels[first["identity"].source])


@dataclass
class Stub:
    """Names the private image whose first pixel is the same; its score is the query's second pixel."""

    index: Photographs

    def query(self, pixels, exclude=None):
        assert exclude is None or len(exclude) == len(pixels)
        nearest = np.array([row[0] if len(row) else -1 for row in map(self._rows, pixels)], dtype=np.int64)
        mask = np.zeros((len(pixels), 4, 4), bool)
        mask[:, :2] = True
        return Answer(pixels[:, 0, 1, 0].astype(float), nearest, called=pixels[:, 0, 1, 0] > 100, mask=mask)

    def _rows(self, image):
        return np.flatnonzero(self.index.pixels[:, 0, 0, 0] == image[0, 0, 0])


def marked(n: int, first: int) -> Photographs:
    """Images that say who they are in the first pixel; the second is what the stub scores them."""
    pixels = np.zeros((n, SIDE, SIDE, 3), np.uint8)
    pixels[:, 0, 0, 0] = first + np.arange(n)
    pixels[:, 0, 1, 0] = np.arange(n)
    patient = np.array([f"{first + row}" for row in range(n)])
    return Photographs(pixels, patient, np.array(["a"] * n), first + np.arange(n))


def test_found_is_above_the_threshold_with_the_right_source():
    index = marked(20, 0)
    index.same[1] = 0
    parts = Split(index, marked(2, 100), marked(50, 150), marked(40, 200), marked(2, 110), marked(0, 0))
    # Thresholds lie above 49, the largest calibration score; both are extrapolated, the stub's own is 100.
    pixels = index.pixels[[0, 1, 2, 3, 4]].copy()
    pixels[:, 0, 1, 0] = [255, 255, 255, 255, 3]
    pixels[3, 0, 0, 0] = 5
    truth = np.zeros((5, SIDE, SIDE), bool)
    truth[:, :8] = True
    source = np.array([0, 0, 2, 3, 4])
    outcome = examine(
        "stub",
        Method("Stub", "100", lambda material: Stub(material.index)),
        parts,
        {"identity": Copies(pixels, source, truth)},
        0,
    )
    assert outcome.calibration == 70
    assert outcome.thresholds["1 %"].extrapolated
    # Found: a copy, a copy of a duplicate, a copy. Not found: one with the wrong source, one with a low score.
    for level in ("1 %", "0.1 %", OWN):
        assert outcome.recall[level]["identity"] == Count(3, 5)
        assert outcome.overlap[level]["identity"] == (3.0, 3)
        assert outcome.false[level] == Count(0, 40)
    assert outcome.alike[OWN].n == 0
    assert outcome.fellows == {}
    # Three right at the top with a wrong one, which comes first among ties; below, 36 unseen images, one tied, and the last.
    assert outcome.average_precision == pytest.approx((1 / 2 + 2 / 3 + 3 / 4 + 4 / 42) / 5)
    text = report("made up", "", {"stub": [outcome, outcome]}, {"stub": Method("Stub", "100", lambda material: None)})
    assert "| identity | 60 (26 to 88) |" in text
    assert "1.00 (n 6)" in text
    assert {line.count("|") for line in text.split("###")[1].splitlines() if line} == {0, 3}


CONFIG = GeneratorConfig(
    autoencoder=AutoencoderConfig(widths=(8, 8, 8), steps=12, batch_size=8, crop=None),
    denoiser=DenoiserConfig(widths=(16, 16), steps=12, batch_size=8),
)


def test_a_generator_redoes_the_images_it_is_given(tmp_path):
    private = photographs(12, 2)
    model = trained(private, private.label, tmp_path, CONFIG)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert trained(private, private.label, tmp_path, CONFIG).digest == model.digest
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before
    back = made(model, private, 0.0, 0)
    assert back.shape == private.pixels.shape
    barely, half = (image_to_image(model, private.pixels, private.label, s, 0).astype(int) for s in (0.001, 0.5))
    assert np.abs(barely - back).mean() < 2 < np.abs(half - back).mean()
    assert np.array_equal(made(model, private, 0.5, 0), half)
    assert not np.array_equal(made(model, private, 0.5, 1), half)
