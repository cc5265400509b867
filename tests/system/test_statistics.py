"""What the copy audit promises, held against real images: false alarms, false discoveries, p-values.

Unseen photographs are searched once; calibration and candidates are then drawn from them 200 times.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest, kstest

from audits.memorisation import prepare
from audits.memorisation.calibration import review_list
from audits.memorisation.planted import plant
from audits.memorisation.verdict import VERIFIED_RATE, Calibration, Found, calibrate
from synguard.config import MemorisationConfig
from tests.support.lesions import Lesions, prepare_lesions
from tests.support.textures import image_set

pytestmark = pytest.mark.system

RESAMPLES = 200
UNSEEN, CALIBRATION, CANDIDATES, COPIES = 1200, 600, 500, 60
Q = 0.05
SIGNIFICANT = 0.001


@dataclass(frozen=True)
class Searched:
    """What was found of unseen photographs, in random order, and of planted copies with whether the source is right."""

    unseen: Found
    copies: Found
    right: np.ndarray

    def draw(self, seed: int) -> tuple[Calibration, np.ndarray]:
        """A calibration, and the rows of the candidates that were not used for it."""
        order = np.random.default_rng([seed, 0x57A]).permutation(len(self.unseen.lane))
        made = self.unseen.take(order[:CALIBRATION])
        return calibrate(made, made), order[CALIBRATION : CALIBRATION + CANDIDATES]


@pytest.fixture(scope="module")
def searched(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    lesions = prepare_lesions(test_data, tmp_path_factory.mktemp("statistics"), private=1000, holdout=64, unseen=UNSEEN)
    private, first = (read(lesions, part) for part in ("private", "holdout"))
    rest = np.random.default_rng(1).permutation(np.stack([load(path) for path in lesions.unseen]))
    config = MemorisationConfig(planted_per_transform=1)
    prepared = prepare(image_set(private, "private"), image_set(first, "calibration"), config=config, seed=0, folder=None)
    rows = np.random.default_rng(2).permutation(len(private))[: 2 * COPIES]
    half = plant(private[rows[:COPIES]], "jpeg-40", np.random.default_rng(3))
    copies = np.concatenate([half, plant(private[rows[COPIES:]], "crop-80", np.random.default_rng(4))])
    found = prepared.search(copies)
    return Searched(prepared.search(rest), found, found.matches.image == rows)


def read(lesions: Lesions, part: str) -> np.ndarray:
    folder = getattr(lesions, part)
    with (folder / "metadata.csv").open() as file:
        return np.stack([load(folder / row["file_name"]) for row in csv.DictReader(file)])


def load(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_runs_without_copies_fail_no_more_often_than_promised(searched: Searched):
    """By a verified copy among 500 candidates: promised is 500 times the rate that the threshold is set for."""
    failed = 0
    for seed in range(RESAMPLES):
        calibration, rows = searched.draw(seed)
        failed += bool(calibration.decide(searched.unseen.take(rows))[1].any())
    promised = 1 - (1 - VERIFIED_RATE) ** CANDIDATES
    print(f"{failed} of {RESAMPLES} runs without copies fail; promised {promised:.4f}")
    assert binomtest(failed, RESAMPLES, promised, alternative="greater").pvalue > SIGNIFICANT


def test_the_review_list_holds_its_false_discovery_rate(searched: Searched):
    """With 60 copies among 560 candidates: the mean share of false entries, and lists with any beyond what is promised."""
    shares = []
    for seed in range(RESAMPLES):
        calibration, rows = searched.draw(seed)
        chosen = np.random.default_rng(seed).permutation(len(searched.copies.lane))[:COPIES]
        scores = np.concatenate([searched.unseen.matches.score[rows], searched.copies.matches.score[chosen]])
        listed = review_list(calibration.p_values(scores), Q)
        shares.append(listed[:CANDIDATES].sum() / max(listed.sum(), 1))
    print(f"mean false-discovery share {np.mean(shares):.4f}, promised {Q}")
    deviation = np.std(shares, ddof=1) / np.sqrt(RESAMPLES)
    # The mean of 200 shares is close to normal; 3.1 standard errors are the one-sided level of 0.001.
    assert np.mean(shares) <= Q + 3.1 * deviation


def test_p_values_of_unseen_images_are_uniform(searched: Searched):
    """Each resample by itself: images of one calibration share it, so that their p-values hang together across resamples."""
    rejected = 0
    for seed in range(RESAMPLES):
        calibration, rows = searched.draw(seed)
        p_values = calibration.p_values(searched.unseen.matches.score[rows])
        # Both sets are samples: the distance between them, not to a line, has the Kolmogorov-Smirnov distribution.
        scores = searched.unseen.matches.score[rows]
        rejected += kstest(scores, calibration.scores).pvalue < 0.05
        assert p_values.min() >= 1 / (len(calibration.scores) + 1)
    print(f"{rejected} of {RESAMPLES} resamples are not uniform at 5 %")
    assert binomtest(rejected, RESAMPLES, 0.05, alternative="greater").pvalue > SIGNIFICANT


def test_a_twin_in_the_calibration_set_is_left_out_and_changes_no_verdict(searched: Searched):
    """Put back on purpose: four copies of private photographs among the calibration images."""
    calibration, rows = searched.draw(0)
    order = np.random.default_rng([0, 0x57A]).permutation(len(searched.unseen.lane))
    twins = searched.copies.take(np.flatnonzero(searched.right[:COPIES])[:4])
    spoilt = Found.join([searched.unseen.take(order[:CALIBRATION]), twins])
    spoilt_calibration = calibrate(spoilt, spoilt)
    assert set(spoilt_calibration.natural) - set(calibration.natural) == set(range(CALIBRATION, CALIBRATION + 4))
    assert spoilt_calibration.verified == pytest.approx(calibration.verified, abs=1e-9)
    for made in (calibration, spoilt_calibration):
        _, verified = made.decide(searched.copies)
        assert (verified & searched.right)[:COPIES].mean() >= 0.95
        assert not made.decide(searched.unseen.take(rows))[1].any()
