"""Policies that are good: the built-in one, units, the JSON Schema, explain and lint."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import ConfigError
from synguard.governance import policy as policies
from synguard.governance.limits import Limit, LimitError, parse_limit, shown
from synguard.governance.policy import BUILT_IN, LEVELS, json_schema, load_policy, parse_policy
from synguard.governance.policy.explain import explain
from synguard.governance.policy.lint import Sizes, lint
from synguard.governance.strict_yaml import parse
from synguard.metrics.catalogue import CATALOGUE

PACKAGE = resources.files("synguard.governance")
BAD = Path(__file__).parent / "bad_policies"

# The table of the design, section 7.
DESIGN = {
    ("memorisation.exact_copies", "accepted", "fail"): "above 0 images",
    ("memorisation.verified_copies", "accepted", "fail"): "above 0 images",
    ("memorisation.verified_copies", None, "fail"): "above 0.01 % of the images",
    ("memorisation.planted_recall", None, "fail"): "below 90 %",
    ("memorisation.near_copy_rate", None, "fail"): "above 1 %",
    ("memorisation.train_holdout_share", None, "fail"): "above 60 %",
    ("memorisation.train_holdout_share", None, "warn"): "above 55 %",
    ("membership.black_box.auc", None, "fail"): "above 0.55",
    ("membership.black_box.tpr_at_fpr_0.01", None, "fail"): "above 3 %",
    ("labels.agreement_share", None, "fail"): "below 80 %",
    ("run.quarantine_rate", "labels", "warn"): "above 20 %",
    # Not in the table, but what its checks rest on:
    ("data.overlap_pairs", None, "invalid"): "above 0 pairs",
    ("data.overlap_images", None, "invalid"): "above 5 %",
    ("membership.split.auc", None, "invalid"): "above 0.56",
    ("accepted.images", None, "invalid"): "below 1 image",
    # Later than the table:
    ("disclosure.singling_out", None, "fail"): "above 5 %",
    ("disclosure.linkability", None, "fail"): "above 5 %",
    ("disclosure.inference", None, "fail"): "above 5 %",
}


def test_public_release_is_the_table_of_the_design(policy):
    limits = [((c.metric, c.group, level), str(limit)) for c in policy.checks for level, limit in c.limits.items()]
    # Of several checks on one metric the first is the design's.
    found = dict(reversed(limits))
    assert {key: found[key] for key in DESIGN} == DESIGN
    white = {
        (c.when, level): str(x) for c in policy.checks if c.metric.endswith("white_box.auc") for level, x in c.limits.items()
    }
    assert white == {
        ("model released", "fail"): "above 0.6",
        ("model held back", "warn"): "above 0.6",
        ("model held back", "fail"): "above 0.7",
    }
    named = {c.when: {level: str(x) for level, x in c.limits.items()} for c in policy.checks if "white_box.tpr" in c.metric}
    assert named == {"model released": {"fail": "above 5 %"}, "model held back": {"warn": "above 5 %"}}
    assert policy.releases == ("images", "model")
    assert policy.confidence == 0.95
    assert {c.id for c in policy.checks if c.blocker} == {
        *("exact-copies-accepted", "verified-copies-accepted", "planted-copies-found", "moved-copies-found", "attempts")
    }


@pytest.mark.parametrize("name", BUILT_IN)
def test_nothing_excuses_an_audit_that_does_not_see_copies(name):
    checks = {check.id: check for check in load_policy(name).checks}
    assert checks["planted-copies-found"].blocker
    moved = checks["moved-copies-found"]
    assert moved.blocker == ("fail" in moved.limits) == (name != "internal-research")
    assert moved.groups == ("rotated-10", "crop-80", "blurred")


def test_every_limit_of_public_release_has_a_reason_and_a_source(policy):
    assert all(len(check.reason) > 40 and check.source for check in policy.checks)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_policies_are_listed_and_named_for_their_file(name):
    files = {file.name.removesuffix(".yaml") for file in (PACKAGE / "policies").iterdir()}
    assert files == set(BUILT_IN)
    assert load_policy(name).name == name
    assert load_policy(name).file == f"{name}.yaml"


def test_a_policy_knows_its_bytes_and_lines(tmp_path):
    text = (PACKAGE / "policies" / "public-release.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    found = load_policy(path)
    assert found.sha256 == load_policy("public-release").sha256
    assert found.file == "mine.yaml"
    lines = text.splitlines()
    for check in found.checks:
        assert lines[check.origin.line - 1].strip() == f"- id: {check.id}"
        for key, (line, _) in check.origin.keys.items():
            assert lines[line - 1].strip().removeprefix("- ").startswith(f"{key}:")


def test_the_committed_schema_is_the_generated_one():
    """To update: write json_schema() there."""
    assert json.loads((PACKAGE / "schemas" / "policy.schema.json").read_text(encoding="utf-8")) == json_schema()


def test_the_schema_accepts_public_release_and_refuses_most_bad_policies():
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    assert validator.is_valid(yaml.safe_load((PACKAGE / "policies" / "public-release.yaml").read_text(encoding="utf-8")))
    refused = (
        *("unknown_key_in_check", "unknown_key_in_policy", "unknown_metric", "reason_too_short", "metric_missing"),
        *("limit_is_bare", "limit_is_a_list", "when_unknown", "not_tested_passes", "releases_empty", "checks_empty"),
    )
    for name in refused:
        assert not validator.is_valid(yaml.safe_load((BAD / f"{name}.yaml").read_text(encoding="utf-8"))), name


@pytest.mark.parametrize(
    ("metric", "raw", "expected"),
    [
        ("memorisation.near_copy_rate", "1%", "above 1 %"),
        ("memorisation.near_copy_rate", "0.25 %", "above 0.25 %"),
        ("memorisation.near_copy_rate", "0%", "above 0 %"),
        ("memorisation.near_copy_rate", "100%", "above 100 %"),
        ("memorisation.verified_copies", "0 images", "above 0 images"),
        ("memorisation.verified_copies", "1 image", "above 1 image"),
        ("memorisation.verified_copies", "0.01%", "above 0.01 % of the images"),
        ("memorisation.minimum_detectable_copies", "3 copies", "above 3 copies"),
        ("data.overlap_pairs", "0 pairs", "above 0 pairs"),
        ("membership.black_box.auc", 0.55, "above 0.55"),
        ("membership.black_box.auc", "0.55", "above 0.55"),
        ("membership.black_box.auc", "0.55 AUC", "above 0.55"),
        ("membership.black_box.auc", 1, "above 1"),
        ("membership.epsilon_lower_bound", 8, "above 8"),
        ("fidelity.frechet_distance", 1.5, "above 1.5"),
    ],
)
def test_limits_as_people_write_them(metric, raw, expected):
    assert str(parse_limit("above", raw, CATALOGUE[metric])) == expected


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_percentages_are_the_fractions_that_counting_gives(k, n):
    """What is exactly on the limit does not break it: 0.07 % of 10,000 images is 7 images, not a rounding error more."""
    limit = parse_limit("above", f"{k / 10:g}%" if k < 1000 else "100%", CATALOGUE["memorisation.near_copy_rate"])
    assert limit.value == k / 1000
    assert not limit.breaks((k * n) / (1000 * n))


@given(
    st.sampled_from(sorted(CATALOGUE)), st.one_of(st.text(max_size=12), st.floats(), st.integers(), st.none(), st.booleans())
)
def test_whatever_a_limit_says_it_is_read_or_refused(metric, raw):
    try:
        limit = parse_limit("above", raw, CATALOGUE[metric])
    except LimitError:
        return
    assert not math.isnan(limit.value)
    assert not isinstance(raw, bool)


def test_looser():
    one, two = (Limit(side="above", value=v, unit="share") for v in (0.01, 0.02))
    assert two.looser_than(one)
    assert not one.looser_than(two)
    assert not one.looser_than(one)
    assert not two.looser_than(Limit(side="above", value=0.01, unit="share", of_n=True))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.00994, "share", "0.994 %"), (1, "images", "1 image"), (15000, "images", "15,000 images"), (1, "copies", "1 copy"),
     (float("inf"), "copies", "no finite number"), (0.5214, "AUC", "0.521"), (0, "share", "0 %"), (1, "share", "100 %")],
)  # fmt: skip
def test_figures_for_people(value, unit, text):
    assert shown(value, unit) == text


def test_explain_names_every_limit_with_reason_source_and_line(policy):
    rows = [row for row in explain(policy) if row.key in LEVELS]
    assert len(rows) == sum(len(check.limits) for check in policy.checks)
    lines = (PACKAGE / "policies" / "public-release.yaml").read_text(encoding="utf-8").splitlines()
    for row in rows:
        assert lines[row.line - 1].strip().startswith(f"{row.key}: {{")
        assert row.reason
        assert row.source
        assert row.file == "public-release.yaml"
    assert ("white-box-auc-model-released", "above 0.6 (model released)") in {(row.check, row.value) for row in rows}
    assert {(row.key, row.effect) for row in rows} == {
        ("fail", "fails"),
        ("warn", "warns"),
        ("invalid", "spoils the evidence"),
    }
    assert "memorisation.verified_copies (accepted)" in {row.metric for row in rows}


def test_lint_says_which_limits_a_sample_can_never_satisfy(policy):
    problems = lint(policy, Sizes(candidates=30, members=3000, nonmembers=150, planted=20))
    assert [problem.split(": ")[1] for problem in problems] == [
        "planted-copies-found.fail",
        "near-copy-rate.fail",
        "train-holdout-share.fail",
        "black-box-auc.fail",
        "label-agreement.fail",
    ]
    assert "found 30 images, expected at least 299" in problems[1]
    assert "found 150 images a side, expected at least 181" in problems[3]
    assert all(problem.startswith("public-release.yaml:") for problem in problems)


def test_lint_is_silent_on_samples_that_are_enough_and_on_what_it_does_not_know(policy):
    assert lint(policy, Sizes(candidates=1000, members=3000, nonmembers=1000, planted=100)) == ()
    assert lint(policy, Sizes()) == ()


def test_yaml_scalars_follow_the_core_schema():
    found = parse(
        b"{a: yes, b: off, c: 1:30, d: 012, e: true, f: ~, g: 1_000, h: 2026-11-21, i: '1', j: 1e3, k: 0x1F}", "x"
    ).value
    assert found == {"a": "yes", "b": "off", "c": "1:30", "d": 12, "e": True, "f": None, "g": "1_000", "h": "2026-11-21",
                     "i": "1", "j": 1000.0, "k": "0x1F"}  # fmt: skip


@given(st.binary(max_size=300))
def test_whatever_bytes_a_policy_has_it_is_read_or_refused(data):
    with pytest.raises(ConfigError):
        parse_policy(data, "fuzz.yaml")


@given(st.data())
def test_a_damaged_policy_is_read_or_refused(data):
    good = bytearray((PACKAGE / "policies" / "public-release.yaml").read_bytes()[:2500])
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255))
    try:
        found = parse_policy(bytes(good), "fuzz.yaml")
    except ConfigError:
        return
    assert all(check.limits for check in found.checks)


def test_the_public_names_are_those_that_are_there():
    assert sorted(policies.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)) == list(
        policies.__all__
    )
    assert all(hasattr(policies, name) for name in policies.__all__)
