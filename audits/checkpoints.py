"""Checkpoints of a training: where does memorisation begin?

Two figures a checkpoint, each on private images against holdout images that the training never sees:

- the loss gap: how much lower the flow matching loss is on private images than on as many unseen ones. The same images,
  noise and times at every checkpoint (common random numbers), so that the curve moves only where the model does. The loss
  is that of training: times are quantiles of its logit-normal distribution (Esser et al. 2024, arXiv:2403.03206).
- the excess of nearest neighbours: the share of generated images that are nearer to a private than to a holdout image, in
  sets of equal size; a half where nothing is memorised. The same conditions and seeds at every checkpoint.

The loss gap comes first and says that the model tells its images from others; the excess says that it draws them. What the
autoencoder remembers can show in the gap too, and has an audit of its own (`audits.autoencoder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from audits.membership.probe import Schema, sample_patients
from audits.memorisation.descriptor import COARSE, fit_encoder
from audits.memorisation.pictures import working_pictures
from audits.memorisation.proximity import Proximity
from synguard.data.images import ImageSet
from synguard.errors import EvidenceError
from synguard.metrics.clusters import Estimate, clustered_share, relative_gap
from synguard.protocols import Denoiser, Images

__all__ = ["FEWEST_PATIENTS", "Measured", "Yardstick"]

Floats = NDArray[np.float64]
TIMES = 5
"""Quantiles of the times of training at which the loss is measured."""
FEWEST_PATIENTS = 20
"""A side. With fewer no interval means anything, as in the membership audit."""
_NEIGHBOURS = 5000
"""Images a side that generated ones are held against, at most: more would only cost memory."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one checkpoint showed: mean losses, their relative gap, and the share of generated images nearer to private."""

    private_loss: float
    holdout_loss: float
    gap: Estimate
    nearer: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """The real images that all checkpoints of a training are measured with. Nothing is ever trained on the holdout's."""

    private: ImageSet
    holdout: ImageSet
    conditions: tuple[pd.DataFrame, pd.DataFrame]
    proximity: Proximity
    confidence: float
    seed: int

    @classmethod
    def of(
        cls, private: ImageSet, holdout: ImageSet, conditions: Schema, *, images: int, confidence: float, seed: int
    ) -> Yardstick:
        """At most `images` of either set for the loss, by whole patients; as many of both as the smaller has to be near to,
        5,000 at most.

        `confidence` is that of each interval. EvidenceError with fewer than 20 patients a side.
        """
        for part in (private, holdout):
            if (found := len(np.unique(part.patients))) < FEWEST_PATIENTS:
                wanted = f"at least {FEWEST_PATIENTS} to measure checkpoints with (generator.curve)"
                raise EvidenceError(f"{part.name}: found {found} patients, expected {wanted}")
        sampled = [part.take(sample_patients(part, images, seed)) for part in (private, holdout)]
        typed = [conditions.parse(part.metadata, part.name) for part in sampled]
        return cls(sampled[0], sampled[1], (typed[0], typed[1]), _proximity(private, holdout, seed), confidence, seed)

    @property
    def neighbours(self) -> int:
        """Images a side that generated ones are held against."""
        return len(self.proximity.private_rows)

    def measure(self, model: Denoiser, generated: Images) -> Measured:
        """One checkpoint: its released weights on the real images, and images (n, s, s, 3) that it generated."""
        inside, outside = (
            self._losses(model, part, typed)
            for part, typed in zip((self.private, self.holdout), self.conditions, strict=True)
        )
        patients = [part.patients.astype(str) for part in (self.private, self.holdout)]
        closer, nearest = self.proximity.compare(working_pictures(generated).grey)
        return Measured(
            private_loss=float(inside.mean()),
            holdout_loss=float(outside.mean()),
            gap=relative_gap(inside, outside, *patients, confidence=self.confidence, seed=self.seed),
            # Candidates that lie nearest to the same real image are one piece of evidence.
            nearer=clustered_share(closer, nearest, confidence=self.confidence),
        )

    def _losses(self, model: Denoiser, images: ImageSet, conditions: pd.DataFrame) -> Floats:
        """Flow matching loss (n,) of each image, mean over times, each with a noise of its own, the same for all images."""
        latents = model.encode(images.pixels)
        rng = np.random.default_rng([self.seed, 0xC1E])
        noise = rng.standard_normal((TIMES, *model.latent_shape)).astype(np.float32)
        asked = conditions if len(conditions.columns) else None
        errors = [
            model.errors(latents, asked, level=level, noise=one, weights=model.weights[0])
            for level, one in zip(_times(), noise, strict=True)
        ]
        return np.asarray(np.mean(errors, axis=0), dtype=np.float64)


def _times() -> Sequence[float]:
    """Midpoint quantiles of the logit-normal distribution that the times of training are drawn from."""
    quantiles = (np.arange(TIMES) + 0.5) / TIMES
    return [float(value) for value in expit(norm.ppf(quantiles))]


def _proximity(private: ImageSet, holdout: ImageSet, seed: int) -> Proximity:
    """Equal-size subsets of both, described by an encoder that was fitted to both alike."""
    n = min(len(private), len(holdout), _NEIGHBOURS)
    rng = np.random.default_rng([seed, 0xC1F])
    mine, theirs = (
        working_pictures(part.pixels[np.sort(rng.permutation(len(part))[:n])]).grey for part in (private, holdout)
    )
    encoder = fit_encoder(COARSE, torch.cat([mine, theirs]), seed)
    return Proximity.build(encoder, encoder.bank(mine), theirs, seed)
