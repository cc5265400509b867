from __future__ import annotations

import functools
import json

import numpy as np
import pandas as pd
import pytest

from audits.labels import LabelCeiling, examine, measure_ceiling, not_tested, summarise
from synguard.config import AttributeConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.protocols import Images
from synguard.results import AuditResult, Metric
from tests.support.squares import SCHEMA, model, squares

GRADE = ConditionSchema((AttributeConfig(name="grade", kind="ordinal", levels=("0", "1", "2")),))


class Written:
    """Reads the level that the first pixel holds."""

    name, digest = "written", "0"

    def predict(self, images: Images) -> dict[str, np.ndarray]:
        return {"grade": np.eye(3)[images[:, 0, 0, 0]] * 0.8 + 0.2 / 3}


def written(true: np.ndarray, read: np.ndarray, name: str = "written") -> ImageSet:
    images = squares(len(true), 1)
    pixels = images.pixels.copy()
    pixels[:, 0, 0, 0] = read
    return ImageSet(
        name=name,
        files=images.files,
        sha256=images.sha256,
        pixels=pixels,
        patients=images.patients,
        metadata=pd.DataFrame({"grade": [str(level) for level in true]}),
        has_patient_ids=True,
    )


def misread(true: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The true levels, of which a share is read as the next one."""
    return np.where(np.random.default_rng(seed).random(len(true)) < share, (true + 1) % 3, true)


def levels(n: int, shares: tuple[float, float, float]) -> np.ndarray:
    return np.repeat([0, 1, 2], np.round(np.array(shares) * n).astype(int))


def ceiling_of(true: np.ndarray, read: np.ndarray) -> LabelCeiling:
    images = written(true, read)
    half = np.arange(len(true)) % 2
    calibration, evaluation = (images.take(np.flatnonzero(half == part)) for part in (0, 1))
    return measure_ceiling(Written(), calibration, evaluation, GRADE, refuse_below=0.05)


def judge(asked: np.ndarray, read: np.ndarray, ceiling: LabelCeiling) -> AuditResult:
    images = written(asked, read)
    frame = GRADE.parse(images.metadata, "asked")
    return summarise(frame, examine(Written(), images.pixels, frame, ceiling).annotation, ceiling, seed=0)


def metric(result: AuditResult, name: str, group: str | None = None) -> Metric:
    found = [one for one in result.metrics if one.name == f"labels.{name}" and one.group == group]
    assert len(found) == 1, [(one.name, one.group) for one in result.metrics]
    return found[0]


def test_a_generator_as_good_as_real_images_reaches_the_ceiling_whatever_it_was_asked() -> None:
    """The holdout is mostly grade 0, which is read best; the candidates are mostly grade 2, which is read worst."""
    true = levels(1000, (0.7, 0.2, 0.1))
    share = np.array([0.05, 0.2, 0.4])
    real = np.where(np.random.default_rng(1).random(1000) < share[true], (true + 1) % 3, true)
    asked = levels(900, (0.1, 0.2, 0.7))
    read = np.where(np.random.default_rng(2).random(900) < share[asked], (asked + 1) % 3, asked)
    result = judge(asked, read, ceiling_of(true, real))
    against = metric(result, "agreement_share", "grade")
    assert metric(result, "agreement", "grade").value == pytest.approx((asked == read).mean())
    assert metric(result, "ceiling", "grade").value == pytest.approx((true == real).mean())
    assert against.interval is not None
    assert against.interval[0] < 1 < against.interval[1]
    assert against.value == pytest.approx(1, abs=0.1)
    assert metric(result, "agreement_share").value == pytest.approx(against.value)


def test_attainable_bounds_are_those_of_real_images() -> None:
    true = levels(900, (0.4, 0.3, 0.3))
    ceiling = ceiling_of(true, misread(true, 0.2, 3))
    good = metric(judge(true, misread(true, 0.2, 4), ceiling), "agreement_share")
    poor = metric(judge(true, misread(true, 0.6, 5), ceiling), "agreement_share")
    assert good.attainable == pytest.approx(poor.attainable, abs=0.01)
    assert good.attainable == pytest.approx(good.bounds, abs=0.06)
    assert poor.bounds is not None
    assert poor.bounds[1] < good.attainable[0]  # type: ignore[index]


def test_a_majority_does_not_hide_a_generator_that_ignores_what_is_asked() -> None:
    true = levels(1000, (0.8, 0.1, 0.1))
    asked = true
    result = judge(asked, np.zeros(1000, int), ceiling_of(true, misread(true, 0.1, 6)))
    assert metric(result, "agreement").value == pytest.approx(0.8)
    assert metric(result, "balanced_agreement").value == pytest.approx(1 / 3)
    assert metric(result, "skill_share").value == pytest.approx(0, abs=0.01)
    assert metric(result, "kappa").value == pytest.approx(0, abs=0.01)
    for level in ("1", "2"):
        of_level = metric(result, "agreement_share", f"grade={level}")
        assert of_level.value == pytest.approx(0, abs=0.01)
        assert of_level.bounds is not None
        assert of_level.bounds[1] < 0.1
    assert metric(result, "agreement_share", "grade=0").value > 1


def test_levels_are_judged_from_a_hundred_candidates() -> None:
    true = levels(1000, (0.5, 0.4, 0.1))
    asked = np.repeat([0, 1, 2], [100, 99, 300])
    groups = {one.group for one in judge(asked, asked, ceiling_of(true, misread(true, 0.2, 7))).metrics}
    assert {"grade=0", "grade=2"} <= groups
    assert "grade=1" not in groups


def test_what_the_model_cannot_read_is_not_judged() -> None:
    true = levels(600, (0.4, 0.3, 0.3))
    guessed = np.random.default_rng(8).integers(3, size=600)
    result = judge(true, true, ceiling_of(true, guessed))
    for group in (None, "grade"):
        for name in ("agreement_share", "skill_share"):
            found = metric(result, name, group)
            assert (found.state, found.value) == ("insufficient", None)
            assert "better than chance" in found.note
    assert metric(result, "agreement_share", "grade=0").state == "insufficient"
    assert metric(result, "agreement").value == 1


def test_a_model_that_reads_one_class_everywhere_cannot_judge_that_class() -> None:
    true = levels(600, (0.9, 0.05, 0.05))
    result = judge(true, true, ceiling_of(true, np.zeros(600, int)))
    assert metric(result, "agreement_share", "grade=0").state == "insufficient"
    assert metric(result, "agreement_share").state == "insufficient"


def test_levels_that_the_holdout_lacks_do_not_count_against_the_generator() -> None:
    true = levels(600, (0.5, 0.5, 0.0))
    asked = levels(600, (0.3, 0.3, 0.4))
    result = judge(asked, np.where(asked == 2, 0, asked), ceiling_of(true, true))
    assert metric(result, "agreement_share").value == pytest.approx(1)
    assert metric(result, "agreement_share", "grade=2").state == "insufficient"


def test_kappa_is_weighted_for_ordinal_attributes() -> None:
    true = levels(300, (1 / 3, 1 / 3, 1 / 3))
    near = np.where(true == 2, 1, true)
    far = np.where(true == 2, 0, true)
    ceiling = ceiling_of(true, misread(true, 0.05, 9))
    near_kappa, far_kappa = (metric(judge(true, read, ceiling), "kappa", "grade").value for read in (near, far))
    assert near_kappa > far_kappa + 0.2  # type: ignore[operator]


def test_intervals_hold_what_they_promise() -> None:
    """True shares of the ceiling 0.75: its 95 % interval, with both sides resampled, covers in about 95 % of cases."""
    rng = np.random.default_rng(10)
    covered = []
    for _ in range(40):
        true, asked = levels(300, (0.4, 0.3, 0.3)), levels(300, (0.4, 0.3, 0.3))
        right, right_asked = rng.random(300) < 0.8, rng.random(300) < 0.6
        ceiling = ceiling_of(true, np.where(right, true, (true + 1) % 3))
        low, high = metric(judge(asked, np.where(right_asked, asked, (asked + 1) % 3), ceiling), "agreement_share").interval  # type: ignore[misc]
        covered.append(low <= 0.75 <= high)
    assert np.mean(covered) >= 0.82


@functools.cache
def squares_ceiling() -> LabelCeiling:
    evaluation = squares(300, 32)
    return measure_ceiling(
        model(), squares(300, 31), evaluation, SCHEMA, refuse_below=0.05, reconstructions=evaluation.pixels // 2
    )


def of_squares(images: ImageSet, asked: pd.DataFrame) -> AuditResult:
    annotation = examine(model(), images.pixels, asked, squares_ceiling()).annotation
    return summarise(asked, annotation, squares_ceiling(), seed=0)


def test_squares_reach_the_ceiling_and_swapped_labels_do_not() -> None:
    images = squares(400, 33)
    asked = SCHEMA.parse(images.metadata, "asked")
    assert metric(of_squares(images, asked), "agreement_share").bounds[0] > 0.9  # type: ignore[index]
    swapped = asked.iloc[np.random.default_rng(0).permutation(400)].reset_index(drop=True)
    result = of_squares(images, swapped)
    assert metric(result, "agreement_share").bounds[1] < 0.6  # type: ignore[index]
    assert metric(result, "skill_share").bounds[1] < 0.2  # type: ignore[index]
    assert abs(metric(result, "correlation", "light").value) < 0.2  # type: ignore[arg-type]


def test_continuous_attributes_have_correlation_and_error() -> None:
    images = squares(200, 34)
    result = of_squares(images, SCHEMA.parse(images.metadata, "asked"))
    correlation, error = metric(result, "correlation", "light"), metric(result, "mean_error", "light")
    assert correlation.value > 0.9  # type: ignore[operator]
    assert correlation.baseline == pytest.approx(correlation.value, abs=0.05)
    assert correlation.interval[0] < correlation.value < correlation.interval[1]  # type: ignore[index, operator]
    assert 0 < error.value < 0.05  # type: ignore[operator]


def test_text_is_skipped_with_a_note_and_reconstructions_are_told() -> None:
    images = squares(120, 35)
    result = of_squares(images, SCHEMA.parse(images.metadata, "asked"))
    assert metric(result, "agreement", "caption").state == "not_tested"
    assert "caption: text is not read off images" in result.evidence["notes"]
    halved, real = metric(result, "ceiling_reconstructed", "hole"), metric(result, "ceiling", "hole")
    assert halved.n == 300
    assert halved.baseline == pytest.approx(real.value, abs=0.05)
    assert halved.value is not None


def test_evidence_is_json_in_the_agreed_shape() -> None:
    images = squares(120, 36)
    result = of_squares(images, SCHEMA.parse(images.metadata, "asked"))
    evidence = json.loads(json.dumps(result.evidence, allow_nan=False))
    assert [row["name"] for row in evidence["attributes"]] == ["colour", "side", "hole"]
    row = evidence["attributes"][0]
    keys = "name kind levels n agreement interval ceiling share_of_ceiling share_interval confusion ceiling_confusion"
    assert set(keys.split()) <= set(row)
    assert np.sum(row["confusion"]) == 120
    assert np.sum(row["ceiling_confusion"]) == 600
    assert set(result.public) <= set(evidence)


def test_nothing_asked_is_not_tested() -> None:
    images = squares(30, 37)
    asked = SCHEMA.parse(images.metadata, "asked")
    for name in SCHEMA.names:
        asked[name] = pd.array([None] * 30, dtype=asked[name].dtype)
    result = of_squares(images, asked)
    assert metric(result, "agreement_share").state == "not_tested"
    assert metric(result, "agreement", "colour").state == "not_tested"


def test_no_conditions_are_not_tested() -> None:
    result = not_tested("no conditions were asked")
    assert {one.state for one in result.metrics} == {"not_tested"}
    assert metric(result, "agreement_share").note == "no conditions were asked"


def test_same_seed_same_figures() -> None:
    true = levels(300, (0.4, 0.3, 0.3))
    ceiling = ceiling_of(true, misread(true, 0.2, 11))
    assert judge(true, true, ceiling).metrics == judge(true, true, ceiling).metrics
