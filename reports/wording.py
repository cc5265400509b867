"""The words of the report: metrics, transforms and verdicts in plain language. Nothing here sees evidence of one patient."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "FIDELITY",
    "LANES",
    "SIGNS",
    "STANDING_LIMITS",
    "STATE_WORDS",
    "STATUS_WORDS",
    "VERDICT_WORDS",
    "family",
    "metric_title",
    "probe_title",
    "transform_words",
]

VERDICT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "pass": "Passed",
        "warn": "Passed with warnings",
        "fail": "Not for release",
        "insufficient": "No decision",
        "error": "No decision",
    }
)
STATUS_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "pass": "Pass",
        "warn": "Warning",
        "fail": "Fail",
        "insufficient": "Too little",
        "invalid": "Invalid",
        "error": "Error",
        "waived": "Waived",
        "not_tested": "Not tested",
    }
)
SIGNS: Mapping[str, str] = MappingProxyType(
    {"pass": "✓", "warn": "!", "fail": "✕", "insufficient": "?", "invalid": "⊘", "error": "!!", "waived": "~", "not_tested": "–"}
)
STATE_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "insufficient": "too few to decide",
        "invalid": "comparison not valid",
        "not_tested": "not tested",
        "error": "did not finish",
    }
)
LANES: Mapping[str, str] = MappingProxyType(
    {"exact": "exact copy", "verified": "verified copy", "none": "alike", "review": "for review"}
)

_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "accepted.exact_copies": "Exact copies in what would be released",
        "accepted.images": "Accepted images",
        "accepted.verified_copies": "Verified copies in what would be released",
        "disclosure.inference": "Inference of attributes",
        "disclosure.linkability": "Linking of records",
        "disclosure.singling_out": "Singling out",
        "fidelity.coverage": "Coverage",
        "fidelity.density": "Density",
        "fidelity.frechet_distance": "Fréchet distance",
        "fidelity.kernel_distance": "Kernel distance",
        "fidelity.precision": "Precision",
        "fidelity.recall": "Recall",
        "labels.agreement": "Labels: asked against read",
        "labels.agreement_share": "Label agreement as a share of its ceiling",
        "labels.ceiling": "Diagnostic model on real images",
        "labels.kappa": "Labels: weighted kappa",
        "labels.share_of_ceiling": "Label agreement as a share of its ceiling",
        "membership.black_box.auc": "Membership from the images alone: AUC",
        "membership.epsilon_lower_bound": "Privacy loss epsilon, lower bound",
        "membership.placebo.auc": "Membership placebo: AUC",
        "membership.split.auc": "Private set and holdout told apart without the model: AUC",
        "membership.white_box.auc": "Membership from the model: AUC",
        "memorisation.exact_copies": "Exact copies among all candidates",
        "memorisation.minimum_detectable_copies": "Fewest copies that would have been seen",
        "memorisation.near_copy_rate": "Near-copies among all candidates",
        "memorisation.planted_recall": "Planted copies found by the audit",
        "memorisation.review_list": "Images on the review list",
        "memorisation.train_holdout_share": "Nearer to the private set than to the holdout",
        "memorisation.verified_copies": "Verified copies among all candidates",
        "memorisation.verified_copy_rate": "Share of verified copies among all candidates",
        "run.quarantine_rate": "Candidates put in quarantine",
        "run.refused_copies": "Candidates refused as copies",
        "run.refused_labels": "Candidates refused for their labels",
        "text.burned_in": "Burned-in text",
        "training.epsilon_upper_bound": "Privacy loss epsilon, upper bound",
    }
)
FIDELITY: Mapping[str, str] = MappingProxyType(
    {
        "frechet_distance": "lower is better",
        "kernel_distance": "lower is better",
        "precision": "share of candidates that look real",
        "recall": "share of real images that candidates reach",
        "density": "how densely real images surround candidates",
        "coverage": "share of real images with a candidate near",
    }
)
_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "accepted": "Accepted images",
        "disclosure": "Disclosure",
        "fidelity": "Fidelity",
        "labels": "Labels",
        "membership": "Membership",
        "memorisation": "Copies",
        "run": "Run",
        "text": "Burned-in text",
        "training": "Training",
        "utility": "Utility",
    }
)
_METRIC = re.compile(r"[a-z][a-z0-9_.]{0,79}")
_RATE_AT = re.compile(r"(.+)\.tpr_at_fpr_([0-9]+(?:\.[0-9]+)?)")

_TRANSFORMS: Mapping[str, str] = MappingProxyType(
    {
        "blur": "blurred",
        "blurred": "blurred",
        "brightened": "brightened ×{}",
        "brightness": "brightness ×{}",
        "combined": "several changes together",
        "contrast": "contrast ×{}",
        "crop": "cropped to {} % of each side",
        "darkened": "darkened ×{}",
        "flip": "mirrored",
        "flip h": "mirrored left to right",
        "flip v": "mirrored top to bottom",
        "identity": "unchanged",
        "jpeg": "JPEG at quality {}",
        "mirror": "mirrored",
        "mirrored": "mirrored",
        "mirrored horizontal": "mirrored left to right",
        "mirrored horizontally": "mirrored left to right",
        "mirrored vertical": "mirrored top to bottom",
        "mirrored vertically": "mirrored top to bottom",
        "noise": "noise of {}",
        "none": "unchanged",
        "rot": "turned by {}°",
        "rotated": "turned by {}°",
        "scale": "enlarged ×{}",
        "scaled": "enlarged ×{}",
        "shift": "shifted",
        "shifted": "shifted",
        "transpose": "mirrored along the diagonal",
        "transposed": "mirrored along the diagonal",
        "turned": "turned by {}°",
    }
)
_STEP = re.compile(r"([a-z]+(?:[ _-](?:h|v|horizontal|vertical|horizontally|vertically))?)[ _=:-]*(-?[0-9]+(?:\.[0-9]+)?)?")

STANDING_LIMITS = (
    "The findings hold for exactly these images, this private set and this model, as their digests name them.",
    "Copies changed in ways that were not planted may pass unseen.",
    "An attack that was not run, or one invented later, may see more than these did.",
    "Looking real is not being private, and a pass is not a legal opinion.",
)


def metric_title(name: str) -> str:
    """A metric's name in words; a name that is not known stays as it is, and one that is no metric name shows as "other"."""
    if name in _TITLES:
        return _TITLES[name]
    at = _RATE_AT.fullmatch(name)
    if at and f"{at[1]}.auc" in _TITLES:
        return f"{_TITLES[f'{at[1]}.auc'].removesuffix(': AUC')}: found at {100 * float(at[2]):g} % false alarms"
    return name if _METRIC.fullmatch(name) else "other"


def family(name: str) -> str:
    """What a metric is about, from the first part of its name."""
    return _FAMILIES.get(name.partition(".")[0], "Other")


def probe_title(name: str) -> str:
    """A membership probe's name in words."""
    words = name.replace("membership.", "").replace("_", " ").replace(".", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def transform_words(name: str) -> str | None:
    """A transform such as `mirrored+jpeg-40` in words; None where a step of it is not known."""
    said = []
    for step in re.split(r"\s*[+,;]\s*", name.strip().lower()):
        found = _STEP.fullmatch(step)
        words = _TRANSFORMS.get(re.sub(r"[_-]", " ", found[1])) if found else None
        if found is None or words is None:
            return None
        said.append(_filled(words, found[2]))
    return ", ".join(said)


def _filled(words: str, amount: str | None) -> str:
    if amount is not None:
        return words.format(amount) if "{}" in words else words
    return re.sub(r" (?:×|of |at quality |by |to )?\{\}.*", "", words)
