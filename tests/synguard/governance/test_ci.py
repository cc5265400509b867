"""JUnit and SARIF: every check is there, and no file of a patient."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from importlib import resources
from xml.etree import ElementTree as Xml

import pytest

from synguard.governance.ci import junit, sarif, summary, write_ci
from synguard.governance.gate import decide
from synguard.governance.policy import load_policy
from synguard.results import CheckResult
from tests.support.policies import BASES, extended, tighter

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
    waived = CheckResult(id="waived-check", metric="labels.kappa", status="waived", reason=SECRET, waiver="w-2026-004")
    return replace(decision, checks=(*decision.checks, waived))


def test_the_decision_itself_names_the_file(decision):
    assert any(SECRET in reason for reason in decision.reasons)


def test_no_file_name_leaves_by_either(decision, policy):
    texts = (junit(decision, policy).decode(), json.dumps(sarif(decision, policy), ensure_ascii=False))
    for text in (*texts, summary(decision, policy)):
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
    assert "waived by w-2026-004" in suite.find("testcase/skipped").get("message")


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
        expected = next((check.origin.line for check in policy.checks if check.id == result["ruleId"]), 1)
        assert place["region"]["startLine"] == expected


def test_a_waived_check_is_suppressed_in_sarif(decision, policy):
    """SARIF 2.1.0, section 3.35."""
    results = sarif(decision, policy)["runs"][0]["results"]
    suppressed = {result["ruleId"]: result["suppressions"] for result in results if "suppressions" in result}
    assert suppressed == {"waived-check": [{"kind": "external", "status": "accepted", "justification": "waiver w-2026-004"}]}


def test_an_inherited_check_is_located_in_the_file_it_was_written_in(tmp_path):
    policy = extended(tmp_path, tighten=[tighter("near-copies", fail={"above": "0.5%"})])
    log = sarif(decide(policy, [], released=["images"], today=date(2026, 12, 1)), policy)
    places = {r["ruleId"]: r["locations"][0]["physicalLocation"] for r in log["runs"][0]["results"]}
    assert places["near-copies"]["artifactLocation"]["uri"] == "base.yaml"
    line = places["near-copies"]["region"]["startLine"]
    assert (BASES / "base.yaml").read_text("utf-8").splitlines()[line - 1] == "  - id: near-copies"


def test_the_summary_has_a_row_for_each_check_that_is_open(decision, policy):
    text = summary(decision, policy)
    lines = text.splitlines()
    assert lines[0] == "## synguard: fail"
    open_ = [check for check in decision.checks if check.status != "pass"]
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| check |")]
    assert len(rows) == len(open_)
    assert all(f"| {check.status} |" in row for check, row in zip(open_, rows, strict=True))
    assert f"{len(decision.checks)} checks, {len(decision.checks) - len(open_)} hold. Exit code 20." in text
    assert "never that images are anonymous" in text


def test_a_summary_of_a_pass_has_no_table(policy, clean_metrics):
    text = summary(decide(policy, list(clean_metrics().values()), released=["images"]), policy)
    assert text.startswith("## synguard: pass\n")
    assert "|" not in text


def test_no_group_name_breaks_out_of_its_cell(decision, policy):
    odd = replace(decision.checks[0], status="fail", group="a|b\n## <img src=x> [c](d) `e` *f*\x00")
    text = summary(replace(decision, checks=(odd,)), policy)
    (row,) = [line for line in text.splitlines() if line.startswith("| holdout-apart |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 4
    assert r"\#\# &lt;img src=x&gt; \[c\](d) \`e\` \*f\*" in row


def test_a_policy_elsewhere_is_named_without_its_folder(tmp_path, decision):
    path = tmp_path / "secret folder" / "mine.yaml"
    path.parent.mkdir()
    path.write_bytes((resources.files("synguard.governance") / "policies" / "public-release.yaml").read_bytes())
    assert "secret folder" not in json.dumps(sarif(decision, load_policy(path)))


def test_all_are_written_owner_only(tmp_path, decision, policy):
    write_ci(tmp_path, decision, policy)
    assert {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == dict.fromkeys(
        ("junit.xml", "results.sarif", "summary.md"), 0o600
    )
    assert json.loads((tmp_path / "results.sarif").read_bytes())["version"] == "2.1.0"


@pytest.mark.parametrize(
    "hostile",
    [
        '"><img src=x onerror=alert(1)>',
        "\u202egnp.exe\u202c",
        "a" * 300,
        "[free](https://evil.example) {0}",
        "=HYPERLINK(1)",
    ],
)
def test_hostile_names_of_classes_stay_text_in_every_file(decision, policy, hostile, tmp_path):
    odd = replace(decision.checks[0], status="fail", group=hostile, reason=f"{hostile}: too many")
    write_ci(tmp_path, replace(decision, checks=(odd,)), policy)
    case = Xml.parse(tmp_path / "junit.xml").find(".//testcase")
    assert case is not None
    assert [child.tag for child in case] == ["failure"]
    result = json.loads((tmp_path / "results.sarif").read_text())["runs"][0]["results"][0]
    summary_row = (tmp_path / "summary.md").read_text()
    for text in (case.get("name"), result["message"]["text"], summary_row):
        assert not set("\u202e\u202c") & set(text)
        assert not re.search(r"(?<!\\)\[[^\]]*[^\\]\]\(", text) or text is case.get("name"), "a viewer would show a link"
    assert "<img" not in summary_row
