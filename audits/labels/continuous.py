"""Continuous attributes: correlation and error of what was read against what was asked, beside those on real images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audits.labels.ceiling import LabelCeiling
from synguard.metrics.agreement import bootstrap_weights, interval_and_bounds
from synguard.results import Metric

__all__ = ["continuous_metrics"]

Floats = NDArray[np.float64]
RESAMPLES = 1000
FEWEST = 3


def continuous_metrics(
    wanted: Mapping[str, Floats], found: Mapping[str, Floats], ceiling: LabelCeiling, seed: int
) -> tuple[list[Metric], list[dict[str, Any]]]:
    """`labels.correlation` and `labels.mean_error` per continuous attribute, and their rows for the report.

    The correlation is Pearson's, the error the mean absolute one in the attribute's own unit; the baseline of both is the
    diagnostic model's on real holdout images. Too few images, or one value only, is insufficient.
    """
    metrics: list[Metric] = []
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng([seed, 42])
    for attribute in ceiling.schema.attributes:
        name = attribute.name
        if attribute.kind != "continuous" or name not in found or not np.isfinite(wanted[name]).any():
            continue
        known = np.isfinite(wanted[name]) & np.isfinite(found[name])
        of_real = np.isfinite(ceiling.asked[name])
        asked, read = wanted[name][known], found[name][known]
        truth, real = ceiling.asked[name][of_real], ceiling.values[name][of_real]
        weights = bootstrap_weights(np.arange(len(asked)), RESAMPLES, rng)
        pair = []
        for metric, unit, figure in (
            ("labels.correlation", "correlation", _correlation),
            ("labels.mean_error", "own unit", _error),
        ):
            value = float(figure(asked, read, np.ones((1, len(asked))))[0]) if len(asked) >= FEWEST else np.nan
            baseline = float(figure(truth, real, np.ones((1, len(truth))))[0]) if len(truth) >= FEWEST else np.nan
            measured = bool(np.isfinite(value))
            interval, bounds = interval_and_bounds(figure(asked, read, weights)) if measured else (None, None)
            pair.append(
                Metric(
                    name=metric,
                    value=value if measured else None,
                    n=len(asked),
                    unit=unit,
                    method="Bayesian bootstrap over candidates",
                    group=name,
                    interval=interval,
                    bounds=bounds,
                    baseline=baseline if np.isfinite(baseline) else None,
                    baseline_name="real holdout images",
                    state="measured" if measured else "insufficient",
                    note="" if measured else "too few different values",
                )
            )
        metrics += pair
        rows.append(
            {
                "name": name,
                "n": len(asked),
                "correlation": pair[0].value,
                "interval": pair[0].interval,
                "ceiling": pair[0].baseline,
                "mean_error": pair[1].value,
                "ceiling_error": pair[1].baseline,
            }
        )
    return metrics, rows


def _correlation(asked: Floats, read: Floats, weights: Floats) -> Floats:
    """Weighted correlation (resamples,); NaN where either side does not vary."""
    weights = weights / weights.sum(1, keepdims=True)
    mean_asked, mean_read = weights @ asked, weights @ read
    together = weights @ (asked * read) - mean_asked * mean_read
    spread = (weights @ asked**2 - mean_asked**2) * (weights @ read**2 - mean_read**2)
    found = np.full(len(weights), np.nan)
    np.divide(together, np.sqrt(np.maximum(spread, 0.0)), out=found, where=spread > 1e-18)
    return found


def _error(asked: Floats, read: Floats, weights: Floats) -> Floats:
    return np.asarray(weights @ np.abs(asked - read) / weights.sum(1), dtype=np.float64)
