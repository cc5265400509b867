"""The probes: a planted leak is seen, none is not invented, and what cannot be judged says so."""

import json
import zlib

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from audits.embedding import EmbeddedFeatures
from audits.membership import run, validity
from audits.membership.black_box import NearestNeighbour, PixelSpace
from audits.membership.difficulty import Difficulty
from audits.membership.losses import MultiStepLoss
from audits.membership.neighbourhood import ClosestRecord, DensityRatio, MonteCarlo
from audits.membership.probe import Arm, Scores, sample_patients
from audits.membership.split import Validity
from audits.membership.statistics import measure
from audits.membership.target import Shown, Target, common_noise
from audits.membership.verdict import judge
from audits.membership.white_box import Calibrated
from synguard.config import AttributeConfig, MembershipConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError
from synguard.metrics.distances import nearest
from synguard.metrics.ranks import auc
from tests.support.membership import LeakyDenoiser, Pixels, image_set, photographs, remember, world

FAST = MembershipConfig(noise_levels=(0.1, 0.3), draws=2, permutations=199, resamples=200)
WHITE, BLACK = "membership.white_box", "membership.black_box"


SPLITS = {}
"""The split of a world does not hang on what is audited, and is assessed once for all tests."""


def split_of(drawn, config):
    if config.permutations < 199:
        return None
    roles = (drawn.roles.calibration, drawn.roles.evaluation, drawn.roles.reference)
    key = (drawn.private.digest, *(role.digest for role in roles), config.permutations)
    if key not in SPLITS:
        SPLITS[key] = validity(drawn.private, drawn.roles, embedder=Pixels(), config=config, seed=0)
    return SPLITS[key]


def audit(drawn, denoiser=None, *, config=FAST, conditions=None, synthetic=None, seed=0, embedder=None):
    result = run(
        drawn.private,
        drawn.roles,
        synthetic or drawn.synthetic,
        conditions=conditions,
        denoiser=denoiser,
        embedder=embedder or Pixels(),
        config=config,
        seed=seed,
        split=split_of(drawn, config),
    )
    json.dumps(result.evidence, allow_nan=False)
    return {metric.name: metric for metric in result.metrics}, result


def test_too_few_permutations_to_reject_a_split_are_refused(clean):
    with pytest.raises(InputError, match=r"audits\.membership\.permutations: found 98, expected at least 199"):
        audit(clean, config=FAST.model_copy(update={"permutations": 98}))


def test_too_few_resamples_for_a_bound_are_refused(clean):
    with pytest.raises(InputError, match=r"audits\.membership\.resamples: found 1, expected at least 200"):
        audit(clean, config=FAST.model_copy(update={"resamples": 1}))
    with pytest.raises(ValidationError, match="resamples"):
        MembershipConfig(resamples=1)


def test_names_of_the_metrics(clean):
    found, result = audit(clean)
    assert list(found) == [
        "membership.split.auc",
        "membership.placebo.auc",
        f"{WHITE}.auc",
        f"{WHITE}.tpr_at_fpr_0.01",
        f"{BLACK}.auc",
        f"{BLACK}.tpr_at_fpr_0.01",
    ]
    assert set(result.public) == set(result.evidence)


def test_without_a_model_the_white_box_is_not_tested(clean):
    found, result = audit(clean)
    for name in ("auc", "tpr_at_fpr_0.01"):
        assert found[f"{WHITE}.{name}"].state == "not_tested"
        assert found[f"{WHITE}.{name}"].value is None
    assert found[f"{BLACK}.auc"].state == "measured"
    assert result.evidence["not_tested"][0]["access"] == "white box"


def test_a_model_that_remembers_nothing_is_clean(clean):
    found, result = audit(clean, LeakyDenoiser(remember(clean.private)))
    metric = found[f"{WHITE}.auc"]
    assert metric.interval[0] <= 0.5 <= metric.interval[1]
    assert metric.bounds[1] < 0.6
    low, high = metric.attainable
    assert low < 0.5 < high < 0.6
    probe = result.evidence["probes"][0]
    assert high < probe["minimum_detectable_auc"] < 0.6
    assert abs(probe["placebo_auc"] - 0.5) < 0.1


def test_a_leak_far_smaller_than_the_spread_of_errors_is_seen(clean):
    """Errors differ by half their size between images, and by five percent between members and others."""
    denoiser = LeakyDenoiser(remember(clean.private), {"ema": 0.05})
    found, result = audit(clean, denoiser)
    assert found[f"{WHITE}.auc"].bounds[0] > 0.6
    assert found[f"{WHITE}.tpr_at_fpr_0.01"].bounds[0] > 0.01
    assert {part["name"] for part in result.evidence["probes"][0]["parts"]} == {"as published", "level 0.1", "level 0.3"}


def test_of_several_weights_the_worse_counts(clean):
    denoiser = LeakyDenoiser(remember(clean.private), {"raw": 0.05}, weights=("ema", "raw"))
    found, result = audit(clean, denoiser)
    aucs = {probe["name"]: probe["auc"] for probe in result.evidence["probes"]}
    assert found[f"{WHITE}.auc"].value == max(aucs["loss (raw)"], aucs["ensemble (raw)"]) > aucs["loss (ema)"]
    assert "weights raw" in found[f"{WHITE}.auc"].method


def test_every_image_and_level_meets_the_same_noise_and_its_own_condition(clean):
    schema = ConditionSchema((AttributeConfig(name="grade", kind="ordinal", levels=("0", "1")),))
    rng = np.random.default_rng(0)
    sets = [
        image_set(s.pixels, s.name, metadata=pd.DataFrame({"grade": rng.choice(["0", "1"], len(s))}))
        for s in (clean.private, clean.roles.calibration, clean.roles.evaluation, clean.roles.reference, clean.synthetic)
    ]
    drawn = type(clean)(sets[0], type(clean.roles)(*sets[1:4], seed=0), sets[4])
    denoiser = LeakyDenoiser()
    audit(drawn, denoiser, conditions=schema)
    assert {level for _, level, _, _ in denoiser.calls} == {0.1, 0.3}
    assert len({noise for *_, noise in denoiser.calls}) == FAST.draws
    # 400 members in blocks of 250; calibration and evaluation hold 200 each.
    assert {rows for _, _, rows, _ in denoiser.calls} == {250, 150, 200}


@pytest.mark.parametrize("which", ["ema", "raw"])
def test_scores_that_are_not_finite_are_an_error_that_names_the_probe(clean, which):
    denoiser = LeakyDenoiser(remember(clean.private), spoil=which, weights=("ema", "raw"))
    found, _ = audit(clean, denoiser)
    for name in ("auc", "tpr_at_fpr_0.01"):
        metric = found[f"{WHITE}.{name}"]
        assert metric.state == "error"
        assert metric.value is None
        assert f"loss ({which})" in metric.note
    assert found[f"{BLACK}.auc"].state == "measured"


def test_an_embedder_that_fails_is_an_error(clean):
    class Broken(Pixels):
        def embed(self, images):
            features = super().embed(images)
            features[0] = np.inf
            return features

    found, _ = audit(clean, embedder=Broken())
    assert found[f"{BLACK}.auc"].state == "error"
    assert "flat pixels" in found[f"{BLACK}.auc"].note


def test_an_embedder_that_sees_nothing_is_an_error(clean):
    class Blind(Pixels):
        def embed(self, images):
            return np.ones_like(super().embed(images))

    found, _ = audit(clean, embedder=Blind())
    for name in ("auc", "tpr_at_fpr_0.01"):
        assert found[f"{BLACK}.{name}"].state == "error"
        assert "one and the same score" in found[f"{BLACK}.{name}"].note


def test_an_invalid_split_spoils_every_verdict_but_shows_the_figures(clean):
    brighter = [np.clip(s.pixels.astype(int) + 12, 0, 255).astype(np.uint8) for s in vars_of(clean.roles)]
    names = ("calibration", "evaluation", "reference")
    roles = type(clean.roles)(*(image_set(p, n) for p, n in zip(brighter, names, strict=True)), seed=0)
    found, result = audit(type(clean)(clean.private, roles, clean.synthetic), LeakyDenoiser())
    assert result.evidence["split"]["state"] == "invalid"
    for name in ("membership.split.auc", f"{WHITE}.auc", f"{WHITE}.tpr_at_fpr_0.01", f"{BLACK}.auc"):
        assert found[name].state == "invalid"
        assert found[name].value is not None
        assert "without the model" in found[name].note


def vars_of(roles):
    return roles.calibration, roles.evaluation, roles.reference


def test_a_small_holdout_is_insufficient_not_clean():
    found, _ = audit(world(3, members=200, each=30), LeakyDenoiser())
    assert found["membership.split.auc"].state == "insufficient"
    for prefix in (WHITE, BLACK):
        assert found[f"{prefix}.auc"].state == "insufficient"
        assert found[f"{prefix}.tpr_at_fpr_0.01"].state == "insufficient"
    tiny, _ = audit(world(3, members=200, each=12), LeakyDenoiser())
    assert tiny[f"{BLACK}.auc"].value is None


def test_one_percent_cannot_be_told_from_fewer_than_a_hundred_patients():
    found, _ = audit(world(4, members=600, each=90, synthetic=300), config=FAST.model_copy(update={"permutations": 199}))
    metric = found[f"{BLACK}.tpr_at_fpr_0.01"]
    assert metric.state == "insufficient"
    assert metric.value is None
    assert "90" in metric.note


def test_nobody_named_among_a_few_members_does_not_show_that_nobody_can_be():
    drawn = world(5, members=30, each=150)

    class Blind(NearestNeighbour):
        def scores(self, arm):
            return Scores(np.arange(len(arm)) + (0.0 if arm.images is drawn.private else 1000.0))

    probe = Blind.fit(Pixels(), drawn.synthetic, drawn.roles.reference)
    found = judge(probe, Arm.of(drawn.private), Arm.of(drawn.roles.evaluation), resamples=200, seed=0)
    assert found.tpr == 0
    assert found.tpr_bounds == pytest.approx((0, 1 - 0.05 ** (1 / 30)))
    assert found.tpr_attainable[1] >= found.tpr_bounds[1]


def test_copies_of_private_images_are_seen_from_the_release_alone(clean):
    stolen = np.concatenate([clean.private.pixels[:60], clean.synthetic.pixels[:240]])
    before, _ = audit(clean)
    after, result = audit(clean, synthetic=image_set(stolen, "synthetic"))
    assert before[f"{BLACK}.auc"].bounds[0] <= 0.5
    # 15 % of the members are copied: they outscore nearly all others, which moves the AUC by about half of that.
    assert after[f"{BLACK}.auc"].value - before[f"{BLACK}.auc"].value == pytest.approx(0.075, abs=0.03)
    assert after[f"{BLACK}.tpr_at_fpr_0.01"].bounds[0] > 0.1
    rows = result.evidence["probes"]
    assert len(rows) == 12
    assert [row["metric"] for row in rows] == [BLACK, *[None] * 3, BLACK, *[None] * 7]
    assert {row["role"] for row in rows} == {"evaluation"}


def test_features_that_see_nothing_do_not_blind_the_black_box(clean):
    """Weights that the user brings are known by their sha256, which does not say that they see anything."""

    class Noise(Pixels):
        def embed(self, images):
            seeds = (zlib.crc32(image.tobytes()) for image in images)
            return np.stack([np.random.default_rng(seed).standard_normal(8) for seed in seeds]).astype(np.float32)

    altered = np.concatenate([clean.private.pixels[:60] // 2 * 2, clean.synthetic.pixels[:240]])
    found, result = audit(clean, synthetic=image_set(altered, "synthetic"), embedder=Noise())
    noise, own = (row for row in result.evidence["probes"] if row["metric"] == BLACK)
    assert noise["interval"][0] < 0.5 < noise["interval"][1]
    assert own["bound"] == found[f"{BLACK}.auc"].bounds[1] > noise["bound"]
    assert own["tpr_interval"][0] > 0.05
    assert found[f"{BLACK}.tpr_at_fpr_0.01"].bounds[1] == max(noise["tpr_bound"], own["tpr_bound"])
    assert own["name"] == "nearest neighbour (embedded)"
    alone, told = audit(clean, embedder=EmbeddedFeatures())
    assert [row["metric"] for row in told.evidence["probes"]] == [BLACK, *[None] * 7]
    assert "in embedded" in alone[f"{BLACK}.auc"].method


def test_clean_real_lesions_are_near_a_half_and_ten_percent_of_copies_are_not(ham10000):
    drawn = world(members=1200, each=350, synthetic=350, pixels=ham10000)
    config = MembershipConfig(permutations=199, resamples=300)
    clean_release, told = audit(drawn, config=config)
    assert clean_release[f"{BLACK}.auc"].interval[0] <= 0.5 <= clean_release[f"{BLACK}.auc"].interval[1]
    copied = np.concatenate([drawn.private.pixels[:120], drawn.synthetic.pixels[120:]])
    assert not any(row["detected"] for row in told.evidence["probes"])
    leaky, told = audit(drawn, config=config, synthetic=image_set(copied, "synthetic"))
    for row in told.evidence["probes"]:
        assert row["detected"], row["name"]
        assert row["p_value"] <= row["p_holm"] < 0.05
    assert leaky[f"{BLACK}.auc"].bounds[0] > clean_release[f"{BLACK}.auc"].value
    assert leaky[f"{BLACK}.tpr_at_fpr_0.01"].bounds[0] > 0.03


def test_the_null_of_the_black_box_is_a_half_whatever_the_sizes():
    """Mean over 40 random splits of one source, with unequal synthetic and reference sets."""
    pixels = photographs(1400, 9)
    features = Pixels().embed(pixels).astype(np.float64)
    aucs = []
    for seed in range(40):
        order = np.random.default_rng([seed, 3]).permutation(1400)
        near = nearest(features[order[:900]], features[order[900:1300]])[1]
        background = nearest(features[order[:900]], features[order[1300:]])[1]
        score = (background - near) / (background + near)
        aucs.append(auc(score[:600], score[600:]))
    assert abs(np.mean(aucs) - 0.5) < 4 * np.std(aucs) / np.sqrt(40)


def test_the_black_box_score_weighs_synthetic_against_reference():
    """A lone grey value an image: distances can be read off."""

    class Grey(Pixels):
        def embed(self, images):
            return images[:, :1, 0, 0].astype(np.float32)

    def grey(*values):
        return image_set(np.stack([np.full((16, 16, 3), v, dtype=np.uint8) for v in values]))

    probe = NearestNeighbour.fit(Grey(), grey(100, 200), grey(110, 50))
    found = probe.scores(Arm.of(grey(100, 104, 110, 160, 50)))
    assert found.score == pytest.approx([1.0, (6 - 4) / 10, -1.0, (50 - 40) / 90, -1.0])
    assert found.parts["uncalibrated"] == pytest.approx([0, -4, -10, -40, -50])
    same = NearestNeighbour.fit(Grey(), grey(100), grey(100)).scores(Arm.of(grey(100)))
    assert same.score == pytest.approx([0.0])


def test_the_pixel_space_is_the_same_for_the_same_images(clean):
    first, second = PixelSpace.fit(clean.roles.calibration), PixelSpace.fit(clean.roles.calibration)
    assert first.digest == second.digest
    assert first.digest != PixelSpace.fit(clean.roles.reference).digest
    assert first.embed(clean.private.pixels[:3]).shape == (3, first.dimension)


def test_scores_do_not_depend_on_the_other_images(clean):
    calibration = Arm.of(clean.roles.calibration)
    denoiser = LeakyDenoiser()
    target = Target(denoiser, "ema")
    statistic = MultiStepLoss((0.1, 0.4), common_noise(denoiser, 2, 0))
    unseen = measure(statistic, target, Shown.of(calibration, denoiser))
    loss = Calibrated.of(statistic, target, unseen)
    nearest = NearestNeighbour.fit(Pixels(), clean.synthetic, clean.roles.reference)

    def by_loss(arm):
        return loss.scores(measure(loss.statistic, target, Shown.of(arm, denoiser)))

    rows = np.array([390, 3, 251])
    roles, made = clean.roles, clean.synthetic
    around = (
        DensityRatio.fit(Pixels(), made, roles.reference, roles.calibration),
        MonteCarlo.fit(Pixels(), made, roles.reference, roles.calibration),
        ClosestRecord.fit(Pixels(), made),
    )
    for scores in (by_loss, nearest.scores, *(probe.scores for probe in around)):
        everything = scores(Arm.of(clean.private)).score
        assert np.allclose(scores(Arm.of(clean.private.take(rows))).score, everything[rows], atol=1e-6)


def test_difficulty_removes_what_looks_explain():
    rng = np.random.default_rng(1)
    looks = rng.normal(size=(800, 6))
    errors = (looks @ rng.normal(size=6) + rng.normal(0, 0.1, 800))[:, None]
    fitted = Difficulty.fit(looks[:400], errors[:400])
    rest = fitted.standardise(looks[400:], errors[400:])
    assert abs(np.corrcoef(rest[:, 0], errors[400:, 0])[0, 1]) < 0.35
    few = Difficulty.fit(looks[:50], errors[:50])
    assert np.allclose(few.weights, 0)
    assert "50 non-members" in few.source


def test_members_are_drawn_by_whole_patients_and_independently_of_row_order():
    images = image_set(photographs(300, 1), per_patient=3)
    rows = sample_patients(images, 100, seed=4)
    assert len(rows) == 99
    assert set(np.unique(images.patients[rows], return_counts=True)[1]) == {3}
    shuffle = np.random.default_rng(0).permutation(300)
    shuffled = images.take(shuffle)
    assert set(shuffled.patients[sample_patients(shuffled, 100, seed=4)]) == set(images.patients[rows])
    assert len(sample_patients(images, 300, 0)) == 300
    assert len(sample_patients(images, 1, 0)) == 3


def test_same_seed_same_figures_and_a_given_split_is_used(clean):
    first, result = audit(clean, LeakyDenoiser())
    second, _ = audit(clean, LeakyDenoiser())
    assert first == second
    given = Validity(**{k: tuple(v) if isinstance(v, list) else v for k, v in result.evidence["split"].items()})
    again = run(
        clean.private, clean.roles, clean.synthetic, conditions=None, denoiser=None, embedder=Pixels(),
        config=FAST.model_copy(update={"permutations": 200}), seed=0, split=given,
    )  # fmt: skip
    assert again.metrics[0].value == first["membership.split.auc"].value
    assert "199 permutations" in again.metrics[0].method


def test_curves_are_small_and_ordered(clean):
    _, result = audit(clean, LeakyDenoiser(remember(clean.private), {"ema": 0.05}))
    for probe in result.evidence["probes"]:
        curve = {name: np.array(values) for name, values in probe["roc"].items()}
        assert len(curve["fpr"]) <= 200
        assert (np.diff(curve["fpr"]) > 0).all()
        assert (np.diff(curve["tpr"]) >= 0).all()
        assert (curve["low"] <= curve["high"]).all()
        assert 0.01 in curve["fpr"]
        assert curve["tpr"][curve["fpr"] == 0.01][0] == probe["tpr"]
