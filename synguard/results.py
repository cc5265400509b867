"""The typed results that every part of synguard exchanges: a metric, a finding, a check, an audit's result, a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

__all__ = [
    "AuditResult",
    "CheckResult",
    "Decision",
    "ExitCode",
    "Finding",
    "Metric",
    "MetricState",
    "Status",
]

MetricState = Literal["measured", "insufficient", "invalid", "not_tested", "error"]
Status = Literal["pass", "warn", "fail", "insufficient", "invalid", "error", "waived"]


class ExitCode(IntEnum):
    """What the process ends with. Where several hold, `precedence` decides."""

    PASS = 0
    INTERNAL = 1
    USAGE = 2
    WARN = 10
    FAIL = 20
    APPROVALS = 21
    EVIDENCE = 22
    INTEGRITY = 30

    @staticmethod
    def precedence() -> tuple[ExitCode, ...]:
        """Codes from the one that always wins to the one that always yields."""
        code = ExitCode
        return (
            code.INTEGRITY,
            code.INTERNAL,
            code.USAGE,
            code.FAIL,
            code.APPROVALS,
            code.EVIDENCE,
            code.WARN,
            code.PASS,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A named figure with everything needed to judge it.

    `interval` is two-sided at `confidence` and is what people read. `bounds` are the lower and the upper one-sided bound,
    each at `confidence`: limits are held against these. `attainable` are the bounds that a perfectly clean release with the
    same sample sizes would have had: where even those break a limit, the evidence is too small to decide, and the check is
    `insufficient`, not failed. `value` is None only when `state` is not "measured".
    """

    name: str
    value: float | None
    n: int
    unit: str
    method: str
    group: str | None = None
    interval: tuple[float, float] | None = None
    bounds: tuple[float, float] | None = None
    attainable: tuple[float, float] | None = None
    confidence: float = 0.95
    baseline: float | None = None
    baseline_name: str = ""
    state: MetricState = "measured"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One image's result in one stage. `refused` sends the image to quarantine with `reason`."""

    image: str
    stage: str
    refused: bool
    reason: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What one audit has to say: figures for the gate, and evidence for the report.

    `evidence` holds only JSON values (numbers, text, lists, mappings): curves, histograms, tables.
    `public` names the keys of `evidence` that may be shown outside; the public edition takes nothing else.
    """

    name: str
    metrics: tuple[Metric, ...]
    evidence: Mapping[str, Any] = field(default_factory=dict)
    public: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One limit of the policy held against one metric."""

    id: str
    metric: str
    status: Status
    reason: str
    group: str | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    bound: float | None = None
    limit: str = ""
    unit: str = ""
    n: int = 0
    blocker: bool = False
    title: str = ""
    waiver: str = ""
    """The id of the waiver that excuses it, where the status is "waived"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """All checks together. `reasons` are whole sentences, the weightiest first."""

    status: Literal["pass", "warn", "fail", "insufficient", "error"]
    exit_code: int
    reasons: tuple[str, ...]
    checks: tuple[CheckResult, ...]
