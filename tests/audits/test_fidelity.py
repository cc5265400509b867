from __future__ import annotations

import json

import numpy as np
import pytest

from audits.embedding import EmbeddedFeatures
from audits.fidelity import run
from synguard.config import FidelityConfig
from synguard.results import AuditResult, Metric
from tests.support.squares import squares

CONFIG = FidelityConfig()
NAMES = ["frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "blind_auc"]


def metric(result: AuditResult, name: str) -> Metric:
    return next(one for one in result.metrics if one.name == f"fidelity.{name}")


def test_unseen_real_images_lie_at_the_floor() -> None:
    result = run(squares(300, 1), squares(300, 2), squares(300, 3).pixels, EmbeddedFeatures(), CONFIG, seed=0)
    assert [one.name for one in result.metrics] == [f"fidelity.{name}" for name in NAMES]
    for one in result.metrics:
        low, high = one.interval  # type: ignore[misc]
        assert low <= one.value <= high  # type: ignore[operator]
        slack = high - low
        assert low - slack <= one.baseline <= high + slack, one.name  # type: ignore[operator]
    auc = metric(result, "blind_auc")
    assert auc.interval[0] < 0.55  # type: ignore[index]
    assert metric(result, "coverage").value > 0.9  # type: ignore[operator]


def test_softened_images_are_told_apart_and_lie_further() -> None:
    soft = squares(300, 3).pixels.astype(float)
    soft[:, 1:-1, 1:-1] = (soft[:, :-2, 1:-1] + soft[:, 2:, 1:-1] + soft[:, 1:-1, :-2] + soft[:, 1:-1, 2:]) / 4
    result = run(squares(300, 1), squares(300, 2), soft.astype(np.uint8), EmbeddedFeatures(), CONFIG, seed=0)
    assert metric(result, "blind_auc").interval[0] > 0.9  # type: ignore[index]
    for name in ("frechet_distance", "kernel_distance"):
        found = metric(result, name)
        assert found.interval[0] > found.baseline  # type: ignore[index, operator]
    assert metric(result, "precision").value < metric(result, "precision").baseline - 0.1  # type: ignore[operator]


def test_one_image_many_times_has_no_coverage() -> None:
    copies = np.repeat(squares(1, 4).pixels, 200, axis=0)
    result = run(squares(200, 1), squares(200, 2), copies, EmbeddedFeatures(), CONFIG, seed=0)
    assert metric(result, "coverage").value < 0.2  # type: ignore[operator]
    assert metric(result, "recall").value == 0


def test_all_sides_are_thinned_to_one_number() -> None:
    result = run(squares(90, 1), squares(60, 2), squares(200, 3).pixels, EmbeddedFeatures(), CONFIG, seed=0)
    assert {one.n for one in result.metrics} == {60}
    evidence = json.loads(json.dumps(result.evidence, allow_nan=False))
    assert evidence["extractor"] == "embedded"
    assert [set(row) for row in evidence["metrics"]] == [{"name", "value", "interval", "floor", "n"}] * 7


@pytest.mark.parametrize("n", [0, 19])
def test_too_few_images_are_insufficient(n: int) -> None:
    result = run(squares(60, 1), squares(60, 2), squares(60, 3).pixels[:n], EmbeddedFeatures(), CONFIG, seed=0)
    assert {(one.state, one.value) for one in result.metrics} == {("insufficient", None)}
    assert f"found {n} images" in result.metrics[0].note


def test_same_seed_same_figures() -> None:
    sides = squares(60, 1), squares(60, 2), squares(80, 3).pixels
    first, again = (run(*sides, EmbeddedFeatures(), CONFIG, seed=5) for _ in range(2))
    assert first.metrics == again.metrics
