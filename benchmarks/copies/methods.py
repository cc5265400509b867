"""The methods that are compared, by the name that `--methods` takes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from .embeddings import DAR_STEPS, fit_dar, fit_random
from .hashes import fit_pdq, fit_pdq_views, fit_phash
from .ours import fit_ours
from .pixels import fit_carlini, fit_correlation, fit_distance
from .protocol import Method

__all__ = ["methods"]


def methods(dar_steps: int = DAR_STEPS) -> Mapping[str, Method]:
    """All of them; `dar_steps` is how long the encoder after Dar et al. is trained."""
    return {
        "synguard": Method("synguard", "verified copy", fit_ours),
        "l2": Method("pixel L2", "", fit_distance),
        "correlation": Method("correlation, 8 views", "", fit_correlation),
        "carlini": Method("Carlini ratio", "ratio < 1 (alpha 0.5, n 50)", fit_carlini),
        "phash": Method("pHash", "distance <= 10 of 64 (imagededup)", fit_phash),
        "pdq": Method("PDQ", "distance <= 31 of 256", fit_pdq),
        "pdq-views": Method("PDQ, 8 views", "distance <= 31 of 256", fit_pdq_views),
        "dar": Method("Dar et al.", "95th percentile, training to validation", partial(fit_dar, steps=dar_steps), True),
        "random": Method("random encoder", "", fit_random, True),
    }
