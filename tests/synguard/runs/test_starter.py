"""`synguard init` writes a policy that extends ours, and what it has in comments works where the comments are taken away."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from synguard.governance.policy import load_policy
from synguard.runs.starter import write_starter


def test_the_policy_to_start_from_asks_what_ours_asks(tmp_path: Path):
    _, policy = write_starter(tmp_path)
    found, ours = load_policy(policy), load_policy("public-release")
    assert [check.id for check in found.checks] == [check.id for check in ours.checks]
    assert [(need.role, need.count) for need in found.approvals] == [(need.role, need.count) for need in ours.approvals]
    assert found.releases == ("images",)


def test_what_it_has_in_comments_is_good_yaml(tmp_path: Path):
    _, policy = write_starter(tmp_path)
    policy.write_text(re.sub(r"^# (?=(review_by|approvals|tighten|waivers):|  )", "", policy.read_text(), flags=re.M))
    found = load_policy(policy)
    assert found.review_by == date(2027, 6, 1)
    assert {need.role: need.count for need in found.approvals}["privacy-officer"] == 2
    assert [waiver.id for waiver in found.waivers] == ["w-1"]
    assert [check.id for check in found.checks if check.rules] == ["near-copy-rate"]
