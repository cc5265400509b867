"""Batch excess: is a candidate nearer to the private set or to a holdout, in sets of equal size?

Single copies do not show here, but memorisation that is spread thin does. By the coarse descriptor of the whole image, as
good or as bad for either side; blurry images sit nearer to everything and so cancel out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audits.memorisation.descriptor import Encoder
from audits.memorisation.geometry import Window
from audits.memorisation.index import EmbeddingIndex
from audits.memorisation.rows import Rows, as_rows
from audits.memorisation.store import PictureStore, grey_rows

__all__ = ["Proximity", "share_interval"]

_TIE = 1e-5
_CHUNK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Proximity:
    """Equal-size subsets of the private set and of the comparison images, each with its rows."""

    encoder: Encoder
    private: EmbeddingIndex
    holdout: EmbeddingIndex
    private_rows: NDArray[np.int64]

    @staticmethod
    def build(
        encoder: Encoder,
        private: Rows | NDArray[np.float32],
        holdout: PictureStore | Tensor,
        seed: int,
        members: NDArray[np.int64] | None = None,
    ) -> Proximity:
        """From the private bank (n, windows, d) and comparison images, a chunk of either in memory at a time.

        Private images are drawn from `members`, by default all: one that the model never saw is no nearer than the holdout.
        """
        private = as_rows(private)
        known = np.arange(len(private)) if members is None else members
        rng = np.random.default_rng([seed, 0x9A1])
        n = min(len(known), len(holdout))
        mine = np.sort(known[rng.permutation(len(known))[:n]])
        theirs = np.sort(rng.permutation(len(holdout))[:n])
        # Both sides rounded alike, or one would be the nearer by it; in memory, a few hundred bytes an image.
        sides = [np.empty((n, 1, private.shape[2]), private.dtype) for _ in range(2)]
        for start in range(0, n, _CHUNK):
            rows = slice(start, start + _CHUNK)
            sides[0][rows] = private.take(mine[rows])[:, :1]
            sides[1][rows] = encoder.bank(grey_rows(holdout, theirs[rows]))[:, :1]
        return Proximity(encoder, EmbeddingIndex(sides[0]), EmbeddingIndex(sides[1]), mine)

    def compare(self, queries: Tensor) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """For queries (n, 1, s, s): 1 nearer to private, 0 to holdout, 1/2 tie; and the nearest image's number.

        Numbers below the subset's size are private images, those above are holdout images.
        """
        whole = self.encoder.queries(queries, (Window(),))
        sides = [index.candidates(whole, 1) for index in (self.private, self.holdout)]
        likeness = np.stack([side[3][:, 0] for side in sides], 1).astype(np.float64)
        nearest = np.stack([sides[0][0][:, 0], sides[1][0][:, 0] + self.private.images], 1)
        gap = likeness[:, 0] - likeness[:, 1]
        closer = np.where(np.abs(gap) <= _TIE, 0.5, (gap > 0).astype(np.float64))
        return closer, nearest[np.arange(len(gap)), (gap <= 0).astype(np.int64)]


def share_interval(
    closer: NDArray[np.float64], clusters: NDArray[np.int64], seed: int, resamples: int = 2000
) -> tuple[tuple[float, float], tuple[float, float]]:
    """95 % interval, and one-sided bounds at 95 %, of the mean of `closer`: bootstrap over clusters (nearest images).

    Never narrower than the binomial interval, which a bootstrap of a few clusters can be.
    """
    names, member = np.unique(clusters, return_inverse=True)
    sums = np.bincount(member, weights=closer)
    counts = np.bincount(member).astype(np.float64)
    rng = np.random.default_rng([seed, 0xB007])
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    shares = np.sort((draws @ sums) / (draws @ counts))
    value = float(closer.mean())
    deviation = float(np.sqrt(max(value * (1 - value), 0.25 / len(closer)) / len(closer)))
    low, high, lower, upper = np.quantile(shares, [0.025, 0.975, 0.05, 0.95]).tolist()
    interval = (max(0.0, min(low, value - 1.96 * deviation)), min(1.0, max(high, value + 1.96 * deviation)))
    bounds = (max(0.0, min(lower, value - 1.645 * deviation)), min(1.0, max(upper, value + 1.645 * deviation)))
    return interval, bounds
