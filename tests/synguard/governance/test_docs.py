"""docs/policies.md says what the code and the formulas say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from synguard.commands.main import cli
from synguard.governance.policy import BUILT_IN, CheckFile, PolicyFile, load_policy, parse_policy
from synguard.governance.policy.shape import TightenFile, WaiverFile
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


def test_the_examples_are_policies():
    plain, extending, waivers = (part.split("```")[0] for part in TEXT.split("```yaml\n")[1:])
    assert parse_policy(plain.encode(), "example.yaml").name == "our-release"
    pinned = (extending + waivers).replace("BASE", load_policy("public-release").sha256)
    policy = parse_policy(pinned.encode(), "example.yaml")
    assert (policy.releases, len(policy.waivers), policy.bases[0].name) == (("images",), 1, "public-release")
    rules = {rule.groups for check in policy.checks for rule in check.rules}
    assert rules == {(), ("dx=melanoma", "dx=carcinoma*")}


def test_every_key_is_explained():
    table = TEXT.split("| key | meaning |")[1].split("\n\n")[0]
    keys = set(CheckFile.model_fields) - {"id", "title", "metric", "reason", "source"}
    keys |= {"confidence", "review_by", "approvals", "extends", "tighten", "waivers"}
    assert {key for key in keys if f"`{key}`" not in table} == set()
    assert {"schema", "name", "version", "releases", "checks"} <= {f.alias or n for n, f in PolicyFile.model_fields.items()}
    examples = "".join(part.split("```")[0] for part in TEXT.split("```yaml\n")[1:])
    assert {key for key in set(TightenFile.model_fields) | set(WaiverFile.model_fields) if f"{key}:" not in examples} == {
        *("invalid", "warn", "not_tested")
    }


@pytest.mark.parametrize(("name", "heading", "column"), [(BUILT_IN[1], "`controlled-access`, where", 3),
                                                         (BUILT_IN[2], "`internal-research`, where", 3)])  # fmt: skip
def test_the_numbers_of_each_policy_are_in_its_table(name, heading, column):
    """Of every limit that differs from the next stricter policy, the number stands in its section."""
    stricter = load_policy(BUILT_IN[BUILT_IN.index(name) - 1])
    before = {check.id: check.limits for check in stricter.checks}
    rows = TEXT.split(f"## {heading}")[1].split("\n## ")[0].splitlines()
    said = " ".join(row.split("|")[column] for row in rows if row.startswith("| "))
    for check in load_policy(name).checks:
        for level, limit in check.limits.items():
            if before[check.id].get(level) != limit:
                number = f"{limit.value:.2f}" if limit.unit == "AUC" else f"{100 * limit.value:g} %"
                number = f"{limit.value:g}" if limit.unit == "attempts" else number
                assert number in said, f"{check.id}.{level}: {limit}"


def test_the_chances_of_many_attempts():
    for n, chance in ((3, "14 %"), (5, "23 %"), (10, "40 %")):
        assert f"{100 * (1 - 0.95**n):.0f} %" == chance
        assert chance in TEXT


def test_the_workflow_runs_commands_that_there_are():
    """docs/ci.md: a workflow in valid YAML, whose synguard commands parse."""
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    jobs = yaml.safe_load(text)["jobs"]
    runs = " ".join(step["run"] for job in jobs.values() for step in job["steps"] if "run" in step)
    found = re.findall(r"synguard (policy lint|policy diff|audit) (.*?)(?= synguard|$|\n)", " ".join(runs.split()))
    assert [command for command, _ in found] == ["policy lint", "policy diff", "audit"]
    for command, rest in found:
        target = cli
        for word in command.split():
            target = target.commands[word]
        known = {option for parameter in target.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known


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
