"""Limits with units: `above: 1%`, `above: 0 images`, `above: 0.55`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from synguard.metrics.catalogue import MetricSpec

__all__ = ["COUNTS", "Limit", "LimitError", "example", "parse_limit", "parse_people", "parse_share", "shown"]

COUNTS = {"images": "image", "pairs": "pair", "copies": "copy", "attempts": "attempt"}
"""Units that are counted, with their singular."""

_TEXT = re.compile(r"(?P<number>[-+]?[0-9]+(?:\.[0-9]+)?) ?(?P<unit>%|[A-Za-z]+)?")
_RANGES = {"AUC": (0.0, 1.0), "kappa": (-1.0, 1.0), "correlation": (-1.0, 1.0)}


class LimitError(ValueError):
    """A limit that cannot be read: what was found and what was expected."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"found {found}, expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Broken strictly beyond `value`. `value` is a fraction for shares. `of_n` holds a count against a share of its n."""

    side: Literal["above", "below"]
    value: float
    unit: str
    of_n: bool = False

    def breaks(self, figure: float) -> bool:
        """Whether `figure`, in the limit's unit, is beyond the limit."""
        return figure > self.value if self.side == "above" else figure < self.value

    def looser_than(self, other: Limit) -> bool:
        """Whether this limit lets something through that `other` stops; False where the two cannot be compared."""
        return (self.side, self.of_n) == (other.side, other.of_n) and other.breaks(self.value)

    @property
    def idle(self) -> bool:
        """Whether no figure could ever break it: above 100 %, below 0 images, above an AUC of 1."""
        low, high = (0.0, 1.0) if self.unit == "share" else _RANGES.get(self.unit, (0.0, math.inf))
        return self.value >= high if self.side == "above" else self.value <= low

    def __str__(self) -> str:
        """Such as "above 1 %"."""
        return f"{self.side} {shown(self.value, self.unit)}{' of the images' if self.of_n else ''}"


def parse_limit(side: Literal["above", "below"], raw: Any, spec: MetricSpec) -> Limit:
    """The limit that `raw` (a number or text) sets on a metric. Raises LimitError."""
    number, unit = _number_and_unit(raw, spec)
    if unit == "%" and (spec.unit == "share" or (spec.unit == "images" and spec.held_on == "value" and side == "above")):
        _inside(raw, number, 0, 100, "%")
        return Limit(side=side, value=_percent(number), unit="share", of_n=spec.unit != "share")
    if spec.unit in COUNTS:
        if unit not in (spec.unit, COUNTS[spec.unit]) or number != int(number) or number < 0:
            raise LimitError(_quoted(raw), f"a whole number with its unit, such as {example(spec)}")
        return Limit(side=side, value=number, unit=spec.unit)
    if spec.unit == "share":
        raise LimitError(_quoted(raw, unit), f"a percentage with its sign, such as {example(spec)}")
    if unit not in (None, spec.unit):
        raise LimitError(_quoted(raw), f"a number in {spec.unit}, such as {example(spec)}")
    _inside(raw, number, *_RANGES.get(spec.unit, (0.0, math.inf)), spec.unit)
    return Limit(side=side, value=number, unit=spec.unit)


def parse_share(raw: Any, example_text: str) -> float:
    """A percentage such as `95%` as a fraction. Raises LimitError."""
    match = _TEXT.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or match["unit"] != "%":
        raise LimitError(_quoted(raw), f"a percentage with its sign, such as {example_text}")
    number = float(match["number"])
    _inside(raw, number, 0, 100, "%")
    return _percent(number)


def parse_people(raw: Any) -> int:
    """A number of people such as `2 people` or `1 person`. Raises LimitError."""
    match = re.fullmatch(r"([1-9][0-9]{0,2}) (?:person|people)", raw) if isinstance(raw, str) else None
    if match is None:
        raise LimitError(_quoted(raw), 'a whole number of people, such as "1 person" or "2 people"')
    return int(match[1])


def example(spec: MetricSpec) -> str:
    """A limit as it may be written for this metric."""
    if spec.unit in COUNTS:
        return f'"5 {spec.unit}"'
    return {"share": '"1%"', "AUC": "0.55", "kappa": "0.6"}.get(spec.unit, "1.5")


def shown(value: float, unit: str, digits: int = 3) -> str:
    """A figure for people: "0.994 %", "15 images", "0.521"."""
    if math.isinf(value):
        return "no finite number" if unit in COUNTS else "infinite"
    if unit == "share":
        return f"{100 * value:.{digits}g} %"
    if unit in COUNTS:
        return f"{value:,.0f} {COUNTS[unit] if value == 1 else unit}"
    return f"{value:.{digits}g}"


def _number_and_unit(raw: Any, spec: MetricSpec) -> tuple[float, str | None]:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise LimitError(_quoted(raw), f"a limit such as {example(spec)}")
    if isinstance(raw, str):
        match = _TEXT.fullmatch(raw.strip())
        if match is None:
            raise LimitError(_quoted(raw), f"a limit such as {example(spec)}")
        return float(match["number"]), match["unit"]
    if not math.isfinite(raw):
        raise LimitError(str(raw), f"a limit such as {example(spec)}")
    return float(raw), None


def _percent(number: float) -> float:
    """The fraction nearest to a percentage as written, so that 0.07 % of 10,000 is exactly 7 of 10,000."""
    return float(Decimal(repr(number)) / 100)


def _inside(raw: Any, number: float, low: float, high: float, unit: str) -> None:
    if not low <= number <= high:
        span = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of {low:g} or more"
        raise LimitError(_quoted(raw) if isinstance(raw, str) else str(raw), f"a number {span} {unit}")


def _quoted(raw: Any, unit: str | None = "") -> str:
    if isinstance(raw, bool) or raw is None:
        return {True: "true", False: "false", None: "nothing"}[raw]
    if isinstance(raw, str):
        return f'"{raw}"'
    if isinstance(raw, int | float):
        return f"{raw} without a unit"
    return f"a {'list' if isinstance(raw, list) else 'mapping'}"
