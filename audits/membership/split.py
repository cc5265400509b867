"""Can private set and holdout be told apart without the model? Then no membership figure means anything.

First what they share: a patient or a file on both sides makes every comparison void. Then classifiers that never see the
model guess the side of each image (`guessers.py`). The largest AUC counts, and its p-value is that of the largest under
permutation of patients, so that taking the largest costs nothing. Last the classes: one that a side lacks, which chance does
not explain, makes the split invalid as well (`mix.py`).

Why: model-free guesses beat published membership attacks on nine of nine data sets (Das, Zhang and Tramer 2024, "Blind
Baselines Beat Membership Inference Attacks for Foundation Models"), and placebos did so on medical images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from audits.membership.guessers import FOLDS, Guesser, guessers, jackknife_error
from audits.membership.mix import Level, class_mix, missing_in_words
from synguard.data.images import ImageSet
from synguard.data.overlap import find_overlap
from synguard.metrics.ranks import Auc, auc_columns, clustered_auc, permutation_p
from synguard.protocols import Embedder

__all__ = ["Told", "Validity", "assess", "tell_apart"]

Floats = NDArray[np.float64]

P_VALUE = 0.01
TOLD_APART = 0.53
MUST_EXCLUDE = 0.56
_PLACEBOS = 40


@dataclass(frozen=True, slots=True)
class Guessed:
    """One classifier's AUC and its own p-value, before the correction for taking the best."""

    name: str
    auc: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the best of several classifiers reaches on a split, and what all of them reach where there is nothing to find.

    `interval` is two-sided 95 %, `bounds` are one-sided; the lower ends allow for the best having been taken. `excludes` is
    the AUC that the best stays below with 95 % under permutation.
    """

    best: int
    auc: float
    interval: tuple[float, float]
    bounds: tuple[float, float]
    p_value: float
    excludes: float
    minimum_detectable_auc: float
    each: tuple[Guessed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """What a model-free guess of the side of each image reaches, and what follows for the membership verdict.

    `auc` is that of the best classifier, `interval` its two-sided 95 % interval by patient, `bounds` the one-sided ones.
    Where a patient or a file is on both sides, or a side has too few patients, nothing was compared. `placebo_auc` is the
    mean of the same guess over random cuts of the private set in two, and its interval the spread of a single cut.
    `excludes` is the AUC that a split which cannot be told apart stays below with 95 %: above 0.56, the data are too few to
    call any split valid.
    """

    state: Literal["valid", "invalid", "insufficient"]
    reason: str
    classifier: str
    auc: float
    interval: tuple[float, float]
    bounds: tuple[float, float]
    p_value: float
    permutations: int
    placebo_auc: float
    placebo_interval: tuple[float, float]
    placebo_bounds: tuple[float, float]
    excludes: float
    minimum_detectable_auc: float
    n_members: int
    n_nonmembers: int
    member_patients: int
    nonmember_patients: int
    each: tuple[Guessed, ...] = ()
    """All classifiers; the best of them is `classifier`."""
    mix: tuple[Level, ...] = ()
    """Patients of each class on either side."""


def assess(
    private: ImageSet,
    holdout: Sequence[ImageSet],
    *,
    metadata: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    embedder: Embedder | None = None,
    permutations: int,
    seed: int,
) -> Validity:
    """Hold the private set against the holdout. `metadata` are attributes of both, row by row, without names and ids.

    An `embedder` must not have been trained on the private set, or it tells members apart by itself.
    """
    n_holdout = sum(len(part) for part in holdout)
    patients = np.concatenate([part.patients.astype(str) for part in (private, *holdout)])
    names, codes = np.unique(patients, return_inverse=True)
    member = np.zeros(len(names), dtype=bool)
    member[codes[: len(private)]] = True
    sizes = (int(member.sum()), int((~member).sum()))
    shared = next((said for part in holdout if (said := find_overlap(private, part).describe())), "")
    if shared:
        return _not_compared("invalid", f"{shared}; no membership figure can be trusted", private, n_holdout, sizes)
    if min(sizes) < 2 * FOLDS:
        few = f"too few patients: found {sizes[0]} private, {sizes[1]} in the holdout, expected at least {2 * FOLDS} each"
        return _not_compared("insufficient", few, private, n_holdout, sizes)

    found = guessers([private, *holdout], None if metadata is None else list(metadata), embedder)
    folds = np.random.default_rng([seed, 0x5B17]).permutation(len(names))[codes] % FOLDS
    told = tell_apart(found, member, codes, folds, permutations=permutations, seed=seed)
    placebo = _placebo(found[told.best], codes, folds, len(private), sizes, seed)
    mix = [] if metadata is None else class_mix(*metadata, patients[: len(private)], patients[len(private) :])
    state, reason = _verdict(told, missing_in_words(mix))
    return Validity(
        state=state,
        reason=reason,
        classifier=told.each[told.best].name,
        auc=told.auc,
        interval=told.interval,
        bounds=told.bounds,
        p_value=told.p_value,
        permutations=permutations,
        placebo_auc=placebo.value,
        placebo_interval=placebo.interval(),
        placebo_bounds=placebo.bounds(),
        excludes=told.excludes,
        minimum_detectable_auc=told.minimum_detectable_auc,
        n_members=len(private),
        n_nonmembers=n_holdout,
        member_patients=sizes[0],
        nonmember_patients=sizes[1],
        each=told.each,
        mix=tuple(mix),
    )


def tell_apart(
    found: Sequence[Guesser],
    member: NDArray[np.bool_],
    codes: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    permutations: int,
    seed: int,
) -> Told:
    """Let all classifiers guess the sides `member` (patients,) of images whose patients are numbered `codes` (n,)."""
    rng = np.random.default_rng([seed, 0x5B18])
    labels = np.stack([member, *(rng.permutation(member) for _ in range(permutations))], axis=1)[codes]
    guesses = [guesser.guess(labels, folds) for guesser in found]
    aucs = np.stack([auc_columns(guess, labels) for guess in guesses])
    best = int(aucs[:, 0].argmax())
    permuted = aucs[:, 1:].max(axis=0)
    sides = member[codes]
    measured = clustered_auc(
        guesses[best][sides, 0], guesses[best][~sides, 0], codes[sides].astype(str), codes[~sides].astype(str)
    )
    # Guesses share the images they were fitted to: the whole procedure is done anew without parts of the patients, and its
    # error is never below that of guesses where there is nothing to find.
    error = max(measured.standard_error, float(aucs[best, 1:].std()), jackknife_error(found[best], sides, codes, folds))
    ends = Auc(measured.value, error, 1.0)
    chosen = 1 - 0.05 / len(found)
    return Told(
        best=best,
        auc=measured.value,
        interval=(ends.interval(chosen)[0], ends.interval()[1]),
        bounds=(ends.bounds(chosen)[0], ends.bounds()[1]),
        p_value=permutation_p(measured.value, permuted),
        excludes=float(np.quantile(permuted, 0.95)),
        # The AUC that beats the permutation threshold four times in five.
        minimum_detectable_auc=min(1.0, float(np.quantile(permuted, 1 - P_VALUE) + norm.ppf(0.8) * permuted.std())),
        each=tuple(
            Guessed(guesser.name, float(row[0]), permutation_p(float(row[0]), row[1:]))
            for guesser, row in zip(found, aucs, strict=True)
        ),
    )


def _placebo(
    guesser: Guesser,
    codes: NDArray[np.int64],
    folds: NDArray[np.int64],
    n_private: int,
    sizes: tuple[int, int],
    seed: int,
) -> Auc:
    """The same classifier on the private set alone, its patients cut at random in the proportion of the real split.

    The mean over several cuts, with the spread of a single one: what a guess reaches where there is nothing to find.
    """
    rng = np.random.default_rng([seed, 0x91AC])
    private = np.arange(len(codes)) < n_private
    inside = np.unique(codes[private])
    cut = min(max(2, round(sizes[0] * sizes[0] / sum(sizes))), sizes[0] - 2)
    first = np.zeros((int(codes.max()) + 1, _PLACEBOS), dtype=bool)
    first[inside] = np.stack([rng.permutation(len(inside)) < cut for _ in range(_PLACEBOS)], axis=1)
    labels = first[codes]
    guesses = guesser.guess(labels, folds, private)
    aucs = auc_columns(guesses[private], labels[private])
    return Auc(float(aucs.mean()), float(aucs.std(ddof=1)), 1.0)


def _verdict(told: Told, missing: tuple[str, str]) -> tuple[Literal["valid", "invalid", "insufficient"], str]:
    found = f"AUC {told.auc:.3f}, permutation p = {told.p_value:.3g}"
    lacking, unsaid = missing
    more = f"; {unsaid}" if unsaid else ""
    if told.p_value < P_VALUE and told.auc > TOLD_APART:
        name = told.each[told.best].name
        if name.startswith("nearest"):
            cause = "their photographs differ, or one patient's photographs were not tied together by patient ids"
        elif name.endswith("metadata"):
            cause = "their attributes differ"
        else:
            cause = "their photographs differ in colour, sharpness, attributes or framing"
        return "invalid", (
            f"private set and holdout can be told apart without the model ({found}, {name}): {cause}; no membership figure "
            "can be trusted"
        )
    if lacking:
        return "invalid", (
            f"private set and holdout can be told apart without the model by {lacking}, which a random split would not have "
            "left out; no membership figure can be trusted"
        )
    if told.excludes > MUST_EXCLUDE:
        return "insufficient", (
            f"too few images to say that private set and holdout cannot be told apart: chance alone reaches an AUC of "
            f"{told.excludes:.3f}, expected at most {MUST_EXCLUDE}{more}"
        )
    return "valid", f"private set and holdout cannot be told apart without the model ({found}){more}"


def _not_compared(
    state: Literal["invalid", "insufficient"], reason: str, private: ImageSet, n_nonmembers: int, sizes: tuple[int, int]
) -> Validity:
    everything = (0.0, 1.0)
    return Validity(
        state=state,
        reason=reason,
        classifier="none",
        auc=0.5,
        interval=everything,
        bounds=everything,
        p_value=1.0,
        permutations=0,
        placebo_auc=0.5,
        placebo_interval=everything,
        placebo_bounds=everything,
        excludes=1.0,
        minimum_detectable_auc=1.0,
        n_members=len(private),
        n_nonmembers=n_nonmembers,
        member_patients=sizes[0],
        nonmember_patients=sizes[1],
    )
