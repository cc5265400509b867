from __future__ import annotations

import json

import numpy as np
import pytest

from audits.memorisation import PlantedCount, prepare, summarise
from audits.memorisation.planted import CORE
from synguard.config import MemorisationConfig
from synguard.metrics.catalogue import CATALOGUE
from tests.support.textures import digests, image_set, textures


@pytest.fixture(scope="module")
def audited():
    private = textures(80, 1)
    prepared = prepare(
        image_set(private, "private"),
        image_set(textures(60, 2), "calibration"),
        config=MemorisationConfig(planted_per_transform=4),
        seed=1,
        folder=None,
    )
    pixels = np.concatenate([textures(40, 3), private[:3]])
    examined = prepared.examine(pixels, digests(pixels))
    accepted = np.ones(43, dtype=bool)
    accepted[[41, 42]] = False
    return prepared, examined, accepted


@pytest.fixture(scope="module")
def result(audited):
    prepared, examined, accepted = audited
    unseen = np.arange(43) < 2
    return summarise(examined, accepted, prepared.planted(), prepared, [f"{i}.png" for i in range(43)], unseen=unseen)


def figure(result, name, group=None):
    return next(m for m in result.metrics if m.name == f"memorisation.{name}" and m.group == group)


def test_every_figure_is_in_the_catalogue_once(result):
    keys = [(metric.name, metric.group) for metric in result.metrics]
    assert len(set(keys)) == len(keys)
    named = {name for name in CATALOGUE if name.startswith("memorisation.")}
    assert {name for name, _ in keys} == {name for name in named if not name.startswith("memorisation.autoencoder.")}


def test_copies_are_counted_before_and_after_quarantine(result):
    assert (figure(result, "exact_copies").value, figure(result, "exact_copies").n) == (3, 43)
    assert (figure(result, "exact_copies", "accepted").value, figure(result, "exact_copies", "accepted").n) == (1, 41)
    assert figure(result, "verified_copies").value == 3
    assert figure(result, "verified_copies", "accepted").value == 1


def test_images_of_the_holdout_are_counted_before_and_after_quarantine(result):
    assert figure(result, "holdout_copies").value == 2
    assert (figure(result, "holdout_copies", "accepted").value, figure(result, "holdout_copies", "accepted").n) == (2, 41)


def test_nearer_to_which_set_is_no_evidence_where_the_sets_are_of_different_kinds(audited, result):
    prepared, examined, accepted = audited
    spoilt = summarise(examined, accepted, prepared.planted(), prepared, told_apart="brighter photographs")
    share = figure(spoilt, "train_holdout_share")
    assert (share.state, share.note, share.value) == (
        "invalid",
        "brighter photographs",
        figure(result, "train_holdout_share").value,
    )
    # A copy is one all the same.
    assert figure(spoilt, "verified_copies") == figure(result, "verified_copies")


def test_the_near_copy_rate_has_its_exact_bound(result):
    rate = figure(result, "near_copy_rate")
    assert rate.value == pytest.approx(3 / 43)
    assert rate.bounds[1] == pytest.approx(0.1713, abs=1e-3)
    assert rate.attainable[1] == pytest.approx(1 - 0.05 ** (1 / 43))


def test_flagged_images_are_listed_with_their_sources(result):
    flagged = result.evidence["flagged"]
    assert [(row["file"], row["nearest"]) for row in flagged] == [
        (f"{40 + i}.png", f"private-{i:04d}.png") for i in np.argsort([row["file"] for row in flagged]).argsort()
    ]
    assert [row["accepted"] for row in sorted(flagged, key=lambda row: row["file"])] == [True, False, False]


def test_the_evidence_is_json_and_counts_everything(result):
    json.dumps(result.evidence, allow_nan=False)
    scores = result.evidence["scores"]
    assert sum(scores["synthetic"]) == 43
    assert sum(scores["holdout"]) == 60
    assert sum(result.evidence["p_values"]["counts"]) == 43


def test_nothing_that_names_an_image_is_public(result):
    shown = json.dumps({key: result.evidence[key] for key in result.public})
    assert ".png" not in shown


def test_the_weakest_transform_decides_what_would_have_been_seen(audited):
    prepared, examined, accepted = audited
    planted = tuple(PlantedCount(name, 100, 60 if name == "jpeg-40" else 100, ()) for name in CORE)
    result = summarise(examined, accepted, planted, prepared)
    assert figure(result, "planted_recall", "jpeg-40").bounds[0] == pytest.approx(0.5129, abs=1e-3)
    assert figure(result, "minimum_detectable_copies").value == 5
    assert figure(result, "minimum_detectable_copies", "mirrored").value == 1


def test_no_recall_at_all_is_insufficient_not_infinite(audited):
    prepared, examined, accepted = audited
    planted = (PlantedCount("identity", 100, 0, ()),)
    assert figure(summarise(examined, accepted, planted, prepared), "minimum_detectable_copies").state == "insufficient"


def test_strategies_are_reported_apart(audited):
    prepared, examined, accepted = audited
    strategies = np.array(["text-to-image"] * 20 + ["inpainting"] * 23)
    found = summarise(examined, accepted, prepared.planted(), prepared, None, None, strategies)
    text, redrawn = (f"strategy={name}" for name in ("text-to-image", "inpainting"))
    assert [figure(found, "verified_copies", group).value for group in (text, redrawn)] == [0, 3]
    rate = figure(found, "near_copy_rate", redrawn)
    assert (rate.value, rate.n) == (pytest.approx(3 / 23), 23)
    assert rate.bounds is not None
    # All of them together are what they were.
    assert figure(found, "verified_copies").value == 3
