"""synguard: privacy auditing and release governance for synthetic medical images.

The same as the command line, from Python:

    import synguard

    result = synguard.audit(private="private", holdout="holdout", synthetic="made", out="runs/audit")
    result.passed                                        # may the release go on to sign-off?
    result.decision.reasons                              # why, in sentences
    result.metric("memorisation.verified_copies").value
    result.images                                        # one row a candidate
    result                                               # a notebook shows the table of checks

    synguard.generate_and_audit("synguard.yaml", out="runs/first")

Names are loaded when they are first used, so that importing a leaf imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synguard.results import CheckResult, Decision, Metric
    from synguard.runs.execute import audit, generate_and_audit
    from synguard.runs.result import RunResult

__all__ = ["CheckResult", "Decision", "Metric", "RunResult", "audit", "generate_and_audit"]

_HOMES = {
    "CheckResult": "synguard.results",
    "Decision": "synguard.results",
    "Metric": "synguard.results",
    "RunResult": "synguard.runs.result",
    "audit": "synguard.runs.execute",
    "generate_and_audit": "synguard.runs.execute",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'synguard' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
