"""Canaries: fair coins by patient, a commitment that binds and hides, a file for its owner only."""

import json
import stat

import numpy as np
import pytest
from scipy.stats import binom

from synguard.data.canaries import Canaries, draw_canaries
from synguard.errors import InputError, IntegrityError
from tests.support.membership import image_set, photographs


@pytest.fixture
def images():
    return image_set(photographs(120, 3, per_patient=3), "private", per_patient=3)


def test_whole_patients_and_no_image_twice(images):
    drawn = draw_canaries(images, 30)
    inside, outside, trained = drawn.put_in(images), drawn.left_out(images), drawn.trained_on(images)
    assert len(set(drawn.patients)) == 30
    assert set(inside.patients) | set(outside.patients) == set(drawn.patients)
    assert set(inside.patients) <= set(trained.patients)
    assert not set(outside.patients) & set(trained.patients)
    assert len(outside) + len(trained) == len(images)
    assert sorted([*outside.files, *trained.files]) == sorted(images.files)
    assert all(count == 3 for count in np.unique(trained.patients, return_counts=True)[1])


def test_coins_are_fair_and_independent_of_each_other(images):
    """3,000 coins: their sum, and how often neighbours agree, as of fair coins but for one time in a thousand."""
    coins = np.array([draw_canaries(images, 30).included for _ in range(100)])
    agree = (coins[:, 1:] == coins[:, :-1]).sum()
    for count, n in ((coins.sum(), coins.size), (agree, 100 * 29)):
        assert binom.ppf(0.0005, n, 0.5) <= count <= binom.ppf(0.9995, n, 0.5)


def test_no_seed_decides_them(images):
    np.random.default_rng(0)
    first, second = draw_canaries(images, 40), draw_canaries(images, 40)
    assert first.included != second.included
    assert first.salt != second.salt


def test_the_commitment_binds_to_set_patients_and_coins(images):
    drawn = draw_canaries(images, 10)
    others = [
        Canaries(drawn.population, drawn.patients, tuple(not c for c in drawn.included), drawn.salt),
        Canaries(drawn.population, drawn.patients[::-1], drawn.included, drawn.salt),
        Canaries("0" * 64, drawn.patients, drawn.included, drawn.salt),
        Canaries(drawn.population, drawn.patients, drawn.included, "0" * 64),
    ]
    assert len({drawn.commitment, *(other.commitment for other in others)}) == 5


def test_the_file_is_its_owners_and_comes_back(images, tmp_path):
    path = tmp_path / "canaries.json"
    drawn = draw_canaries(images, 10)
    drawn.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Canaries.load(path, drawn.commitment) == drawn
    assert [p.name for p in tmp_path.iterdir()] == ["canaries.json"]


def test_changed_coins_are_refused(images, tmp_path):
    path = tmp_path / "canaries.json"
    drawn = draw_canaries(images, 10)
    drawn.save(path)
    value = json.loads(path.read_text())
    value["included"][0] = not value["included"][0]
    path.write_text(json.dumps(value))
    with pytest.raises(IntegrityError, match="found other coins"):
        Canaries.load(path, drawn.commitment)
    value["included"].pop()
    path.write_text(json.dumps(value))
    with pytest.raises(IntegrityError, match="found 9 coins, expected 10"):
        Canaries.load(path)
    path.write_text("{")
    with pytest.raises(IntegrityError, match="no readable coins"):
        Canaries.load(path)


def test_another_set_is_refused(images):
    drawn = draw_canaries(images, 10)
    for look in (drawn.trained_on, drawn.left_out, drawn.put_in):
        with pytest.raises(InputError, match="found another image set"):
            look(images.take(range(90)))


@pytest.mark.parametrize("count", [1, 41])
def test_more_canaries_than_patients_or_too_few(images, count):
    with pytest.raises(InputError, match=f"canaries: found {count}, expected 2 to 40"):
        draw_canaries(images, count)
