"""What a phantom photograph is said to show: the SynFundus columns, drawn per patient and per photograph."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from synguard.config import AttributeConfig

__all__ = ["DISEASES", "READABLE", "SCHEMA", "Labels", "photograph_labels"]

Labels = dict[str, str]
"""A value for each attribute of `SCHEMA`, as text."""

DISEASES = MappingProxyType(
    {
        "is_amd": 0.10,
        "is_aon": 0.07,
        "is_crp": 0.08,
        "is_dm": 0.08,
        "is_dme": 0.10,
        "is_em": 0.08,
        "is_gc": 0.12,
        "is_htr": 0.12,
        "is_pm": 0.09,
        "is_rvo": 0.08,
    }
)
"""The ten diseases beside diabetic retinopathy, with the share of patients that have each."""

READABLE = ("is_macular_readable", "is_optic_disc_readable", "is_retinal_region_readable")

SCHEMA = (
    AttributeConfig(name="dr_grade", kind="ordinal", levels=("0", "1", "2", "3", "4"), group="disease"),
    AttributeConfig(name="eye_side", kind="categorical", levels=("left", "right"), group="eye"),
    *(AttributeConfig(name=name, kind="binary", group="disease") for name in DISEASES),
    *(AttributeConfig(name=name, kind="binary", group="readability") for name in ("is_fundus", *READABLE)),
)
"""The attributes of the phantom set, in the order of the SynFundus columns."""

_GRADE_LIMITS = (0.45, 0.60, 0.78, 0.90)
"""Upper ends of the grades 0 to 3 on a uniform scale: 45, 15, 18, 12 and 10 % of patients."""
_NOT_FUNDUS = 0.02
_FAULTS = MappingProxyType(
    {  # chance of a fault where none of these diseases would be hidden by it; else it is _HIDING
        "is_macular_readable": (0.11, ("is_amd", "is_dm", "is_dme", "is_em")),
        "is_optic_disc_readable": (0.10, ("is_aon", "is_gc", "is_pm")),
        "is_retinal_region_readable": (0.10, ("is_crp", "is_htr", "is_rvo")),
    }
)
_HIDING = 0.02
_PATIENT, _PHOTOGRAPH = 7101, 7102


def photograph_labels(seed: int, patient: int, photograph: int) -> Labels:
    """The labels of one photograph: grade and diseases are the patient's, eye and readability the photograph's own.

    Faults that would hide one of the patient's diseases are rare, since the label would stay and could not be seen. Where
    the picture shows no retina at all, nothing can be read and no disease is claimed.
    """
    rng = np.random.default_rng([seed, _PATIENT, patient])
    chance = rng.random()
    labels = {"dr_grade": str(sum(chance >= limit for limit in _GRADE_LIMITS))}
    has = {name: bool(rng.random() < share) for name, share in DISEASES.items()}
    rng = np.random.default_rng([seed, _PHOTOGRAPH, patient, photograph])
    labels["eye_side"] = ("left", "right")[int(rng.random() < 0.5)]
    fundus = bool(rng.random() >= _NOT_FUNDUS)
    readable = {
        name: bool(rng.random() >= (_HIDING if any(has[disease] for disease in hidden) else usual))
        for name, (usual, hidden) in _FAULTS.items()
    }
    if not fundus:
        labels["dr_grade"] = "0"
        has = dict.fromkeys(has, False)
        readable = dict.fromkeys(readable, False)
    return {**labels, **{name: str(int(value)) for name, value in {**has, "is_fundus": fundus, **readable}.items()}}
