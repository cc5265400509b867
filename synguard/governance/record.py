"""The record of a run: `results.json`, signed when it is written, and `run.json`.

`results.json` is what was decided and on which figures. It holds no time, no machine and no path, so that equal inputs give
equal bytes; everything that differs from run to run is in `run.json`. Both are owner-only: reasons may name private files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from synguard.errors import IntegrityError
from synguard.governance import envelope
from synguard.governance.files import canonical, private_folder, read_json, sha256_of, write_private
from synguard.governance.keys import software
from synguard.governance.policy import Policy
from synguard.results import Decision, Metric

__all__ = [
    "PREDICATE_TYPE",
    "SCHEMA_VERSION",
    "ResultsContext",
    "RunRecord",
    "RunState",
    "metrics_of",
    "read_run",
    "results_document",
    "tuples",
    "verify_results",
    "write_results",
    "write_run",
]

SCHEMA_VERSION = 1
PREDICATE_TYPE = "urn:synguard:results:v1"
RunState = Literal["running", "stopped", "failed", "complete"]
"""stopped: by the circuit breaker. failed: by an error. complete: with a decision, whatever it says."""

_FOLDERS = re.compile(r"(?<![\w./…])(?:~|[A-Za-z]:)?(?:[/\\][^/\\\s:;,'\"]+)+[/\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsContext:
    """What the decision is about. `data` holds digests and sizes of the image sets and models, as JSON values."""

    policy: Policy
    released: Sequence[str]
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """`run.json`: how the run came about. Times are ISO 8601 text, timings seconds a phase."""

    id: str
    state: RunState
    config: Mapping[str, Any]
    command: Sequence[str] = ()
    started: str = ""
    finished: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    results_key: str = ""
    """Public key that `results.json` is signed with, as `write_results` gave it."""
    ledger: Mapping[str, Any] = field(default_factory=dict)
    """The ledger's head when this was written: its ledger, number and hash."""


def results_document(decision: Decision, metrics: Sequence[Metric], context: ResultsContext) -> dict[str, Any]:
    """What `results.json` holds. Metrics are sorted by name and group, checks stand as in the policy.

    Absolute paths in notes and reasons (an error may quote one) are cut to their last part.
    """
    policy = context.policy
    document = {
        "schema_version": SCHEMA_VERSION,
        "policy": {
            "name": policy.name,
            "version": policy.version,
            "title": policy.title,
            "file": policy.file,
            "sha256": policy.sha256,
            "digest": policy.digest,
            "confidence": policy.confidence,
        },
        "released": list(context.released),
        "data": dict(context.data),
        "decision": {"status": decision.status, "exit_code": int(decision.exit_code), "reasons": list(decision.reasons)},
        "checks": [_row(check) for check in decision.checks],
        "metrics": [_row(metric) for metric in sorted(metrics, key=lambda m: (m.name, m.group or ""))],
    }
    found: dict[str, Any] = _placeless(document)
    return found


def write_results(
    run: Path, decision: Decision, metrics: Sequence[Metric], context: ResultsContext, *, sign_too: Sequence[str] = ()
) -> str:
    """Writes `results.json` and its signature `results.dsse.json`; returns the public key for `RunRecord`.

    The private key signs once and is dropped. `sign_too` names further files of the run folder (such as "manifest.json")
    that the statement shall cover. Raises ValueError where a figure is NaN.
    """
    data = canonical(results_document(decision, metrics, context))
    subjects = {"results.json": hashlib.sha256(data).hexdigest()}
    subjects |= {name: sha256_of(run / name) for name in sign_too}
    key = software.new_key()
    stated = {"status": decision.status, "exit_code": int(decision.exit_code), "policy_sha256": context.policy.sha256}
    signed = envelope.sign(envelope.statement(subjects, PREDICATE_TYPE, stated), key)
    private_folder(run)
    write_private(run / "results.json", data)
    write_private(run / "results.dsse.json", signed)
    return key.public


def verify_results(run: Path, *, newer: Path | None = None) -> dict[str, Any]:
    """`results.json` of a run folder. Raises IntegrityError naming what does not fit: signature, key or a covered file.

    A file in `newer` counts instead of the one of the same name in the run.
    """

    def at(name: str) -> Path:
        return newer / name if newer is not None and (newer / name).is_file() else run / name

    public = read_json(at("run.json")).get("results_key")
    if not isinstance(public, str) or not public:
        raise IntegrityError(f"{at('run.json')}: found no results_key, expected the public key of results.json")
    signed = at("results.dsse.json")
    if not signed.is_file():
        raise IntegrityError(f"{signed}: found no such file, expected the signature of results.json")
    stated = envelope.verify(signed.read_bytes(), public, str(signed))
    if stated.get("_type") != envelope.STATEMENT_TYPE or stated.get("predicateType") != PREDICATE_TYPE:
        raise IntegrityError(f"{signed}: found a statement about something else, expected one about results.json")
    subjects = {row["name"]: row["digest"]["sha256"] for row in stated["subject"]}
    if "results.json" not in subjects:
        raise IntegrityError(f"{signed}: found no digest of results.json, expected it among the subjects")
    for name, digest in subjects.items():
        path = at(name)
        found = sha256_of(path) if path.is_file() and not path.is_symlink() else "no such file"
        if found != digest:
            raise IntegrityError(f"{path}: found {found[:16]}, expected sha256 {digest[:16]} as signed")
    return read_json(at("results.json"))


def metrics_of(document: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The metrics of what `verify_results` returned."""
    return tuple(Metric(**tuples(row)) for row in document["metrics"])


def tuples(row: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples they were, and its text for infinity as the number."""
    infinite = {"inf": float("inf"), "-inf": float("-inf")}

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(plain(item) for item in value)
        return infinite.get(value, value) if isinstance(value, str) else value

    return {key: plain(value) for key, value in row.items()}


def write_run(run: Path, record: RunRecord) -> None:
    """Writes `run.json`; called at every change of state."""
    config = canonical(record.config)
    document = {
        "schema_version": SCHEMA_VERSION,
        "config_sha256": hashlib.sha256(config).hexdigest(),
        **{item.name: getattr(record, item.name) for item in fields(record)},
    }
    private_folder(run)
    write_private(run / "run.json", canonical(document))


def read_run(run: Path) -> RunRecord:
    """`run.json` of a run folder. Raises IntegrityError where it is not one or its configuration was changed."""
    path = run / "run.json"
    found = read_json(path)
    names = {item.name for item in fields(RunRecord)}
    expected = {"schema_version", "config_sha256", *names}
    if set(found) != expected:
        wrong = ", ".join(sorted(set(found) ^ expected))
        raise IntegrityError(f"{path}: found other keys than expected ({wrong}), expected schema version {SCHEMA_VERSION}")
    if found["schema_version"] != SCHEMA_VERSION:
        raise IntegrityError(f"{path}: found schema version {found['schema_version']}, expected {SCHEMA_VERSION}")
    if hashlib.sha256(canonical(found["config"])).hexdigest() != found["config_sha256"]:
        raise IntegrityError(f"{path}: found a config that does not fit config_sha256, expected the one of the run")
    values: dict[str, Any] = {**{name: found[name] for name in names}, "command": tuple(found["command"])}
    return RunRecord(**values)


def _row(item: Any) -> dict[str, Any]:
    """A metric or a check as JSON values."""
    return {part.name: getattr(item, part.name) for part in fields(item)}


def _placeless(value: Any) -> Any:
    """The value with absolute paths cut to their last part: nothing may say where on which machine the run was made."""
    if isinstance(value, str):
        return _FOLDERS.sub("…/", value)
    if isinstance(value, Mapping):
        return {key: _placeless(item) for key, item in value.items()}
    return [_placeless(item) for item in value] if isinstance(value, list | tuple) else value
