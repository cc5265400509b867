"""The words of the report: metrics, transforms and verdicts in plain language. Nothing here sees evidence of one patient."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from synguard.metrics.catalogue import CATALOGUE

__all__ = [
    "FIDELITY",
    "LANES",
    "MATCHES",
    "NOT_COVERED",
    "SIGNS",
    "SPLIT",
    "STANDING_LIMITS",
    "STATE_WORDS",
    "STATUS_WORDS",
    "VERDICT_WORDS",
    "listed",
    "metric_title",
    "probe_title",
    "probe_words",
    "transform_words",
    "with_titles",
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
    {
        "pass": "✓",
        "warn": "!",
        "fail": "✕",
        "insufficient": "?",
        "invalid": "⊘",
        "error": "!!",
        "waived": "~",
        "not_tested": "–",
    }
)
STATE_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "insufficient": "too few",
        "invalid": "invalid",
        "not_tested": "not tested",
        "error": "unfinished",
    }
)
LANES: Mapping[str, str] = MappingProxyType(
    {"exact": "exact copy", "verified": "verified copy", "none": "alike", "review": "for review"}
)
MATCHES: Mapping[str, str] = MappingProxyType(
    {"framed": "in the same frame", "moved": "moved", "part": "a part of it", "box": "the marked lesion"}
)

_GROUPS: Mapping[str, str] = MappingProxyType(
    {"accepted": "in what would be released", "copies": "as copies", "labels": "for their labels"}
)
FIDELITY: Mapping[str, str] = MappingProxyType(
    {
        "frechet_distance": "lower is better",
        "kernel_distance": "lower is better",
        "precision": "share of candidates that look real",
        "recall": "share of real images that candidates reach",
        "density": "how densely real images surround candidates",
        "coverage": "share of real images with a candidate near",
        "blind_auc": "how well a classifier tells them apart, 0.5 is best",
    }
)
_TRANSFORMS: Mapping[str, str] = MappingProxyType(
    {
        "blended": "blended at {} % with another image",
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
        "jpeg": "JPEG-compressed at quality {}",
        "lesion pasted": "the marked lesion pasted into another image",
        "mirror": "mirrored",
        "mirrored": "mirrored",
        "mirrored horizontal": "mirrored left to right",
        "mirrored horizontally": "mirrored left to right",
        "mirrored vertical": "mirrored top to bottom",
        "mirrored vertically": "mirrored top to bottom",
        "negative": "as a negative",
        "noise": "noise of {}",
        "none": "unchanged",
        "pasted": "a part of {} % pasted into another image",
        "rot": "turned by {}°",
        "rotated": "turned by {}°",
        "scale": "enlarged ×{}",
        "scaled": "enlarged ×{}",
        "shift": "shifted",
        "shifted": "shifted",
        "shrunk": "reduced to {} % inside margins",
        "transpose": "mirrored along the diagonal",
        "transposed": "mirrored along the diagonal",
        "turned": "turned by {}°",
    }
)
_PROBES: Mapping[str, str] = MappingProxyType(
    {
        "loss": "how well the model denoises the image",
        "loss against reference": "how much better than a model that never saw it",
        "condition gap": "how much better under its own labels than under others",
        "SimA": "the noise seen in the clean image, one question",
        "PIA": "whether the model agrees with itself about the image, two questions",
        "PIAN": "the same, rescaled",
        "SecMI": "error of a step forth and back",
        "gradient norms": "how much the image would still change the model",
        "autoencoder reconstruction": "how well the autoencoder restores it",
        "ensemble": "all of them together, as somebody would who can learn",
    }
)
_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "condition-gap": "condition gap",
        "sima": "SimA",
        "pia": "PIA",
        "pian": "PIAN",
        "secmi": "SecMI",
        "gradients": "gradient norms",
        "autoencoder": "autoencoder reconstruction",
    }
)
"""White-box probes as the configuration names them."""
_HEAD = re.compile(r"([a-z][a-z0-9_.]+)(?: \(([^()]*)\))?: ")
_STEP = re.compile(
    r"([a-z]+(?:[ _-](?:h|v|horizontal|vertical|horizontally|vertically|pasted))?)[ _=:-]*(-?[0-9]+(?:\.[0-9]+)?)?"
)

SPLIT = "membership.split.auc"
"""The metric that says whether private set and holdout can be told apart without the model."""

NOT_COVERED: Mapping[str, str] = MappingProxyType(
    {
        "autoencoder": "the autoencoder, which was trained on the private images without noise",
        "labels": "how often labels occur, since conditions are asked for by the private labels as they are",
        "numbers": "the numbers of images and patients",
        "tuning": "every further training on these patients, and choosing among trainings",
        "audit": "the figures of this audit, which are computed from the private images without noise",
        "rounding": "rounding, and that the noise comes from a statistical generator",
    }
)

STANDING_LIMITS = (
    "The findings hold for exactly these images, this private set and this model, as their digests name them.",
    "Copies changed in ways that were not planted may pass unseen.",
    "An attack that was not run, or one invented later, may see more than these did.",
    "Looking real is not being private, and a pass is not a legal opinion.",
)


def listed(words: Sequence[str], last: str) -> str:
    """Words one after the other, with `last` ("and", "or") before the last of several."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def metric_title(name: str, group: str | None = None) -> str:
    """A metric's name in words, with its group; a name that is not in the catalogue shows as "Other"."""
    title = CATALOGUE[name].title if name in CATALOGUE else "Other"
    if group is None:
        return title
    return f"{title} {_GROUPS[group]}" if group in _GROUPS else f"{title}: {transform_words(group) or group}"


def with_titles(sentence: str) -> str:
    """A sentence of the gate with the metric's name at its head, if any, in words, and no break before a per cent sign."""
    found = _HEAD.match(sentence)
    if found is not None and found[1] in CATALOGUE:
        rest = sentence[found.end() :]
        sentence = f"{metric_title(found[1], found[2])}: {rest[:1].upper()}{rest[1:]}"
    return sentence.replace(" %", "\u00a0%")


def probe_title(name: str) -> str:
    """A membership probe's name in words."""
    name = _SETTINGS.get(name, name)
    words = name.replace("membership.", "").replace("_", " ").replace(".", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def probe_words(name: str) -> str:
    """What a white-box probe looks at, by its name with or without the weights, or as configured; empty for any other."""
    base = name.partition(" (")[0]
    return _PROBES.get(_SETTINGS.get(base, base), "")


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
        return words.format(amount).replace(" %", "\u00a0%") if "{}" in words else words
    return re.sub(r" (?:×|of |at quality |by |to )?\{\}.*", "", words)
