"""docs/policies.md says what the code and the formulas say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from synguard.governance.policy import CheckFile, PolicyFile, load_policy, parse_policy
from synguard.metrics.intervals import clopper_pearson_bounds

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chances():
    spec = importlib.util.spec_from_file_location("clean_pass_chance", ROOT / "benchmarks" / "clean_pass_chance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_the_computed_one(chances):
    """To update: put the output of benchmarks/clean_pass_chance.py between the two marks."""
    assert TEXT.split("<!-- table -->")[1].split("<!-- /table -->")[0].strip() == chances.table()


@pytest.mark.parametrize(("n", "p", "limit"), [(300, 0.5, 0.6), (1000, 0.01, 0.03), (1000, 0.001, 0.01), (50, 0.5, 0.7)])
def test_chances_agree_with_simulation(chances, n, p, limit):
    """An independent way: draw releases, take each one's exact bound, count those that pass."""
    counts, times = np.unique(np.random.default_rng(7).binomial(n, p, 20_000), return_counts=True)
    passed = sum(t for k, t in zip(counts, times, strict=True) if clopper_pearson_bounds(int(k), n)[1] <= limit) / 20_000
    assert chances.at_most(n, p, limit) == pytest.approx(passed, abs=0.012)


def test_the_auc_chance_agrees_with_simulation(chances):
    rng = np.random.default_rng(8)
    n, z, passed = 300, 1.6448536, 0
    se = chances.auc_standard_error(n, n)
    for _ in range(1500):
        ranks = rng.permutation(2 * n)[:n]
        auc = (ranks.sum() - n * (n - 1) / 2) / n**2
        passed += auc + z * se <= 0.55
    assert chances.auc_at_most(n, 0.5, 0.55) == pytest.approx(passed / 1500, abs=0.04)


def test_the_example_is_a_policy():
    text = TEXT.split("```yaml\n")[1].split("```")[0]
    assert parse_policy(text.encode(), "example.yaml").name == "our-release"


def test_every_key_is_explained():
    table = TEXT.split("| key | meaning |")[1].split("\n\n")[0]
    keys = set(CheckFile.model_fields) - {"id", "title", "metric", "reason", "source"} | {"confidence"}
    assert {key for key in keys if f"`{key}`" not in table} == set()
    assert {"schema", "name", "version", "releases", "checks"} <= {f.alias or n for n, f in PolicyFile.model_fields.items()}


def test_numbers_in_the_text_are_those_of_the_policy():
    limits = {f"{c.id}.{level}": str(x) for c in load_policy("public-release").checks for level, x in c.limits.items()}
    assert limits["white-box-auc-model-held-back.fail"] == "above 0.7"
    for part in (
        "90 %, lower bound",
        "1 %, upper bound",
        "60 %, warns at 55 %",
        "AUC 0.55 and 3 %",
        "80 % of what real images",
    ):
        assert part in TEXT
    assert clopper_pearson_bounds(96, 100)[0] >= 0.9 > clopper_pearson_bounds(95, 100)[0]
