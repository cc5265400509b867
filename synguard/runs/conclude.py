"""From rows to a decision: figures of every candidate, probes on the release, gate, record, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pandas as pd

import reports
from audits import autoencoder, disclosure, epsilon, fidelity, labels, membership, memorisation
from audits.epsilon import Drawn, Spent
from audits.membership import Reference
from synguard.config import RunConfig
from synguard.data.images import ImageSet
from synguard.governance import ci, manifest
from synguard.governance.files import canonical, write_private
from synguard.governance.gate import decide
from synguard.governance.manifest import Manifest
from synguard.governance.policy import Policy
from synguard.governance.record import ResultsContext, tuples, write_results
from synguard.metrics.intervals import clopper_pearson, clopper_pearson_bounds
from synguard.results import AuditResult, Metric
from synguard.runs.by_hand import BY_HAND
from synguard.runs.examine import HOLDOUT_COPY, examined_of, public_rows
from synguard.runs.folder import RunFolder, check_recorded
from synguard.runs.inside import Inside
from synguard.runs.ledger import RunLedger
from synguard.runs.pairs import picture_pairs
from synguard.runs.prepare import Prepared
from synguard.runs.progress import Progress, Timings

__all__ = ["audit_results", "conclude"]

_OF_THE_ROWS = frozenset({"memorisation", "labels"})
"""Audits that add up the rows: soon done, and done anew whatever a file that an earlier execution left may say."""


def audit_results(
    folder: RunFolder,
    rows: pd.DataFrame,
    synthetic: ImageSet,
    prepared: Prepared,
    config: RunConfig,
    inside: Inside,
    *,
    reference: Reference | None,
    spent: Spent | str,
    timings: Timings,
    progress: Progress,
    ledger: RunLedger,
) -> list[AuditResult]:
    """All audits' results. Each is kept in `probes/` when it is done, so that a resumed run repeats none that takes long:
    none whose file `ledger` knows. IntegrityError where it knows another one.

    `inside` is the way into the model, as far as it lets the audits, `reference` a model for membership probes to compare.
    `spent` is what private training spent, or why nothing is known of it.
    """
    material = prepared.material
    folder.probes.mkdir(mode=0o700, exist_ok=True)
    asked = _columns(rows, "condition.")

    def of_labels() -> AuditResult:
        if prepared.ceiling is None:
            return labels.not_tested("no conditions were declared")
        return labels.summarise(asked, _columns(rows, "annotation."), prepared.ceiling, seed=config.seed)

    steps: dict[str, Callable[[], AuditResult]] = {
        "memorisation": lambda: memorisation.summarise(
            examined_of(rows),
            rows["accepted"].to_numpy(dtype=bool),
            prepared.memorisation.planted(),
            prepared.memorisation,
            rows["file"].tolist(),
            prepared.validity.reason if prepared.validity.state == "invalid" else None,
            rows["strategy"].fillna("").to_numpy(dtype=str) if "strategy" in rows else None,
            rows[HOLDOUT_COPY].to_numpy(dtype=bool),
        ),
        "labels": of_labels,
        "membership": lambda: membership.run(
            material.private,
            prepared.roles,
            synthetic,
            conditions=material.schema,
            denoiser=inside.denoiser,
            closed=inside.why_not,
            reference=reference,
            embedder=prepared.embedder,
            embedded=prepared.embedded,
            split=prepared.validity,
            config=config.audits.membership,
            seed=config.seed,
            delta=None if isinstance(material.drawn, Drawn) else epsilon.delta_of(spent, material.private),
        ),
        "epsilon": lambda: epsilon.run(
            material.private,
            prepared.roles,
            drawn=material.drawn,
            spent=spent,
            conditions=material.schema,
            denoiser=inside.denoiser,
            closed=inside.why_not,
            config=config.audits.membership,
            seed=config.seed,
        ),
        "disclosure": lambda: disclosure.run(
            material.private,
            prepared.roles,
            synthetic,
            schema=material.schema,
            embedder=prepared.embedder,
            split=prepared.validity,
            config=config.audits.membership,
            seed=config.seed,
        ),
        "autoencoder": lambda: autoencoder.run(
            material.private,
            prepared.roles,
            autoencoder=inside.autoencoder,
            split=prepared.validity,
            config=config.audits.membership,
            seed=config.seed,
        ),
        "fidelity": lambda: fidelity.run(
            prepared.roles.evaluation,
            prepared.roles.reference,
            synthetic.pixels,
            prepared.embedder,
            config.audits.fidelity,
            config.seed,
        ),
    }
    results = []
    recorded = ledger.probes()
    for number, (name, step) in enumerate(steps.items()):
        progress("audits of the release", number, len(steps))
        with timings.phase(name):
            path = folder.probes / f"{name}.json"
            data = _done(path, step, anew=name in _OF_THE_ROWS or name not in recorded)
            if name not in _OF_THE_ROWS:
                ledger.probe(name, check_recorded(path, data, recorded.get(name)))
            results.append(_read(data))
    progress("audits of the release", len(steps), len(steps))
    return results


def conclude(
    folder: RunFolder,
    rows: pd.DataFrame,
    results: Sequence[AuditResult],
    prepared: Prepared,
    config: RunConfig,
    policy: Policy,
    *,
    candidates: ImageSet,
    accepted: Manifest,
    tripped: bool,
    link: str,
    attempts: Metric,
    ledger: RunLedger,
    curve: Mapping[str, Any] | None = None,
) -> str:
    """Decide, and write images.parquet, manifest.json, evidence.json, policy.json, results.json and the CI files.

    `candidates` are the pixels of all rows for the pictures of pairs, `accepted` the manifest of the images that
    were examined and accepted: IntegrityError where others lie there by now. `attempts` is the run's own at the gate, and
    `ledger` learns the decision. `curve` is that of the training, if one was kept. Returns the public key of the signature
    on results.json.
    """
    manifest.verify(folder.accepted, accepted)
    metrics = tuple(metric for result in results for metric in result.metrics)
    metrics += (*_data_metrics(prepared), *_run_metrics(rows, config, tripped), attempts)
    decision = decide(policy, metrics, released=config.release.covers, today=datetime.now(UTC).date())
    public_rows(rows).to_parquet(folder.images, index=False)
    folder.images.chmod(0o600)
    manifest.write(accepted, folder.path / "manifest.json")
    evidence = {result.name: dict(result.evidence) for result in results}
    said = evidence["memorisation"]
    said["flagged"] = sorted(said["flagged"], key=lambda entry: not entry["accepted"])
    listed = [*said["flagged"], *said["review"]]
    attributes = [attribute.model_dump(mode="json") for attribute in config.conditions]
    samples = [{"file": file} for file in reports.sampled_files(public_rows(rows), attributes)]
    evidence["review"] = picture_pairs(folder, rows, prepared, candidates, listed, config.seed, samples)
    evidence["samples"] = {"nearest": samples}
    evidence["data"] = _data_evidence(prepared, link)
    evidence["run"] = {"batches": _batches(rows)}
    if curve is not None:
        evidence["training"] = {"curve": dict(curve)}
    write_private(folder.evidence, canonical(evidence))
    material = prepared.material
    context = ResultsContext(
        policy=policy,
        released=config.release.covers,
        data={
            "private": {"sha256": material.private.digest, "images": len(material.private)},
            "holdout": {"sha256": material.holdout.digest, "images": len(material.unseen)},
            "roles": prepared.roles.digest,
            "conditions": material.schema.digest,
            "link": link,
        },
    )
    write_private(folder.policy, policy.to_bytes())
    signed = ("manifest.json", "images.parquet", "evidence.json", "policy.json")
    key = write_results(folder.path, decision, metrics, context, sign_too=signed)
    ci.write_ci(folder.path, decision, policy)
    ledger.decided(folder, decision.status, int(decision.exit_code), policy)
    return key


def write_reports(folder: RunFolder) -> None:
    """Write both editions."""
    reports.render(folder.path, "internal")
    reports.render(folder.path, "public")


def _done(path: Path, step: Callable[[], AuditResult], *, anew: bool) -> bytes:
    """What an audit found, as its file has it."""
    if anew or not path.exists():
        write_private(path, json.dumps(asdict(step()), allow_nan=True).encode())
    return path.read_bytes()


def _read(data: bytes) -> AuditResult:
    """Read back whoever wrote it, so that a resumed run sees the very same values."""
    value = json.loads(data)
    metrics = tuple(Metric(**tuples(row)) for row in value.pop("metrics"))
    return AuditResult(metrics=metrics, public=tuple(value.pop("public")), **value)


def _columns(rows: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """The columns with a prefix, without it."""
    return rows[[name for name in rows.columns if name.startswith(prefix)]].rename(
        columns=lambda name: name.removeprefix(prefix)
    )


def _data_metrics(prepared: Prepared) -> tuple[Metric, ...]:
    material, near = prepared.material, prepared.near_copies
    overlap, n = material.overlap, len(material.unseen)
    pairs = len(overlap.same_patient) + len(overlap.same_bytes) + len(overlap.same_pixels)
    return (
        Metric(
            name="data.overlap_pairs",
            value=pairs,
            n=n,
            unit="pairs",
            method="patient ids, file digests and pixel digests of all images",
            note=overlap.describe(),
        ),
        Metric(
            name="data.overlap_images",
            value=len(near) / n,
            n=n,
            unit="share",
            method="verified near copies of private images, removed from the holdout before it was split",
            interval=clopper_pearson(len(near), n),
            bounds=clopper_pearson_bounds(len(near), n),
        ),
    )


def _run_metrics(rows: pd.DataFrame, config: RunConfig, tripped: bool) -> tuple[Metric, ...]:
    n = len(rows)
    reasons = rows["reason"].fillna("")
    by_labels, by_hand, copies = (int(reasons.str.startswith(how).sum()) for how in ("label", BY_HAND, "copy"))
    refused = int((reasons != "").sum())
    sheets = refused - by_labels - by_hand - copies
    accepted = int(rows["accepted"].sum())
    note = f"stopped by the circuit breaker after {n} candidates, {config.release.images} were asked for" if tripped else ""
    rates = tuple(
        Metric(
            name="run.quarantine_rate",
            group=group,
            value=count / n if n else None,
            n=n,
            unit="share",
            method="share of candidates refused, of all examined; Clopper-Pearson",
            interval=clopper_pearson(count, n),
            bounds=clopper_pearson_bounds(count, n),
            state="measured" if n else "insufficient",
        )
        for group, count in (
            (None, refused),
            ("labels", by_labels),
            ("copies", copies),
            *((group, count) for group, count in (("sheets", sheets), (BY_HAND, by_hand)) if count),
        )
    )
    done = Metric(
        name="accepted.images",
        value=accepted,
        n=n,
        unit="images",
        method="count",
        state="insufficient" if tripped else "measured",
        note=note,
    )
    return (*rates, done)


def _data_evidence(prepared: Prepared, link: str) -> dict[str, Any]:
    material = prepared.material
    return {
        "private_images": len(material.private),
        "searched_images": len(material.searched),
        "private_patients": len(set(material.private.patients.tolist())),
        "holdout_images": len(material.unseen),
        "roles": {name: len(getattr(prepared.roles, name)) for name in ("calibration", "evaluation", "reference")},
        "overlap": material.overlap.as_json(),
        "near_copies": [asdict(copy) for copy in prepared.near_copies],
        "duplicates": [duplicate.as_json() for duplicate in material.duplicates],
        "skipped": {"private": list(material.private.skipped), "holdout": list(material.holdout.skipped)},
        "link": link,
    }


def _batches(rows: pd.DataFrame) -> list[dict[str, int]]:
    """Examined, accepted and refused candidates of each batch."""
    if "batch" not in rows.columns:
        return []
    reasons = rows["reason"].fillna("")
    is_label = reasons.str.startswith("label")
    frame = pd.DataFrame(
        {
            "batch": rows["batch"],
            "examined": 1,
            "accepted": rows["accepted"].astype(int),
            "refused_copies": ((reasons != "") & ~is_label).astype(int),
            "refused_labels": is_label.astype(int),
        }
    )
    return cast(list[dict[str, int]], frame.groupby("batch", as_index=False).sum().to_dict("records"))
