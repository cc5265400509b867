"""JUnit and SARIF: every check is there, and no file of a patient."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from xml.etree import ElementTree as Xml

import pytest

from synguard.governance.ci import junit, sarif, write_ci
from synguard.governance.gate import decide
from synguard.governance.policy import load_policy
from synguard.results import CheckResult

SECRET = "private/patient-0042-müller.png"


@pytest.fixture
def decision(policy, clean_metrics):
    """One check of each status, with a patient's file named in two notes."""
    found = clean_metrics(1000)
    found["data.overlap_pairs", None] = replace(found["data.overlap_pairs", None], value=1, note=SECRET)
    key = ("memorisation.near_copy_rate", None)
    found[key] = replace(found[key], state="error", note=SECRET)
    found["memorisation.exact_copies", "accepted"] = replace(
        found["memorisation.exact_copies", "accepted"], value=1, note=SECRET
    )
    found["data.overlap_images", None] = replace(found["data.overlap_images", None], value=0.03)
    del found["membership.black_box.auc", None]
    decision = decide(policy, list(found.values()), released=["images"])
    waived = CheckResult(id="waived-check", metric="labels.kappa", status="waived", reason=SECRET)
    return replace(decision, checks=(*decision.checks, waived))


def test_the_decision_itself_names_the_file(decision):
    assert any(SECRET in reason for reason in decision.reasons)


def test_no_file_name_leaves_by_either(decision, policy):
    for text in (junit(decision, policy).decode(), json.dumps(sarif(decision, policy), ensure_ascii=False)):
        assert SECRET not in text
        assert "0042" not in text


def test_junit_has_a_case_a_check(decision, policy):
    suite = Xml.fromstring(junit(decision, policy)).find("testsuite")
    assert int(suite.get("tests")) == len(decision.checks) == len(suite.findall("testcase"))
    by_tag = {
        tag: [case.get("name") for case in suite if case.find(tag) is not None] for tag in ("failure", "error", "skipped")
    }
    assert by_tag["failure"] == ["exact-copies-accepted (accepted)"]
    assert set(by_tag["error"]) == {"holdout-apart", "near-copy-rate", "black-box-auc"}
    assert by_tag["skipped"] == ["waived-check"]
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "3", "1")
    assert "1 image" in suite.find("testcase/failure").get("message")


def test_junit_holds_any_text(policy, decision):
    odd = replace(decision.checks[0], status="fail", group='"><&\x00\x0b\ud800')
    assert Xml.fromstring(junit(replace(decision, checks=(odd,)), policy)) is not None


def test_sarif_has_levels_rules_and_lines(decision, policy):
    log = sarif(decision, policy)
    (run,) = log["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    levels = {result["ruleId"]: (result["kind"], result["level"]) for result in run["results"]}
    assert log["version"] == "2.1.0"
    assert set(levels) <= rules
    assert levels["exact-copies-accepted"] == ("fail", "error")
    assert levels["holdout-apart"] == levels["near-copy-rate"] == levels["black-box-auc"] == ("fail", "error")
    assert levels["holdout-twins"] == ("fail", "warning")
    assert levels["waived-check"] == ("informational", "none")
    assert levels["train-holdout-share"] == ("pass", "none")
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "public-release.yaml"
        expected = next((check.line for check in policy.checks if check.id == result["ruleId"]), 1)
        assert place["region"]["startLine"] == expected


def test_a_policy_elsewhere_is_named_without_its_folder(tmp_path, decision):
    path = tmp_path / "secret folder" / "mine.yaml"
    path.parent.mkdir()
    path.write_bytes((resources.files("synguard.governance") / "policies" / "public-release.yaml").read_bytes())
    assert "secret folder" not in json.dumps(sarif(decision, load_policy(path)))


def test_both_are_written_owner_only(tmp_path, decision, policy):
    write_ci(tmp_path, decision, policy)
    assert {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {"junit.xml": 0o600, "results.sarif": 0o600}
    assert json.loads((tmp_path / "results.sarif").read_bytes())["version"] == "2.1.0"
