"""What a finished run hands back: the decision, the figures, the table of candidates and where the files are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from synguard.governance import manifest
from synguard.governance.record import metrics_of, read_run, tuples, verify_results
from synguard.results import CheckResult, Decision, Metric

__all__ = ["RunResult", "load_result"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run. A notebook shows it as the table of checks."""

    name: str
    folder: Path
    decision: Decision
    metrics: tuple[Metric, ...]

    @property
    def passed(self) -> bool:
        """Whether the release may go on to sign-off (warnings allowed)."""
        return self.decision.exit_code == 0

    @property
    def images(self) -> pd.DataFrame:
        """One row a candidate, as in images.parquet."""
        return pd.read_parquet(self.folder / "images.parquet")

    @property
    def internal_report(self) -> Path:
        """The internal edition: private data."""
        return self.folder / "report" / "internal.html"

    @property
    def public_report(self) -> Path:
        """The public edition."""
        return self.folder / "report" / "public.html"

    def metric(self, name: str, group: str | None = None) -> Metric:
        """One metric by name and group; KeyError names what there is."""
        for metric in self.metrics:
            if metric.name == name and metric.group == group:
                return metric
        raise KeyError(f"{name} (group {group}): found {sorted({(m.name, m.group or '') for m in self.metrics})}")

    def as_dict(self) -> dict[str, Any]:
        """Decision and paths as JSON values."""
        return {
            "name": self.name,
            "run": str(self.folder),
            "decision": asdict(self.decision),
            "reports": {"internal": str(self.internal_report), "public": str(self.public_report)},
        }

    def _repr_html_(self) -> str:
        from reports import result_html

        return result_html(self.decision, self.metrics)


def load_result(folder: Path) -> RunResult:
    """The result of a finished run, from its signed record. IntegrityError where record or accepted images were changed."""
    document = verify_results(folder)
    manifest.verify(folder / "accepted", manifest.read(folder / "manifest.json"))
    checks = tuple(CheckResult(**tuples(row)) for row in document["checks"])
    decision = Decision(
        status=document["decision"]["status"],
        exit_code=document["decision"]["exit_code"],
        reasons=tuple(document["decision"]["reasons"]),
        checks=checks,
    )
    return RunResult(str(read_run(folder).config.get("name", folder.name)), folder, decision, metrics_of(document))
