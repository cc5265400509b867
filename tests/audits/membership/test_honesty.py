"""The auditor's own examination: what it says of unseen images is what chance would say, 200 times over.

Features of real photographs are computed once; who is called a member is then drawn 200 times. No bound is loose: a binomial
test at 0.001 holds the coverage of 95 % intervals and the p-values against what they promise.
"""

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from audits.membership import detection
from audits.membership.black_box import PixelSpace
from audits.membership.features import appearance
from audits.membership.guessers import FOLDS, guessers_of
from audits.membership.neighbourhood import black_box_probes
from audits.membership.probe import Arm
from audits.membership.split import tell_apart
from audits.membership.verdict import judge
from synguard.data.splits import HoldoutRoles
from tests.support.membership import image_set

DRAWS = 200
SIGNIFICANT = 0.001


class Looked:
    """An embedder of images that are nothing but the number of a row, three bytes, of a table of features."""

    name, digest = "looked up", "2" * 64

    def __init__(self, features):
        self.features = features.astype(np.float32)
        self.dimension = features.shape[1]

    def embed(self, images):
        return self.features[images.reshape(-1, 3) @ np.array([1, 256, 65536])]


def numbered(rows, name, per_patient=1):
    rows = np.asarray(rows)
    pixels = np.stack([rows % 256, rows // 256 % 256, rows // 65536], axis=-1).astype(np.uint8)
    return image_set(pixels[:, None, None], name, per_patient=per_patient)


def covers(found, draws):
    return binomtest(int(np.sum(found)), draws, 0.95).pvalue > SIGNIFICANT


def uniform(p_values):
    """Below 5 % and below a half as often as promised, and no trend in between."""
    p_values = np.asarray(p_values)
    at = [binomtest(int((p_values <= level).sum()), len(p_values), level).pvalue for level in (0.05, 0.5)]
    return min(at) > SIGNIFICANT and kstest(p_values, "uniform").pvalue > SIGNIFICANT


@pytest.fixture(scope="module")
def judged(ham10000):
    """Each draw: five sets at random, two photographs a patient (not of one lesion), and one of the four probes in turn."""
    space = PixelSpace.fit(image_set(ham10000[:300], "axes"))
    looked = Looked(space.embed(ham10000))
    cuts = np.cumsum([500, 200, 400, 200, 300])
    names = ("private", "calibration", "evaluation", "reference", "synthetic")
    found, p_values = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection, "_PERMUTATIONS", 399)
        patch.setattr(detection, "rate_p_value", lambda *_: 1.0)  # leaves the permutation p-value, doubled
        for draw in range(DRAWS):
            order = np.random.default_rng([draw, 0x40]).permutation(len(ham10000))
            sets = [
                numbered(rows, name, 2) for rows, name in zip(np.split(order[: cuts[-1]], cuts[:-1]), names, strict=True)
            ]
            roles = HoldoutRoles(*sets[1:4], seed=0)
            probe = black_box_probes(looked, sets[4], roles)[draw % 4]
            arms = [Arm(images, None, np.zeros((len(images), 1))) for images in (sets[0], roles.evaluation)]
            found.append(judge(probe, *arms, resamples=200, seed=draw))
            p_values.append(detection.permutation_test(
                *(probe.scores(arm).score for arm in arms),
                *(arm.images.patients for arm in arms),
                permutations=399,
                seed=draw,
            ))  # fmt: skip
    return found, p_values


def test_intervals_of_the_auc_hold_a_half_as_often_as_they_say(judged):
    found, _ = judged
    assert {outcome.state for outcome in found} == {"measured"}
    assert covers([o.auc_interval[0] <= 0.5 <= o.auc_interval[1] for o in found], DRAWS)
    # One-sided bounds, each by itself.
    for side, held in ((0, [o.auc_bounds[0] <= 0.5 for o in found]), (1, [o.auc_bounds[1] >= 0.5 for o in found])):
        assert covers(held, DRAWS), side


def test_intervals_of_the_rate_hold_one_percent_at_least_as_often_as_they_say(judged):
    found, _ = judged
    held = [o.tpr_interval[0] <= 0.01 <= o.tpr_interval[1] for o in found]
    # Never narrower than the exact interval, so that they may hold more often.
    assert binomtest(int(np.sum(held)), DRAWS, 0.95, alternative="less").pvalue > SIGNIFICANT


def test_permutation_p_values_are_uniform(judged):
    found, p_values = judged
    assert uniform(p_values)
    assert [o.p_value for o in found] == pytest.approx([min(1.0, 2 * p) for p in p_values])


@pytest.mark.system
def test_the_split_check_is_honest_about_random_halves(ham10000):
    """All five classifiers, whole procedure: p-values uniform, intervals that hold a half, and no verdict of invalid."""
    statistics, thumbnails = appearance(ham10000)
    embedded = PixelSpace.fit(image_set(ham10000[:300], "axes")).embed(ham10000).astype(float)
    rng = np.random.default_rng(5)
    age = rng.normal(50, 10, (len(ham10000), 1))
    p_values, held, called = [], [], 0
    for draw in range(DRAWS):
        order = np.random.default_rng([draw, 0x41]).permutation(len(ham10000))[:400]
        patients = np.array([f"p{i // 2:04d}" for i in range(400)])
        codes = np.unique(patients, return_inverse=True)[1]
        found = guessers_of(statistics[order], thumbnails[order], age[order], embedded[order], patients)
        member = np.random.default_rng([draw, 0x42]).permutation(200) < 110
        folds = np.random.default_rng([draw, 0x43]).permutation(200)[codes] % FOLDS
        told = tell_apart(found, member, codes, folds, permutations=99, seed=draw)
        p_values.append(told.p_value)
        held.append(told.interval[0] <= 0.5 <= told.interval[1])
        called += told.p_value < 0.01 and told.auc > 0.53
    assert uniform(p_values)
    # The best of five lies above a half by itself; its interval allows for that below, and may hold more often.
    assert binomtest(int(np.sum(held)), DRAWS, 0.95, alternative="less").pvalue > SIGNIFICANT
    assert binomtest(called, DRAWS, 0.01, alternative="greater").pvalue > SIGNIFICANT
