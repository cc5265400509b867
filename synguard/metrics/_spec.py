"""What the catalogue knows of a metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synguard.metrics import sample_size
from synguard.metrics.sample_size import Family

__all__ = ["Direction", "HeldOn", "MetricSpec"]

Direction = Literal["lower", "higher"]
HeldOn = Literal["value", "upper", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """What a metric's name stands for. `direction` tells which is better; `sample` what its `n` counts."""

    name: str
    title: str
    unit: str
    direction: Direction
    held_on: HeldOn
    family: Family
    method: str
    source: str
    description: str
    sample: str = "images"
    groups: str = ""

    def smallest_n(self, limit: float, confidence: float = 0.95) -> int | None:
        """Fewest images (`sample` says of which) with which a clean release satisfies `limit`; None where none follows."""
        return sample_size.smallest_n(self.family, limit, confidence)
