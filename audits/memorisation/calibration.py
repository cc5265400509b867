"""From scores to verdicts: conformal p-values, thresholds with a margin, the review list. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

__all__ = [
    "LEAST_OF_CLASS",
    "class_p_values",
    "classes_of_their_own",
    "conformal_p_values",
    "review_list",
    "tail_line",
    "tail_threshold",
]

Scores = NDArray[np.float64]
Labels = NDArray[np.str_]

LEAST_OF_CLASS = 200
"""Calibration images from which a class has p-values of its own."""

_TAIL = (0.70, 0.97)


def conformal_p_values(scores: Scores, calibration: Scores) -> Scores:
    """p = (1 + number of calibration scores at least as large) / (n + 1) for each score (Vovk et al. 2005)."""
    ranked = np.sort(calibration)
    at_least = len(ranked) - np.searchsorted(ranked, scores, side="left")
    return np.asarray((1.0 + at_least) / (len(ranked) + 1.0), dtype=np.float64)


def class_p_values(
    scores: Scores, classes: Labels, calibration: Scores, calibration_classes: Labels, least: int | None = None
) -> Scores:
    """p = (1 + number of calibration scores of the same class at least as large) / (n of the class + 1) for each score.

    Mondrian conformal p-values (Vovk et al. 2005, ch. 4.5): no larger chance of a small p-value in one class than in
    another. The class must be a function of the image and of what was fixed before, "" for none. Without a class, or in one
    with fewer than `least` (LEAST_OF_CLASS) calibration images, all calibration images count. Such a p-value promises
    nothing within its class; where there are any, at most twice the level of all images fall below it, else the level.
    """
    p_values = conformal_p_values(scores, calibration)
    for name in classes_of_their_own(calibration_classes, least):
        rows = classes == name
        p_values[rows] = conformal_p_values(scores[rows], calibration[calibration_classes == name])
    return p_values


def classes_of_their_own(calibration_classes: Labels, least: int | None = None) -> tuple[str, ...]:
    """The classes with at least `least` (LEAST_OF_CLASS) calibration images, sorted; no class ("") is none."""
    enough = LEAST_OF_CLASS if least is None else least
    names, counts = np.unique(calibration_classes, return_counts=True)
    return tuple(str(name) for name, count in zip(names, counts, strict=True) if name and count >= enough)


def review_list(p_values: Scores, q: float = 0.05) -> NDArray[np.bool_]:
    """Benjamini and Hochberg (1995): which hypotheses to reject so that the false discovery rate stays at `q`."""
    n = len(p_values)
    if n == 0:
        return np.zeros(0, dtype=bool)
    ranked = np.sort(p_values)
    passing = np.flatnonzero(ranked <= q * np.arange(1, n + 1) / n)
    return p_values <= (ranked[passing[-1]] if len(passing) else -1.0)


def tail_threshold(calibration: Scores, rate: float) -> float:
    """The score that unseen images pass with a chance of about `rate`, from a normal upper tail.

    The line through the empirical quantiles from 70 % to 97 % on normal probability paper, extended to `rate`, with
    a margin of one standard error of the spread. Neither a few twins among the calibration images nor the
    largest score of a lucky draw move it. Model-based: p-values are conformal, this line is not.
    """
    finite = calibration[np.isfinite(calibration)]
    if len(finite) < 2:
        return np.inf
    centre, spread = tail_line(finite)
    # Relative error of a spread that is read off the upper quantiles of n points.
    error = 1.0 / np.sqrt(2.0 * 0.3 * len(finite))
    return float(centre + spread * (1.0 + error) * norm.ppf(1 - rate))


def tail_line(scores: Scores, levels: tuple[float, float] = _TAIL) -> tuple[float, float]:
    """Centre and spread of the normal distribution whose upper quantiles, between two levels, are those of the scores."""
    between = np.linspace(*levels, 28)
    spread, centre = np.polyfit(norm.ppf(between), np.quantile(scores, between), 1)
    return float(centre), max(float(spread), 1e-6)
