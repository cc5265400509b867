"""Density ratio, Monte Carlo and closest record: against the formulas written out, and at their edges."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from audits.membership.neighbourhood import ClosestRecord, DensityRatio, MonteCarlo, black_box_probes
from audits.membership.probe import Arm
from audits.spaces import Remembered, embed_all
from tests.support.membership import Pixels, image_set, photographs, world


class Grey(Pixels):
    """One number an image, so that distances can be read off."""

    name = "grey"
    dimension = 1

    def embed(self, images):
        return images[:, :1, 0, 0].astype(np.float32)


def grey(*values):
    return image_set(np.stack([np.full((16, 16, 3), value, dtype=np.uint8) for value in values]))


def test_monte_carlo_is_the_mean_log_nearness_within_the_median_distance():
    made, reference, calibration = grey(100, 110, 200), grey(104), grey(98, 114, 230)
    probe = MonteCarlo.fit(Grey(), made, reference, calibration)
    assert probe.radius == 4  # of 2, 4 and 30
    found = probe.scores(Arm.of(grey(102, 109, 150)))
    expected = [np.log(4 / 2) / 3 - np.log(4 / 2), np.log(4 / 1) / 3, 0.0]
    assert found.score == pytest.approx(expected)
    assert found.parts["share, as published"] == pytest.approx([1 / 3, 1 / 3, 0])


def test_an_exact_copy_counts_much_but_not_without_end():
    probe = MonteCarlo.fit(Grey(), grey(100, 200), grey(50), grey(104, 204))
    found = probe.scores(Arm.of(grey(100, 101))).score
    assert found[0] == pytest.approx(np.log(1000) / 2)
    assert found[0] > found[1] > 0


def test_the_density_ratio_is_that_of_scipy():
    """In one dimension, scaled by the calibration role, with Scott's width in those units."""
    rng = np.random.default_rng(0)
    made, reference, calibration = (grey(*rng.integers(60, 200, n)) for n in (40, 50, 60))
    queries = grey(70, 120, 180)
    probe = DensityRatio.fit(Grey(), made, reference, calibration)
    base = embed_all(Grey(), calibration.pixels)
    spread = base.std(ddof=1)

    def density(images):
        points = embed_all(Grey(), images.pixels)[:, 0] / spread
        width = len(points) ** (-1 / 5) / points.std(ddof=1)
        return np.log(gaussian_kde(points, bw_method=width)(embed_all(Grey(), queries.pixels)[:, 0] / spread))

    assert probe.scores(Arm.of(queries)).score == pytest.approx(density(made) - density(reference), abs=1e-6)


def test_the_closest_record_is_minus_the_distance():
    probe = ClosestRecord.fit(Grey(), grey(100, 200))
    assert probe.scores(Arm.of(grey(90, 160))).score.tolist() == [-10, -40]
    assert "never gated on" in probe.method


def test_every_set_is_embedded_once():
    calls = []

    class Counted(Pixels):
        def embed(self, images):
            calls.append(len(images))
            return super().embed(images)

    drawn = world(1, members=60, each=40, synthetic=50)
    probes = black_box_probes(Counted(), drawn.synthetic, drawn.roles)
    arms = [Arm.of(drawn.private), Arm.of(drawn.roles.evaluation)]
    for probe in probes:
        for arm in arms:
            assert np.isfinite(probe.scores(arm).score).all()
    assert sorted(calls) == [40, 40, 40, 50, 60]  # the three roles, the release, the members


def test_what_is_remembered_is_what_would_be_embedded():
    pixels = photographs(30, 2)
    space = Remembered(Pixels())
    assert (space.embed(pixels) == Pixels().embed(pixels)).all()
    assert space.embed(pixels) is space.embed(pixels)
    assert (space.embed(pixels[:5]) == Pixels().embed(pixels)[:5]).all()


@pytest.mark.parametrize("where", ["synthetic", "calibration", "query"])
def test_features_that_are_not_finite_spoil_what_they_touch(where):
    class Broken(Pixels):
        def embed(self, images):
            features = super().embed(images)
            features[(images == 255).all(axis=(1, 2, 3))] = np.nan
            return features

    white = np.full((1, 16, 16, 3), 255, dtype=np.uint8)
    sets = {name: photographs(40, seed) for seed, name in enumerate(("synthetic", "reference", "calibration", "query"))}
    sets[where] = np.concatenate([white, sets[where]])
    made, reference, calibration, query = (image_set(pixels, name) for name, pixels in sets.items())
    for probe in (
        DensityRatio.fit(Broken(), made, reference, calibration),
        MonteCarlo.fit(Broken(), made, reference, calibration),
    ):
        found = probe.scores(Arm.of(query)).score
        if where == "query":
            assert np.isnan(found[0])
            assert np.isfinite(found[1:]).all()
        else:
            assert np.isnan(found).all()
