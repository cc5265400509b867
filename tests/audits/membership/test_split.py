"""The model-free check of the split: what must be invalid, and what must not."""

import numpy as np
import pandas as pd
import pytest

from audits.membership import run, validity
from audits.membership.attributes import attributes
from audits.membership.features import appearance, metadata_features, shrink
from audits.membership.split import assess
from synguard.config import MembershipConfig
from synguard.data.splits import HoldoutRoles, split_holdout
from synguard.errors import InputError
from synguard.governance.gate import decide
from synguard.governance.policy import parse_policy
from tests.support.membership import LeakyDenoiser, Pixels, image_set, photographs, world


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


def test_each_kind_of_feature_has_a_figure_of_its_own():
    pixels = photographs(400, 9)
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame({"age": rng.normal(50, 10, n)}) for n in (250, 150)]
    private, holdout = image_set(pixels[:250], "private"), image_set(pixels[250:], "holdout")
    found = assess(private, [holdout], metadata=(frames[0], frames[1]), embedder=Pixels(), permutations=199, seed=0)
    assert [one.name for one in found.each] == [
        "ridge regression on pixel statistics",
        "ridge regression on metadata",
        "ridge regression on frozen embedding",
        "ridge regression on all features",
        "nearest neighbours by appearance",
    ]
    assert found.auc == max(one.auc for one in found.each)
    assert found.p_value >= min(one.p_value for one in found.each)
    assert found.state != "invalid"


def test_a_camera_that_only_the_embedding_sees_is_told_apart():
    """Every image keeps its statistics: the holdout's are mirrored, and the embedder has a sense of direction."""
    drawn = np.sort(photographs(700, 10), axis=2)
    private, holdout = drawn[:400], drawn[400:, :, ::-1]

    class Direction(Pixels):
        def embed(self, images):
            left, right = images[:, :, :8].mean(axis=(1, 2, 3)), images[:, :, 8:].mean(axis=(1, 2, 3))
            return np.stack([left - right, left + right], axis=1).astype(np.float32)

    found = assess(
        image_set(private, "private"), [image_set(holdout, "holdout")], embedder=Direction(), permutations=199, seed=0
    )
    assert found.state == "invalid"
    assert {one.name: one.auc for one in found.each}["ridge regression on frozen embedding"] > 0.9


def test_patients_or_files_on_both_sides_are_invalid_whatever_they_look_like():
    pixels = photographs(200, 11)
    private = image_set(pixels[:100], "private", per_patient=2)
    twin = np.concatenate([pixels[100:], pixels[7:8]])
    found = assess(private, [image_set(twin, "holdout")], permutations=199, seed=0)
    assert found.state == "invalid"
    assert "holdout/00100.png = private/00007.png" in found.reason
    same = image_set(pixels[100:], "private", per_patient=2)
    found = assess(private, [same], permutations=199, seed=0)
    assert found.state == "invalid"
    assert "the same patient" in found.reason


def test_a_class_that_the_holdout_lacks_is_invalid_unless_chance_explains_it():
    pixels = photographs(500, 12)
    rng = np.random.default_rng(1)

    def grades(n, shares):
        return pd.DataFrame({"grade": rng.choice(["0", "1", "2"], n, p=shares)})

    lacking = assess(
        image_set(pixels[:300], "private"),
        [image_set(pixels[300:], "holdout")],
        metadata=(grades(300, [0.45, 0.45, 0.1]), grades(200, [0.5, 0.5, 0.0])),
        permutations=199,
        seed=0,
    )
    assert lacking.state == "invalid"
    rare = grades(300, [0.5, 0.5, 0.0])
    rare.loc[0, "grade"] = "2"
    found = assess(
        image_set(pixels[:300], "private"),
        [image_set(pixels[300:], "holdout")],
        metadata=(rare, grades(200, [0.5, 0.5, 0.0])),
        permutations=199,
        seed=0,
    )
    assert found.state != "invalid"
    assert "nothing is said about classes that one side lacks: grade 2 (none in the holdout)" in found.reason
    missing = next(level for level in found.mix if level.level == "2")
    assert (missing.members, missing.nonmembers) == (1, 0)
    assert missing.p_missing == pytest.approx(300 / 500)


def test_other_columns_than_the_conditions_count_and_ids_and_names_of_splits_do_not():
    pixels = photographs(700, 13)
    rng = np.random.default_rng(2)

    def table(n, name, age):
        return pd.DataFrame(
            {
                "file_name": [f"{name}{i}.png" for i in range(n)],
                "who": [f"{name}-{i:05d}" for i in range(n)],
                "split": name,
                "place": range(n),
                "age": rng.normal(age, 8, n).round(),
            }
        )

    def drawn(age):
        parts = np.split(pixels, [400, 500, 600])
        names = ("private", "calibration", "evaluation", "reference")
        sets = [
            image_set(part, name, metadata=table(len(part), name, 50 if name == "private" else age))
            for part, name in zip(parts, names, strict=True)
        ]
        return sets[0], HoldoutRoles(*sets[1:], seed=0)

    config = MembershipConfig(permutations=199)
    private, roles = drawn(50)
    frames = attributes(private, [roles.calibration, roles.evaluation], None)
    assert [list(frame.columns) for frame in frames] == [["age"], ["age"]]
    assert validity(private, roles, config=config, seed=0).state != "invalid"
    found = validity(*drawn(60), config=config, seed=0)
    assert found.state == "invalid"
    assert "metadata" in found.classifier or "all features" in found.classifier


def test_a_role_that_shares_a_patient_with_another_is_refused():
    drawn = world(1, members=40, each=20)
    roles = HoldoutRoles(drawn.roles.calibration, drawn.roles.evaluation, drawn.roles.evaluation, seed=0)
    with pytest.raises(InputError, match="holdout roles: found patient evaluation-00000 in evaluation and reference"):
        validity(drawn.private, roles, config=MembershipConfig(), seed=0)


def test_no_holdout_and_one_of_twenty_images_are_insufficient():
    drawn = world(2, members=100, each=20)
    none = HoldoutRoles(*(drawn.roles.evaluation.take([], name) for name in ("a", "b", "c")), seed=0)
    small = split_holdout(image_set(photographs(20, 14), "holdout"), seed=0)
    for roles in (none, small):
        result = run(
            drawn.private, roles, drawn.synthetic, conditions=None, denoiser=LeakyDenoiser(), embedder=Pixels(),
            config=MembershipConfig(permutations=199, resamples=200), seed=0,
        )  # fmt: skip
        assert {metric.state for metric in result.metrics if "placebo" not in metric.name} == {"insufficient"}
        assert all(metric.value is None for metric in result.metrics if "_box" in metric.name)


POLICY = """
schema: synguard/policy/v1
name: only-membership
version: 1.0.0
title: Only membership
releases: [images]
checks:
  - id: split
    title: One kind
    metric: membership.split.auc
    invalid: {above: 0.75}
    reason: What the test needs, wide enough for chance
    source: none
  - id: black
    title: No members
    metric: membership.black_box.auc
    fail: {above: 0.75}
    reason: What the test needs, wide enough for chance
    source: none
"""


def test_a_holdout_with_five_percent_more_light_ends_with_22(ham10000):
    """The limits are wide: what ends the run is that the comparison is void, not what it found."""
    parts = np.split(ham10000[:2200], [1000, 1300, 1600, 1900])
    names = ("private", "calibration", "evaluation", "reference", "synthetic")
    decided = []
    for light in (1.0, 1.05):
        sets = [
            image_set(np.clip(np.rint(part * light), 0, 255).astype(np.uint8) if 0 < i < 4 else part, name)
            for i, (part, name) in enumerate(zip(parts, names, strict=True))
        ]
        result = run(
            sets[0], HoldoutRoles(*sets[1:4], seed=0), sets[4], conditions=None, denoiser=None, embedder=Pixels(),
            config=MembershipConfig(permutations=199, resamples=200), seed=0,
        )  # fmt: skip
        decided.append(decide(parse_policy(POLICY.encode(), "p.yaml"), result.metrics, released=["images"]))
    assert [decision.exit_code for decision in decided] == [0, 22]
    assert {check.status for check in decided[1].checks} == {"invalid"}
