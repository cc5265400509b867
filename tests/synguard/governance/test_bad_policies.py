"""Bad policy files, each named for its defect, are refused with file, line, column, key, found and expected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synguard.errors import ConfigError
from synguard.governance.policy import load_policy, parse_policy

FOLDER = Path(__file__).parent / "bad_policies"
SHARE = 'expected a percentage with its sign, such as "1%"'
COUNT = 'expected a whole number with its unit, such as "5 images"'
FAIL, FIRST = "17:19: checks[1].fail.above: found ", "10:19: checks[0].fail.above: found "

EXPECTED: dict[str, tuple[str, ...]] = {
    "alias": ("10:11: found the anchor &limit, expected no anchors",),
    "alias_bomb": ("1:4: found the anchor &a, expected no anchors",),
    "auc_as_percentage": ('16:19: checks[1].fail.above: found "55%", expected a number in AUC, such as 0.55',),
    "auc_in_wrong_unit": ('found "0.55 kappa", expected a number in AUC',),
    "auc_over_one": ("found 1.2, expected a number from 0 to 1 AUC",),
    "auc_true": ("found true, expected a limit such as 0.55",),
    "blocker_is_yes": ('11:14: checks[0].blocker: found "yes", expected true or false',),
    "blocker_without_fail": ("checks[1].blocker: found a blocker without a fail limit",),
    "blocker_to_be_proven": ('11:12: checks[0].prove: found "breach" for a blocker, expected "compliance"',),
    "prove_unknown": ("10:12: checks[0].prove: found \"innocence\", expected 'compliance' or 'breach'",),
    "check_id_missing": ("13:5: checks[1].id: found nothing, expected the key id",),
    "check_id_with_spaces": ('13:9: checks[1].id: found "near copies", expected lower-case words joined by hyphens',),
    "check_is_text": ('20:5: checks[2]: found "copies", expected a mapping',),
    "check_without_limit": ("13:5: checks[1]: found no limit, expected at least one of: fail, invalid, warn",),
    "checks_empty": ("5:9: checks: found an empty list, expected at least one entry",),
    "checks_is_a_mapping": ("5:9: checks: found a mapping, expected a list",),
    "checks_missing": ("1:1: checks: found nothing, expected the key checks",),
    "confidence_too_low": ('4:13: confidence: found "50%", expected more than 50% and less than 100%',),
    "confidence_without_unit": ("4:13: confidence: found 0.95 without a unit, expected a percentage",),
    "control_character": ("12:18: found the character U+0007, expected printable text",),
    "count_in_wrong_unit": (FIRST + '"0 pairs"', COUNT),
    "count_negative": (FIRST + '"-1 images"', COUNT),
    "count_of_half_an_image": (FIRST + '"0.5 images"', COUNT),
    "count_without_unit": (FIRST + "0 without a unit", COUNT),
    "duplicate_check_id": ('13:9: checks[1].id: found "copies", first on line 6, expected an id of its own',),
    "duplicate_key_in_check": ("8:5: title: found a duplicate key, first on line 7, expected it once",),
    "duplicate_key_in_limit": ("17:23: above: found a duplicate key, first on line 17",),
    "duplicate_key_in_policy": ("4:1: version: found a duplicate key, first on line 3",),
    "fail_is_nothing": ("17:5: checks[1].fail: found nothing, expected a value, or no such key",),
    "file_empty": ("1:1: the file: found nothing, expected a mapping",),
    "file_is_a_list": ("1:1: the file: found a list, expected a mapping",),
    "group_and_groups": ("10:5: checks[0].groups: found group and groups, expected one of the three",),
    "groups_empty": ("9:13: checks[0].groups: found an empty list",),
    "groups_is_text": ('9:13: checks[0].groups: found "accepted", expected a list',),
    "groups_repeat": ('9:20: checks[0].groups[2]: found "a" twice, expected each group once',),
    "key_is_a_list": ("4:3: found the key that is a list or a mapping, expected a name",),
    "key_is_a_number": ("4:1: found the key '5', expected a name",),
    "limit_has_no_side": ("17:11: checks[1].fail: found no limit, expected above",),
    "limit_has_unknown_side": ("17:12: checks[1].fail.over: found an unknown key, expected one of: above, below",),
    "limit_is_a_list": (FAIL + "a list, expected a limit such as",),
    "limit_is_bare": ('17:11: checks[1].fail: found "1%", expected a mapping such as {above: 1%}',),
    "limit_is_empty": ("17:18: checks[1].fail.above: found nothing, expected a limit such as",),
    "limit_on_both_sides": ("17:23: checks[1].fail.below: found below, expected above, since lower is better",),
    "limit_on_wrong_side": ("17:12: checks[1].fail.below: found below, expected above, since lower is better",),
    "merge_key": ("14:5: checks[1].<<: found an unknown key",),
    "metric_is_a_number": ("15:13: checks[1].metric: found 5, expected text",),
    "metric_missing": ("13:5: checks[1].metric: found nothing, expected the key metric",),
    "name_with_path": ('2:7: name: found "../example", expected lower-case words',),
    "nested_too_deep": ("1:24: found more than 16 levels, expected less nesting",),
    "no_fail_limit_at_all": ("6:3: checks: found no fail limit in any check", "the policy could refuse nothing"),
    "not_tested_passes": ("9:17: checks[0].not_tested: found \"pass\", expected 'insufficient' or 'warn'",),
    "not_utf8": ("found byte 283 that is not UTF-8, expected UTF-8 text",),
    "plain_tag": ("17:19: found the tag tag:yaml.org,2002:str, expected no tags",),
    "python_tag": ("12:13: found the tag tag:yaml.org,2002:python/object/apply:os.system, expected no tags",),
    "reason_missing": ("13:5: checks[1].reason: found nothing, expected the key reason",),
    "reason_too_short": ('18:13: checks[1].reason: found "ok", expected text of at least 20 characters',),
    "releases_empty": ("4:11: releases: found an empty list",),
    "releases_unknown": ("4:20: releases[1]: found \"labels\", expected 'images' or 'model'",),
    "schema_missing": ("1:1: schema: found nothing, expected the key schema",),
    "schema_unknown": ('1:9: schema: found "synguard/policy/v9"',),
    "second_document": ("20:1: found a second document, expected one document a file",),
    "several_problems": (
        '3:10: version: found "one", expected three numbers',
        "10:19: checks[0].fail.above: found 0 without a unit",
        "13:5: checks[0].treshold: found an unknown key",
        "18:19: checks[1].fail.above: found 0.01 without a unit",
    ),
    "share_as_quoted_fraction": (FAIL + '"0.01"', SHARE),
    "share_in_images": (FAIL + '"1 images"', SHARE),
    "share_in_per_mille": (FAIL + '"1‰"',),
    "share_infinite": (FAIL + "inf, expected a limit",),
    "share_negative": (FAIL + '"-1%", expected a number from 0 to 100 %',),
    "share_not_a_number": (FAIL + "nan, expected a limit",),
    "share_over_hundred": (FAIL + '"101%", expected a number from 0 to 100 %',),
    "share_with_comma": (FAIL + '"0,5%", expected a limit such as',),
    "share_without_unit": (FAIL + "0.01 without a unit", SHARE),
    "smallest_group_alone": ("9:5: checks[0].smallest_group: found it without each_group",),
    "smallest_group_without_unit": ("10:21: checks[0].smallest_group: found 100 without a unit", COUNT),
    "source_missing": ("13:5: checks[1].source: found nothing, expected the key source",),
    "syntax_tab": ("7:1: found character",),
    "syntax_unclosed": ("5:7: ", "expected valid YAML"),
    "unknown_key_in_check": ("13:5: checks[0].treshold: found an unknown key, expected one of: id, title, metric",),
    "unknown_key_in_policy": (
        "1:1: releases: found nothing, expected the key releases",
        "4:1: release: found an unknown key, expected releases? or one of:",
    ),
    "unknown_metric": (
        '15:13: checks[1].metric: found the unknown metric "memorization.near_copy_rate"',
        "expected memorisation.near_copy_rate? or a metric of docs/metrics.md",
    ),
    "version_is_a_number": ("3:10: version: found 1.0, expected text, in quotes",),
    "warn_looser_than_fail": (
        "16:11: checks[1].warn: found above 2 %, expected nothing looser than fail, which is above 1 %",
    ),
    "when_unknown": ("9:11: checks[0].when: found \"sometimes\", expected 'always'",),
}


def test_every_file_is_in_the_table_and_the_other_way_round():
    assert {path.stem for path in FOLDER.iterdir()} == set(EXPECTED)
    assert len(EXPECTED) >= 60


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_refused(name):
    path = FOLDER / f"{name}.yaml"
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    lines = str(caught.value).splitlines()
    for part in EXPECTED[name]:
        assert any(part in line for line in lines), str(caught.value)
    assert len(lines) == max(1, len(EXPECTED[name]) if name in ("several_problems", "unknown_key_in_policy") else len(lines))
    assert all(line.startswith(f"{path}:") for line in lines)
    assert all("expected" in line for line in lines)
    assert caught.value.exit_code == 2


GOOD = (FOLDER / "share_without_unit.yaml").read_bytes().replace(b"above: 0.01", b"above: 1%")


def test_each_differs_from_a_good_policy_by_its_defect_alone():
    assert parse_policy(GOOD, "good.yaml").name == "example"


def test_problems_come_in_the_order_of_the_file():
    with pytest.raises(ConfigError) as caught:
        load_policy(FOLDER / "several_problems.yaml")
    lines = [int(re.search(r"yaml:(\d+):", line)[1]) for line in str(caught.value).splitlines()]
    assert lines == sorted(lines)
    assert len(lines) == 4


def test_a_file_of_a_megabyte_is_not_read(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_bytes(GOOD + b"#" * 1_000_000)
    with pytest.raises(ConfigError, match="expected at most 262,144"):
        load_policy(path)


@pytest.mark.parametrize(("name", "what"), [("public-relase", "no file"), (".", "a folder"), ("a\0b", "no file")])
def test_what_is_no_file_is_named_beside_the_built_in_policies(tmp_path, monkeypatch, name, what):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"found {what}.*expected a policy file or one of: public-release"):
        load_policy(name)
