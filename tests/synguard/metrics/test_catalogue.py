"""The catalogue of metrics and the sample sizes that follow from limits."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from synguard.metrics.catalogue import CATALOGUE, markdown, smallest_n
from synguard.metrics.intervals import clopper_pearson_bounds, smallest_n_for_rate, smallest_n_for_recall
from synguard.metrics.sample_size import FAMILIES, auc_standard_error, clean_bound
from synguard.metrics.sample_size import smallest_n as needed

ROOT = Path(__file__).parents[3]

# Section 6 of the design; utility.* stands for a family that is not built yet.
DESIGN = {
    *("memorisation.exact_copies", "memorisation.verified_copies", "memorisation.near_copy_rate"),
    *("memorisation.train_holdout_share", "memorisation.minimum_detectable_copies", "memorisation.planted_recall"),
    *("membership.split.auc", "membership.placebo.auc", "membership.epsilon_lower_bound", "training.epsilon_upper_bound"),
    *("membership.white_box.auc", "membership.white_box.tpr_at_fpr_0.01"),
    *("membership.black_box.auc", "membership.black_box.tpr_at_fpr_0.01"),
    *("disclosure.singling_out", "disclosure.linkability", "disclosure.inference"),
    *("labels.agreement", "labels.kappa", "fidelity.frechet_distance", "fidelity.kernel_distance"),
    *("fidelity.precision", "fidelity.recall", "fidelity.density", "fidelity.coverage"),
    *("text.burned_in", "run.quarantine_rate", "accepted.images"),
}
OURS = {
    *("memorisation.autoencoder.auc", "memorisation.autoencoder.gap", "membership.epsilon_equivalent"),
    *("memorisation.review_images", "memorisation.holdout_copies", "labels.agreement_share", "labels.ceiling"),
    *("labels.balanced_agreement", "labels.skill_share", "labels.ceiling_reconstructed", "labels.holdout_refused"),
    *("labels.correlation", "labels.mean_error"),
    *("fidelity.blind_auc", "data.overlap_pairs", "data.overlap_images", "run.attempts"),
    *("review.pairs_open", "review.copies_confirmed", "review.kappa", "review.known_copies_found"),
}


def test_names_are_those_of_the_design_and_ours():
    assert set(CATALOGUE) == DESIGN | OURS


@pytest.mark.parametrize("spec", CATALOGUE.values(), ids=lambda spec: spec.name)
def test_every_metric_is_documented(spec):
    assert re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)+(\.[0-9]+)?", spec.name)
    assert spec.unit in {
        "images",
        "pairs",
        "copies",
        "attempts",
        "share",
        "AUC",
        "kappa",
        "epsilon",
        "distance",
        "ratio",
        "correlation",
        "own unit",
    }
    assert len(spec.description) > 20
    assert spec.method
    assert spec.source
    assert spec.title
    assert spec.family in FAMILIES
    # A bound is always the unfavourable one.
    assert spec.held_on in ("value", "upper" if spec.direction == "lower" else "lower")
    # No limit on an equivalent is broken by what an invalid split shows, as one on a census would be.
    assert (spec.family == "census") == (spec.held_on == "value" and spec.name != "membership.epsilon_equivalent")


def test_the_committed_document_is_the_generated_one():
    """To update: write markdown() to docs/metrics.md."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == markdown()


def test_the_document_has_a_section_and_a_link_a_metric():
    text = markdown()
    for name in CATALOGUE:
        assert f"\n## {name}\n" in text
        assert f"(#{re.sub(r'[^a-z0-9_]', '', name)})" in text


@pytest.mark.parametrize(
    ("metric", "limit", "words"),
    [
        ("memorisation.near_copy_rate", 0.01, "299 images"),
        ("memorisation.near_copy_rate", 0.001, "2,995 images"),
        ("memorisation.planted_recall", 0.9, "29 planted copies"),
        ("membership.black_box.auc", 0.55, "181 images a side"),
        ("memorisation.verified_copies", 0, None),
        ("memorisation.near_copy_rate", 0, None),
        ("labels.kappa", 0.5, None),
    ],
)
def test_smallest_n_in_words(metric, limit, words):
    assert smallest_n(metric, limit) == words


@given(st.floats(1e-4, 0.9999))
@settings(max_examples=60)
def test_rates_and_recalls_agree_with_the_closed_forms(limit):
    assert abs(needed("rate", limit) - smallest_n_for_rate(limit)) <= 1
    assert abs(needed("recall", limit) - smallest_n_for_recall(limit)) <= 1


@given(st.sampled_from([f for f in FAMILIES if f not in ("census", "estimate")]), st.floats(0, 1), st.floats(0.6, 0.999))
@settings(max_examples=150)
def test_the_smallest_n_is_enough_and_one_less_is_not(family, limit, confidence):
    n = needed(family, limit, confidence)
    higher = family in ("recall", "agreement")

    def satisfied(n):
        bound = clean_bound(family, n, confidence)
        return bound >= limit if higher else bound <= limit

    if n is None:
        assert not satisfied(10**6)
    else:
        assert satisfied(n)
        assert n == 1 or not satisfied(n - 1)


@pytest.mark.parametrize("n", [1, 30, 299, 1000])
def test_clean_bounds_are_exact(n):
    assert clean_bound("rate", n) == pytest.approx(clopper_pearson_bounds(0, n)[1])
    assert clean_bound("recall", n) == pytest.approx(clopper_pearson_bounds(n, n)[0])
    assert clean_bound("share_half", 2 * n) == pytest.approx(clopper_pearson_bounds(n, 2 * n)[1])
    assert clean_bound("tpr", 100 * n) == pytest.approx(clopper_pearson_bounds(n, 100 * n)[1])
    assert clean_bound("census", n) is None


@pytest.mark.parametrize(("n", "se"), [(100, 0.041), (200, 0.029), (500, 0.018), (1000, 0.013), (5000, 0.006)])
def test_the_standard_error_of_an_auc(n, se):
    """The table of Hanley and McNeil's null case, as the literature rounds it."""
    assert round(auc_standard_error(n, n), 3) == se
    assert clean_bound("auc", n) == pytest.approx(0.5 + norm.ppf(0.95) * auc_standard_error(n, n))


def _written_metrics():
    """Name and unit of every Metric(...) in the code that has them as text."""
    for folder in ("audits", "synguard", "generation"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Metric":
                    given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
                    if "name" in given:
                        yield path.relative_to(ROOT).as_posix(), given["name"], given.get("unit")


def test_what_the_audits_report_is_in_the_catalogue_in_its_unit():
    found = list(_written_metrics())
    assert found
    assert [row for row in found if row[1] not in CATALOGUE or row[2] not in (None, CATALOGUE[row[1]].unit)] == []
