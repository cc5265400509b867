"""All figures of a model together: what somebody reaches who learns, from labelled images, which of them to trust.

Ridge regression on the standardised figures, drawn towards their equal-weight mean instead of towards nothing: with few
images or no leak it ends as that mean, a score fixed beforehand, and only evidence moves it away. The strength of the pull
is chosen inside, the score given outside, by nested cross-validation by patient; no image has part in its own score, and
no noise level or probe is ever chosen for how well it did on the images that are judged.

Scores that come from one classifier depend on each other. So besides the bootstrap of the scores, the whole procedure is
repeated on resampled patients, and with patients' sides exchanged at random; the widest spread counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from audits.membership.probe import Arm, Scores
from audits.membership.verdict import FPR, SMALLEST, Outcome, compare
from synguard.metrics.ranks import auc, auc_columns, tpr_at_fpr

__all__ = ["ENSEMBLE", "Table", "ensemble", "nested_scores"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
ENSEMBLE = "ensemble"
"""Its name, before that of the weights."""
FOLDS = 5
PULLS = (0.03, 0.3, 3.0, 30.0, np.inf)
"""Strengths of the pull towards the equal-weight mean, in units of a figure's mean variance; at infinity it is that mean."""
_REPEATS = 100
"""Of the whole procedure, resampled and with sides exchanged, each."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One statistic's standardised figures of both arms, (m, k) and (n, k), higher for members."""

    name: str
    inside: Floats
    outside: Floats


def ensemble(
    tables: Sequence[Table], members: Arm, nonmembers: Arm, *, weights: str, calls: int, resamples: int, seed: int
) -> Outcome:
    """The outcome of all tables together, for one set of weights."""
    values = np.concatenate([np.concatenate([t.inside for t in tables], 1), np.concatenate([t.outside for t in tables], 1)])
    # Each statistic has the same say in the mean, however many figures it has.
    prior = np.concatenate([np.full(t.inside.shape[1], 1 / t.inside.shape[1]) for t in tables])
    m = len(members)
    member = np.arange(len(values)) < m
    patients = np.concatenate([arm.images.patients.astype(str) for arm in (members, nonmembers)])
    names, codes = np.unique(patients, return_inverse=True)
    method = (
        f"Ridge regression on {values.shape[1]} standardised figures of {', '.join(t.name for t in tables)}, towards their "
        f"equal-weight mean; pull chosen and score given by nested cross-validation by patient, {FOLDS} folds each, weights "
        f"{weights}. Intervals at least as wide as those of the whole procedure repeated on resampled patients."
    )
    named = {"name": f"{ENSEMBLE} ({weights})", "access": "white box", "method": method}
    enough = min(len(np.unique(codes[member])), len(np.unique(codes[~member]))) >= SMALLEST and np.isfinite(values).all()
    folds = np.random.default_rng([seed, 0xF01D]).permutation(len(names))[codes] % FOLDS**2
    score = nested_scores(values, member[:, None], folds, prior)[:, 0] if enough else values @ prior
    found = compare(Scores(score[:m]), Scores(score[m:]), members, nonmembers, named, resamples, seed)
    found = replace(found, calls=calls)
    if found.state != "measured":
        return found
    return _widened(found, values, member, codes, folds, prior, seed)


def nested_scores(values: Floats, labels: Bools, folds: Ints, prior: Floats) -> Floats:
    """Scores (n, c) for c columns of labels (n, c), each image's from regressions that its patient had no part in.

    `values` (n, p) are higher for members; `folds` hold 0 to 24, outer fold times five plus inner one, constant within a
    patient; `prior` (p,) are the weights of the mean that the regression is drawn to.
    """
    outer, inner = folds // FOLDS, folds % FOLDS
    scores = np.empty(labels.shape)
    for fold in range(FOLDS):
        test = outer == fold
        x, y = values[~test], labels[~test].astype(np.float64)
        errors = np.zeros((len(PULLS), y.shape[1]))
        for part in range(FOLDS):
            left_out = inner[~test] == part
            if not left_out.any():
                continue
            weights, centre, mean = _fitted(x[~left_out], y[~left_out], prior)
            guesses = mean + np.einsum("np,lpc->lnc", x[left_out] - centre, weights)
            errors += np.square(guesses - y[left_out]).sum(axis=1)
        weights, centre, _ = _fitted(x, y, prior)
        # Where two pulls do equally well, the stronger one.
        best = len(PULLS) - 1 - errors[::-1].argmin(axis=0)
        chosen = weights[best, :, np.arange(y.shape[1])].T
        spread = ((x - centre) @ chosen).std(axis=0)
        scores[test] = (values[test] - centre) @ chosen / np.maximum(spread, 1e-12)
    return scores


def _fitted(x: Floats, y: Floats, prior: Floats) -> tuple[Floats, Floats, Floats]:
    """Regression weights (pulls, p, c), the centre of the figures (p,) and the mean of the labels (c,).

    w minimises |y - X w|^2 / n + pull |w - c prior|^2, where c prior is the best multiple, never negative, of the prior.
    """
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - centre, y - mean
    gram, moment = x.T @ x / len(x), x.T @ y / len(x)
    along = max(float(prior @ gram @ prior), 1e-12)
    towards = np.outer(prior, np.maximum(prior @ moment / along, 1e-6))
    pulls = np.array(PULLS)
    finite = np.isfinite(pulls)
    strength = (pulls[finite] * (np.trace(gram) / len(gram)))[:, None, None]
    found = np.tile(towards, (len(pulls), 1, 1))
    # All at once: most of a small system's time is the call.
    found[finite] = np.linalg.solve(gram + strength * np.eye(len(gram)), moment + strength * towards)
    return found, centre, mean


def _widened(found: Outcome, values: Floats, member: Bools, codes: Ints, folds: Ints, prior: Floats, seed: int) -> Outcome:
    """Intervals that hold those of the whole procedure, and what is attainable as wide as its own null."""
    aucs, rates = _resampled(values, member, codes, folds, prior, seed)
    null = _exchanged(values, member, codes, folds, prior, seed)
    least = float(norm.ppf(0.95)) * float(null.std())
    low, high = found.auc_attainable
    return replace(
        found,
        auc_interval=_around(found.auc_interval, aucs, 0.025),
        auc_bounds=_around(found.auc_bounds, aucs, 0.05),
        auc_attainable=(min(low, 0.5 - least), max(high, 0.5 + least)),
        tpr_interval=_around(found.tpr_interval, rates, 0.025),
        tpr_bounds=_around(found.tpr_bounds, rates, 0.05),
    )


def _resampled(values: Floats, member: Bools, codes: Ints, folds: Ints, prior: Floats, seed: int) -> tuple[Floats, Floats]:
    """AUC and rate at 1 % of the whole procedure on patients drawn with replacement, each side by itself."""
    rng = np.random.default_rng([seed, 0xB007])
    counts = np.bincount(codes)
    by_patient, starts = np.argsort(codes, kind="stable"), np.cumsum(counts) - counts
    sides = [np.unique(codes[side]) for side in (member, ~member)]
    aucs, rates = np.empty(_REPEATS), np.empty(_REPEATS)
    for repeat in range(_REPEATS):
        drawn = np.concatenate([rng.choice(side, len(side)) for side in sides])
        ends = np.cumsum(counts[drawn])
        rows = by_patient[np.arange(ends[-1]) + np.repeat(starts[drawn] - ends + counts[drawn], counts[drawn])]
        # A patient drawn twice keeps one fold, or it would be judged by itself.
        score = nested_scores(values[rows], member[rows, None], folds[rows], prior)[:, 0]
        inside, outside = score[member[rows]], score[~member[rows]]
        aucs[repeat], rates[repeat] = auc(inside, outside), tpr_at_fpr(inside, outside, FPR)
    return aucs, rates


def _exchanged(values: Floats, member: Bools, codes: Ints, folds: Ints, prior: Floats, seed: int) -> Floats:
    """AUCs of the whole procedure with patients' sides exchanged at random: what is found where nothing is."""
    rng = np.random.default_rng([seed, 0xE8C4])
    side = np.zeros(int(codes.max()) + 1, dtype=bool)
    side[codes[member]] = True
    labels = np.stack([rng.permutation(side) for _ in range(_REPEATS)], axis=1)[codes]
    return auc_columns(nested_scores(values, labels, folds, prior), labels)


def _around(ends: tuple[float, float], values: Floats, tail: float) -> tuple[float, float]:
    low, high = np.quantile(values, [tail, 1 - tail])
    return min(ends[0], float(low)), max(ends[1], float(high))
