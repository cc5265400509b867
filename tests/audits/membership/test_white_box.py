"""White-box probes: each sees what is remembered, none invents it, and the formulas are those of the papers."""

import itertools

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from audits.membership import Reference, run
from audits.membership.choose import choose, turns_of
from audits.membership.ensemble import FOLDS, Table, ensemble, nested_scores
from audits.membership.losses import ConditionGap, ReferenceLoss
from audits.membership.probe import Arm
from audits.membership.queries import CLEAN, MEAN_SIZE, Pia, SecMi, SimA
from audits.membership.target import Block, Shown, Target, common_noise
from audits.membership.white_box import probe
from synguard.config import AttributeConfig, MembershipConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.turns import turned
from synguard.errors import InputError
from synguard.metrics.ranks import auc, auc_columns
from tests.support.denoisers import Remembering, encode
from tests.support.membership import LeakyDenoiser, Pixels, image_set, photographs, remember, world

EVERY = ("loss", "sima", "pia", "pian", "secmi", "gradients", "autoencoder")
CONFIG = MembershipConfig(probes=EVERY, noise_levels=(0.1, 0.3), draws=2, permutations=199, resamples=200)


def arms(drawn, schema=None):
    return [Arm.of(part, schema) for part in (drawn.roles.calibration, drawn.private, drawn.roles.evaluation)]


def looked(drawn, model, config=CONFIG, reference=None, schema=None):
    calibration, members, nonmembers = arms(drawn, schema)
    chosen = choose(model, calibration, config, reference=reference, seed=0)
    target = Target(model, model.weights[0], turns_of(model, config))
    shown = (Shown.of(arm, model, target.turns) for arm in (calibration, members, nonmembers))
    found = probe(chosen.statistics, target, *shown, resamples=200, seed=0)
    return {outcome.name.partition(" (")[0]: outcome for outcome in found}


@pytest.fixture(scope="module")
def drawn():
    return world(21, members=150, each=150)


@pytest.mark.parametrize("flow", [True, False])
def test_every_probe_sees_a_model_that_knows_its_images_by_heart(drawn, flow):
    found = looked(drawn, Remembering(encode(drawn.private.pixels), flow=flow))
    assert len(found) == len(EVERY) + 1
    for name, outcome in found.items():
        assert outcome.state == "measured"
        # What PIAN scales up is next to nothing in a model that sees no noise at all in its own images.
        assert outcome.auc > (0.7 if name == "PIAN" else 0.9), name
        assert outcome.auc_bounds[0] > (0.65 if name == "PIAN" else 0.85), name
    assert found["ensemble"].auc > 0.99


@pytest.mark.parametrize("flow", [True, False])
def test_no_probe_sees_anything_in_a_model_of_other_images(drawn, flow):
    found = looked(drawn, Remembering(encode(photographs(300, 77)), flow=flow))
    for name, outcome in found.items():
        assert outcome.auc_interval[0] - 0.02 <= 0.5 <= outcome.auc_interval[1] + 0.02, name
        assert outcome.auc_bounds[1] < 0.62, name


def test_calls_are_counted_by_asking(drawn):
    """Each statistic asks the denoiser as often as it says."""
    asked = []

    class Counting(Remembering):
        def predict(self, noised, conditions, *, level, weights):
            asked.append(len(noised))
            return super().predict(noised, conditions, level=level, weights=weights)

    calibration, *_ = arms(drawn)
    for turns in ((0,), (0, 1)):
        model = Counting(encode(drawn.private.pixels), turns=turns)
        target = Target(model, "ema", turns)
        config = CONFIG.model_copy(update={"probes": ("loss", "sima", "pia", "pian", "secmi", "autoencoder")})
        for statistic in choose(model, calibration, config, reference=None, seed=0).statistics:
            block = Shown.of(calibration, model, turns).blocks[0]
            asked.clear()
            statistic.measure(target, block)
            assert sum(asked) == statistic.calls(target) * len(block.pixels), statistic.name


def test_a_model_that_only_saw_mirrored_images_is_found_out_by_turns(drawn):
    model = Remembering(encode(turned(drawn.private.pixels, 1)))
    config = CONFIG.model_copy(update={"probes": ("loss", "sima", "pia", "secmi")})
    without = looked(drawn, model, config)
    within = looked(drawn, model, config.model_copy(update={"turns": "mirror"}))
    told = looked(drawn, Remembering(model.known, turns=(0, 1)), config)
    for name in ("loss", "SimA", "PIA", "SecMI"):
        assert within[name].auc > without[name].auc + 0.1, name
        assert told[name].auc == within[name].auc
        assert "2 turns" in within[name].method
    assert within["loss"].calls == without["loss"].calls


def test_turns_are_those_of_training():
    pixels = photographs(3, 0)
    assert np.array_equal(turned(pixels, 1), pixels[:, :, ::-1])
    assert len({turned(pixels, turn).tobytes() for turn in range(8)}) == 8
    assert np.array_equal(turned(pixels[0], 3), np.rot90(pixels[0][:, ::-1]))


def _one(model, x):
    return Target(model, "ema"), Block(np.zeros((len(x), 16, 16, 3), np.uint8), (x,), None)


@pytest.mark.parametrize("flow", [True, False])
def test_formulas_are_those_of_the_papers(flow):
    """Written out anew, image by image."""
    rng = np.random.default_rng(3)
    model = Remembering(rng.standard_normal((20, 3, 8, 8)).astype(np.float32), blur=0.7, flow=flow)
    x = rng.standard_normal((4, 3, 8, 8)).astype(np.float32)
    target, block = _one(model, x)

    def eps(z, level):
        return model.predict(z[None], None, level=level, weights="ema")[0].astype(np.float64)

    def scales(level):
        return (1 - level, level) if flow else (np.sqrt(1 - level**2), level)

    sima = SimA(0.3).measure(target, block).figures[:, 0]
    pia = Pia(0.3).measure(target, block).figures[:, 0]
    pian = Pia(0.3, normalised=True).measure(target, block).figures[:, 0]
    secmi = SecMi(0.3).measure(target, block).figures[:, 0]
    for row, one in enumerate(x):
        a, s = scales(0.3)
        size = 1.0 if not flow else np.sqrt(0.7**2 + 0.3**2)
        assert np.exp(sima[row]) == pytest.approx((eps(size * one, 0.3) ** 4).mean(), rel=1e-3)
        first = eps(one, CLEAN)
        scaled = first / np.abs(first).mean() * np.sqrt(2 / np.pi)
        for found, e in ((pia, first), (pian, scaled)):
            expected = ((e - eps(a * one + s * e, 0.3)) ** 4).mean()
            assert np.exp(found[row]) == pytest.approx(expected, rel=1e-3)
        levels = [0.03 * k for k in range(11)]
        z = one.astype(np.float64)
        for here, there in itertools.pairwise(levels):
            e = eps(z, here or CLEAN)
            clean = (z - scales(here)[1] * e) / scales(here)[0]
            z = scales(there)[0] * clean + scales(there)[1] * e
        there, again = z, z
        for here, next_one in ((0.3, 0.33), (0.33, 0.3)):
            e = eps(again, here)
            again = scales(next_one)[0] * (again - scales(here)[1] * e) / scales(here)[0] + scales(next_one)[1] * e
        assert np.exp(secmi[row]) == pytest.approx(((again - there) ** 2).mean(), rel=1e-2)
    assert pytest.approx(np.abs(rng.standard_normal(200000)).mean(), abs=0.01) == MEAN_SIZE


def test_a_reference_model_takes_out_what_looks_do_not_explain(drawn):
    """Errors vary tenfold by what nothing shows; a reference with the same difficulties takes them out."""

    class Hard(LeakyDenoiser):
        def errors(self, latents, conditions, *, level, noise, weights):
            hidden = np.abs(np.sin(1e4 * latents.reshape(len(latents), -1)[:, 1:].sum(axis=1, dtype=np.float64)))
            own = super().errors(latents, conditions, level=level, noise=noise, weights=weights)
            return own * np.exp(2 * hidden)

    model = Hard(remember(drawn.private), {"ema": 0.15})
    reference = Reference(Hard(), "made for this test")
    config = CONFIG.model_copy(update={"probes": ("loss",)})
    found = looked(drawn, model, config, reference)
    assert found["loss"].auc < 0.7
    assert found["loss against reference"].auc > found["loss"].auc + 0.15
    assert found["loss against reference"].calls == 2 * found["loss"].calls
    assert "made for this test" in found["loss against reference"].method
    assert found["ensemble"].auc > found["loss against reference"].auc - 0.05


def test_a_reference_of_another_latent_size_is_refused(drawn):
    reference = Reference(LeakyDenoiser(latent_shape=(4, 4, 4)), "elsewhere")
    with pytest.raises(
        InputError, match=r"latents of the reference model \(elsewhere\): found 4 x 4 x 4, expected 3 x 8 x 8"
    ):
        choose(LeakyDenoiser(), arms(drawn)[0], CONFIG, reference=reference, seed=0)
    assert ReferenceLoss.of(LeakyDenoiser(), LeakyDenoiser(), (0,), (0.1,), np.zeros((1, 3, 8, 8)), "same").calls(None) == 2


def test_a_model_whose_latents_its_denoiser_does_not_take_is_refused(drawn):
    model = LeakyDenoiser(latent_shape=(3, 16, 16))
    with pytest.raises(InputError, match="of images of 16 pixels: found 3 x 8 x 8, expected 3 x 16 x 16, as its denoiser"):
        Shown.of(arms(drawn)[0], model)


SCHEMA = ConditionSchema((AttributeConfig(name="grade", kind="ordinal", levels=("0", "1", "2")),))


def with_grades(drawn):
    rng = np.random.default_rng(0)
    sets = [
        image_set(s.pixels, s.name, metadata=pd.DataFrame({"grade": rng.choice(["0", "1", "2"], len(s))}))
        for s in (drawn.private, drawn.roles.calibration, drawn.roles.evaluation, drawn.roles.reference)
    ]
    return type(drawn)(sets[0], type(drawn.roles)(*sets[1:], seed=0), drawn.synthetic)


def test_the_condition_gap_sees_labels_that_were_learnt_by_heart(drawn):
    """The model is better on its images under their own grade only."""
    graded = with_grades(drawn)
    grades = {
        image.tobytes(): grade for image, grade in zip(graded.private.pixels, graded.private.metadata["grade"], strict=True)
    }
    known = {encode(np.frombuffer(image, np.uint8).reshape(1, 16, 16, 3)).tobytes(): g for image, g in grades.items()}

    class Labelled(LeakyDenoiser):
        def encode(self, images):
            return encode(images)

        def errors(self, latents, conditions, *, level, noise, weights):
            plain = super().errors(latents, None, level=level, noise=noise, weights=weights)
            if conditions is None:
                return plain
            own = np.array([known.get(x.tobytes()) for x in latents])
            return plain * np.where(own == conditions["grade"].astype(str).to_numpy(), 0.998, 1.0)

    config = CONFIG.model_copy(update={"probes": ("loss", "condition-gap")})
    found = looked(graded, Labelled(), config, schema=SCHEMA)
    assert found["condition gap"].auc > 0.99
    assert found["loss"].auc < 0.7
    assert found["condition gap"].calls == 2 * 4
    assert found["ensemble"].auc > 0.95


def test_other_conditions_are_others_and_the_same_for_every_image():
    conditions = pd.DataFrame({"grade": ["0", "1", "2", "1", None]})
    gap = ConditionGap.fit(conditions, levels=(0.2,), noise=np.zeros((1, 3, 8, 8)), swaps=2, none=False, seed=1)
    first, second = gap._swapped(conditions)
    for own, one, other in zip(*(frame["grade"].fillna("none") for frame in (conditions, first, second)), strict=True):
        assert len({own, one, other}) == 3
    alone = gap._swapped(conditions.iloc[[3]])[0]["grade"].tolist()
    assert alone == [first["grade"][3]]
    assert gap.calls(Target(LeakyDenoiser(), "ema")) == 3


def test_probes_that_cannot_be_made_are_named_with_the_reason(drawn):
    calibration, *_ = arms(drawn)
    every = CONFIG.model_copy(update={"probes": (*EVERY, "condition-gap")})
    closed = choose(LeakyDenoiser(), calibration, every, reference=None, seed=0)
    assert [s.name for s in closed.statistics] == ["loss", "autoencoder reconstruction"]
    reasons = dict(closed.left_out)
    assert set(reasons) == {"sima", "pia", "pian", "secmi", "gradients", "condition-gap"}
    assert reasons["condition-gap"] == "the model takes no conditions"
    assert all("tells its errors only" in reasons[name] for name in ("sima", "pia", "pian", "secmi", "gradients"))
    result = run(
        drawn.private, drawn.roles, drawn.synthetic, conditions=None, denoiser=LeakyDenoiser(), embedder=Pixels(),
        config=every, seed=0,
    )  # fmt: skip
    assert {row["probe"] for row in result.evidence["not_tested"]} == set(reasons)


def test_the_reason_for_no_denoiser_is_told(drawn):
    result = run(
        drawn.private, drawn.roles, drawn.synthetic, conditions=None, denoiser=None, embedder=Pixels(),
        config=CONFIG, seed=0, closed="its denoiser is a SomethingElse",
    )  # fmt: skip
    white = [metric for metric in result.metrics if "white_box" in metric.name]
    assert {metric.state for metric in white} == {"not_tested"}
    assert {metric.note for metric in white} == {"its denoiser is a SomethingElse"}


def test_the_worst_of_all_probes_counts_and_says_so(drawn):
    class Weak(Remembering):
        """Its losses tell nothing; what it sees in clean images does."""

        def errors(self, latents, conditions, *, level, noise, weights):
            return LeakyDenoiser().errors(latents, conditions, level=level, noise=noise, weights=weights)

    result = run(
        drawn.private, drawn.roles, drawn.synthetic, conditions=None, denoiser=Weak(encode(drawn.private.pixels)),
        embedder=Pixels(), config=CONFIG.model_copy(update={"probes": ("loss", "sima")}), seed=0,
    )  # fmt: skip
    metric = next(m for m in result.metrics if m.name == "membership.white_box.auc")
    probes = {row["name"]: row for row in result.evidence["probes"] if row["access"] == "white box"}
    assert set(probes) == {"loss (ema)", "SimA (ema)", "ensemble (ema)"}
    assert metric.bounds[1] == max(row["bound"] for row in probes.values())
    assert metric.value > 0.95
    assert probes["SimA (ema)"]["calls"] == 1
    assert probes["ensemble (ema)"]["calls"] == 5
    assert all(row["seconds"] >= 0 for row in probes.values())


def test_the_autoencoder_never_stands_for_the_denoiser(drawn):
    """A configuration refuses it; from Python nothing is said of a denoiser that nobody asked."""
    model = Remembering(encode(drawn.private.pixels))

    def white_box(config):
        result = run(
            drawn.private, drawn.roles, drawn.synthetic, conditions=None, denoiser=model, embedder=Pixels(),
            config=config, seed=0,
        )  # fmt: skip
        return [metric for metric in result.metrics if "white_box" in metric.name], result.evidence

    told, _ = white_box(MembershipConfig(permutations=199, resamples=200))
    assert told[0].bounds[0] > 0.9
    alone, evidence = white_box(CONFIG.model_copy(update={"probes": ("autoencoder",)}))
    assert [metric.state for metric in alone] == ["not_tested"] * 2
    assert all("found no probe that asks the denoiser, expected the loss at least" in metric.note for metric in alone)
    assert evidence["not_tested"] == [{"access": "white box", "probe": "", "reason": alone[0].note}]
    assert {row["access"] for row in evidence["probes"]} == {"black box"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probes": ("autoencoder",)}, r"membership\.probes: found autoencoder, expected loss among them"),
        ({"probes": ("sima", "pia")}, r"membership\.probes: found sima, pia, expected loss among them"),
        ({"noise_levels": (0.9999,)}, r"noise_levels: found 0\.9999, expected levels between 0\.05 and 0\.6"),
        ({"noise_levels": (0.1, 0.9)}, r"noise_levels: found 0\.1, 0\.9, expected levels between"),
        ({"noise_levels": (0.001,)}, r"noise_levels: found 0\.001, expected levels between"),
        ({"noise_levels": (0.1, 0.5, 0.6)}, r"found 0\.1, 0\.5, 0\.6, expected at least half of them at 0\.3 or less"),
        ({"query_level": 0.9999}, r"query_level: found 0\.9999, expected a level between 0\.05 and 0\.5"),
    ],
)
def test_a_configuration_takes_nothing_away_from_what_is_asked(settings, message):
    with pytest.raises(ValidationError, match=message):
        MembershipConfig(**settings)


@pytest.mark.parametrize("level", [0.05, 0.3, 0.5])
@pytest.mark.parametrize("flow", [True, False])
def test_levels_that_a_configuration_may_ask_at_tell_of_a_model_that_remembers(drawn, level, flow):
    config = CONFIG.model_copy(update={"probes": ("loss", "sima", "pia"), "noise_levels": (level,), "query_level": level})
    found = looked(drawn, Remembering(encode(drawn.private.pixels), flow=flow), config)
    assert max(outcome.auc_bounds[0] for outcome in found.values()) > 0.9
    assert found["loss"].auc_bounds[0] > (0.6 if level == 0.5 else 0.9)


def test_config_refuses_levels_and_probes_that_make_no_sense():
    with pytest.raises(ValidationError, match="noise_levels"):
        MembershipConfig(noise_levels=(0.1, 1.0))
    with pytest.raises(ValidationError, match="expected each name once"):
        MembershipConfig(probes=("loss", "loss"))
    with pytest.raises(ValidationError, match="probes"):
        MembershipConfig(probes=())


# The ensemble.


def tables(m, n, shift, seed=0, noise=6):
    """One informative figure among others that are not, as two statistics."""
    rng = np.random.default_rng(seed)
    inside, outside = rng.standard_normal((m, 1 + noise)), rng.standard_normal((n, 1 + noise))
    inside[:, 0] += shift
    return [Table("one", inside[:, :1], outside[:, :1]), Table("rest", inside[:, 1:], outside[:, 1:])]


def judged(found, m, n, per_patient=1):
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (m + n, 8, 8, 3), dtype=np.uint8)
    inside, outside = (
        Arm(image_set(part, name, per_patient=per_patient), None, np.zeros((len(part), 1)))
        for part, name in ((pixels[:m], "private"), (pixels[m:], "evaluation"))
    )
    return ensemble(found, inside, outside, weights="ema", calls=3, resamples=200, seed=0)


def test_the_ensemble_learns_which_figure_to_trust():
    found = tables(500, 500, 1.0)
    equal = auc(
        np.concatenate([t.inside.mean(1, keepdims=True) for t in found], 1).mean(1),
        np.concatenate([t.outside.mean(1, keepdims=True) for t in found], 1).mean(1),
    )
    outcome = judged(found, 500, 500)
    best = auc(found[0].inside[:, 0], found[0].outside[:, 0])
    assert outcome.auc > equal
    assert outcome.auc == pytest.approx(best, abs=0.015)
    assert outcome.auc_interval[0] < outcome.auc < outcome.auc_interval[1]


def test_where_there_is_nothing_the_ensemble_finds_nothing():
    """A half on average over 100 draws, and in 20 of them the interval leaves it out no more often than it may."""
    aucs = []
    for seed in range(100):
        found = tables(100, 100, 0.0, seed=seed)
        values = np.concatenate(
            [np.concatenate([t.inside for t in found], 1), np.concatenate([t.outside for t in found], 1)]
        )
        member = np.arange(200) < 100
        folds = np.random.default_rng(seed).permutation(200) % FOLDS**2
        score = nested_scores(values, member[:, None], folds, np.ones(values.shape[1]))[:, 0]
        aucs.append(auc(score[:100], score[100:]))
    assert abs(np.mean(aucs) - 0.5) < 4 * np.std(aucs) / np.sqrt(100)
    judgements = [judged(tables(80, 80, 0.0, seed=seed), 80, 80) for seed in range(20)]
    missed = sum(not found.auc_interval[0] <= 0.5 <= found.auc_interval[1] for found in judgements)
    assert missed <= 4  # of 20 at 5 %: more than four with a chance of 0.3 %
    assert all(found.auc_attainable[1] > 0.5 for found in judgements)


def test_no_image_has_part_in_its_own_score():
    """Another side for one patient changes that patient's score in nothing."""
    rng = np.random.default_rng(1)
    values, member = rng.standard_normal((200, 4)), np.arange(200) < 100
    values[:100, 0] += 1
    folds = (rng.permutation(100)[np.arange(200) // 2]) % FOLDS**2
    before = nested_scores(values, member[:, None], folds, np.ones(4))
    other = member.copy()
    other[[10, 11]] = False
    after = nested_scores(values, other[:, None], folds, np.ones(4))
    assert np.array_equal(before[[10, 11]], after[[10, 11]])
    assert not np.array_equal(before, after)


def test_columns_of_labels_are_scored_each_by_itself():
    rng = np.random.default_rng(2)
    values, labels = rng.standard_normal((150, 3)), rng.random((150, 5)) < 0.5
    folds = rng.permutation(150) % FOLDS**2
    together = nested_scores(values, labels, folds, np.ones(3))
    for column in range(5):
        alone = nested_scores(values, labels[:, [column]], folds, np.ones(3))
        assert np.allclose(alone[:, 0], together[:, column])
    assert abs(auc_columns(together, labels).mean() - 0.5) < 0.2


def test_patients_widen_the_ensembles_interval():
    rng = np.random.default_rng(3)
    base = tables(80, 80, 0.3, seed=9)
    repeated = [Table(t.name, np.repeat(t.inside, 4, 0), np.repeat(t.outside, 4, 0)) for t in base]
    many = [
        Table(t.name, rng.standard_normal((320, t.inside.shape[1])), rng.standard_normal((320, t.inside.shape[1])))
        for t in base
    ]
    clustered, own = judged(repeated, 320, 320, per_patient=4), judged(many, 320, 320)
    assert np.diff(clustered.auc_interval)[0] > 1.4 * np.diff(own.auc_interval)[0]


def test_an_ensemble_with_scores_that_are_not_numbers_is_an_error():
    found = tables(50, 50, 0.0)
    found[0].inside[3, 0] = np.nan
    assert judged(found, 50, 50).state == "error"
    assert judged(tables(15, 50, 0.0), 15, 50).state == "insufficient"


def test_common_noise_is_common_and_seeded():
    model = LeakyDenoiser()
    assert np.array_equal(common_noise(model, 2, 3), common_noise(model, 2, 3))
    assert not np.array_equal(common_noise(model, 2, 3), common_noise(model, 2, 4))
