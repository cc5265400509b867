"""The figures of the memorisation audit: every `memorisation.*` metric, and the evidence for the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audits.memorisation.calibration import review_list
from audits.memorisation.planted import CORE
from audits.memorisation.proximity import share_interval
from audits.memorisation.search import ENCODERS
from audits.memorisation.stage import Examined, Planted, PreparedMemorisation
from synguard.metrics.intervals import clopper_pearson, clopper_pearson_bounds, minimum_detectable_copies
from synguard.results import AuditResult, Metric

__all__ = ["summarise"]

_FALSE_DISCOVERY_RATE = 0.05
_CENSUS = "Every image examined; what is uncertain is the detector's recall, see memorisation.planted_recall"
_EXACT_INTERVAL = "Clopper-Pearson, exact"


def summarise(
    examined: Examined,
    accepted: NDArray[np.bool_],
    planted: Planted,
    prepared: PreparedMemorisation,
    files: Sequence[str] | None = None,
    told_apart: str | None = None,
    strategies: NDArray[np.str_] | None = None,
    unseen: NDArray[np.bool_] | None = None,
) -> AuditResult:
    """All figures on n candidates, of which `accepted` (n,) would be released; `files` names them in the evidence.

    `told_apart` says why private set and holdout are of different kinds, where they are: to which of the two a candidate is
    nearer is then no evidence, in either direction. Copies and near copies count every candidate examined; the group
    "accepted" counts what would be released. `strategies` (n,) name how candidates were made: each is a group of its own.
    `unseen` (n,) says which candidates are exact copies of images of the holdout.
    """
    names = list(files) if files is not None else [f"candidate {row + 1}" for row in range(len(examined))]
    review = review_list(examined.p_value, _FALSE_DISCOVERY_RATE)
    metrics = [
        *_copies("memorisation.exact_copies", examined.lane == "exact", accepted),
        *_copies("memorisation.verified_copies", examined.flagged, accepted),
        *(() if unseen is None else _copies("memorisation.holdout_copies", unseen, accepted)),
        _near_copy_rate(examined, prepared),
        _share(examined, prepared, told_apart),
        *_by_strategy(examined, prepared, strategies),
        *_recall(planted),
        _count("memorisation.review_images", review, None, "Benjamini-Hochberg at 5 % on conformal p-values"),
    ]
    made = prepared.calibration
    evidence: dict[str, Any] = {
        "threshold": _number(made.verified),
        "near_threshold": _number(made.near),
        "scores": _histogram(examined, planted, prepared),
        "p_values": _p_value_histogram(examined.p_value),
        "planted": [_planted_row(count) for count in planted],
        "flagged": [_row(examined, i, names, prepared, accepted) for i in _by_score(examined, examined.flagged)],
        "review": [_row(examined, i, names, prepared, accepted) for i in _by_score(examined, review & ~examined.flagged)],
        "calibration": {
            "images": len(made.scores),
            "held_on": made.held_on,
            "copies_left_out": [
                {"file": c.file, "nearest": c.private, "score": c.score, "transform": c.transform}
                for c in prepared.calibration_copies
            ],
            "classes": [{"class": c.name, "images": c.images, "own_p_values": c.own} for c in made.by_class()],
            "smallest_p_value": made.smallest_p_value,
            "review_needs": _review_needs(len(examined), made.smallest_p_value),
        },
        "index": {
            "kind": prepared.describe_search(),
            "device": prepared.matcher.search.windows.device,
            "dimension": prepared.matcher.search.windows.dimension,
            "images": prepared.matcher.search.windows.images,
            "windows": prepared.matcher.search.windows.windows,
            "encoder": f"synguard {ENCODERS['version']}: windows, whole images and keypoints",
            "exact": prepared.matcher.search.exact,
        },
        "seconds": {"prepare": dict(prepared.seconds), "examine": dict(examined.seconds)},
    }
    seconds = sum(prepared.seconds.values()) + sum(examined.seconds.values())
    return AuditResult(
        name="memorisation",
        metrics=tuple(metrics),
        evidence=evidence,
        public=("threshold", "near_threshold", "scores", "p_values", "planted", "index"),
        seconds=seconds,
    )


def _copies(name: str, found: NDArray[np.bool_], accepted: NDArray[np.bool_]) -> list[Metric]:
    return [_count(name, found, None, _CENSUS), _count(name, found & accepted, "accepted", _CENSUS, int(accepted.sum()))]


def _count(name: str, found: NDArray[np.bool_], group: str | None, method: str, n: int | None = None) -> Metric:
    count = float(found.sum())
    return Metric(
        name=name,
        group=group,
        value=count,
        n=len(found) if n is None else n,
        unit="images",
        method=method,
        interval=(count, count),
        bounds=(count, count),
        attainable=(0.0, 0.0),
    )


def _by_strategy(
    examined: Examined, prepared: PreparedMemorisation, strategies: NDArray[np.str_] | None
) -> Iterator[Metric]:
    """Copies and near copies among the candidates of each strategy: what starts from a private image stays near it."""
    for strategy in [] if strategies is None else np.unique(strategies).tolist():
        part, group = examined.take(np.flatnonzero(strategies == strategy)), f"strategy={strategy}"
        yield _count("memorisation.verified_copies", part.flagged, group, _CENSUS)
        yield _near_copy_rate(part, prepared, group)


def _near_copy_rate(examined: Examined, prepared: PreparedMemorisation, group: str | None = None) -> Metric:
    n, found = len(examined), int(examined.near_copy.sum())
    name, unit = "memorisation.near_copy_rate", "share"
    if n == 0:
        return Metric(name=name, group=group, value=None, n=0, unit=unit, method=_EXACT_INTERVAL, state="insufficient")
    made = prepared.calibration
    note = f"threshold from {len(made.scores)} {'calibration' if made.held_on == 'calibration' else 'private'} images"
    if not math.isfinite(made.near):
        note = "found too few calibration images to draw a threshold from"
    return Metric(
        name=name,
        group=group,
        value=found / n,
        n=n,
        unit=unit,
        method=_EXACT_INTERVAL,
        interval=clopper_pearson(found, n),
        bounds=clopper_pearson_bounds(found, n),
        attainable=clopper_pearson_bounds(0, n),
        note=note,
        state="measured" if math.isfinite(made.near) else "insufficient",
    )


def _share(examined: Examined, prepared: PreparedMemorisation, told_apart: str | None) -> Metric:
    name, unit = "memorisation.train_holdout_share", "share"
    method = "Bootstrap over nearest images, at least as wide as binomial; ties count half"
    if prepared.proximity is None or len(examined) == 0:
        return Metric(
            name=name,
            value=None,
            n=len(examined),
            unit=unit,
            method=method,
            state="insufficient",
            note="found no holdout images or no candidates to compare",
        )
    closer = np.select([examined.closer_to == "private", examined.closer_to == "holdout"], [1.0, 0.0], 0.5)
    interval, bounds = share_interval(closer, examined.cluster, prepared.seed)
    value = float(closer.mean())
    half = max(bounds[1] - value, value - bounds[0])
    return Metric(
        name=name,
        value=value,
        n=len(examined),
        unit=unit,
        method=method,
        interval=interval,
        bounds=bounds,
        attainable=(max(0.0, 0.5 - half), min(1.0, 0.5 + half)),
        baseline=0.5,
        baseline_name="nothing leaks",
        note=told_apart
        or f"{prepared.proximity.private.images} images a side, {len(np.unique(examined.cluster))} nearest images",
        state="invalid" if told_apart else "measured",
    )


def _recall(planted: Planted) -> list[Metric]:
    metrics = []
    weakest: tuple[float, int] | None = None
    for count in planted:
        bounds = clopper_pearson_bounds(count.found, count.n)
        metrics.append(
            Metric(
                name="memorisation.planted_recall",
                group=count.transform,
                value=count.found / count.n,
                n=count.n,
                unit="share",
                method=_EXACT_INTERVAL,
                interval=clopper_pearson(count.found, count.n),
                bounds=bounds,
                attainable=clopper_pearson_bounds(count.n, count.n),
                note="flagged by score, with the right private image",
            )
        )
        metrics.append(_detectable(bounds[0], count.n, count.transform))
        if count.transform in CORE and (weakest is None or bounds[0] < weakest[0]):
            weakest = bounds[0], count.n
    if weakest is not None:
        metrics.append(_detectable(weakest[0], weakest[1], None))
    return metrics


def _detectable(bound: float, n: int, group: str | None) -> Metric:
    fewest = minimum_detectable_copies(bound)
    best = float(minimum_detectable_copies(clopper_pearson_bounds(n, n)[0]))
    measured = math.isfinite(fewest)
    return Metric(
        name="memorisation.minimum_detectable_copies",
        group=group,
        value=float(fewest) if measured else None,
        n=n,
        unit="copies",
        method="ln 0.05 / ln(1 - lower bound of planted recall)",
        interval=(best, float(fewest)) if measured else None,
        bounds=(best, float(fewest)) if measured else None,
        attainable=(best, best),
        state="measured" if measured else "insufficient",
        note="" if group else f"the weakest of {', '.join(CORE)}",
    )


def _planted_row(count: Any) -> dict[str, Any]:
    low, high = clopper_pearson(count.found, count.n)
    fewest = minimum_detectable_copies(clopper_pearson_bounds(count.found, count.n)[0])
    return {
        "transform": count.transform,
        "n": count.n,
        "found": count.found,
        "recall": count.found / count.n,
        "low": low,
        "high": high,
        "minimum_copies": _number(fewest),
    }


def _row(
    examined: Examined, row: int, names: Sequence[str], prepared: PreparedMemorisation, accepted: NDArray[np.bool_]
) -> dict[str, Any]:
    nearest = int(examined.nearest[row])
    return {
        "file": names[row],
        "nearest": prepared.private.files[nearest] if nearest >= 0 else "",
        "score": float(examined.score[row]),
        "p_value": float(examined.p_value[row]),
        "transform": str(examined.transform[row]),
        "copied_area": float(examined.copied_area[row]),
        "correlation": float(examined.correlation[row]),
        "match": str(examined.match[row]),
        "inverted": bool(examined.inverted[row]),
        "lane": str(examined.lane[row]),
        "accepted": bool(accepted[row]),
        "row": row,
        "map": examined.maps[row].tolist(),
    }


def _by_score(examined: Examined, chosen: NDArray[np.bool_]) -> list[int]:
    rows = np.flatnonzero(chosen)
    order = np.lexsort((rows, -examined.score[rows], examined.lane[rows] != "exact"))
    return [int(row) for row in rows[order]]


def _histogram(examined: Examined, planted: Planted, prepared: PreparedMemorisation) -> dict[str, list[float]]:
    core = [count.scores for count in planted if count.transform in CORE]
    groups = {
        "synthetic": examined.score,
        "holdout": prepared.calibration.scores,
        "planted": np.concatenate([np.asarray(scores) for scores in core]) if core else np.zeros(0),
    }
    edges = np.concatenate([np.arange(-4, 10, 0.25), np.arange(10, 40, 1.0), [40.0]])
    counts = {name: np.histogram(np.clip(values, -4, 39.9), edges)[0].tolist() for name, values in groups.items()}
    return {"edges": edges.tolist(), **counts}


def _p_value_histogram(p_values: NDArray[np.float64]) -> dict[str, list[float]]:
    edges = np.linspace(0, 1, 21)
    return {"edges": edges.tolist(), "counts": np.histogram(p_values, edges)[0].tolist()}


def _review_needs(candidates: int, smallest: float) -> int:
    """Fewest images at the smallest p-value that the review list can name."""
    # Rounded first: 0.05 times a whole number is not one in binary.
    return math.ceil(round(candidates * smallest / _FALSE_DISCOVERY_RATE, 9))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
