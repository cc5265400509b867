"""Classifiers that never see the model and guess the side of each image: by its looks, its metadata, a frozen embedding.

Ridge regression on each kind of feature and on all together, tested on patients it was not fitted to; and the nearest
neighbours of other patients by looks, which see several photographs of one patient that no patient id ties together. All
guess for many columns of labels at once, so that the same procedure runs on the real sides and on permuted ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits.membership.features import appearance, metadata_features, principal_components
from audits.spaces import embed_all
from synguard.data.images import ImageSet
from synguard.metrics.ranks import auc_columns
from synguard.protocols import Embedder

__all__ = ["FOLDS", "Guesser", "guessers", "guessers_of", "jackknife_error"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
FOLDS = 5
_RIDGE = 0.001
_COMPONENTS = 24
_NEIGHBOURS = 20
_LISTED = 2 * _NEIGHBOURS
"""Neighbours found once; where a part of the images is left out, the first 20 of those that are left vote."""
_BLOCK = 1024
_JACKKNIFE = 20
"""Parts of patients that are left out in turn."""


@dataclass(frozen=True, slots=True, eq=False)
class Guesser:
    """One classifier: standardised features (n, d), or for the neighbours a list (n, k) of nearest images."""

    name: str
    features: Floats | None = None
    nearest: NDArray[np.int64] | None = None

    def guess(self, labels: Mask, folds: NDArray[np.int64], kept: Mask | None = None) -> Floats:
        """A guess (n, k) for each of k columns of labels (n, k), from images of other patients among those that are `kept`.

        `folds` number the patients' folds. Guesses of images that are not kept mean nothing.
        """
        kept = np.ones(len(labels), dtype=bool) if kept is None else kept
        if self.features is not None:
            return _ridge(self.features, labels, folds, kept)
        assert self.nearest is not None  # noqa: S101 - one of the two is always there
        return _votes(self.nearest, labels, kept)


def guessers(
    sets: Sequence[ImageSet], metadata: Sequence[pd.DataFrame] | None, embedder: Embedder | None
) -> tuple[Guesser, ...]:
    """All classifiers over the images of several sets, one after the other. `metadata` has a frame a set or none at all.

    An `embedder` must not have been trained on any of the sets.
    """
    parts = [appearance(images.pixels) for images in sets]
    statistics, thumbnails = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    attributes = np.empty((len(statistics), 0)) if metadata is None else metadata_features(list(metadata))
    embedded = None if embedder is None else np.concatenate([embed_all(embedder, images.pixels) for images in sets])
    patients = np.concatenate([images.patients.astype(str) for images in sets])
    return guessers_of(statistics, thumbnails, attributes, embedded, patients)


def guessers_of(
    statistics: Floats, thumbnails: Floats, attributes: Floats, embedded: Floats | None, patients: NDArray[np.str_]
) -> tuple[Guesser, ...]:
    """The same from features of all images: statistics, thumbnails, attributes (n, 0 or more), and an embedding."""
    looks = _standardise(np.concatenate([statistics, principal_components(thumbnails, _COMPONENTS)], axis=1))
    kinds = [("pixel statistics", looks)]
    if attributes.shape[1]:
        kinds.append(("metadata", _standardise(attributes)))
    if embedded is not None:
        kinds.append(("frozen embedding", _standardise(principal_components(embedded, _COMPONENTS))))
    found = [Guesser(f"ridge regression on {name}", features) for name, features in kinds if features.shape[1]]
    if len(found) > 1:
        together = np.concatenate([guesser.features for guesser in found if guesser.features is not None], axis=1)
        found.append(Guesser("ridge regression on all features", together))
    codes = np.unique(patients, return_inverse=True)[1]
    near = _standardise(np.concatenate([statistics, attributes], axis=1))
    return (*found, Guesser("nearest neighbours by appearance", nearest=_nearest(near, codes)))


def jackknife_error(guesser: Guesser, member: Mask, codes: NDArray[np.int64], folds: NDArray[np.int64]) -> float:
    """Standard error of the classifier's AUC, the whole procedure done anew without one part of the patients at a time.

    Parts are drawn by `codes`, the patients' numbers, one of 20 each. Kunsch 1989, doi:10.1214/aos/1176347265.
    """
    parts = np.random.default_rng(0x7AC).permutation(int(codes.max()) + 1)[codes] % _JACKKNIFE
    labels = member[:, None]
    found = []
    for part in range(_JACKKNIFE):
        kept = parts != part
        found.append(auc_columns(guesser.guess(labels, folds, kept)[kept], labels[kept])[0])
    left = np.array(found)
    return float(np.sqrt((_JACKKNIFE - 1) / _JACKKNIFE * np.square(left - left.mean()).sum()))


def _standardise(values: Floats) -> Floats:
    spread = values.std(axis=0)
    kept = spread > 1e-9
    return np.asarray((values[:, kept] - values[:, kept].mean(axis=0)) / spread[kept], dtype=np.float64)


def _ridge(features: Floats, labels: Mask, folds: NDArray[np.int64], kept: Mask) -> Floats:
    """Ridge regression, one solve a fold for all columns of labels at once."""
    targets = labels.astype(np.float64)
    guesses = np.zeros_like(targets)
    for fold in range(FOLDS):
        test, fitted = folds == fold, (folds != fold) & kept
        centre = features[fitted].mean(axis=0)
        train = features[fitted] - centre
        wanted = targets[fitted] - targets[fitted].mean(axis=0)
        penalty = _RIDGE * len(train) * np.eye(train.shape[1])
        weights = np.linalg.solve(train.T @ train + penalty, train.T @ wanted)
        guesses[test] = (features[test] - centre) @ weights
    return guesses


def _nearest(features: Floats, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest images of other patients (n, k), nearest first; k is 40, or as many as the largest patient leaves."""
    others = len(codes) - int(np.bincount(codes).max())
    count = max(1, min(_LISTED, others))
    found = np.empty((len(features), count), dtype=np.int64)
    squares = np.square(features).sum(axis=1)
    for start in range(0, len(features), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distances = squares[rows, None] + squares - 2 * features[rows] @ features.T
        distances[codes[rows, None] == codes] = np.inf
        nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(nearest, order, axis=1)
    return found


def _votes(nearest: NDArray[np.int64], labels: Mask, kept: Mask) -> Floats:
    """Share of members among the first 20 neighbours that are kept, the r-th of them counting 1 / r."""
    usable = kept[nearest]
    rank = np.cumsum(usable, axis=1)
    weights = np.where(usable & (rank <= _NEIGHBOURS), 1 / np.maximum(rank, 1), 0.0)
    targets = labels.astype(np.float32)
    guesses = np.zeros(labels.shape, dtype=np.float64)
    for place in range(nearest.shape[1]):
        if weights[:, place].any():
            guesses += weights[:, place, None] * targets[nearest[:, place]]
    return guesses
