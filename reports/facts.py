"""What both editions tell, typed: the parts of the evidence that could be shown outside once they are made coarse.

Nothing that belongs to one image or one patient has a place here: no file, path, seed, id, free text or nearest image.
Those stay in the internal edition's own modules. `None` and `()` mean that the evidence holds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AttackFact",
    "AttributeFact",
    "AutoencoderFacts",
    "BatchFact",
    "ContinuousFact",
    "CopyFacts",
    "CurveFacts",
    "CurvePoint",
    "DisclosureFacts",
    "EpsilonFacts",
    "FidelityFact",
    "GuessFact",
    "LabelFacts",
    "LowRateFact",
    "MembershipFacts",
    "Pair",
    "PlantedFact",
    "ProbeFact",
    "Roc",
    "Series",
    "SplitFact",
]

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A histogram: one more edge than counts. `above` of `of` images lie beyond the threshold, where there is one."""

    name: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    above: int | None = None
    of: int | None = None

    @property
    def total(self) -> float:
        """All images in it."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class PlantedFact:
    """The memorisation audit's own power for one transform."""

    transform: str
    n: int
    found: int
    recall: float | None
    low: float | None
    high: float | None
    minimum_copies: float | None


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """The memorisation audit."""

    threshold: float | None
    scores: tuple[Series, ...]
    p_values: Series | None
    planted: tuple[PlantedFact, ...]


@dataclass(frozen=True, slots=True)
class Roc:
    """A receiver operating characteristic with its band."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ProbeFact:
    """One membership attack."""

    name: str
    access: str
    state: str
    auc: float | None
    interval: Pair | None
    bound: float | None
    tpr: float | None
    n_members: int
    n_nonmembers: int
    minimum_detectable_auc: float | None
    roc: Roc | None
    calls: int | None = None
    """Passes through the model an image, where it was asked."""
    seconds: float | None = None
    method: str = ""
    verdict: bool = True
    """Whether a limit is held against it; else it is shown beside those."""
    p_holm: float | None = None
    """Of telling members from others at all, corrected for all attacks."""
    low_rates: tuple[LowRateFact, ...] = ()


@dataclass(frozen=True, slots=True)
class LowRateFact:
    """Members named at a small share of false alarms, and the least that would have been proven. None where too few."""

    fpr: float
    tpr: float | None
    interval: Pair | None
    provable: float | None


@dataclass(frozen=True, slots=True)
class GuessFact:
    """One classifier that never sees the model."""

    name: str
    auc: float | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class SplitFact:
    """Whether members and non-members can be told apart without the model, and the placebo beside it."""

    auc: float | None
    interval: Pair | None
    p_value: float | None
    placebo_auc: float | None
    placebo_interval: Pair | None
    each: tuple[GuessFact, ...] = ()


@dataclass(frozen=True, slots=True)
class MembershipFacts:
    """The membership audit."""

    split: SplitFact | None
    probes: tuple[ProbeFact, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """Attacks that were not run, each with the reason."""


@dataclass(frozen=True, slots=True)
class EpsilonFacts:
    """How much privacy was lost. `most` is what so many canaries could have shown, `not_covered` are names."""

    delta: float | None
    upper: float | None
    unit: str
    not_covered: tuple[str, ...]
    refuted: bool
    lower: float | None
    gaussian: float | None
    lower_state: str
    canaries: int
    most: float | None
    equivalent: float | None
    equivalent_state: str
    equivalent_patients: int


@dataclass(frozen=True, slots=True)
class AttackFact:
    """One attack on patients: success on private patients, on holdout patients (control) and without a release (naive)."""

    name: str
    attribute: str
    state: str
    attacked: int
    controlled: int
    attack: float | None
    control: float | None
    naive: float | None
    risk: float | None
    interval: Pair | None
    minimum_detectable: float | None
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class DisclosureFacts:
    """The disclosure audit."""

    state: str
    attacks: tuple[AttackFact, ...]


@dataclass(frozen=True, slots=True)
class AutoencoderFacts:
    """The audit of the autoencoder. `errors` are histograms of private and holdout images, log10 of grey levels of 255."""

    state: str
    auc: float | None
    interval: Pair | None
    minimum_detectable: float | None
    gap: float | None
    gap_interval: Pair | None
    n_members: int
    n_nonmembers: int
    errors: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class AttributeFact:
    """Asked against read for one attribute. Confusions: rows asked (or true), columns read; negative is withheld."""

    name: str
    kind: str
    levels: tuple[str, ...]
    n: int
    agreement: float | None
    interval: Pair | None
    ceiling: float | None
    share: float | None
    share_interval: Pair | None
    confusion: tuple[tuple[float, ...], ...]
    ceiling_confusion: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class ContinuousFact:
    """Correlation of asked and read for a condition that is a number; the ceiling is that on real images."""

    name: str
    n: int
    correlation: float | None
    interval: Pair | None
    ceiling: float | None


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """The label audit."""

    attributes: tuple[AttributeFact, ...]
    continuous: tuple[ContinuousFact, ...]


@dataclass(frozen=True, slots=True)
class FidelityFact:
    """One fidelity figure beside what real against real gives."""

    name: str
    value: float | None
    interval: Pair | None
    floor: float | None
    n: int


@dataclass(frozen=True, slots=True)
class BatchFact:
    """What became of one batch of candidates."""

    batch: int
    examined: int
    accepted: int
    refused_copies: int
    refused_labels: int


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One checkpoint of the training: steps, times each image was seen by then, and two figures with their intervals."""

    step: int
    seen: float
    private_loss: float | None
    holdout_loss: float | None
    gap: float
    gap_interval: Pair
    nearer: float
    nearer_interval: Pair


@dataclass(frozen=True, slots=True)
class CurveFacts:
    """What the checkpoints of the training showed. `begins` are step and times seen at the onset, `by` what showed it.

    `split` says whether private set and holdout can be told apart without the model: valid, insufficient or invalid.
    """

    points: tuple[CurvePoint, ...]
    looks: int
    generated: int
    private: int
    holdout: int
    neighbours: int
    begins: tuple[int, float] | None
    by: tuple[str, ...]
    split: str
