"""The whole stage on made-up photographs: planted truth, refusals, invariance."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

from audits.memorisation import Examined, prepare, summarise
from audits.memorisation.planted import CORE, TRANSFORMS, plant
from synguard.config import MemorisationConfig
from synguard.errors import EvidenceError, IntegrityError
from tests.support.textures import digests, image_set, textures

CONFIG = MemorisationConfig(planted_per_transform=30)
PRIVATE, UNSEEN = textures(150, 1), textures(70, 3)


@pytest.fixture(scope="module")
def clean(prepared):
    return prepared.examine(UNSEEN, digests(UNSEEN))


def copies(name, rows):
    return plant(PRIVATE[rows], name, np.random.default_rng(9))


def test_unseen_images_are_not_flagged(clean):
    assert clean.flagged.sum() == 0
    assert clean.near_copy.sum() == 0
    assert set(clean.lane) == {"none"}
    assert (clean.p_value <= 0.1).mean() <= 0.2


@pytest.mark.parametrize("name", CORE)
def test_copies_are_flagged_with_the_right_source(prepared, name):
    rows = np.arange(20, 32)
    pixels = copies(name, rows)
    found = prepared.examine(pixels, digests(pixels))
    assert found.flagged.all()
    assert found.nearest.tolist() == rows.tolist()
    assert (found.p_value == found.p_value.min()).all()


def test_exact_copies_have_their_own_lane_and_words(prepared):
    pixels = np.stack([PRIVATE[7], PRIVATE[8][:, ::-1], np.rot90(PRIVATE[9]), copies("jpeg-40", [10])[0]])
    found = prepared.examine(pixels, digests(pixels))
    assert found.lane.tolist() == ["exact", "exact", "exact", "verified"]
    assert found.transform.tolist() == ["unchanged", "mirrored", "turned 90 degrees", "unchanged"]
    assert found.nearest.tolist() == [7, 8, 9, 10]
    assert (found.copied_area[:3] == 1).all()


def test_the_same_bytes_count_even_where_the_pixels_differ(prepared):
    found = prepared.examine(UNSEEN[:1], [digests(PRIVATE)[3]])
    assert found.lane.tolist() == ["exact"]
    assert found.nearest.tolist() == [3]


def test_half_of_a_photograph_pasted_elsewhere_is_found_with_its_place(prepared):
    pixels = UNSEEN[:12].copy()
    pixels[:, 4:27, 6:29] = PRIVATE[:12, 2:25, 9:32]
    found = prepared.examine(pixels, digests(pixels))
    right = found.flagged & (found.nearest == np.arange(12))
    assert right.sum() >= 9
    assert (found.flagged <= right).all()
    shown = found.copied[right].mean(0)
    assert shown[4:12, 5:13].mean() > 0.7 > 0.3 > shown[14:].mean()


def test_negatives_and_turns_by_any_angle_are_found(prepared):
    negatives = 255 - PRIVATE[:10]
    found = prepared.examine(negatives, digests(negatives))
    assert (found.flagged & (found.nearest == np.arange(10))).sum() >= 9
    assert all("as a negative" in words for words in found.transform[found.flagged])


def test_crops_are_found_where_no_real_image_matches_so(prepared):
    pixels = copies("crop-80", np.arange(40, 60))
    found = prepared.examine(pixels, digests(pixels))
    right = found.flagged & (found.nearest == np.arange(40, 60))
    assert right.sum() >= 14
    assert all("enlarged" in words for words in found.transform[right])


def test_batches_and_order_change_nothing(prepared, clean):
    pixels = np.concatenate([UNSEEN, copies("jpeg-40", np.arange(5))])
    whole = prepared.examine(pixels, digests(pixels))
    parts = Examined.join([prepared.examine(pixels[i : i + 30], digests(pixels[i : i + 30])) for i in range(0, 75, 30)])
    order = np.random.default_rng(1).permutation(75)
    mixed = prepared.examine(pixels[order], digests(pixels[order]))
    for field in fields(Examined):
        if field.name == "seconds":
            continue
        expected = getattr(whole, field.name)
        for found in (getattr(parts, field.name), getattr(mixed, field.name)[np.argsort(order)]):
            if expected.dtype.kind == "f":
                assert np.allclose(found, expected, atol=1e-4)
            else:
                assert (found == expected).all()
    assert np.allclose(whole.score[:70], clean.score, atol=1e-4)


def test_the_table_has_the_published_columns(prepared, clean):
    table = clean.columns(prepared.private)
    assert list(table.columns) == [
        f"memorisation.{name}"
        for name in (
            "flagged", "lane", "score", "p_value", "nearest", "transform", "copied_area", "near_copy", "closer_to",
        )
    ]  # fmt: skip
    assert set(table["memorisation.nearest"]) <= {*prepared.private.files, ""}
    assert set(table["memorisation.closer_to"]) <= {"private", "holdout", "tie"}


def test_near_copies_of_a_holdout_are_named(prepared):
    pixels = np.concatenate([textures(10, 6), copies("jpeg-40", [90]), copies("mirrored", [91])])
    found = prepared.near_copies(image_set(pixels, "holdout"))
    assert [(pair.file, pair.private) for pair in found] == [
        ("holdout-0010.png", "private-0090.png"),
        ("holdout-0011.png", "private-0091.png"),
    ]


def test_planted_copies_measure_the_recall(prepared):
    counts = {count.transform: count for count in prepared.planted()}
    assert set(counts) == set(TRANSFORMS)
    assert all(counts[name].n == 30 for name in counts)
    assert all(counts[name].found >= 29 for name in CORE)


def test_an_audit_that_cannot_see_says_so(prepared):
    config = CONFIG.model_copy(update={"planted_per_transform": 4})
    blind = replace(prepared, calibration=replace(prepared.calibration, verified=1e6), planted_counts=(), config=config)
    assert sum(count.found for count in blind.planted(11)) == 0


def test_the_prepared_index_is_used_again(prepared, folder, clean):
    again = prepare(
        prepared.private,
        image_set(textures(64, 2), "calibration"),
        config=CONFIG.model_copy(update={"batch_size": 3}),
        seed=5,
        folder=folder,
        comparison=image_set(textures(100, 4), "comparison"),
    )
    assert again.planted() == prepared.planted()
    assert "calibration" not in again.seconds
    found = again.examine(UNSEEN, digests(UNSEEN))
    assert np.allclose(found.score, clean.score, atol=1e-5)
    assert (found.p_value == clean.p_value).all()
    assert (found.cluster == clean.cluster).all()


def test_classes_hold_for_a_restored_index_as_for_a_new_one(prepared, folder, clean, monkeypatch):
    monkeypatch.setattr("audits.memorisation.calibration.LEAST_OF_CLASS", 20)
    calibration = image_set(textures(64, 2), "calibration")
    classes = np.where(np.arange(150) < 110, "grade=0", "grade=1")

    def again(labels):
        comparison = image_set(textures(100, 4), "comparison")
        return prepare(
            prepared.private, calibration, config=CONFIG, seed=5, folder=folder, comparison=comparison, classes=labels
        )

    restored = again(classes)
    built = replace(prepared, calibration=replace(prepared.calibration, classes=classes))
    found = restored.examine(UNSEEN, digests(UNSEEN))
    assert (found.p_value == built.examine(UNSEEN, digests(UNSEEN)).p_value).all()
    assert (found.p_value != clean.p_value).any()
    assert (found.flagged == clean.flagged).all()
    assert (found.near_copy == clean.near_copy).all()
    assert restored.calibration.verified == prepared.calibration.verified

    matches = prepared.search(calibration.pixels).matches
    kept = np.setdiff1d(np.arange(64), prepared.calibration.natural)
    for image, score, p_value in zip(found.nearest, found.score, found.p_value, strict=True):
        rows = [row for row in kept if classes[matches.image[row]] == classes[image]]
        used = rows if len(rows) >= 20 else kept
        assert p_value == pytest.approx((1 + (matches.score[used] >= score).sum()) / (len(used) + 1))

    with pytest.raises(ValueError, match="found 149 labels, expected 150"):
        again(classes[1:])


@pytest.mark.parametrize(
    ("change", "named"), [("private", "private set"), ("calibration", "calibration set"), ("seed", "seed")]
)
def test_an_index_of_other_images_is_refused(prepared, folder, change, named):
    changed = PRIVATE.copy()
    changed[3, 0, 0, 0] ^= 1
    with pytest.raises(IntegrityError, match=named):
        prepare(
            image_set(changed if change == "private" else PRIVATE, "private"),
            image_set(textures(64, 8 if change == "calibration" else 2), "calibration"),
            config=CONFIG,
            seed=6 if change == "seed" else 5,
            folder=folder,
            comparison=image_set(textures(100, 4), "comparison"),
        )


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["calibration"].update(verified=1e6, near=1e6),
        lambda record: [null.update(spread=[[9.0] * 5 for _ in null["spread"]]) for null in record["nulls"]],
        lambda record: [null.update(sum_centre=[[9.0] * 3 for _ in null["sum_centre"]]) for null in record["nulls"]],
        lambda record: [row.__setitem__(3, [99.0] * 30) for row in record["planted"]],
        lambda record: [row.__setitem__(3, []) for row in record["planted"]],
    ],
    ids=["threshold", "spread", "sums", "scores", "no scores"],
)
def test_an_index_whose_thresholds_were_moved_is_refused(prepared, folder, tmp_path, change):
    """It would record that every planted copy was found, and find no copy at all."""
    shutil.copytree(folder, tmp_path / "index")
    meta = json.loads((folder / "meta.json").read_text())
    change(meta["record"])
    (tmp_path / "index" / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(IntegrityError, match="no longer sees its planted copies"):
        prepare(
            prepared.private,
            image_set(textures(64, 2), "calibration"),
            config=CONFIG,
            seed=5,
            folder=tmp_path / "index",
            comparison=image_set(textures(100, 4), "comparison"),
        )


def test_twins_in_the_calibration_set_do_not_blind_the_audit():
    calibration = textures(64, 2)
    calibration[4], calibration[9] = copies("jpeg-40", [11])[0], copies("brightened-1.3", [12])[0]
    prepared = prepare(
        image_set(PRIVATE, "private"),
        image_set(calibration, "calibration"),
        config=MemorisationConfig(planted_per_transform=10),
        seed=5,
        folder=None,
    )
    assert {(pair.file, pair.private) for pair in prepared.calibration_copies} == {
        ("calibration-0004.png", "private-0011.png"),
        ("calibration-0009.png", "private-0012.png"),
    }
    assert all(count.found == 10 for count in prepared.planted() if count.transform in CORE)


@pytest.mark.system
def test_other_photographs_of_a_patient_do_not_set_the_thresholds():
    """Where private images stand in for calibration images that are too few."""
    pixels = textures(60, 1)
    pixels[30:] = plant(pixels[:30], "jpeg-40", np.random.default_rng(1))
    patients = [f"p{row % 30}" for row in range(60)]
    calibration = image_set(textures(5, 2), "calibration")
    config = MemorisationConfig(planted_per_transform=1)
    known = prepare(image_set(pixels, "private", patients), calibration, config=config, seed=1, folder=None)
    alone = prepare(image_set(pixels, "private"), calibration, config=config, seed=1, folder=None)
    assert max(known.matcher.nulls[0].centre[0][:3]) < 0.9 < max(alone.matcher.nulls[0].centre[0][:3])


def test_an_empty_private_set_is_refused():
    with pytest.raises(EvidenceError, match="found 0 images"):
        prepare(image_set(PRIVATE[:0], "private"), image_set(UNSEEN, "calibration"), config=CONFIG, seed=0, folder=None)


def test_without_calibration_images_exact_copies_still_count():
    config = MemorisationConfig(planted_per_transform=4)
    prepared = prepare(image_set(PRIVATE[:40], "private"), image_set(UNSEEN[:0], "none"), config=config, seed=0, folder=None)
    pixels = np.concatenate([PRIVATE[:2], UNSEEN[:3]])
    found = prepared.examine(pixels, digests(pixels))
    assert found.lane.tolist()[:2] == ["exact", "exact"]
    assert (found.p_value == 1).all()
    states = {metric.name: metric.state for metric in summarise(found, ~found.flagged, prepared.planted(), prepared).metrics}
    assert states["memorisation.train_holdout_share"] == "insufficient"
    assert states["memorisation.exact_copies"] == "measured"


def test_what_a_candidate_was_made_from_is_looked_at_whatever_the_search_finds(prepared):
    """Faint copies of one image on another, which hides them from the search."""
    rows = np.arange(40)
    shares = np.linspace(0.05, 0.3, 40)[:, None, None, None]
    hosts = textures(40, 77)
    faint = np.rint(shares * PRIVATE[rows] + (1 - shares) * hosts).astype(np.uint8)
    alone = prepared.examine(faint, digests(faint))
    told = prepared.examine(faint, digests(faint), rows)
    assert told.score.mean() > alone.score.mean()
    missed = alone.nearest != rows
    found = missed & (told.nearest == rows)
    assert found.any()
    assert (told.score[found] > alone.score[found]).all()
    # None is none: those without a source are examined as they always are.
    none = prepared.examine(faint, digests(faint), np.full(40, -1))
    assert np.array_equal(none.score, alone.score)
