"""Deciding again on a run, after people looked: the figures that it recorded, and what the ledger has of its readers.

Nothing is measured anew, and nothing that the audits found is taken back: reviews add metrics of their own. The decision
before is kept as `results.1.json` with its signature and policy, then `results.2.json` and so on. The ledger gets the new
decision as a further entry, and approvals of the old one no longer count. A decision is written beside the run first and
moved into it whole, so that one which was interrupted is completed by the next.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

import reports
from synguard.errors import InputError
from synguard.governance import ci, manifest
from synguard.governance.files import canonical, sha256_of, write_private
from synguard.governance.gate import decide
from synguard.governance.ledger.place import Where
from synguard.governance.policy import Policy, load_policy, read_resolved
from synguard.governance.record import ResultsContext, metrics_of, read_run, verify_results, write_results, write_run
from synguard.results import Metric
from synguard.review.decisions import KIND, read_decisions
from synguard.review.queue import read_pairs
from synguard.review.summary import Review, review_metrics, summarise
from synguard.runs.decided import PENDING, REPORT, book_of, complete, looser
from synguard.runs.folder import RunFolder, whole_folder
from synguard.runs.ledger import RunLedger
from synguard.runs.result import RunResult, load_result

__all__ = ["decide_again"]

_REVIEW = "review.json"
_SIGNED = ("manifest.json", "images.parquet", "evidence.json", "policy.json")


def decide_again(run: Path, policy: str | None = None, *, ledger: Where = None) -> RunResult:
    """The new decision, by the run's own policy or a stricter one; written only where it differs from the one that is there.

    Raises InputError where the other policy is looser in anything but a waiver.
    """
    book = book_of(run, ledger)
    folder, document, record = RunFolder(run), verify_results(run), read_run(run)
    manifest.verify(folder.accepted, manifest.read(run / "manifest.json"))
    own = read_resolved(folder.policy.read_bytes(), str(folder.policy))
    limits = own if policy is None else _at_least(own, load_policy(policy))
    review = summarise(read_pairs(run), read_decisions(book.entries(KIND, record.id)))
    kept = [metric for metric in metrics_of(document) if not metric.name.startswith("review.")]
    metrics = (*kept, *_of_readers(folder, review))
    context = ResultsContext(policy=limits, released=document["released"], data=document["data"])
    with whole_folder(run / PENDING) as scratch:
        _write(run, scratch, metrics, context, review)
        unchanged = all(
            (run / name).is_file() and sha256_of(scratch / name) == sha256_of(run / name)
            for name in ("results.json", "policy.json", _REVIEW)
        )
    rows = RunLedger(book, record.id)
    if unchanged:
        shutil.rmtree((run / PENDING).rename(run / f".{PENDING}.unchanged"))
        if rows.knows_decision(folder) and (run / REPORT).is_file():
            return load_result(run)
    complete(run)
    result = load_result(run)
    ci.write_ci(run, result.decision, limits)
    rows.decided_again(folder, result.decision.status, result.decision.exit_code, limits)
    write_run(run, replace(read_run(run), ledger=book.head().as_dict()))
    for edition in ("internal", "public"):
        reports.render(run, edition)
    return result


def _at_least(own: Policy, other: Policy) -> Policy:
    """The other policy. Raises InputError where it asks less: whoever asks policies until one says yes gets a yes by luck.

    A waiver may be new: it has an owner, an approver and an end, and stands in every report.
    """
    less = looser(own, other)
    if less:
        expected = "a policy that asks as much as the one that the run was decided by, or a new run"
        raise InputError.of(f"policy {other.name} {other.version}", f"a looser one ({less[0]})", expected)
    return other


def _of_readers(folder: RunFolder, review: Review) -> tuple[Metric, ...]:
    accepted = pd.read_parquet(folder.images, columns=["accepted"])["accepted"]
    return review_metrics(review, examined=len(accepted), accepted=int(accepted.sum()))


def _write(run: Path, scratch: Path, metrics: Sequence[Metric], context: ResultsContext, review: Review) -> None:
    """All files of the new decision, with the old one under its number, into `scratch`."""
    decision = decide(context.policy, metrics, released=context.released, today=datetime.now(UTC).date())
    number = 1 + sum(1 for _ in run.glob("results.*[0-9].json"))
    for name in ("results.json", "results.dsse.json", "policy.json"):
        stem, rest = name.split(".", 1)
        shutil.copyfile(run / name, scratch / f"{stem}.{number}.{rest}")
    for name in _SIGNED[:3]:
        os.link(run / name, scratch / name)
    write_private(scratch / "policy.json", context.policy.to_bytes())
    write_private(scratch / _REVIEW, canonical(asdict(review)))
    key = write_results(scratch, decision, metrics, context, sign_too=(*_SIGNED, _REVIEW))
    write_run(scratch, replace(read_run(run), results_key=key))
    for name in _SIGNED[:3]:
        (scratch / name).unlink()
