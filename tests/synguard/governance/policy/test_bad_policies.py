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
    "limit_has_unknown_side": (
        "17:11: checks[1].fail: found no limit, expected above",
        "17:12: checks[1].fail.over: found an unknown key, expected one of: above, below",
    ),
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
    "approvals_count_missing": ("6:5: approvals[0].count: found nothing, expected the key count",),
    "approvals_fewer_than_base": (
        '6:36: approvals[0].count: found "1 person", expected 2 or more, which base.yaml asks for',
    ),
    "approvals_half_a_person": (
        '6:26: approvals[0].count: found "1.5 people", expected a whole number of people, such as "1 person" or "',
    ),
    "approvals_in_wrong_unit": (
        '6:26: approvals[0].count: found "2 keys", expected a whole number of people, such as "1 person" or "2 pe',
    ),
    "approvals_of_nobody": (
        '6:26: approvals[0].count: found "0 people", expected a whole number of people, such as "1 person" or "2',
    ),
    "approvals_role_missing": ("6:5: approvals[0].role: found nothing, expected the key role",),
    "approvals_role_twice": ('7:12: approvals[1].role: found "board", first on line 6, expected each role once',),
    "approvals_role_with_spaces": (
        '6:12: approvals[0].role: found "the board", expected lower-case words joined by hyphens, such as near-co',
    ),
    "approvals_unknown_key": ("6:36: approvals[0].name: found an unknown key, expected one of: role, count",),
    "approvals_without_unit": (
        '6:26: approvals[0].count: found 2 without a unit, expected a whole number of people, such as "1 person"',
    ),
    "attempts_in_images": (
        '16:19: checks[1].fail.above: found "5 images", expected a whole number with its unit, such as "5 attempt',
    ),
    "attempts_without_unit": (
        '16:19: checks[1].fail.above: found 5 without a unit, expected a whole number with its unit, such as "5 a',
    ),
    "binary_tag": ("3:10: found the tag tag:yaml.org,2002:binary, expected no tags",),
    "check_replaces_that_of_base": (
        '6:9: checks[0].id: found "near-copies", which base has already, expected an id of its own, or an entry u',
    ),
    "confidence_looser_than_base": ('5:13: confidence: found "90%", expected 95% or more, which base asks for',),
    "deep_flow_bomb": ("1:64: found more than 16 levels, expected less nesting",),
    "duplicate_key_extends": ("5:1: extends: found a duplicate key, first on line 4, expected it once",),
    "extends_a_bad_policy": ("4:19: extends.policy: found a policy with problems:",),
    "extends_a_folder": (
        "4:19: extends.policy: found a folder, expected a policy file or one of: public-release, controlled-acces",
    ),
    "extends_base_moved": (
        '4:47: extends.sha256: found "abababababababababababababababababababababababababababababababab", expected',
    ),
    "extends_digest_missing": ("4:10: extends.sha256: found nothing, expected the key sha256",),
    "extends_digest_short": (
        '4:47: extends.sha256: found "24b6a7ff7f0e2e9702a7bb7ee9de45b90f60ecf0", expected 64 lower-case hexadecim',
    ),
    "extends_digest_upper_case": (
        '4:47: extends.sha256: found "24B6A7FF7F0E2E9702A7BB7EE9DE45B90F60ECF0C1759798FFF48FF57...", expected 64',
    ),
    "extends_is_text": ('4:10: extends: found "public-release", expected a mapping',),
    "extends_itself": (
        '4:48: extends.sha256: found "24b6a7ff7f0e2e9702a7bb7ee9de45b90f60ecf0c1759798fff48ff57287e4c0", expected',
    ),
    "extends_no_such_file": (
        "4:19: extends.policy: found no file that can be read, expected a policy file or one of: public-release,",
    ),
    "extends_unknown_key": (
        "4:10: extends.policy: found nothing, expected the key policy",
        "4:11: extends.path: found an unknown key, expected one of: policy, sha256",
    ),
    "fail_never_breaks": (
        "17:19: checks[1].fail.above: found above 100 %, which no figure can be, expected a limit that something",
    ),
    "own_tag": ("3:10: found the tag !include, expected no tags",),
    "python_name_as_key": ("3:1: found the key 'version', expected a name",),
    "python_object_as_policy": ("1:1: found the tag tag:yaml.org,2002:python/object/new:os.system, expected no tags",),
    "releases_wider_than_base": ('5:20: releases[1]: found "model", expected only what base decides on: images',),
    "review_is_empty": ("5:1: review_by: found nothing, expected a value, or no such key",),
    "review_later_than_base": ("5:12: review_by: found 2031-01-01, expected 2030-06-30 or before, which base asks for",),
    "review_no_such_day": ('5:12: review_by: found "2027-02-30", expected a day of the calendar, such as 2027-06-01',),
    "review_not_a_day": ('5:12: review_by: found "next June", expected a day, such as 2027-06-01',),
    "review_with_time": ('5:12: review_by: found "2027-06-01T00:00:00", expected a day, such as 2027-06-01',),
    "tighten_blocker_of_a_group": (
        "7:5: tighten[0].groups: found groups beside blocker, expected a blocker for the whole check",
    ),
    "tighten_blocker_off": ("7:14: tighten[0].blocker: found false, expected true",),
    "tighten_blocker_that_proves_breach": (
        "7:5: tighten[0].blocker: found a blocker that proves a breach, expected prove: compliance beside it",
    ),
    "tighten_blocker_without_fail": (
        "7:5: tighten[0].blocker: found a blocker without a fail limit, expected a fail limit",
    ),
    "tighten_duplicate_key": ("8:5: fail: found a duplicate key, first on line 7, expected it once",),
    "tighten_fail_is_nothing": ("7:5: tighten[0].fail: found nothing, expected a value, or no such key",),
    "tighten_groups_empty": ("7:13: tighten[0].groups: found an empty list, expected at least one entry",),
    "tighten_groups_of_no_groups": (
        '7:14: tighten[0].groups[0]: found "dx=nevus", expected no such key: near-copies has no groups',
    ),
    "tighten_is_a_mapping": ("5:10: tighten: found a mapping, expected a list",),
    "tighten_looser_fail": (
        "7:11: tighten[0].fail: found above 2 %, expected nothing looser than above 1 %, which holds already",
    ),
    "tighten_looser_than_earlier": (
        "11:11: tighten[1].fail: found above 0.8 %, expected nothing looser than above 0.5 %, which holds already",
    ),
    "tighten_looser_warn": (
        "7:11: tighten[0].warn: found above 60 %, expected nothing looser than above 55 %, which holds already",
    ),
    "tighten_not_tested_warns": ("7:17: tighten[0].not_tested: found \"warn\", expected 'insufficient'",),
    "tighten_nothing": (
        "6:5: tighten[0]: found nothing that is tighter, expected one of: fail, invalid, warn, blocker, not_teste",
    ),
    "tighten_proves_breach": ("7:12: tighten[0].prove: found \"breach\", expected 'compliance'",),
    "tighten_unknown_check": (
        '6:12: tighten[0].check: found the unknown check "near-copy", expected near-copies? or the id of a check',
    ),
    "tighten_unknown_group": ('7:14: tighten[0].groups[0]: found "turned", expected groups of planted: identity, mirrored',),
    "tighten_unknown_key": ("8:5: tighten[0].when: found an unknown key, expected one of: check, groups",),
    "tighten_without_reason": ("6:5: tighten[0].reason: found nothing, expected the key reason",),
    "tighten_without_unit": (
        '7:19: tighten[0].fail.above: found 0.005 without a unit, expected a percentage with its sign, such as "1',
    ),
    "tighten_wrong_side": (
        "7:12: tighten[0].fail.below: found below, expected above, since lower is better for memorisation.near_co",
    ),
    "waiver_by_its_owner": (
        '11:15: waivers[0].approver: found "p.ito", who is the owner, expected somebody other than the owner',
    ),
    "waiver_by_its_owner_in_capitals": (
        '11:15: waivers[0].approver: found " P.Ito ", who is the owner, expected somebody other than the owner',
    ),
    "waiver_ceiling_is_off": ('8:14: waivers[0].ceiling: found "off", expected a mapping such as {above: 1%}',),
    "waiver_ceiling_on_wrong_side": (
        "8:15: waivers[0].ceiling.below: found below, expected above, since lower is better for memorisation.near",
    ),
    "waiver_ceiling_without_unit": (
        "8:22: waivers[0].ceiling.above: found 0.015 without a unit, expected a percentage with its sign, such as",
    ),
    "waiver_expires_before_issue": (
        "13:14: waivers[0].expires: found 2026-11-19, expected a day after it was issued, 2026-11-20",
    ),
    "waiver_for_too_long": (
        "13:14: waivers[0].expires: found 2027-03-01, expected 2027-02-18 or before: a waiver counts for 90 days",
    ),
    "waiver_group_of_no_groups": (
        '14:12: waivers[0].group: found "dx=nevus", expected no such key: near-copies has no groups',
    ),
    "waiver_id_twice": ('14:9: waivers[1].id: found "w-1", first on line 6, expected an id of its own',),
    "waiver_no_such_day": (
        '13:14: waivers[0].expires: found "2026-11-31", expected a day of the calendar, such as 2027-06-01',
    ),
    "waiver_off": (
        "8:22: waivers[0].ceiling.above: found above 100 %, which no figure can be, expected a limit that somethi",
    ),
    "waiver_on_a_blocker": (
        "7:12: waivers[0].check: found copies, which is a blocker, expected a check that is none: nothing excuses",
    ),
    "waiver_on_a_warning": (
        "7:12: waivers[0].check: found share, which has no fail limit, expected a check with one: nothing else is",
    ),
    "waiver_on_an_unknown_check": (
        '7:12: waivers[0].check: found the unknown check "near-copy", expected near-copies? or the id of a check',
    ),
    "waiver_on_an_unknown_group": (
        '14:12: waivers[0].group: found "turned", expected a group of planted: identity, mirrored',
    ),
    "waiver_reason_too_short": ('9:13: waivers[0].reason: found "needed", expected text of at least 20 characters',),
    "waiver_stricter_than_the_limit": (
        "8:14: waivers[0].ceiling: found above 0.5 %, expected a ceiling looser than the limit, which is above 1",
    ),
    "waiver_that_waives_nothing": (
        "8:14: waivers[0].ceiling: found above 1 %, expected a ceiling looser than the limit, which is above 1 %",
    ),
    "waiver_twice_for_one_limit": (
        "15:12: waivers[1].check: found near-copies waived by w-1 already, expected one waiver for the same limit",
    ),
    "waiver_unknown_key": ("14:5: waivers[0].forever: found an unknown key, expected one of: id, check",),
    "waiver_without_approver": ("6:5: waivers[0].approver: found nothing, expected the key approver",),
    "waiver_without_ceiling": ("6:5: waivers[0].ceiling: found nothing, expected the key ceiling",),
    "waiver_without_expiry": ("6:5: waivers[0].expires: found nothing, expected the key expires",),
    "waiver_without_issue": ("6:5: waivers[0].issued: found nothing, expected the key issued",),
    "waiver_without_its_group": ("6:5: waivers[0]: found no group, expected the one group of labels-each that it is for",),
    "waiver_without_owner": ("6:5: waivers[0].owner: found nothing, expected the key owner",),
    "waiver_without_reason": ("6:5: waivers[0].reason: found nothing, expected the key reason",),
    "warn_never_breaks": (
        "16:19: checks[1].warn.above: found above 100 %, which no figure can be, expected a limit that something",
        "17:22: checks[1].invalid.above: found above 100 %, which no figure can be, expected a limit that somethi",
    ),
    "yaml_directive": ("5:10: found the tag tag:evil.example,2026:x, expected no tags",),
}


def test_every_file_is_in_the_table_and_the_other_way_round():
    assert {path.stem for path in FOLDER.iterdir()} == set(EXPECTED)
    assert len(EXPECTED) >= 160


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_refused(name):
    path = FOLDER / f"{name}.yaml"
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    lines = str(caught.value).splitlines()
    for part in EXPECTED[name]:
        assert any(part in line for line in lines), str(caught.value)
    for line in lines:
        assert any(part in line for part in EXPECTED[name]), f"a problem that the table does not have: {line}"
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
