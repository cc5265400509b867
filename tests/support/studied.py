"""A finished run with a holdout and accepted images to make a reader study of. Images are drawings, figures invented."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from synguard.config import AttributeConfig, DataSource, RunConfig
from synguard.data.readers import read_images
from synguard.governance import manifest
from synguard.governance.files import canonical
from synguard.governance.gate import decide
from synguard.governance.ledger import Ledger
from synguard.governance.policy import parse_policy
from synguard.governance.record import ResultsContext, RunRecord, read_run, write_results, write_run
from synguard.review.decisions import reader_id
from synguard.review.study.answers import KIND, Given, payload
from synguard.review.study.plan import Item
from synguard.runs.folder import RunFolder
from synguard.runs.ledger import RunLedger
from synguard.runs.study import Study
from tests.support.reviewed import ASKS_NOBODY
from tests.support.runs import fundus, png

__all__ = ["GRADES", "HOSTILE", "RUN", "SIDE", "answer_all", "studied_run"]

RUN = "7" * 32
GRADES = ("none", "mild", "severe")
HOSTILE = '"><img src=x onerror=document.title="owned"> \u202egnp.exe ' + "n" * 240
SIDE = 48
_SIGNED = ("manifest.json", "images.parquet", "evidence.json", "policy.json")


def studied_run(
    folder: Path,
    ledger: Ledger,
    *,
    patients: int = 12,
    photographs: int = 2,
    accepted: int = 24,
    near: tuple[str, ...] = (),
    overlapping: tuple[str, ...] = (),
    name: str = "tiny",
    attribute: str = "grade",
    levels: tuple[str, ...] = GRADES,
) -> Path:
    """A run in `folder/run` and its holdout in `folder/holdout`: `photographs` of each patient, larger than the run's size.

    Conditions are `attribute` with `levels`, in turn, and the binary `drusen`. `near` and `overlapping` are holdout images
    that the audit found near a private one, or in both sets.
    """
    holdout, run = folder / "holdout", folder / "run"
    (holdout / "images").mkdir(parents=True)
    (run / "accepted" / "images").mkdir(parents=True)
    (run / "report").mkdir()
    rows = []
    for patient in range(patients):
        for number in range(photographs):
            file = f"images/MARIA-{patient:03d}-{number}.png"
            (holdout / file).write_bytes(png(fundus(patient * 10 + number)))
            grade = levels[patient % len(levels)]
            rows.append({"file_name": file, "patient": f"P{patient}", attribute: grade, "drusen": str(number % 2)})
    with (holdout / "metadata.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["file_name", "patient", attribute, "drusen"])
        writer.writeheader()
        writer.writerows(rows)
    config = RunConfig(
        name="tiny",
        seed=11,
        image_size=SIDE,
        private=DataSource(path="private", patient="patient"),
        holdout=DataSource(path=str(holdout), patient="patient"),
        conditions=(
            AttributeConfig(name=attribute, kind="ordinal", levels=levels),
            AttributeConfig(name="drusen", kind="binary"),
        ),
    )
    images, metadata = [], []
    for number in range(accepted + 2):
        # The last two were refused, and are no part of what would be released.
        file, good = f"images/{number:06d}.png", number < accepted
        data = png(fundus(5000 + number)[8:56, 8:56])
        grade = levels[number % len(levels)]
        if good:
            (run / "accepted" / file).write_bytes(data)
            metadata.append({"file_name": file, attribute: grade, "drusen": number % 2})
        images.append(
            {
                "file": file,
                "sha256": hashlib.sha256(data).hexdigest(),
                "accepted": good,
                "reason": "" if good else "copy",
                f"condition.{attribute}": grade,
                "condition.drusen": number % 2,
            }
        )
    (run / "accepted" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metadata))
    pd.DataFrame(images).to_parquet(run / "images.parquet")
    pairs = [{"private": "p.png", "holdout": file} for file in overlapping]
    evidence = {
        "review": {"controls": [], "known": []},
        "data": {
            "overlap": {"counts": {"same_bytes": len(pairs)}, "same_bytes": pairs},
            "near_copies": [{"file": file, "private": "p.png", "score": 9.0, "transform": "unchanged"} for file in near],
        },
    }
    (run / "evidence.json").write_bytes(canonical(evidence))
    manifest.write(manifest.build(run / "accepted"), run / "manifest.json")
    policy = parse_policy(ASKS_NOBODY, "policy.yaml")
    (run / "policy.json").write_bytes(policy.to_bytes())
    real = read_images(config.holdout, size=SIDE, name="holdout")
    clean = real.take([row for row, file in enumerate(real.files) if file not in overlapping])
    decision = decide(policy, (), released=("images",))
    context = ResultsContext(policy=policy, released=("images",), data={"holdout": {"sha256": clean.digest}})
    key = write_results(run, decision, (), context, sign_too=_SIGNED)
    recorded = config.model_dump(mode="json") | {"name": name}
    write_run(run, RunRecord(id=RUN, state="complete", config=recorded, results_key=key))
    ledger.append("run", {"run": RUN, "name": name})
    entries = RunLedger(ledger, RUN)
    entries.decided(RunFolder(run), decision.status, decision.exit_code, policy)
    write_run(run, replace(read_run(run), ledger=entries.ended("complete").as_dict()))
    return run


def answer_all(study: Study, reviewer: str, rating: Callable[[Item], tuple[str, int]], seen: bool = True) -> None:
    """One reader's answers on all images, straight into the ledger; `rating` says what of an image, and how surely."""
    plan = study.plan()
    for item in plan.for_reader(reader_id(reviewer)).values():
        said, confidence = rating(item)
        given = Given(said, confidence, dict(item.levels) if seen else {})  # type: ignore[arg-type]
        study.book.append(KIND, payload(plan, reviewer, item.id, given))
