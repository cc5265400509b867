"""A finished run of a few pairs for people to look at, with its ledger. Images are drawings, figures invented."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synguard.governance import manifest
from synguard.governance.files import canonical
from synguard.governance.gate import decide
from synguard.governance.ledger import Ledger
from synguard.governance.policy import parse_policy
from synguard.governance.record import ResultsContext, RunRecord, read_run, write_results, write_run
from synguard.results import Metric
from synguard.review.decisions import KIND, payload
from synguard.review.queue import pair_digest, read_pairs
from synguard.runs.folder import RunFolder
from synguard.runs.ledger import RunLedger
from tests.support.runs import fundus, png

__all__ = ["ASKS_NOBODY", "ASKS_READERS", "digests", "reviewed_run", "say"]

RUN = "5" * 32
_CHECK = """  - {{id: {id}, title: "{id}", metric: {metric}, {more},
     reason: invented for the tests of reviews, source: this test}}
"""
_HEAD = """schema: synguard/policy/v1
name: tiny
version: 1.0.0
releases: [images]
approvals: [{{role: privacy-officer, count: 1 person}}]
checks:
"""
ASKS_NOBODY = (
    _HEAD.format()
    + _CHECK.format(id="copies", metric="memorisation.verified_copies", more="group: accepted, fail: {above: 0 images}")
).encode()
ASKS_READERS = (
    ASKS_NOBODY.decode()
    + _CHECK.format(id="read", metric="review.pairs_open", more="fail: {above: 0 pairs}")
    + _CHECK.format(id="eyes", metric="review.known_copies_found", more='each_group: true, fail: {below: "20%"}')
).encode()


def reviewed_run(
    folder: Path,
    ledger: Ledger,
    *,
    policy: bytes = ASKS_NOBODY,
    flagged: int = 0,
    review: int = 3,
    known: int = 3,
    controls: int = 2,
    unpictured: int = 0,
    name: str = "tiny",
    enlarged: int = 1,
) -> Path:
    """`flagged` verified copies in quarantine, `review` accepted candidates on the review list, and so on.

    All pictures are 64 pixels a side, times `enlarged`.
    """
    (folder / "accepted" / "images").mkdir(parents=True)
    (folder / "pairs").mkdir()
    (folder / "report").mkdir()
    images: list[dict[str, Any]] = []

    def pair(place: str, seed: int, *, alike: bool, file: str = "", **more: Any) -> dict[str, Any]:
        private, other = (fundus(s).repeat(enlarged, 0).repeat(enlarged, 1) for s in (seed, seed + 500))
        candidate = np.clip(private * 1.1, 0, 255).astype(np.uint8) if alike else other
        for kind, pixels in (("candidate", candidate), ("private", private)):
            (folder / "pairs" / f"{place}-{kind}.png").write_bytes(png(pixels))
        return {"file": file, "pair": f"pairs/{place}", "pair_sha256": pair_digest(candidate, private), **more}

    def row(file: str, accepted: bool, seed: int) -> None:
        if accepted:
            (folder / "accepted" / file).write_bytes(png(fundus(seed)))
        images.append({"file": file, "sha256": "", "accepted": accepted, "reason": "" if accepted else "copy"})

    said: dict[str, list[dict[str, Any]]] = {"flagged": [], "review": []}
    for i in range(flagged):
        row(f"images/f{i}.png", False, i)
        said["flagged"].append(pair(f"{i + 1:04d}", i, alike=True, file=f"images/f{i}.png", accepted=False, score=9.0))
    for i in range(review):
        row(f"images/r{i}.png", True, 100 + i)
        said["review"].append(
            pair(f"{flagged + i + 1:04d}", 100 + i, alike=False, file=f"images/r{i}.png", accepted=True, score=3.0)
        )
    for i in range(unpictured):
        row(f"images/u{i}.png", True, 150 + i)
        said["review"].append({"file": f"images/u{i}.png", "accepted": True, "score": 2.0})
    measures = {
        "known": [pair(f"k{i + 1:04d}", 200 + i, alike=True) for i in range(known)],
        "controls": [pair(f"c{i + 1:04d}", 300 + i, alike=False) for i in range(controls)],
    }
    row("images/last.png", True, 400)
    (folder / "accepted" / "metadata.jsonl").write_text("".join(json.dumps({"file_name": r["file"]}) + "\n" for r in images))
    pd.DataFrame(images).to_parquet(folder / "images.parquet")
    (folder / "evidence.json").write_bytes(canonical({"memorisation": said, "review": measures}))
    manifest.write(manifest.build(folder / "accepted"), folder / "manifest.json")
    for edition in ("internal", "public"):
        (folder / "report" / f"{edition}.html").write_text("<p>an earlier decision</p>")
    limits = parse_policy(policy, "policy.yaml")
    (folder / "policy.json").write_bytes(limits.to_bytes())
    metrics = _metrics(len(images), flagged)
    decision = decide(limits, metrics, released=("images",))
    context = ResultsContext(policy=limits, released=("images",))
    signed = ("manifest.json", "images.parquet", "evidence.json", "policy.json")
    key = write_results(folder, decision, metrics, context, sign_too=signed)
    write_run(folder, RunRecord(id=RUN, state="complete", config={"name": name, "seed": 1}, results_key=key))
    ledger.append("run", {"run": RUN, "name": name})
    rows = RunLedger(ledger, RUN)
    rows.decided(RunFolder(folder), decision.status, decision.exit_code, limits)
    write_run(folder, replace(read_run(folder), ledger=rows.ended("complete").as_dict()))
    return folder


def digests(folder: Path, kind: str) -> list[str]:
    """The pairs of a kind, in the order of the evidence."""
    return [pair.digest for pair in read_pairs(folder) if pair.kind == kind]


def say(ledger: Ledger, name: str, verdicts: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> None:
    """One reader's verdicts on pairs, straight into the ledger; None takes one back."""
    for pair, verdict in verdicts.items() if isinstance(verdicts, Mapping) else verdicts:
        ledger.append(KIND, payload(RUN, name, pair, verdict, "the disc" if verdict in ("copy", "same patient") else ""))


def _metrics(examined: int, flagged: int) -> tuple[Metric, ...]:
    def count(name: str, group: str | None, value: float) -> Metric:
        span = (value, value)
        return Metric(
            name=name, group=group, value=value, n=examined, unit="images", method="test", interval=span, bounds=span
        )

    return (
        count("memorisation.verified_copies", None, float(flagged)),
        count("memorisation.verified_copies", "accepted", 0.0),
    )
