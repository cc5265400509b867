"""The release policy: a YAML file of checks, each a metric with limits, a reason and a source.

A policy may extend another, pinned by its digest. It can only tighten: what the base asks is still asked, and what this file
asks comes on top of it. Reading collects every problem and raises one ConfigError with a line for each: file, line, column,
key, found, expected.

    shape     what a file may hold, and its JSON Schema for editors
    read      from bytes to a `Policy`: checks, tightening, approvals, waivers
    model     what the gate works with: limits are numbers with units, and everything knows its file and line
    lint      what is wrong with a good policy: limits that sample sizes can never satisfy, dates that have run out
    explain   every value with the file and line that it comes from
    diff      what got looser from one policy to another
    calibrate limits from audits of real unseen images
"""

from __future__ import annotations

from synguard.governance.policy.extend import BUILT_IN
from synguard.governance.policy.model import LEVELS, Approval, Base, Check, Level, Origin, Policy, Rule, Waiver
from synguard.governance.policy.read import load_policy, parse_policy, read_resolved
from synguard.governance.policy.shape import CheckFile, PolicyFile, json_schema

__all__ = [
    "BUILT_IN",
    "LEVELS",
    "Approval",
    "Base",
    "Check",
    "CheckFile",
    "Level",
    "Origin",
    "Policy",
    "PolicyFile",
    "Rule",
    "Waiver",
    "json_schema",
    "load_policy",
    "parse_policy",
    "read_resolved",
]
