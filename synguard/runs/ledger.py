"""What a run writes into the ledger: that it began, its attempt at the gate, its batches, the decision, how it ended.

Every entry but those on the state is written at most once a run, however often the run is resumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from synguard.config import RunConfig
from synguard.errors import InputError, IntegrityError
from synguard.governance.files import canonical, sha256_of
from synguard.governance.ledger import Head, Ledger
from synguard.governance.policy import Policy
from synguard.governance.record import RunState
from synguard.results import Metric
from synguard.runs.folder import RunFolder
from synguard.runs.material import Material

__all__ = ["RunLedger"]

_DECIDED_ON = ("results.json", "manifest.json", "images.parquet", "evidence.json")
"""Files that may not change after the decision. The policy's digest is in the results."""


@dataclass(frozen=True, slots=True)
class RunLedger:
    """A ledger as one run writes to it."""

    ledger: Ledger
    run: str

    def began(self, config: RunConfig, identity: Mapping[str, Any], policy: Policy) -> None:
        """The run. `identity` is what a resumed run must be equal in; the ledger learns it under its key only."""
        self._once(
            "run",
            {
                "name": config.name,
                "releases": list(config.release.covers),
                "policy": {"name": policy.name, "version": policy.version, "sha256": policy.sha256},
                "identity": self.ledger.key().seal(canonical(identity)),
            },
        )

    def resumed(self, known: Mapping[str, Any], identity: Mapping[str, Any], where: object) -> None:
        """That the run goes on. `known` is the head in its run.json: InputError where that is of another ledger.

        Raises IntegrityError where the ledger has no run of this id and `identity`.
        """
        if known and Head.of_dict(known, f"{where}: run.json").ledger != self.ledger.id:
            found = f"a run that is recorded in ledger {str(known['ledger'])[:16]}"
            raise InputError.of(where, found, f"one of {self.ledger.place}, which is ledger {self.ledger.id[:16]}")
        sealed = self.ledger.key().seal(canonical(identity))
        began = [str(entry.payload.get("identity")) for entry in self.ledger.entries("run", self.run)]
        if began != [sealed]:
            found = "no run of this id" if not began else f"a run that began as {began[0][:16]}"
            raise IntegrityError(f"{where}: found {found} in {self.ledger.place}, expected {sealed[:16]} as the run is now")
        self.state("resumed")

    def attempt(self, material: Material) -> Metric:
        """The attempt, written before anything is known about the candidates; how many there were on these images by now."""
        key = self.ledger.key()
        sets = [key.blind(images.pixels) for images in (material.private, material.holdout)]
        digests = [self.ledger.append_images(images).payload["sha256"] for images in sets]
        entry = self._once("attempt", {"sets": digests})
        count = self.ledger.attempts(sets, until=entry.number)
        return Metric(
            name="run.attempts",
            value=count,
            n=count,
            unit="attempts",
            method="runs in the ledger whose private set or holdout shares images with these, this one among them",
        )

    def batch(self, number: int, rows: pd.DataFrame, file: str | None = None) -> None:
        """A batch that was examined. Its candidates are named by one digest; `file` is that of the rows that were kept."""
        digest = hashlib.sha256("\n".join(rows["sha256"]).encode()).hexdigest()
        counts = {"examined": len(rows), "accepted": int(rows["accepted"].sum())}
        kept = {} if file is None else {"rows": file}
        self._once("batch", {"batch": number, "candidates": digest, **counts, **kept})

    def batches(self) -> dict[int, str]:
        """Digests of the rows of all batches that are recorded, by number."""
        return self._digests("batch", "batch", "rows")

    def probe(self, name: str, file: str) -> None:
        """An audit that was done. `file` is the digest of what it found."""
        self._once("probe", {"name": name, "sha256": file})

    def probes(self) -> dict[str, str]:
        """Digests of what audits found, by their names."""
        return self._digests("probe", "name", "sha256")

    def decided(self, folder: RunFolder, status: str, exit_code: int, policy: Policy) -> None:
        """The decision, bound to the files that it rests on."""
        self._once("decision", _decision(folder, status, exit_code, policy))

    def knows_decision(self, folder: RunFolder) -> bool:
        """Whether the last decision that the ledger has on the run is that of the folder."""
        decisions = self.ledger.entries("decision", self.run)
        return bool(decisions) and decisions[-1].payload["files"] == _files(folder)

    def decided_again(self, folder: RunFolder, status: str, exit_code: int, policy: Policy) -> None:
        """A further decision, also one that there was before another, unless the last one is this very one."""
        if not self.knows_decision(folder):
            self.ledger.append("decision", {"run": self.run, **_decision(folder, status, exit_code, policy)})

    def ended(self, state: RunState) -> Head:
        """That the run has ended; the head after it, which the reports print."""
        self._once("state", {"state": state})
        return self.ledger.head()

    def state(self, state: str, **more: Any) -> None:
        """A change of state: failed (with the kind of error, whose message may name private files) or resumed."""
        self.ledger.append("state", {"run": self.run, "state": state, **more})

    def _digests(self, kind: str, name: str, digest: str) -> dict[Any, str]:
        """The `digest` in each entry of a kind by the `name` in it. IntegrityError where two differ, or one has none."""
        found: dict[Any, str] = {}
        for entry in self.ledger.entries(kind, self.run):
            known = found.setdefault(entry.payload[name], str(entry.payload.get(digest)))
            if known != entry.payload.get(digest):
                said = f"{kind} {entry.payload[name]} with {digest} {str(entry.payload.get(digest))[:16]}"
                expected = "a digest (an earlier version began the run)" if known == "None" else known[:16]
                raise IntegrityError(f"{self.ledger.place}: entry {entry.number}: found {said}, expected {expected}")
        return found

    def _once(self, kind: str, payload: Mapping[str, Any]) -> Any:
        return self.ledger.append_once(kind, {"run": self.run, **payload})


def _decision(folder: RunFolder, status: str, exit_code: int, policy: Policy) -> dict[str, Any]:
    return {"status": status, "exit_code": exit_code, "policy": policy.sha256, "files": _files(folder)}


def _files(folder: RunFolder) -> dict[str, str]:
    return {name: sha256_of(folder.path / name) for name in _DECIDED_ON}
