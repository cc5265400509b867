"""A decision in the forms that CI systems read: JUnit XML, SARIF 2.1.0 and a summary in Markdown.

All leave the house more easily than a run folder does, so all are made from figures alone: names of files never enter.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from synguard.governance.files import canonical, write_private
from synguard.governance.policy import Origin, Policy
from synguard.governance.wording import in_markdown, without_names
from synguard.results import CheckResult, Decision, Status

__all__ = ["junit", "sarif", "summary", "write_ci"]

_SARIF: dict[Status, tuple[str, str]] = {
    "pass": ("pass", "none"),
    "waived": ("informational", "none"),
    "warn": ("fail", "warning"),
}
"""Kind and level by status; whatever else a check ended with is an error."""


def write_ci(run: Path, decision: Decision, policy: Policy) -> None:
    """Writes `junit.xml`, `results.sarif` and `summary.md` into the run folder."""
    write_private(run / "junit.xml", junit(decision, policy))
    write_private(run / "results.sarif", canonical(sarif(decision, policy)))
    write_private(run / "summary.md", summary(decision, policy).encode())


def junit(decision: Decision, policy: Policy) -> bytes:
    """One test case a check: failed where it fails, an error where it could not be decided."""
    checks = decision.checks
    suite = Xml.Element(
        "testsuite",
        name=f"{policy.name} {policy.version}",
        tests=str(len(checks)),
        failures=str(sum(check.status == "fail" for check in checks)),
        errors=str(sum(check.status in ("insufficient", "invalid", "error") for check in checks)),
        skipped=str(sum(check.status == "waived" for check in checks)),
    )
    for check in checks:
        name = f"{check.id} ({check.group})" if check.group else check.id
        case = Xml.SubElement(suite, "testcase", name=_xml(name), classname=check.metric or policy.name)
        text = _xml(without_names(check))
        if check.status == "fail":
            Xml.SubElement(case, "failure", message=text, type=check.status)
        elif check.status in ("insufficient", "invalid", "error"):
            Xml.SubElement(case, "error", message=text, type=check.status)
        elif check.status == "waived":
            Xml.SubElement(case, "skipped", message=text)
        else:
            Xml.SubElement(case, "system-out").text = text
    suites = Xml.Element("testsuites")
    suites.append(suite)
    Xml.indent(suites)
    written: bytes = Xml.tostring(suites, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def sarif(decision: Decision, policy: Policy) -> dict[str, Any]:
    """A SARIF 2.1.0 log: a rule for each check of the policy, located at its line there."""
    rules = [
        {
            "id": check.id,
            "shortDescription": {"text": check.title},
            "fullDescription": {"text": check.reason},
            "help": {"text": f"{check.metric}; source: {check.source}"},
        }
        for check in policy.checks
    ]
    known = [rule["id"] for rule in rules]
    rules += [{"id": name} for name in dict.fromkeys(check.id for check in decision.checks) if name not in known]
    origins = {check.id: check.origin for check in policy.checks}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "synguard", "rules": rules}},
                "results": [_sarif_result(check, policy, origins.get(check.id, Origin())) for check in decision.checks],
            }
        ],
    }


def summary(decision: Decision, policy: Policy) -> str:
    """A few lines of Markdown for the page of a CI job: the verdict, and a row for each check that is not a plain pass."""
    open_ = [check for check in decision.checks if check.status != "pass"]
    lines = [
        f"## synguard: {decision.status}",
        "",
        f"{policy.name} {policy.version}: {len(decision.checks)} checks, {len(decision.checks) - len(open_)} hold. "
        f"Exit code {decision.exit_code}.",
    ]
    if open_:
        lines += ["", "| check | status | what was found |", "|---|---|---|"]
        lines += [f"| {in_markdown(check.id)} | {check.status} | {in_markdown(without_names(check))} |" for check in open_]
    lines += ["", "A pass says what was found at the power of the audit, never that images are anonymous."]
    return "\n".join(lines) + "\n"


def _sarif_result(check: CheckResult, policy: Policy, origin: Origin) -> dict[str, Any]:
    kind, level = _SARIF.get(check.status, ("fail", "error"))
    waived = {"suppressions": [{"kind": "external", "status": "accepted", "justification": f"waiver {check.waiver}"}]}
    return {
        **(waived if check.status == "waived" else {}),
        "ruleId": check.id,
        "kind": kind,
        "level": level,
        "message": {"text": _sarif_text(without_names(check))},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": origin.file or policy.file or f"{policy.name}.yaml"},
                    "region": {"startLine": max(1, origin.line)},
                }
            }
        ],
    }


def _sarif_text(text: str) -> str:
    """A message that no viewer makes a link of (SARIF 2.1.0, section 3.11.6: brackets), without direction signs."""
    plain = "".join(sign for sign in text.replace("\u00a0", " ") if sign.isprintable())
    return re.sub(r"([\\\[\]])", r"\\\1", plain)


def _xml(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold, and without those that only turn the direction of reading."""
    held = (
        c
        for c in text.replace("\u00a0", " ")
        if c in "\t\n" or (ord(c) >= 0x20 and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) < 0xFFFE)
    )
    return "".join(c for c in held if c in "\t\n" or c.isprintable())
