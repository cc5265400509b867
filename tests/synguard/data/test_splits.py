"""Holdout roles share no patient and no picture, are near thirds, and depend on nothing but contents and seed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.data.images import ImageSet
from synguard.data.splits import ROLES, split_holdout
from synguard.errors import EvidenceError


def image_set(patients, pictures=None, digests=None, name="holdout", has_ids=True):
    """A set whose image i is of patients[i] and shows picture pictures[i]; equal numbers are equal pixels."""
    count = len(patients)
    pictures = range(count) if pictures is None else pictures
    pixels = np.stack([np.random.default_rng(picture).integers(0, 256, (4, 4, 3), dtype=np.uint8) for picture in pictures])
    return ImageSet(
        name=name,
        files=tuple(f"{i:04}.png" for i in range(count)),
        sha256=tuple(f"{i:064x}" for i in (range(count) if digests is None else digests)),
        pixels=pixels,
        patients=np.array([str(patient) for patient in patients], dtype=np.str_),
        metadata=pd.DataFrame({"file_name": [f"{i:04}.png" for i in range(count)]}),
        has_patient_ids=has_ids,
    )


@st.composite
def sets(draw):
    count = draw(st.integers(3, 60))
    numbers = st.lists(st.integers(0, 40), min_size=count, max_size=count)
    return image_set(draw(numbers), pictures=draw(numbers), digests=draw(numbers))


@given(images=sets(), seed=st.integers(0, 2**31))
def test_roles_share_neither_patient_nor_picture(images, seed):
    try:
        roles = split_holdout(images, seed)
    except EvidenceError:
        return
    parts = [getattr(roles, role) for role in ROLES]
    assert sorted(file for part in parts for file in part.files) == sorted(images.files)
    for what in (
        lambda part: set(part.files),
        lambda part: set(part.patients.tolist()),
        lambda part: set(part.sha256),
        lambda part: {image.tobytes() for image in part.pixels},
    ):
        for a in range(3):
            for b in range(a):
                assert not what(parts[a]) & what(parts[b])


@given(sizes=st.lists(st.integers(1, 6), min_size=3, max_size=40), seed=st.integers(0, 1000))
def test_sizes_differ_by_one_patient_at_most(sizes, seed):
    images = image_set([patient for patient, size in enumerate(sizes) for _ in range(size)])
    roles = split_holdout(images, seed)
    counts = [len(getattr(roles, role)) for role in ROLES]
    assert max(counts) - min(counts) <= max(sizes)


@given(order=st.permutations(range(24)), seed=st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(order, seed):
    images = image_set([i // 2 for i in range(24)])
    assert split_holdout(images.take(order), seed).digest == split_holdout(images, seed).digest


def test_seeds_differ_and_repeat():
    images = image_set(range(60))
    digests = [split_holdout(images, seed).digest for seed in (0, 1, 0)]
    assert digests[0] == digests[2] != digests[1]


def test_the_split_is_recorded():
    roles = split_holdout(image_set([0, 0, 1, 2, 2, 3]), 0)
    table = roles.roles_table()
    assert table.columns.tolist() == ["file", "patient", "role"]
    assert table["file"].tolist() == [f"{i:04}.png" for i in range(6)]
    for role in ROLES:
        assert table[table["role"] == role]["file"].tolist() == list(getattr(roles, role).files)
    assert roles.calibration.name == "holdout:calibration"


def test_each_patient_is_as_likely_in_each_role():
    images = image_set([i // 2 for i in range(12)])
    counts = dict.fromkeys(ROLES, 0)
    for seed in range(300):
        for role in ROLES:
            counts[role] += "0" in getattr(split_holdout(images, seed), role).patients
    assert all(70 < count < 130 for count in counts.values())


def test_too_few_patients():
    with pytest.raises(EvidenceError, match="holdout: found 2 patients that share no picture, expected at least 3"):
        split_holdout(image_set([0, 0, 1, 2], digests=[0, 1, 2, 2]), 0)
