"""The autoencoder of a latent diffusion model has seen the private images too: does it restore them better than unseen ones?

Every image goes through encoder and decoder, private images and those of the holdout's evaluation role alike. Verdict: how
well the error tells the two apart (`memorisation.autoencoder.auc`). Beside it, how much smaller the mean error on private
images is (`memorisation.autoencoder.gap`).

The score is the log of the mean squared error beyond what the image's look lets expect, by regression on the calibration
role: images differ far more in difficulty than members differ from others (Watson et al. 2022, arXiv:2111.08440). Chosen
before any verdict: on autoencoders of ours that had seen 40 lesions it told members by 0.84, the plain error by 0.73, and
the structural error, which is reported beside it, by 0.62. Where private set and holdout can be told apart without the
model, both figures are invalid, as for every comparison of members with others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audits.membership.difficulty import Difficulty
from audits.membership.probe import Arm, Roles, Scores, sample_patients
from audits.membership.split import Validity
from audits.membership.verdict import Outcome, auc_metric, compare
from synguard.config import MembershipConfig
from synguard.data.images import ImageSet
from synguard.metrics.catalogue import CATALOGUE
from synguard.metrics.clusters import resampled_gaps
from synguard.protocols import Autoencoder, Images
from synguard.results import AuditResult, Metric

__all__ = ["Restored", "restore", "run"]

Floats = NDArray[np.float64]
AUC, GAP = "memorisation.autoencoder.auc", "memorisation.autoencoder.gap"
_BLOCK = 250
"""Images a call. Fixed, so that no batch size of the audit changes a figure."""
_TINY = 1e-9
_BINS = 40
_DIGITS = 6
"""Of scores: so that an autoencoder which gives all images back alike does not tell them apart by rounding."""
_PUBLIC = ("state", "n_members", "n_nonmembers", "auc", "gap", "errors")
_NO_MODEL = "no model with an autoencoder was given, so what it remembers could not be measured"


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """Errors (n,) of images that went through an autoencoder: mean squared error, values in [0, 1], and 1 - SSIM."""

    squared: Floats
    structural: Floats

    @property
    def logs(self) -> Floats:
        """Logarithms (n, 2), since errors differ tenfold between images."""
        return np.log(np.stack([self.squared, np.maximum(self.structural, 0.0)], axis=1) + _TINY)


def restore(autoencoder: Autoencoder, pixels: Images) -> Restored:
    """The errors of restored images. SSIM: Wang et al. 2004, doi:10.1109/TIP.2003.819861, mean over the colours."""
    # Half of what a command takes to start, and most commands have no autoencoder to look at.
    from torchmetrics.functional.image import structural_similarity_index_measure

    squared, structural = [np.zeros(0)], [np.zeros(0)]
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK]
        made, real = (torch.from_numpy(x.astype(np.float32) / 255) for x in (autoencoder.reconstruct(block), block))
        squared.append((made - real).double().square().mean(dim=(1, 2, 3)).numpy())
        planes = made.permute(0, 3, 1, 2), real.permute(0, 3, 1, 2)
        alike = structural_similarity_index_measure(planes[0], planes[1], data_range=1.0, reduction="none")
        structural.append(1 - np.atleast_1d(np.asarray(alike, dtype=np.float64)))
    return Restored(np.concatenate(squared), np.concatenate(structural))


def run(
    private: ImageSet,
    roles: Roles,
    *,
    autoencoder: Autoencoder | None,
    split: Validity,
    config: MembershipConfig,
    seed: int,
) -> AuditResult:
    """Both metrics, not tested without an autoencoder. `split` is the validity of the comparison, which both take on.

    `config.max_members` private images are compared, by whole patients drawn at random, as in the membership audit.
    """
    started = time.perf_counter()
    if autoencoder is None:
        return _not_tested(_NO_MODEL)
    sets = (private.take(sample_patients(private, config.max_members, seed)), roles.evaluation, roles.calibration)
    members, nonmembers, calibration = (Arm.of(images) for images in sets)
    inside, outside, unseen = (restore(autoencoder, images.pixels) for images in sets)
    expected = Difficulty.fit(calibration.looks, unseen.logs)
    named = {
        "name": "autoencoder",
        "access": "white box",
        "method": (
            "Mean squared error of the image through encoder and decoder, log, against that expected for the image's "
            f"appearance ({expected.source})."
        ),
    }
    scores = (_scores(inside, members, expected), _scores(outside, nonmembers, expected))
    outcome = compare(scores[0], scores[1], members, nonmembers, named, config.resamples, seed)
    auc = auc_metric(AUC, [outcome], split)
    gap = _gap(auc, outcome, inside.squared, outside.squared, sets, config.resamples, seed)
    evidence = _evidence(outcome, auc, gap, inside, outside)
    return AuditResult(
        name="autoencoder",
        metrics=(auc, gap),
        evidence=evidence,
        public=tuple(name for name in _PUBLIC if name in evidence),
        seconds=time.perf_counter() - started,
    )


def _scores(errors: Restored, arm: Arm, expected: Difficulty) -> Scores:
    """Higher where an image is restored better than unseen ones that look alike."""
    beyond = expected.standardise(arm.looks, errors.logs).round(_DIGITS)
    return Scores(-beyond[:, 0], {"squared error as it is": -errors.logs[:, 0], "structural error": -beyond[:, 1]})


def _gap(
    auc: Metric, outcome: Outcome, inside: Floats, outside: Floats, sets: tuple[ImageSet, ...], resamples: int, seed: int
) -> Metric:
    """The relative gap of mean squared errors, in the state of the AUC."""
    base: dict[str, Any] = {"name": GAP, "unit": CATALOGUE[GAP].unit, "n": auc.n, "state": auc.state, "note": auc.note}
    if outcome.state != "measured":
        return Metric(**base, value=None, method=auc.method)
    patients = [images.patients.astype(str) for images in sets[:2]]
    gaps = resampled_gaps(inside, outside, *patients, resamples=resamples, seed=seed)
    low, lower, upper, high = np.quantile(gaps, [0.025, 0.05, 0.95, 0.975]).tolist()
    return Metric(
        **base,
        value=float(1 - inside.mean() / outside.mean()),
        method="1 - mean squared error on private images / that on the evaluation role; percentile bootstrap by patient",
        interval=(low, high),
        bounds=(lower, upper),
        baseline=0.0,
        baseline_name="nothing remembered",
    )


def _evidence(outcome: Outcome, auc: Metric, gap: Metric, inside: Restored, outside: Restored) -> dict[str, Any]:
    """What the report shows; JSON values only."""
    base = {"state": auc.state, "note": auc.note, "n_members": outcome.n_members, "n_nonmembers": outcome.n_nonmembers}
    if outcome.state != "measured":
        return base
    # In grey levels of 255 and on a log axis, which people can read: 4 is barely seen, 20 is a blurred picture.
    levels = [np.log10(255 * np.sqrt(errors.squared + _TINY)) for errors in (inside, outside)]
    edges = np.histogram_bin_edges(np.concatenate(levels), _BINS)
    return base | {
        "auc": {
            "value": outcome.auc,
            "interval": list(outcome.auc_interval),
            "bound": outcome.auc_bounds[1],
            "minimum_detectable": outcome.minimum_detectable_auc,
        },
        "gap": {"value": gap.value, "interval": list(gap.interval or ())},
        "parts": [{"name": name, "auc": value} for name, value in outcome.parts],
        "errors": {
            "edges": edges.tolist(),
            **{
                name: np.histogram(values, edges)[0].tolist()
                for name, values in zip(("private", "holdout"), levels, strict=True)
            },
        },
    }


def _not_tested(reason: str) -> AuditResult:
    metrics = tuple(
        Metric(name=name, value=None, n=0, unit=CATALOGUE[name].unit, method="", state="not_tested", note=reason)
        for name in (AUC, GAP)
    )
    return AuditResult(name="autoencoder", metrics=metrics, evidence={"state": "not_tested", "note": reason})
