"""`synguard policy`, as a user runs it: what it prints, and the code that the process ends with."""

from __future__ import annotations

import json
import sys

import pytest

from synguard.commands.main import main
from synguard.governance.gate import decide
from synguard.governance.policy import load_policy
from synguard.governance.record import ResultsContext, RunRecord, write_results, write_run
from synguard.metrics.intervals import clopper_pearson_bounds
from synguard.results import Metric
from tests.support.policies import tighter, write

NEAR = "memorisation.near_copy_rate"


@pytest.fixture
def synguard(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["synguard", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return caught.value.code, printed.out, printed.err

    return run


def test_lint_ends_with_2_where_sample_sizes_are_too_small(synguard):
    code, out, _ = synguard("policy", "lint", "--candidates", "30")
    assert code == 2
    assert "near-copy-rate.fail: found 30 images, expected at least 299" in out


def test_lint_ends_with_0_where_all_is_well(synguard):
    code, out, _ = synguard(
        "policy", "lint", "public-release", "--candidates", "1000", "--private", "3000", "--holdout", "3000"
    )
    assert (code, out) == (0, "public-release 1.0.0: 27 checks, no problem\n")


def test_lint_prints_every_problem_of_a_bad_file_and_ends_with_2(synguard, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("schema: synguard/policy/v1\nnam: x\n", encoding="utf-8")
    code, _, err = synguard("policy", "lint", str(path))
    assert code == 2
    assert "found an unknown key" in err
    assert "checks: found nothing" in err
    assert "Traceback" not in err


def test_explain_and_schema_in_json(synguard):
    code, out, _ = synguard("policy", "explain", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {"check", "key", "effect", "value", "reason", "source", "file", "line"} <= set(rows[0])
    code, out, _ = synguard("policy", "schema")
    assert (code, json.loads(out)["$id"]) == (0, "urn:synguard:schema:policy:v1")


def test_explain_says_where_each_value_comes_from(synguard, tmp_path):
    path = write(tmp_path, base="base", tighten=[tighter("near-copies", fail={"above": "0.2%"})])
    code, out, _ = synguard("policy", "explain", str(path))
    assert code == 0
    assert out.startswith(f"child 1.0.0   sha256 {load_policy(path).sha256}   digest {load_policy(path).digest}\n")
    assert "policy: review_by is 2030-06-30   [base.yaml:6]" in out
    assert "policy: approvals needs 2 people as privacy-officer   [base.yaml:8]" in out
    assert "near-copies: fails where memorisation.near_copy_rate is above 1 %   [base.yaml:22]" in out
    line = path.read_text("utf-8").splitlines().index("  fail:") + 1
    assert f"near-copies: fails where memorisation.near_copy_rate is above 0.2 %   [child.yaml:{line}]" in out
    assert "labels-each: smallest_group is 100 images   [base.yaml:29]" in out


def test_diff_ends_with_20_where_anything_got_looser(synguard):
    code, out, _ = synguard("policy", "diff", "public-release", "controlled-access")
    assert code == 20
    assert "  - near-copy-rate: the fail limit was above 1 %, is now above 2 %\n" in out
    code, out, _ = synguard("policy", "diff", "controlled-access", "public-release")
    assert code == 0
    assert out.startswith("looser: nothing\n")
    code, out, _ = synguard("policy", "diff", "internal-research", "internal-research", "--json")
    assert (code, json.loads(out)) == (0, {"looser": [], "stricter": []})


def test_lint_names_days_that_have_passed_with_line_and_column(synguard, tmp_path):
    path = write(tmp_path, base="base", review_by="2020-01-01")
    code, out, _ = synguard("policy", "lint", str(path))
    assert (code, out) == (2, "child.yaml:7:1: review_by: found 2020-01-01, expected a day that has not passed\n")


def test_lint_prints_the_line_of_the_rule_that_cannot_be_satisfied(synguard, tmp_path):
    path = write(tmp_path, base="base", tighten=[tighter("near-copies", fail={"above": "0.2%"})])
    code, out, _ = synguard("policy", "lint", str(path), "--candidates", "500")
    line = path.read_text("utf-8").splitlines().index("  fail:") + 1
    assert code == 2
    assert out == (
        f"child.yaml:{line}:3: near-copies.fail: found 500 images, expected at least 1,497: "
        "with fewer, even a clean release is above 0.2 %\n"
    )


@pytest.fixture
def audits(tmp_path):
    """Run folders of three audits of real images."""
    policy, folders = load_policy("public-release"), []
    for number, k in enumerate((0, 0, 1)):
        bounds = clopper_pearson_bounds(k, 1000)
        metric = Metric(name=NEAR, value=k / 1000, n=1000, unit="share", method="m", bounds=bounds)
        folder = tmp_path / f"real-{number}"
        folder.mkdir()
        decision = decide(policy, [metric], released=["images"])
        key = write_results(
            folder, decision, [metric], ResultsContext(policy=policy, released=("images",), data={"draw": number})
        )
        write_run(folder, RunRecord(id=str(number), state="complete", config={}, results_key=key))
        folders.append(str(folder))
    return folders


def test_calibrate_proposes_limits_and_writes_those_that_are_stricter(synguard, audits, tmp_path):
    out_file = tmp_path / "mine.yaml"
    code, out, _ = synguard("policy", "calibrate", *audits, "--out", str(out_file))
    assert code == 0
    assert f"{NEAR}: above 0.7 %; seen: 0.299 %, 0.299 %, 0.473 %" in out
    assert "    near-copy-rate: now above 1 %" in out
    assert "method: 3 audits of unseen real images" in out
    assert synguard("policy", "diff", "public-release", str(out_file))[0] == 0
    code, _, err = synguard("policy", "calibrate", *audits, "--out", str(out_file))
    assert (code, "a file that exists already" in err) == (2, True)
    code, out, _ = synguard("policy", "calibrate", *audits, "--json")
    assert json.loads(out)[0]["metric"] == NEAR


def test_calibrate_refuses_two_audits(synguard, audits):
    code, _, err = synguard("policy", "calibrate", *audits[:2])
    assert code == 2
    assert "found 2, expected at least 3" in err


def test_a_command_that_is_not_there_ends_with_2(synguard):
    assert synguard("policy", "nonsense")[0] == 2
