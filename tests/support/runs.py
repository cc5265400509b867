"""Run folders made by code: a clean run, one with 15 copies, one whose comparison is invalid. Every figure is invented."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from synguard.metrics.intervals import clopper_pearson, clopper_pearson_bounds, minimum_detectable_copies
from synguard.results import CheckResult, Metric

__all__ = ["GRADES", "Made", "fundus", "make_run", "png"]

GRADES = ("none", "mild", "moderate", "severe", "proliferative")
FOUND = {
    "identity": 100,
    "mirrored": 98,
    "turned": 94,
    "jpeg-40": 100,
    "brightened-1.3": 99,
    "blurred": 96,
    "rotated-10": 61,
    "crop-80": 2,
    "crop-50": 93,
    "shrunk-75": 100,
    "negative": 98,
    "pasted-50": 77,
    "blended-50": 88,
}
"""Planted copies found of 100, by transform."""
SIDE = 64


@dataclass
class Made:
    """A run folder in the making: change what you like, then `write`."""

    run: dict[str, Any]
    results: dict[str, Any]
    evidence: dict[str, Any]
    images: list[dict[str, Any]]
    pictures: dict[str, np.ndarray] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("run", "results", "evidence"):
            content = getattr(self, name)
            if content:
                (folder / f"{name}.json").write_text(json.dumps(content))
        if self.images:
            pd.DataFrame(self.images).to_parquet(folder / "images.parquet")
        for name, pixels in self.pictures.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place, compress_level=1)
        digests = {p: hashlib.sha256(v.tobytes()).hexdigest() for p, v in self.pictures.items() if p.startswith("accepted")}
        (folder / "manifest.json").write_text(json.dumps({"run": self.run.get("id"), "files": digests}))
        return folder


@cache
def fundus(seed: int, grade: int = 0) -> np.ndarray:
    """A small drawing that looks a little like a fundus photograph."""
    rng = np.random.default_rng([seed, 7])
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    radius = np.hypot(x, y)
    shade = 0.85 - 0.35 * radius**2 + 0.03 * rng.normal(size=x.shape)
    side = rng.choice([-1, 1])
    disc = np.exp(-((x - side * 0.45) ** 2 + (y - rng.normal(0, 0.05)) ** 2) / 0.02)
    for _ in range(9):
        a, b, c = rng.normal(0, 0.5, 3)
        vessel = np.abs(y - a * (x - side * 0.45) - b * (x - side * 0.45) ** 2 * 0.6 - c * 0.05) < 0.022
        shade = np.where(vessel, shade * 0.72, shade)
    for _ in range(grade * 5):
        px, py = rng.uniform(-0.7, 0.7, 2)
        spot = np.hypot(x - px, y - py) < 0.045
        shade = np.where(spot, shade * (1.45 if rng.random() < 0.5 else 0.55), shade)
    tint = np.array([0.86, 0.45, 0.24]) + rng.normal(0, 0.03, 3)
    colour = shade[:, :, None] * tint + disc[:, :, None] * np.array([0.25, 0.35, 0.25])
    drawn = (np.clip(np.where((radius < 0.97)[:, :, None], colour, 0.02), 0, 1) * 255).astype(np.uint8)
    drawn.flags.writeable = False  # shared by all tests
    return drawn


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="png")
    return stream.getvalue()


def metric(name: str, value: float | None, unit: str, n: int, **more: Any) -> dict[str, Any]:
    return asdict(Metric(name=name, value=value, unit=unit, n=n, method="test", **more))


def check(metric_row: dict[str, Any], status: str, limit: str, reason: str, bound: float | None = None) -> dict[str, Any]:
    row = metric_row
    group = f" ({row['group']})" if row["group"] else ""
    reason = f"{row['name']}{group}: {reason[0].lower()}{reason[1:]}"
    return asdict(
        CheckResult(
            id=f"SG-{row['name']}",
            metric=row["name"],
            group=row["group"],
            status=status,  # type: ignore[arg-type]
            reason=reason,
            value=row["value"],
            interval=row["interval"],
            bound=bound,
            limit=limit,
            unit=row["unit"],
            n=row["n"],
        )
    )


def make_run(kind: str = "clean", *, accepted: int = 60) -> Made:
    """`kind` is clean, copies or invalid."""
    rng = np.random.default_rng([1, len(kind)])
    copied = 15 if kind == "copies" else 0
    images, pictures = [], {}
    for i in range(accepted):
        grade = i % 5
        images.append(
            {
                "file": f"{i:06d}.png",
                "sha256": hashlib.sha256(str(i).encode()).hexdigest(),
                "seed": 7_000_000 + i,
                "accepted": True,
                "reason": "",
                "condition.grade": GRADES[grade],
                "condition.drusen": i % 2,
                "memorisation.flagged": False,
            }
        )
        pictures[f"accepted/images/{i:06d}.png"] = fundus(i, grade)
    flagged = []
    for i in range(copied):
        file, nearest = f"q{i:05d}.png", f"patient-{4000 + i}/left.png"
        private = fundus(9000 + i, i % 5)
        candidate = np.clip(private * 1.1 + rng.normal(0, 4, private.shape), 0, 255).astype(np.uint8)
        pictures[f"pairs/{i:04d}-candidate.png"], pictures[f"pairs/{i:04d}-private.png"] = candidate, private
        transform = ("unchanged", "mirrored", "turned 90 degrees", "mirrored, turned 90 degrees")[i % 4]
        flagged.append(
            {
                "file": file,
                "nearest": nearest,
                "score": round(0.99 - 0.004 * i, 4),
                "p_value": 0.0005,
                "transform": transform,
                "copied_area": 0.97,
                "lane": "exact" if i == 0 else "verified",
                "accepted": False,
                "pair": f"pairs/{i:04d}",
            }
        )
        images.append(
            {**images[0], "file": file, "accepted": False, "reason": "copy", "memorisation.flagged": True, "seed": i}
        )
    metrics, checks = _figures(kind, copied)
    status, code = {"clean": ("warn", 0), "copies": ("fail", 20), "invalid": ("insufficient", 22)}[kind]
    reasons = [c["reason"] for c in checks if c["status"] not in {"pass"}]
    return Made(
        run=_run(kind),
        results={
            "schema_version": 1,
            "decision": {"status": status, "exit_code": code, "reasons": reasons},
            "checks": checks,
            "metrics": metrics,
            "policy": {
                "name": "public-release",
                "version": "1.0.0",
                "title": "Public release of synthetic images",
                "file": "public-release",
                "sha256": "ab" * 32,
                "confidence": 0.95,
            },
            "released": ["images"],
            "data": {"private": {"images": 4000, "patients": 2000}, "holdout": {"images": 3000, "patients": 1500}},
        },
        evidence=_evidence(kind, rng, flagged),
        images=images,
        pictures=pictures,
    )


def _figures(kind: str, copied: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    invalid = kind == "invalid"
    near = 0.015 if copied else 0.0
    rows = [
        metric("memorisation.exact_copies", 1.0 if copied else 0.0, "images", 1000),
        metric("memorisation.verified_copies", float(copied), "images", 1000),
        metric("memorisation.verified_copies", 0.0, "images", 1000, group="accepted"),
        metric("memorisation.planted_recall", 0.98, "share", 1000, interval=(0.93, 1.0)),
        metric(
            "memorisation.near_copy_rate",
            near,
            "share",
            1000,
            interval=(near * 0.6, near * 1.5 + 0.0037),
            baseline=0.0,
            baseline_name="holdout",
        ),
        metric(
            "memorisation.train_holdout_share",
            0.508,
            "share",
            1000,
            interval=(0.476, 0.539),
            baseline=0.5,
            baseline_name="by chance",
        ),
        metric("memorisation.minimum_detectable_copies", 2.0, "copies", 1000),
        metric(
            "membership.split.auc",
            0.592 if invalid else 0.503,
            "AUC",
            2000,
            interval=(0.56, 0.62) if invalid else (0.48, 0.53),
        ),
        metric(
            "membership.black_box.auc",
            None if invalid else 0.511,
            "AUC",
            1000,
            interval=None if invalid else (0.486, 0.536),
            state="invalid" if invalid else "measured",
            baseline=0.5,
            baseline_name="by chance",
        ),
        metric(
            "membership.white_box.auc",
            None if invalid else 0.587,
            "AUC",
            1000,
            interval=None if invalid else (0.557, 0.617),
            state="invalid" if invalid else "measured",
            baseline=0.501,
            baseline_name="placebo",
        ),
        metric("labels.agreement", 0.91, "share", 1000, interval=(0.88, 0.94), group="grade"),
        metric("labels.agreement_share", 0.94, "share", 1000, interval=(0.9, 0.98)),
        metric(
            "fidelity.frechet_distance",
            21.4,
            "distance",
            1000,
            interval=(20.1, 22.8),
            baseline=8.2,
            baseline_name="real against real",
        ),
        metric("accepted.images", 1000.0, "images", 1000),
        metric("run.quarantine_rate", 0.031, "share", 1032),
        metric("disclosure.singling_out", None, "share", 0, state="not_tested"),
    ]
    by = {(row["name"], row["group"]): row for row in rows}
    verdict = "invalid" if invalid else "pass"
    why = (
        "Private set and holdout can be told apart without the model (AUC 0.592, p = 0.001), so membership cannot be judged."
        if invalid
        else "Within the limit."
    )
    checks = [
        check(
            by["memorisation.verified_copies", "accepted"], "pass", "above 0 images", "None in what would be released.", 0.0
        ),
        check(
            by["memorisation.verified_copies", None],
            "fail" if copied else "pass",
            "above 0.01 % of the images",
            f"{copied} verified copies among 1,000 candidates, one of them exact; the policy allows none here."
            if copied
            else "None among 1,000 candidates.",
            copied / 1000,
        ),
        check(
            by["memorisation.planted_recall", None],
            "pass",
            "below 90 %",
            "98 of 100 were found in the transform that is hardest to see.",
            0.938,
        ),
        check(
            by["memorisation.near_copy_rate", None],
            "fail" if copied else "pass",
            "above 1 %",
            "The upper bound of 2.6 % is above the limit of 1 %." if copied else "Within the limit.",
            near * 1.5 + 0.003,
        ),
        check(by["memorisation.train_holdout_share", None], "pass", "above 60 %", "Within the limit.", 0.534),
        check(by["membership.split.auc", None], verdict, "above 0.56", why, 0.62 if invalid else 0.53),
        check(by["membership.black_box.auc", None], verdict, "above 0.55", why, None if invalid else 0.532),
        check(
            by["membership.white_box.auc", None],
            verdict if invalid else "warn",
            "above 0.6",
            why
            if invalid
            else "The upper bound of 0.612 is above the warning limit of 0.60; the model itself is not released.",
            None if invalid else 0.612,
        ),
        check(by["labels.agreement_share", None], "pass", "below 80 %", "Within the limit.", 0.906),
        check(by["run.quarantine_rate", None], "pass", "above 20 %", "Within the limit.", 0.04),
    ]
    return rows, checks


def _run(kind: str) -> dict[str, Any]:
    hour = 10 + {"clean": 0, "copies": 1, "invalid": 2}.get(kind, 3)
    return {
        "id": f"2026-11-21-{kind}-7f3a",
        "state": "complete",
        "finished": f"2026-11-21T{hour}:12:00Z",
        "command": ["synguard", "generate-and-audit", "synguard.yaml", "--out", "run"],
        "config": {
            "name": "fundus-release",
            "seed": 424242,
            "image_size": 64,
            "private": {"path": "/hospital/private/fundus"},
            "conditions": [
                {"name": "grade", "kind": "ordinal", "levels": list(GRADES)},
                {"name": "drusen", "kind": "binary"},
                {"name": "age", "kind": "continuous"},
            ],
        },
        "config_sha256": "cd" * 32,
        "ledger": {"ledger": "ef" * 32, "number": 7 + hour, "hash": hashlib.sha256(kind.encode()).hexdigest()},
        "seeds": {"run": 424242},
        "versions": {"synguard": "0.1.0", "python": "3.11.9", "torch": "2.15.0"},
        "timings": {"prepare": 12.1, "train": 812.4, "generate and audit": 301.2, "probes": 95.0},
    }


def _evidence(kind: str, rng: np.random.Generator, flagged: list[dict[str, Any]]) -> dict[str, Any]:
    edges = np.linspace(0, 1, 51)
    clean = rng.beta(6, 12, 1000)
    if flagged:
        clean[: len(flagged)] = [row["score"] for row in flagged]
    counts = {
        "synthetic": clean,
        "holdout": rng.beta(6, 12, 1000),
        "planted": np.concatenate([rng.beta(60, 5, 980), rng.beta(10, 10, 20)]),
    }
    p_values = rng.uniform(size=1000)
    p_values[: len(flagged)] = 0.001
    planted = [_planted(name, found) for name, found in FOUND.items()]
    confusion = np.full((5, 5), 3) + np.diag([170, 150, 140, 130, 160]) + np.diag([30] * 4, 1) + np.diag([20] * 4, -1)
    ceiling = np.full((5, 5), 2) + np.diag([90, 70, 60, 60, 80]) + np.diag([12] * 4, 1) + np.diag([9] * 4, -1)
    invalid = kind == "invalid"
    return {
        "memorisation": {
            "threshold": 0.76,
            "scores": {"edges": edges.tolist(), **{k: np.histogram(v, edges)[0].tolist() for k, v in counts.items()}},
            "p_values": {
                "edges": np.linspace(0, 1, 21).tolist(),
                "counts": np.histogram(p_values, np.linspace(0, 1, 21))[0].tolist(),
            },
            "planted": planted,
            "flagged": flagged,
            "review": [],
            "overlap": {
                "same_patient": [],
                "same_bytes": [],
                "near_copies_removed": [["hold-12.png", "patient-99/right.png"]],
            },
            "index": {"kind": "exact", "dimension": 192, "images": 4000, "exact": True},
        },
        "membership": {
            "split": {
                "auc": 0.592 if invalid else 0.503,
                "interval": [0.56, 0.62] if invalid else [0.48, 0.53],
                "p_value": 0.001 if invalid else 0.41,
                "placebo": {"auc": 0.498, "interval": [0.47, 0.52]},
            },
            "probes": [_probe("white_box", "white box", 0.562, 0.22), _probe("black_box", "black box", 0.511, 0.04)],
            "not_tested": [],
        },
        "disclosure": {
            "state": "invalid" if invalid else "valid",
            "attacks": [
                _attack("singling_out", None, 0.021, 0.018, 0.004, (0.0, 0.018)),
                _attack("linkability", None, 0.31, 0.3, 0.008, (0.0, 0.08)),
                _attack("inference", "grade", 0.62, 0.6, 0.35, (0.0, 0.14)),
                _attack("inference", "myopia", 0.71, 0.7, 0.5, (0.0, 0.16)),
            ],
            "exposed": [
                {
                    "pseudonym": f"{i:012x}",
                    "images": 2,
                    "score": round(0.31 - 0.01 * i, 3),
                    "p_value": 0.002,
                    "q_value": 0.4,
                    "attacks": ["singling out"] if i < 2 else [],
                }
                for i in range(5)
            ],
        },
        "autoencoder": {
            "state": "invalid" if invalid else "measured",
            "note": "",
            "n_members": 1000,
            "n_nonmembers": 1000,
            "auc": {"value": 0.524, "interval": [0.499, 0.549], "bound": 0.545, "minimum_detectable": 0.532},
            "gap": {"value": 0.021, "interval": [-0.004, 0.046]},
            "parts": [{"name": "structural error", "auc": 0.51}],
            "errors": {
                "edges": np.linspace(0.2, 1.4, 41).tolist(),
                **{
                    name: np.histogram(np.random.default_rng(i).normal(0.8, 0.12, 1000), np.linspace(0.2, 1.4, 41))[
                        0
                    ].tolist()
                    for i, name in enumerate(("private", "holdout"))
                },
            },
        },
        "labels": {
            "attributes": [
                _attribute("grade", "ordinal", list(GRADES), 0.78, 0.83, confusion.tolist(), ceiling.tolist()),
                _attribute("drusen", "binary", ["0", "1"], 0.93, 0.95, [[480, 20], [50, 450]], [[240, 10], [15, 235]]),
                _attribute("myopia", "binary", ["0", "1"], 0.88, 0.97, [[460, 40], [80, 420]], [[245, 5], [10, 240]]),
                _attribute("quality", "binary", ["0", "1"], 0.97, 0.96, [[490, 10], [20, 480]], [[240, 10], [10, 240]]),
            ],
            "continuous": [
                {
                    "name": "age",
                    "n": 1000,
                    "correlation": 0.61,
                    "interval": [0.56, 0.66],
                    "ceiling": 0.7,
                    "mean_error": 9.1,
                    "ceiling_error": 8.0,
                }
            ],
            "notes": [],
            "model": {"name": "diagnostic", "digest": "ef" * 32},
        },
        "fidelity": {
            "metrics": [
                {"name": "frechet_distance", "value": 21.4, "interval": [20.1, 22.8], "floor": 8.2, "n": 1000},
                {"name": "kernel_distance", "value": 0.042, "interval": [0.035, 0.05], "floor": 0.001, "n": 1000},
                {"name": "precision", "value": 0.83, "interval": [0.8, 0.86], "floor": 0.91, "n": 1000},
                {"name": "recall", "value": 0.71, "interval": [0.67, 0.75], "floor": 0.9, "n": 1000},
                {"name": "density", "value": 0.94, "interval": [0.89, 0.99], "floor": 1.01, "n": 1000},
                {"name": "coverage", "value": 0.88, "interval": [0.85, 0.9], "floor": 0.95, "n": 1000},
            ],
            "extractor": "embedded",
        },
        "run": {
            "batches": [
                {
                    "batch": i,
                    "examined": 250,
                    "accepted": 250 - 8 - i - (len(flagged) // 4),
                    "refused_copies": len(flagged) // 4,
                    "refused_labels": 8 + i,
                }
                for i in range(5)
            ],
        },
    }


def _planted(name: str, found: int) -> dict[str, Any]:
    low, high = clopper_pearson(found, 100)
    fewest = minimum_detectable_copies(clopper_pearson_bounds(found, 100)[0])
    known = fewest < 1000
    return {
        "transform": name,
        "n": 100,
        "found": found,
        "recall": found / 100,
        "low": low,
        "high": high,
        "minimum_copies": fewest if known else None,
    }


def _probe(name: str, access: str, auc: float, lift: float) -> dict[str, Any]:
    fpr = np.concatenate([[0], np.geomspace(0.001, 1, 40)])
    tpr = np.clip(fpr ** (1 - lift), 0, 1)
    spread = 1.6 * np.sqrt(tpr * (1 - tpr) / 1000) + 0.0015 * (tpr < 0.5)
    return {
        "name": name,
        "access": access,
        "auc": auc,
        "interval": [auc - 0.025, auc + 0.025],
        "bound": auc + 0.021,
        "tpr": round(0.01 ** (1 - lift), 4),
        "n_members": 1000,
        "n_nonmembers": 1000,
        "minimum_detectable_auc": 0.526,
        "roc": {
            "fpr": fpr.tolist(),
            "tpr": tpr.tolist(),
            "low": np.clip(tpr - spread, 0, 1).tolist(),
            "high": np.clip(tpr + spread, 0, 1).tolist(),
        },
    }


def _attack(
    name: str, attribute: str | None, attack: float, control: float, naive: float, span: tuple[float, float]
) -> dict[str, Any]:
    return {
        "name": name,
        "attribute": attribute,
        "state": "measured",
        "note": "",
        "attacked": 2000,
        "controlled": 500,
        "attack": attack,
        "control": control,
        "naive": naive,
        "risk": (attack - control) / (1 - control),
        "interval": list(span),
        "minimum_detectable": 0.02,
        "p_value": 0.3,
        "p_holm": 0.9,
        "detected": False,
    }


def _attribute(
    name: str, kind: str, levels: list[str], agreement: float, ceiling: float, confusion: Any, ceiling_confusion: Any
) -> dict[str, Any]:
    share = agreement / ceiling
    return {
        "name": name,
        "kind": kind,
        "levels": levels,
        "n": 1000,
        "agreement": agreement,
        "interval": [agreement - 0.025, agreement + 0.02],
        "ceiling": ceiling,
        "share_of_ceiling": share,
        "share_interval": [share - 0.03, share + 0.025],
        "confusion": confusion,
        "ceiling_confusion": ceiling_confusion,
    }
