"""Makes curves and counts coarse enough to be shown outside: no bin under ten, no extremes, few digits."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from reports.facts import Pair, Roc, Series
from reports.numbers import FLOOR

__all__ = ["coarse_confusion", "coarse_roc", "coarse_series", "rounded", "rounded_pair"]

_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def rounded(value: float | None, digits: int = 2) -> float | None:
    """Few digits."""
    return None if value is None or math.isinf(value) else round(value, digits)


def rounded_pair(value: Pair | None, digits: int = 2) -> Pair | None:
    """Both ends with few digits."""
    return None if value is None else (round(value[0], digits), round(value[1], digits))


def coarse_series(series: Series | None, threshold: float | None = None) -> Series | None:
    """Neighbouring bins merged until each holds ten; outer edges moved out to round places; None where there are not ten.

    Bins on the two sides of the threshold are never merged. What is left on a side with fewer than ten is not drawn.
    """
    if series is None or series.total < FLOOR:
        return None
    first, last = series.edges[0], series.edges[-1]
    step = 10 ** math.floor(math.log10(last - first)) / 2
    edges = [math.floor(first / step + 1e-9) * step, *series.edges[1:-1], math.ceil(last / step - 1e-9) * step]
    cut = 0 if threshold is None or series.above is None else bisect.bisect_left(edges, threshold - 1e-9)
    sides = ((0, cut), (cut, len(series.counts))) if 0 < cut < len(series.counts) else ((0, len(series.counts)),)
    places, counts = [edges[0]], list[float]()
    for start, end in sides:
        for edge, count in _merged(edges[start : end + 1], series.counts[start:end]):
            places.append(edge)
            counts.append(count)
    return Series(name=series.name, edges=tuple(places), counts=tuple(counts), above=series.above, of=series.of)


def _merged(edges: Sequence[float], counts: Sequence[float]) -> list[tuple[float, float]]:
    """(upper edge, count) of bins with ten or more; what is left joins the last one, and counts 0 where there is none."""
    made: list[tuple[float, float]] = []
    held = 0.0
    for edge, count in zip(edges[1:], counts, strict=True):
        held += count
        if held >= FLOOR:
            made.append((edge, held))
            held = 0.0
    if not made:
        return [(edges[-1], 0.0)]
    made[-1] = (edges[-1], made[-1][1] + held)
    return made


def coarse_roc(roc: Roc | None, members: int, others: int) -> Roc | None:
    """The curve at a few round rates, each made of at least ten people on both sides, with three digits."""
    if roc is None:
        return None
    kept = [rate for rate in _RATES if rate * others >= FLOOR and _at(roc.fpr, roc.tpr, rate) * members >= FLOOR]
    if len(kept) < 2:
        return None

    def drawn(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(round(_at(roc.fpr, values, rate), 3) for rate in kept) if values else ()

    return Roc(fpr=tuple(kept), tpr=drawn(roc.tpr), low=drawn(roc.low), high=drawn(roc.high))


def _at(places: Sequence[float], values: Sequence[float], place: float) -> float:
    """Linear interpolation in a curve with rising places."""
    after = bisect.bisect_right(places, place)
    if after == 0 or after == len(places):
        return values[0] if after == 0 else values[-1]
    low, high = places[after - 1], places[after]
    return values[after - 1] + (values[after] - values[after - 1]) * (place - low) / (high - low)


def coarse_confusion(cells: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """Whole percents of each row; -1 for cells of one to nine and throughout rows of fewer than ten."""
    made = []
    for row in cells:
        total = sum(row)
        small = total < FLOOR
        made.append(tuple(-1.0 if small or 0 < cell < FLOOR else float(round(100 * cell / total)) for cell in row))
    return tuple(made)
