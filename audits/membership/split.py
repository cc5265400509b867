"""Can private set and holdout be told apart without the model? Then no membership figure means anything.

Two classifiers that never see the model guess the side of each image: ridge regression on appearance, thumbnail and
metadata, tested on patients it was not fitted to; and the nearest neighbours of other patients, by appearance, which see
several photographs of one patient that no patient id ties together. The larger AUC of the two counts, and its p-value is
that of the larger of the two under permutation of patients, so that taking the larger costs nothing.

Why: model-free guesses beat published membership attacks on nine of nine data sets (Das, Zhang and Tramer 2024, "Blind
Baselines Beat Membership Inference Attacks for Foundation Models"), and placebos did so on medical images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from audits.membership.features import appearance, metadata_features, principal_components
from synguard.data.images import ImageSet
from synguard.metrics.ranks import Auc, auc_columns, clustered_auc, permutation_p
from synguard.protocols import Embedder, Images

__all__ = ["Validity", "assess"]

Floats = NDArray[np.float64]

P_VALUE = 0.01
TOLD_APART = 0.53
MUST_EXCLUDE = 0.56
_FOLDS = 5
_RIDGE = 0.001
_COMPONENTS = 24
_NEIGHBOURS = 20
_PLACEBOS = 40
_BLOCK = 1024
_CLASSIFIERS = ("ridge regression on appearance", "nearest neighbours by appearance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """What a model-free guess of the side of each image reaches, and what follows for the membership verdict.

    `auc` is that of the better classifier, `interval` its two-sided 95 % interval by patient, `bounds` the one-sided ones.
    `placebo_auc` is the mean of the same guess over random cuts
    of the private set in two, and its interval the spread of a single cut. `excludes` is the AUC that a split which cannot
    be told apart stays below with 95 %: above 0.56, the data are too few to call any split valid.
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
    features = _features([private, *holdout], metadata, embedder)
    n_holdout = sum(len(part) for part in holdout)
    patients = np.concatenate([part.patients.astype(str) for part in (private, *holdout)])
    names, codes = np.unique(patients, return_inverse=True)
    member = np.zeros(len(names), dtype=bool)
    member[codes[: len(private)]] = True
    sizes = (int(member.sum()), int((~member).sum()))
    if min(sizes) < 2 * _FOLDS:
        return _too_few(len(private), n_holdout, sizes, permutations)

    rng = np.random.default_rng([seed, 0x5B17])
    labels = np.stack([member, *(rng.permutation(member) for _ in range(permutations))], axis=1)[codes]
    folds = rng.permutation(len(names))[codes] % _FOLDS
    guesses = _guesses(features, labels, codes, folds)
    aucs = np.stack([auc_columns(guess, labels) for guess in guesses])
    best = int(aucs[:, 0].argmax())
    permuted = aucs[:, 1:].max(axis=0)
    measured = _clustered(guesses[best][:, 0], labels[:, 0], patients, spread=float(aucs[best, 1:].std()))
    p_value = permutation_p(measured.value, permuted)
    excludes = float(np.quantile(permuted, 0.95))
    placebo = _placebo(features, codes, len(private), sizes, best, rng)
    state, reason = _verdict(measured.value, p_value, excludes, best)
    return Validity(
        state=state,
        reason=reason,
        classifier=_CLASSIFIERS[best],
        auc=measured.value,
        interval=measured.interval(),
        bounds=measured.bounds(),
        p_value=p_value,
        permutations=permutations,
        placebo_auc=placebo.value,
        placebo_interval=placebo.interval(),
        placebo_bounds=placebo.bounds(),
        excludes=excludes,
        # The AUC that beats the permutation threshold four times in five.
        minimum_detectable_auc=min(1.0, float(np.quantile(permuted, 1 - P_VALUE) + norm.ppf(0.8) * permuted.std())),
        n_members=len(private),
        n_nonmembers=n_holdout,
        member_patients=sizes[0],
        nonmember_patients=sizes[1],
    )


def _features(
    sets: list[ImageSet], metadata: tuple[pd.DataFrame, pd.DataFrame] | None, embedder: Embedder | None
) -> tuple[Floats, Floats]:
    """Standardised features for the ridge regression (all) and for the neighbours (appearance and metadata only)."""
    parts = [appearance(images.pixels) for images in sets]
    near = [np.concatenate([statistics for statistics, _ in parts])]
    if metadata is not None:
        near.append(metadata_features(list(metadata)))
    wide = [*near, principal_components(np.concatenate([thumbnails for _, thumbnails in parts]), _COMPONENTS)]
    if embedder is not None:
        embedded = np.concatenate([_embed(embedder, images.pixels) for images in sets])
        wide.append(principal_components(embedded, _COMPONENTS))
    return _standardise(np.concatenate(wide, axis=1)), _standardise(np.concatenate(near, axis=1))


def _embed(embedder: Embedder, pixels: Images) -> Floats:
    blocks = [embedder.embed(pixels[start : start + _BLOCK]) for start in range(0, len(pixels), _BLOCK)]
    return np.concatenate(blocks).astype(np.float64)


def _standardise(values: Floats) -> Floats:
    spread = values.std(axis=0)
    kept = spread > 1e-9
    return np.asarray((values[:, kept] - values[:, kept].mean(axis=0)) / spread[kept], dtype=np.float64)


def _guesses(
    features: tuple[Floats, Floats], labels: NDArray[np.bool_], codes: NDArray[np.int64], folds: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Per classifier, a guess (n, k) for each of k columns of labels (n, k), never from the image's own patient."""
    wide, near = features
    return _ridge(wide, labels, folds), _neighbours(near, labels, codes)


def _ridge(features: Floats, labels: NDArray[np.bool_], folds: NDArray[np.int64]) -> Floats:
    """Ridge regression, one solve a fold for all columns of labels at once."""
    targets = labels.astype(np.float64)
    guesses = np.empty_like(targets)
    for fold in range(_FOLDS):
        test = folds == fold
        train = features[~test] - features[~test].mean(axis=0)
        wanted = targets[~test] - targets[~test].mean(axis=0)
        penalty = _RIDGE * len(train) * np.eye(train.shape[1])
        weights = np.linalg.solve(train.T @ train + penalty, train.T @ wanted)
        guesses[test] = (features[test] - features[~test].mean(axis=0)) @ weights
    return guesses


def _neighbours(features: Floats, labels: NDArray[np.bool_], codes: NDArray[np.int64]) -> Floats:
    """Share of members among the nearest images of other patients, the r-th counting 1 / r."""
    count = min(_NEIGHBOURS, len(np.unique(codes)) - 1)
    targets = labels.astype(np.float32)
    guesses = np.zeros(labels.shape, dtype=np.float64)
    squares = np.square(features).sum(axis=1)
    for start in range(0, len(features), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distances = squares[rows, None] + squares - 2 * features[rows] @ features.T
        distances[codes[rows, None] == codes] = np.inf
        nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1)
        nearest = np.take_along_axis(nearest, order, axis=1)
        for rank in range(count):
            guesses[rows] += targets[nearest[:, rank]] / (rank + 1)
    return guesses


def _clustered(guess: Floats, member: NDArray[np.bool_], patients: NDArray[np.str_], *, spread: float) -> Auc:
    """The AUC by patient. Guesses share training images, so their error is at least the `spread` under permutation."""
    measured = clustered_auc(guess[member], guess[~member], patients[member], patients[~member])
    return replace(measured, standard_error=max(measured.standard_error, spread))


def _placebo(
    features: tuple[Floats, Floats],
    codes: NDArray[np.int64],
    n_private: int,
    sizes: tuple[int, int],
    classifier: int,
    rng: np.random.Generator,
) -> Auc:
    """The same classifier on the private set alone, its patients cut at random in the proportion of the real split.

    The mean over several cuts, with the spread of a single one: what a guess reaches where there is nothing to find.
    """
    codes = np.unique(codes[:n_private], return_inverse=True)[1]
    cut = min(max(2, round(sizes[0] * sizes[0] / sum(sizes))), sizes[0] - 2)
    labels = np.stack([rng.permutation(sizes[0]) < cut for _ in range(_PLACEBOS)], axis=1)[codes]
    folds = rng.permutation(sizes[0])[codes] % _FOLDS
    private = (_standardise(features[0][:n_private]), _standardise(features[1][:n_private]))
    aucs = auc_columns(_guesses(private, labels, codes, folds)[classifier], labels)
    return Auc(float(aucs.mean()), float(aucs.std(ddof=1)), 1.0)


def _verdict(
    auc: float, p_value: float, excludes: float, classifier: int
) -> tuple[Literal["valid", "invalid", "insufficient"], str]:
    found = f"AUC {auc:.3f}, permutation p = {p_value:.3g}"
    if p_value < P_VALUE and auc > TOLD_APART:
        causes = (
            "their photographs differ in colour, sharpness, attributes or framing",
            "their photographs differ, or one patient's photographs were not tied together by patient ids",
        )
        return "invalid", (
            f"private set and holdout can be told apart without the model ({found}, {_CLASSIFIERS[classifier]}): "
            f"{causes[classifier]}; no membership figure can be trusted"
        )
    if excludes > MUST_EXCLUDE:
        return "insufficient", (
            f"too few images to say that private set and holdout cannot be told apart: chance alone reaches an AUC of "
            f"{excludes:.3f}, expected at most {MUST_EXCLUDE}"
        )
    return "valid", f"private set and holdout cannot be told apart without the model ({found})"


def _too_few(n_members: int, n_nonmembers: int, sizes: tuple[int, int], permutations: int) -> Validity:
    everything = (0.0, 1.0)
    return Validity(
        state="insufficient",
        reason=f"too few patients: found {sizes[0]} private, {sizes[1]} in the holdout, expected at least {2 * _FOLDS} each",
        classifier="none",
        auc=0.5,
        interval=everything,
        bounds=everything,
        p_value=1.0,
        permutations=permutations,
        placebo_auc=0.5,
        placebo_interval=everything,
        placebo_bounds=everything,
        excludes=1.0,
        minimum_detectable_auc=1.0,
        n_members=n_members,
        n_nonmembers=n_nonmembers,
        member_patients=sizes[0],
        nonmember_patients=sizes[1],
    )
