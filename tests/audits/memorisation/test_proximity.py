from __future__ import annotations

import numpy as np
import pytest
import torch

from audits.memorisation.descriptor import COARSE, fit_encoder
from audits.memorisation.pictures import working_pictures
from audits.memorisation.proximity import Proximity, share_interval
from tests.support.textures import textures


@pytest.fixture(scope="module")
def proximity():
    private, holdout = (working_pictures(textures(n, seed)).grey for n, seed in ((90, 1), (60, 2)))
    encoder = fit_encoder(COARSE, torch.cat([private, holdout]), 0)
    return Proximity.build(encoder, encoder.bank(private), holdout, 0)


def test_the_sides_are_of_equal_size(proximity):
    assert proximity.private.images == proximity.holdout.images == 60


def test_unseen_images_are_as_near_to_either_side(proximity):
    closer, _ = proximity.compare(working_pictures(textures(300, 3)).grey)
    assert 0.4 < closer.mean() < 0.6


def test_copies_are_nearer_to_their_side(proximity):
    private = working_pictures(textures(90, 1)).grey[proximity.private_rows]
    closer, nearest = proximity.compare(private)
    assert closer.mean() == 1
    assert nearest.tolist() == list(range(60))
    closer, nearest = proximity.compare(working_pictures(textures(60, 2)).grey)
    assert closer.mean() == 0
    assert (nearest >= 60).all()


def test_private_images_that_the_model_never_saw_are_not_on_the_private_side():
    """Where a training left canaries out: a model that repeats all that it saw is told by half of the set alone."""
    private, holdout = (working_pictures(textures(n, seed)).grey for n, seed in ((90, 1), (60, 2)))
    encoder = fit_encoder(COARSE, torch.cat([private, holdout]), 0)
    members = np.arange(0, 90, 2)
    halved = Proximity.build(encoder, encoder.bank(private), holdout, 0, members)
    assert halved.private.images == halved.holdout.images == 45
    assert halved.private_rows.tolist() == members.tolist()
    closer, nearest = halved.compare(private[members])
    assert closer.mean() == 1
    assert nearest.tolist() == list(range(45))


def test_one_image_seen_many_times_is_one_piece_of_evidence():
    closer = np.concatenate([np.ones(50), np.tile([0.0, 1.0], 25)])
    spread, _ = share_interval(closer, np.arange(100), 1)
    clumped, _ = share_interval(closer, np.concatenate([np.zeros(50), np.arange(1, 51)]).astype(np.int64), 1)
    assert clumped[1] - clumped[0] > 1.3 * (spread[1] - spread[0])


def test_the_interval_holds_a_half_where_nothing_leaks():
    rng = np.random.default_rng(5)
    held = 0
    for trial in range(100):
        closer = rng.integers(0, 2, 300).astype(np.float64)
        interval, bounds = share_interval(closer, np.arange(300), trial, 300)
        held += interval[0] <= 0.5 <= interval[1]
        assert interval[0] <= bounds[0] <= closer.mean() <= bounds[1] <= interval[1]
    assert held >= 88
