"""The fidelity probe: how near generated images come to real ones, beside how near other real images come.

Every distance depends on the number of images and on the features, so each one stands beside its floor: the same figure,
at the same number of images, for real images of other patients. Nothing here says anything about privacy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synguard.config import FidelityConfig
from synguard.data.images import ImageSet
from synguard.metrics.distances import (
    as_array,
    block_jackknife,
    blocks_of,
    discriminant_scores,
    frechet_distance,
    kernel_distance,
    neighbourhoods,
    rank_auc,
)
from synguard.metrics.intervals import clopper_pearson
from synguard.protocols import Embedder, Images
from synguard.results import AuditResult, Metric

__all__ = ["FEWEST", "run"]

Floats = NDArray[np.float64]

AT_MOST = 2000
"""Images a side. More would cost time and memory (squared) and hardly narrow the intervals."""
FEWEST = 20
BLOCKS, FOLDS = 10, 5
FLOOR = "real against real, other patients, as many images"
NAMES = ("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "blind_auc")
UNITS = {
    "frechet_distance": "distance",
    "kernel_distance": "distance",
    "precision": "share",
    "recall": "share",
    "density": "ratio",
    "coverage": "share",
    "blind_auc": "AUC",
}


def run(
    real: ImageSet, floor: ImageSet, synthetic: Images, embedder: Embedder, config: FidelityConfig, seed: int
) -> AuditResult:
    """All fidelity figures of `synthetic` (n, size, size, 3) against `real`, each beside that of `floor` against `real`.

    `real` and `floor` share no patient, and neither was used for training. All three are thinned to one number of images,
    2,000 at most. Intervals: delete-one-block jackknife, real images in blocks of whole patients; for shares widened to
    the exact binomial interval. Under 20 images a side every figure is insufficient.
    """
    n = min(len(real), len(floor), len(synthetic), AT_MOST)
    fewest = max(FEWEST, 2 * config.neighbours + 2)
    if n < fewest:
        note = f"found {n} images a side, expected at least {fewest}"
        absent = tuple(_metric(name, n, embedder, config, state="insufficient", note=note) for name in NAMES)
        return AuditResult(
            name="fidelity", metrics=absent, evidence={"metrics": [], "extractor": embedder.name, "note": note}
        )
    rng = np.random.default_rng([seed, 51])
    of_real = np.sort(rng.permutation(len(real))[:n])
    of_floor = np.sort(rng.permutation(len(floor))[:n])
    of_synthetic = np.sort(rng.permutation(len(synthetic))[:n])
    features = embedder.embed(real.pixels[of_real]).astype(np.float64)
    others = embedder.embed(floor.pixels[of_floor]).astype(np.float64)
    generated = embedder.embed(synthetic[of_synthetic]).astype(np.float64)
    patients, other_patients, images = real.patients[of_real], floor.patients[of_floor], np.arange(n)
    real_blocks, blocks = blocks_of(patients, BLOCKS, rng), blocks_of(images, BLOCKS, rng)
    scores = discriminant_scores(features, generated, blocks_of(patients, FOLDS, rng), blocks_of(images, FOLDS, rng))
    floor_folds = blocks_of(np.concatenate((patients, other_patients)), FOLDS, rng)
    floor_scores = discriminant_scores(features, others, floor_folds[:n], floor_folds[n:])

    def figures(kept_real: NDArray[np.bool_], kept: NDArray[np.bool_]) -> Floats:
        return _figures(features[kept_real], generated[kept], scores[:n][kept_real], scores[n:][kept], config)

    value, low, high = block_jackknife(figures, real_blocks, blocks)
    beneath = _figures(features, others, floor_scores[:n], floor_scores[n:], config)
    metrics: list[Metric] = []
    rows: list[dict[str, Any]] = []
    for at, name in enumerate(NAMES):
        ends = _ends(name, value[at], low[at], high[at], n)
        metrics.append(
            _metric(name, n, embedder, config, value=float(value[at]), interval=ends, baseline=float(beneath[at]))
        )
        rows.append(
            {"name": f"fidelity.{name}", "value": float(value[at]), "interval": ends, "floor": float(beneath[at]), "n": n}
        )
    evidence = {
        "metrics": rows,
        "extractor": embedder.name,
        "extractor_digest": embedder.digest,
        "dimension": embedder.dimension,
        "images_a_side": n,
    }
    return AuditResult(name="fidelity", metrics=tuple(metrics), evidence=evidence, public=tuple(evidence))


def _figures(real: Floats, others: Floats, real_scores: Floats, other_scores: Floats, config: FidelityConfig) -> Floats:
    """The figures (7,) in the order of NAMES."""
    near = as_array(neighbourhoods(real, others, config.neighbours))
    distances = (frechet_distance(real, others), kernel_distance(real, others))
    return np.array((*distances, *near, rank_auc(real_scores, other_scores)))


def _ends(name: str, value: float, low: float, high: float, n: int) -> tuple[float, float]:
    """The jackknife interval cut to the figure's range; for shares widened to the exact binomial one."""
    if UNITS[name] == "share":
        exact = clopper_pearson(round(value * n), n)
        low, high = min(low, exact[0]), max(high, exact[1])
    if UNITS[name] in ("share", "AUC"):
        high = min(1.0, high)
    # The unbiased kernel distance may be negative; the others may not.
    return float(low if name == "kernel_distance" else max(0.0, low)), float(high)


def _metric(name: str, n: int, embedder: Embedder, config: FidelityConfig, **fields: Any) -> Metric:
    neighbours = f", {config.neighbours} neighbours" if name in ("precision", "recall", "density", "coverage") else ""
    method = f"{embedder.name} features of {embedder.dimension} numbers{neighbours}; jackknife over {BLOCKS} blocks"
    if "baseline" in fields:
        fields["baseline_name"] = FLOOR
    return Metric(name=f"fidelity.{name}", **{"value": None, **fields}, n=n, unit=UNITS[name], method=method)
