"""The model-free check of the split: what must be invalid, and what must not."""

import numpy as np
import pandas as pd
import pytest

from audits.membership import validity
from audits.membership.features import appearance, metadata_features, shrink
from audits.membership.split import assess
from synguard.config import MembershipConfig
from tests.support.membership import image_set, photographs, world


def check(private, holdout, **options):
    options = {"permutations": 299, "seed": 0} | options
    return assess(image_set(private, "private"), [image_set(holdout, "holdout")], **options)


def test_official_split_of_retinamnist_is_invalid(retinamnist):
    found = check(retinamnist[:1200], retinamnist[1200:])
    assert found.state == "invalid"
    assert found.p_value == pytest.approx(1 / 300)
    assert found.bounds[0] > 0.57
    assert "without the model" in found.reason
    assert abs(found.placebo_auc - 0.5) < 0.02


def test_random_splits_of_the_same_photographs_are_not(retinamnist):
    states = []
    for seed in range(3):
        order = np.random.default_rng([seed, 1]).permutation(len(retinamnist))
        states.append(check(retinamnist[order[:1200]], retinamnist[order[1200:]], seed=seed).state)
    assert states == ["valid"] * 3


def test_a_random_split_of_real_lesions_is_valid_and_five_percent_more_light_is_not(ham10000):
    private, holdout = ham10000[:1000], ham10000[1000:1600]
    assert check(private, holdout).state == "valid"
    brighter = np.clip(np.rint(holdout * 1.05), 0, 255).astype(np.uint8)
    found = check(private, brighter)
    assert found.state == "invalid"
    assert found.auc > 0.6


def test_a_softer_camera_is_told_apart():
    private, holdout = photographs(400, 1), photographs(300, 2)
    below = np.roll(holdout, 1, axis=1)
    softer = np.rint(0.9 * holdout + 0.1 * below).astype(np.uint8)
    assert check(private, softer).state == "invalid"


def test_an_attribute_that_differs_is_told_apart():
    pixels = photographs(700, 3)
    rng = np.random.default_rng(0)
    young = pd.DataFrame({"age": rng.normal(50, 10, 400), "site": rng.choice(["back", "face"], 400)})
    old = pd.DataFrame({"age": rng.normal(58, 10, 300), "site": rng.choice(["back", "face"], 300)})
    assert check(pixels[:400], pixels[400:], metadata=(young, young[:300])).state == "valid"
    assert check(pixels[:400], pixels[400:], metadata=(young, old)).state == "invalid"


def test_photographs_of_one_patient_are_no_evidence_when_ids_are_given():
    """Four photographs a patient: with ids the split is valid; without them, images sit among their siblings."""
    drawn = photographs(1200, 4, per_patient=4)
    with_ids = assess(
        image_set(drawn[:800], "private", per_patient=4),
        [image_set(drawn[800:], "holdout", per_patient=4)],
        permutations=299,
        seed=0,
    )
    assert with_ids.state != "invalid"
    assert (with_ids.member_patients, with_ids.nonmember_patients) == (200, 100)
    without = check(drawn[:800], drawn[800:])
    assert without.state == "invalid"
    assert "patient ids" in without.reason


def test_a_small_holdout_is_insufficient():
    pixels = photographs(100, 5)
    found = check(pixels[:60], pixels[60:])
    assert found.state == "insufficient"
    assert found.excludes > 0.56
    assert check(pixels[:60], pixels[60:65]).state == "insufficient"


def test_order_of_the_rows_changes_nothing():
    pixels = photographs(300, 6)
    private, holdout = image_set(pixels[:200], "private"), image_set(pixels[200:], "holdout")
    first = assess(private, [holdout], permutations=49, seed=3)
    shuffle = np.random.default_rng(0).permutation(200)
    second = assess(private.take(shuffle), [holdout], permutations=49, seed=3)
    assert second.auc == pytest.approx(first.auc, abs=1e-6)
    assert second.p_value == pytest.approx(first.p_value)


def test_p_values_of_true_nulls_are_uniform():
    pixels = photographs(240, 7)
    p_values = []
    for seed in range(60):
        order = np.random.default_rng([seed, 2]).permutation(240)
        p_values.append(check(pixels[order[:140]], pixels[order[140:]], permutations=39, seed=seed).p_value)
    # Mean 0.5 and standard deviation 0.29 in 60 draws: four standard errors on either side.
    assert abs(np.mean(p_values) - 0.5) < 4 * 0.29 / np.sqrt(60)
    assert np.mean(np.array(p_values) <= 0.1) < 0.3


def test_validity_takes_members_by_patient_and_all_roles():
    drawn = world(1, members=300, each=150, per_patient=2)
    found = validity(drawn.private, drawn.roles, config=MembershipConfig(max_members=200, permutations=199), seed=0)
    assert found.n_members == 200
    assert found.member_patients == 100
    assert found.n_nonmembers == 450


def test_appearance_does_not_depend_on_neighbours_or_hold_nan():
    pixels = photographs(70, 8)
    together = appearance(pixels)
    alone = [appearance(pixels[i : i + 1]) for i in (0, 33, 69)]
    for part in (0, 1):
        assert np.isfinite(together[part]).all()
        assert np.allclose(together[part][[0, 33, 69]], np.concatenate([a[part] for a in alone]), atol=1e-6)
    flat = np.zeros((2, 16, 16, 3), dtype=np.uint8)
    assert np.isfinite(appearance(flat)[0]).all()


def test_appearance_knows_brightness():
    pixels = np.full((1, 16, 16, 3), 51, dtype=np.uint8)
    statistics = appearance(pixels)[0][0]
    assert statistics[0] == pytest.approx(0.2)  # mean of red
    assert statistics[1] == pytest.approx(0.0)  # its spread
    assert statistics[4] == pytest.approx(0.2)  # its median


def test_shrink_is_an_area_mean():
    plane = np.arange(36, dtype=np.float32).reshape(1, 6, 6)
    assert np.allclose(shrink(plane, 3), plane.reshape(1, 3, 2, 3, 2).mean((2, 4)))
    assert shrink(plane, 4).mean() == pytest.approx(plane.mean())


def test_metadata_features_leave_names_out():
    frame = pd.DataFrame({"file": [f"a{i}" for i in range(30)], "age": [None, *range(29)], "site": ["a", "b", None] * 10})
    other = pd.DataFrame({"file": ["x"], "age": [4.0], "site": ["b"]})
    # age and whether it is missing; two sites and whether it is missing
    assert metadata_features([frame, other]).shape == (31, 5)
    assert np.isfinite(metadata_features([frame, other])).all()
