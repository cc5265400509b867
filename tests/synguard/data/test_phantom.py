"""Phantoms: the same arguments give the same pixels, every label can be seen, patients are themselves and nobody else."""

import numpy as np
import pytest

from synguard.config import DataSource
from synguard.data.conditions import ConditionSchema
from synguard.data.overlap import duplicates
from synguard.data.phantom import SCHEMA, draw, phantom_set, photograph_labels, sets, write_phantoms
from synguard.data.phantom.labels import DISEASES, READABLE
from synguard.data.readers import read_images
from synguard.errors import InputError

HEALTHY = (
    {attribute.name: "0" for attribute in SCHEMA} | dict.fromkeys(("is_fundus", *READABLE), "1") | {"eye_side": "right"}
)


def _draw(patient=0, photograph=0, size=32, **labels):
    return draw({**HEALTHY, **labels}, size=size, seed=3, patient=patient, photograph=photograph)


@pytest.fixture(scope="module")
def phantoms():
    return phantom_set("phantoms", patients=150, images_per_patient=3, size=32, seed=3)


def _likeness(images):
    """Correlations of the images' grey values inside the aperture."""
    axis = (np.arange(images.size) + 0.5) * 2 / images.size - 1
    inside = np.hypot(axis, axis[:, None]) < 0.9
    values = images.pixels.mean(axis=3)[:, inside]
    values = values - values.mean(axis=1, keepdims=True)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values @ values.T


def test_columns_are_those_of_synfundus():
    names = "dr_grade eye_side is_amd is_aon is_crp is_dm is_dme is_em is_gc is_htr is_pm is_rvo is_fundus"
    assert [attribute.name for attribute in SCHEMA] == [*names.split(), *READABLE]


def test_an_image_depends_on_nothing_but_seed_patient_and_photograph(phantoms):
    part = phantom_set("part", patients=2, images_per_patient=2, size=32, seed=3, first_patient=7)
    assert part.files == ("images/000007_0.png", "images/000007_1.png", "images/000008_0.png", "images/000008_1.png")
    rows = [phantoms.files.index(file) for file in part.files]
    assert part.sha256 == tuple(phantoms.sha256[row] for row in rows)
    other = phantom_set("other", patients=2, images_per_patient=2, size=32, seed=4, first_patient=7)
    assert not set(other.sha256) & set(part.sha256)


@pytest.mark.parametrize("size", [16, 32, 48, 128, 256])
def test_sizes(size):
    picture = _draw(size=size)
    assert picture.shape == (size, size, 3)
    assert picture[0, 0].max() < 12  # outside the aperture
    assert picture[size // 2, size // 2, 0] > 60


def test_a_larger_picture_shows_the_same_eye():
    large = _draw(patient=5, size=128).reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.corrcoef(large.ravel(), _draw(patient=5, size=32).ravel())[0, 1] > 0.97


@pytest.mark.parametrize(
    ("change", "pixels"),
    [
        ({"dr_grade": "1"}, 5),
        ({"dr_grade": "2"}, 25),
        ({"dr_grade": "3"}, 40),
        ({"dr_grade": "4"}, 40),
        *(({name: "1"}, 10) for name in DISEASES),
        *(({name: "0"}, 40) for name in READABLE),
        ({"is_fundus": "0"}, 300),
        ({"eye_side": "left"}, 100),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_each_label_can_be_seen_at_32_pixels(change, pixels):
    for patient in range(20):
        before, after = _draw(patient).astype(int), _draw(patient, **change).astype(int)
        assert (np.abs(after - before).max(axis=2) > 40).sum() >= pixels, patient


def test_the_disc_is_on_the_side_of_the_nose():
    def brightest(side):
        pictures = np.mean([_draw(patient, eye_side=side)[:, :, 1].astype(float) for patient in range(30)], axis=0)
        return pictures[10:22].mean(axis=0).argmax()

    assert brightest("right") > 20
    assert brightest("left") < 12


def test_shares():
    rows = [photograph_labels(3, patient, 0) for patient in range(3000)]
    for name in DISEASES:
        assert 0.05 < np.mean([row[name] == "1" for row in rows]) < 0.15, name
    for name in READABLE:
        assert 0.87 < np.mean([row[name] == "1" for row in rows]) < 0.94, name
    grades = np.bincount([int(row["dr_grade"]) for row in rows], minlength=5) / len(rows)
    np.testing.assert_allclose(grades, [0.45, 0.15, 0.18, 0.12, 0.10], atol=0.03)
    assert 0.97 < np.mean([row["is_fundus"] == "1" for row in rows]) < 0.99
    hidden = [row for row in rows if row["is_amd"] == "1" and row["is_macular_readable"] == "0"]
    assert len(hidden) < 0.006 * len(rows)


def test_a_patient_keeps_diseases_and_changes_sides():
    rows = [photograph_labels(3, 11, photograph) for photograph in range(20)]
    assert len({tuple(row[name] for name in ("dr_grade", *DISEASES)) for row in rows if row["is_fundus"] == "1"}) == 1
    assert {row["eye_side"] for row in rows} == {"left", "right"}


def test_what_shows_no_retina_claims_nothing():
    rows = [photograph_labels(3, patient, 0) for patient in range(1000)]
    others = [row for row in rows if row["is_fundus"] == "0"]
    assert others
    assert {row[name] for row in others for name in ("dr_grade", *DISEASES, *READABLE)} == {"0"}


def test_patients_are_recognisable_and_different(phantoms):
    likeness = _likeness(phantoms)
    same_patient = phantoms.patients[:, None] == phantoms.patients[None]
    eye = phantoms.metadata["eye_side"].to_numpy(dtype=str)
    plain = np.all(phantoms.metadata[[*READABLE, "is_fundus"]] == "1", axis=1).to_numpy()
    others = np.where(same_patient, -1, likeness)
    assert others.max() < 0.93
    pairs = same_patient & (eye[:, None] == eye[None]) & plain[:, None] & plain[None] & ~np.eye(len(phantoms), dtype=bool)
    assert np.median(likeness[pairs]) > np.quantile(others.max(axis=1), 0.5) + 0.1
    assert likeness[pairs].max() < 0.999  # no two photographs are one picture
    assert duplicates(phantoms) == ()


def test_written_and_read_again_is_the_set_in_memory(tmp_path):
    options = {"patients": 4, "images_per_patient": 2, "size": 48, "seed": 1, "first_patient": 10}
    seen = []
    write_phantoms(tmp_path / "deep/set", **options, progress=lambda done, total: seen.append((done, total)))
    read = read_images(DataSource(path=str(tmp_path / "deep/set"), patient="patient"), size=48, name="x")
    made = phantom_set("x", **options)
    np.testing.assert_array_equal(read.pixels, made.pixels)
    assert read.files == made.files
    assert read.patients.tolist() == made.patients.tolist()
    assert read.metadata.equals(made.metadata)
    assert seen[-1] == (8, 8)
    schema = ConditionSchema(SCHEMA)
    assert len(schema.parse(read.metadata, "x")) == 8


def test_an_existing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="found an existing folder, expected a new one"):
        write_phantoms(tmp_path, patients=1, images_per_patient=1, size=32, seed=0)


def test_nothing_half_written_is_left_behind(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sets, "draw", fail)
    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", patients=1, images_per_patient=1, size=32, seed=0)
    assert list(tmp_path.iterdir()) == []
