"""How figures are written: exactly for the internal edition, coarsely for the public one."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["ABSENT", "FLOOR", "Numbers"]

FLOOR = 10
"""Counts of one to FLOOR - 1 are never published."""
ABSENT = "–"
_SHARES = {"fraction", "share", "rate", "probability", "proportion"}
_COUNTS = {"count", "counts", "images", "image", "copies", "patients", "candidates", "pairs", "files"}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Figures as text. With `coarse`, small counts and what would reveal them are withheld, and digits are dropped."""

    coarse: bool = False

    def count(self, value: float | None) -> str:
        """1,234; where coarse two digits only, and from one to nine "fewer than 10"."""
        if value is None:
            return ABSENT
        if math.isinf(value):
            return "no number"
        if self.coarse and 0 < value < FLOOR:
            return f"fewer than {FLOOR}"
        if self.coarse and value >= 100:
            # 1,000 accepted of 1,003 examined would tell of the three.
            step = 10.0 ** (math.floor(math.log10(value)) - 1)
            return f"{round(value / step) * step:,.0f}"
        return f"{round(value):,}" if float(value).is_integer() or value >= 100 else f"{value:.3g}"

    def share(self, value: float | None) -> str:
        """0.123 as 12.3 %; small shares keep two digits where not coarse."""
        if value is None:
            return ABSENT
        percent = 100 * value
        if not self.coarse and 0 < abs(percent) < 1:
            return f"{percent:.2g}\u00a0%"
        return f"{percent:.1f}".removesuffix(".0") + "\u00a0%"

    def share_of(self, value: float | None, n: int) -> str:
        """A share of n; where coarse and made of fewer than ten, only what it is below."""
        if self.hides(value, n):
            return f"below {self.share(FLOOR / n)}" if n > FLOOR else f"fewer than {FLOOR}"
        return self.share(value)

    def hides(self, value: float | None, n: int) -> bool:
        """Whether this share of n must not be told: it would reveal a count of one to nine."""
        return self.coarse and value is not None and n > 0 and 0 < round(value * n, 6) < FLOOR

    def plain(self, value: float | None) -> str:
        """An AUC, distance or ratio."""
        if value is None:
            return ABSENT
        if math.isinf(value):
            return "∞"
        if self.coarse and abs(value) < 10:
            return f"{value:.2f}"
        if abs(value) < 10:
            return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"

    def small(self, value: float | None) -> str:
        """A probability near zero: 0.00012, with two digits."""
        return ABSENT if value is None else f"{value:.2g}"

    def p_value(self, value: float | None) -> str:
        """0.0012 as p = 0.0012."""
        if value is None:
            return ABSENT
        if self.coarse and value < 0.01:
            return "p < 0.01"
        return f"p = {value:.2f}" if value >= 0.1 else f"p = {value:.2g}"

    def of_unit(self, value: float | None, unit: str, n: int = 0) -> str:
        """In the metric's own unit."""
        if unit in _COUNTS:
            return self.count(value)
        if unit in _SHARES:
            return self.share_of(value, n)
        if unit == "attempts" and value is not None:
            return f"{value:,.0f}"  # of nobody's images: never withheld
        return self.plain(value)

    def interval(self, value: tuple[float, float] | None, unit: str = "") -> str:
        """1.2 % to 3.4 %."""
        if value is None:
            return ""
        low, high = value
        if unit in _SHARES:
            return f"{self.share(low)} to {self.share(high)}"
        if unit in _COUNTS:
            return f"{self.count(low)} to {self.count(high)}"
        return f"{self.plain(low)} to {self.plain(high)}"

    def sensitive(self, value: float | None, unit: str, n: int) -> bool:
        """Whether bounds of this metric would give away a small count."""
        if unit in _COUNTS:
            return self.coarse and value is not None and 0 < value < FLOOR
        return unit in _SHARES and self.hides(value, n)
