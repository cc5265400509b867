"""Small pure helpers for drawings: elements, scales, ticks. Colours come from the page's style sheet through classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["Axis", "canvas", "element", "group", "label", "path", "place", "ticks"]


def place(value: float) -> str:
    """A coordinate with at most two decimals, so that equal input gives equal bytes."""
    return f"{round(value, 2) or 0.0:.2f}".rstrip("0").rstrip(".")


def element(name: str, content: Markup | str = "", /, **attributes: str | float) -> Markup:
    """One element. Text is escaped; attribute names take _ for -, and a trailing _ is dropped (class_)."""
    written = Markup("").join(
        Markup('{}="{}" ').format(key.rstrip("_").replace("_", "-"), value if isinstance(value, str) else place(value))
        for key, value in attributes.items()
    )
    inner = escape(content)
    opening = Markup("<{} {}").format(Markup(name), written).strip()  # noqa: S704 # names are literals of this package
    return opening + (Markup(">{}</{}>").format(inner, Markup(name)) if inner else Markup("/>"))  # noqa: S704


def group(parts: Iterable[Markup], **attributes: str | float) -> Markup:
    """Elements together."""
    return element("g", Markup("").join(parts), **attributes)


def canvas(width: float, height: float, description: str, parts: Iterable[Markup], kind: str = "plot") -> Markup:
    """A whole drawing that scales with its place and describes itself to a screen reader."""
    return element(
        "svg",
        Markup("").join(parts),
        class_=kind,
        viewBox=f"0 0 {place(width)} {place(height)}",
        role="img",
        aria_label=description,
    )


def label(x: float, y: float, words: Markup | str, anchor: str = "start", kind: str = "t") -> Markup:
    """Text at a place."""
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=kind)


def path(points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> Markup:
    """A line through points, or an area."""
    steps = " ".join(f"{'L' if i else 'M'}{place(x)} {place(y)}" for i, (x, y) in enumerate(points))
    return element("path", d=steps + ("Z" if closed else ""), class_=kind)


def ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Round places between two ends."""
    if not high > low:
        return (low,)
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(i * step, 10) for i in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class Axis:
    """From data to drawing, linear or logarithmic; values beyond the ends are held at them."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(value) - low) / (high - low) if high > low else 0.0
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value
