"""The drawings, as pure functions: figures in, SVG out, the same bytes for the same figures.

Widths are in the drawing's own units; the style sheet sets type larger on narrow screens. Every drawing is readable
without colour: series are labelled where they lie, and lines differ in their dashes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from reports.facts import BatchFact, CurveFacts, Pair, ProbeFact, Series
from reports.numbers import Numbers
from reports.svg import Axis, canvas, element, group, label, path, ticks

__all__ = ["batch_bars", "error_ridges", "p_value_bars", "roc", "score_ridges", "strip", "training_curve"]

SERIES = {
    "synthetic": "Candidates",
    "holdout": "Holdout",
    "planted": "Planted copies",
    "private": "Private images",
}


def score_ridges(series: Sequence[Series], threshold: float | None, numbers: Numbers) -> Markup:
    """One histogram under the other on one score axis; heights are square roots of shares of the fullest bin."""
    width, left, right, top, row, gap = 480.0, 6.0, 474.0, 34.0, 62.0, 16.0
    low = min(_filled(s)[0] for s in series)
    high = max(_filled(s)[1] for s in series)
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    margin = 0.02 * (high - low or 1)
    axis = Axis(low - margin, high + margin, left, right)
    bottom = top + len(series) * (row + gap) - gap
    parts = [_grid(axis(t), top - 8, bottom) for t in ticks(axis.low, axis.high, 6)]
    parts += [label(axis(t), bottom + 16, f"{t:g}", "middle") for t in ticks(axis.low, axis.high, 6)]
    parts.append(label(right, bottom + 34, "likeness score: further right is more alike", "end", "t axis"))
    for i, one in enumerate(series):
        base = top + i * (row + gap) + row
        parts.append(group(_ridge(one, axis, base, row - 20, numbers), class_=f"series {one.name}"))
    if threshold is not None:
        x = axis(threshold)
        parts.append(element("line", x1=x, x2=x, y1=top - 8, y2=bottom, class_="threshold"))
        side = "end" if x > width * 0.7 else "start"
        parts.append(label(x + (-2 if side == "end" else 2), top - 14, f"threshold {threshold:.3g}", side, "t strong"))
    spoken = "; ".join(f"{SERIES.get(s.name, s.name)}: {_beyond(s, numbers)}" for s in series)
    return canvas(width, bottom + 40, f"Score distributions. {spoken}", parts, "plot wide")


def error_ridges(series: Sequence[Series], numbers: Numbers) -> Markup:
    """Errors of restored images, private ones above and holdout images below, edges in log10 of grey levels."""
    width, left, right, top, row, gap = 480.0, 6.0, 474.0, 16.0, 62.0, 16.0
    ends = [_filled(s) for s in series]
    axis = Axis(min(e[0] for e in ends), max(e[1] for e in ends), left, right)
    bottom = top + len(series) * (row + gap) - gap
    marks = [m for m in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if axis.low <= math.log10(m) <= axis.high]
    parts = [_grid(axis(math.log10(m)), top - 8, bottom) for m in marks]
    parts += [label(axis(math.log10(m)), bottom + 16, f"{m:g}", "middle") for m in marks]
    parts.append(label(right, bottom + 34, "error in grey levels of 255 (root mean square)", "end", "t axis"))
    for i, one in enumerate(series):
        base = top + i * (row + gap) + row
        parts.append(group(_ridge(one, axis, base, row - 20, numbers), class_=f"series {one.name}"))
    spoken = "; ".join(f"{SERIES.get(s.name, s.name)}: {_beyond(s, numbers)}" for s in series)
    return canvas(width, bottom + 40, f"Errors of the autoencoder. {spoken}", parts, "plot wide")


def _ridge(series: Series, axis: Axis, base: float, height: float, numbers: Numbers) -> list[Markup]:
    widths = [b - a for a, b in zip(series.edges, series.edges[1:], strict=False)]
    density = [count / wide for count, wide in zip(series.counts, widths, strict=True)]
    fullest = max(density) or 1.0
    points = [(axis(series.edges[0]), base)]
    for i, value in enumerate(density):
        y = base - height * math.sqrt(value / fullest)
        points += [(axis(series.edges[i]), y), (axis(series.edges[i + 1]), y)]
    points.append((axis(series.edges[-1]), base))
    return [
        path(points, "area", closed=True),
        path(points, "outline"),
        label(
            axis.start + 2,
            base - height - 6,
            _titled(SERIES.get(series.name, series.name), _beyond(series, numbers)),
            "start",
            "t halo",
        ),
    ]


def _titled(title: str, rest: str) -> Markup:
    return element("tspan", title, class_="strong") + Markup("\u2002") + escape(rest)


def _beyond(series: Series, numbers: Numbers) -> str:
    if series.above is None:
        return f"{numbers.count(series.total)} images"
    return f"{numbers.count(series.above)} of {numbers.count(series.of)} beyond the threshold"


def p_value_bars(series: Series, numbers: Numbers) -> Markup:
    """P-values of all candidates: flat where candidates are as like the private set as holdout images are."""
    left, right, top, bottom = 34.0, 474.0, 12.0, 116.0
    widths = [b - a for a, b in zip(series.edges, series.edges[1:], strict=False)]
    span = series.edges[-1] - series.edges[0]
    shares = [c / series.total / (w / span) if series.total else 0.0 for c, w in zip(series.counts, widths, strict=True)]
    axis = Axis(series.edges[0], series.edges[-1], left, right)
    up = Axis(0, max(2.0, *shares) * 1.05, bottom, top)
    parts = [_level(up(t), left, right) for t in ticks(0, up.high, 3)]
    parts += [label(left - 5, up(t) + 3, f"{t:g}×", "end") for t in ticks(0, up.high, 3)]
    bars = [
        element("rect", x=axis(a) + 0.5, y=up(s), width=max(axis(b) - axis(a) - 1, 0.5), height=bottom - up(s))
        for a, b, s in zip(series.edges, series.edges[1:], shares, strict=False)
    ]
    parts.append(group(bars, class_="series synthetic bars"))
    parts.append(element("line", x1=left, x2=right, y1=up(1), y2=up(1), class_="threshold"))
    parts += [label(axis(t), bottom + 15, f"{t:g}", "middle") for t in ticks(series.edges[0], series.edges[-1], 5)]
    parts.append(label(right, bottom + 32, "p-value", "end", "t axis"))
    total = numbers.count(series.total)
    first = f"{shares[0]:.1f} times" if shares else "no"
    spoken = f"P-values of {total} candidates; the lowest bin holds {first} its expected share"
    return canvas(480, bottom + 40, spoken, parts, "plot wide")


def roc(probe: ProbeFact, numbers: Numbers) -> Markup:
    """True against false positive rate on logarithmic axes from 0.1 %, with the band and the line of pure chance."""
    curve = probe.roc
    if curve is None:
        return Markup()
    side, left, top = 300.0, 52.0, 14.0
    end, bottom = left + side, top + side
    across, up = Axis(1e-3, 1, left, end, log=True), Axis(1e-3, 1, bottom, top, log=True)
    parts = []
    for t in (1e-3, 1e-2, 1e-1, 1.0):
        parts += [_grid(across(t), top, bottom), _level(up(t), left, end)]
        parts.append(label(across(t), bottom + 20, f"{100 * t:g}\u00a0%", "middle"))
        parts.append(label(left - 8, up(t) + 4, f"{100 * t:g}\u00a0%", "end"))
    parts.append(element("line", x1=left, x2=end, y1=bottom, y2=top, class_="chance"))
    shown = [i for i, x in enumerate(curve.fpr) if x >= 1e-3]
    drawn = []
    if curve.low:
        there = [(across(curve.fpr[i]), up(curve.high[i])) for i in shown]
        back = [(across(curve.fpr[i]), up(curve.low[i])) for i in reversed(shown)]
        drawn.append(path(there + back, "band", closed=True))
    drawn.append(path([(across(curve.fpr[i]), up(curve.tpr[i])) for i in shown], "outline"))
    parts.append(group(drawn, class_="series synthetic"))
    parts.append(label(across(0.27), up(0.13), "chance", "start", "t"))
    parts.append(label(end, bottom + 42, "non-members taken for members", "end", "t axis"))
    parts.append(label(left + 8, top + 16, "members found ↑", "start", "t axis halo"))
    spoken = f"ROC on logarithmic axes, AUC {numbers.plain(probe.auc)}, {numbers.interval(probe.interval)}"
    return canvas(end + 8, bottom + 50, spoken, parts)


def strip(
    value: float | None,
    span: tuple[float, float] | None,
    *,
    low: float = 0.0,
    high: float = 1.0,
    mark: float | None = None,
    name: str = "synthetic",
) -> Markup:
    """A value with its interval on a line from `low` to `high`, with a mark to hold it against; stretches with its cell."""
    axis = Axis(low, high, 0, 100)
    parts = [element("line", x1=0, x2=100, y1=10, y2=10, class_="track")]
    if mark is not None:
        parts.append(element("line", x1=axis(mark), x2=axis(mark), y1=1, y2=19, class_="goal"))
    if span is not None:
        parts.append(element("line", x1=axis(span[0]), x2=axis(span[1]), y1=10, y2=10, class_="whisker"))
    if value is not None:
        # A line without length and with round ends stays a round dot however the drawing is stretched.
        parts.append(element("path", d=f"M{axis(value):.2f} 10h0.001", class_="dot"))
    return element(
        "svg",
        group(parts, class_=f"series {name}"),
        class_="strip",
        viewBox="0 0 100 20",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def batch_bars(batches: Sequence[BatchFact], numbers: Numbers) -> Markup:
    """Candidates of each batch: accepted, refused as copies, refused for their labels."""
    left, right, top, bottom = 34.0, 474.0, 30.0, 150.0
    most = max((b.examined for b in batches), default=0) or 1
    up = Axis(0, most, bottom, top)
    wide = (right - left) / max(len(batches), 1)
    inner = min(wide * 0.72, 36.0)
    parts = [_level(up(t), left, right) for t in ticks(0, most, 4)]
    parts += [label(left - 5, up(t) + 4, numbers.count(t), "end") for t in ticks(0, most, 4)]
    stacks: dict[str, list[Markup]] = {"accepted": [], "copies": [], "labels": []}
    every = max(1, math.ceil(len(batches) / 12))
    for i, batch in enumerate(batches):
        x, base = left + wide * (i + 0.5) - inner / 2, 0
        for kind, count in zip(stacks, (batch.accepted, batch.refused_copies, batch.refused_labels), strict=True):
            if count:
                y = up(base + count)
                stacks[kind].append(element("rect", x=x, y=y, width=inner, height=up(base) - y))
            base += count
        if i % every == 0:
            parts.append(label(x + inner / 2, bottom + 15, str(batch.batch), "middle"))
    parts += [group(rects, class_=f"stack {kind}") for kind, rects in stacks.items() if rects]
    parts.append(label(right, bottom + 32, "batch", "end", "t axis"))
    words = {"accepted": "accepted", "copies": "refused: copy", "labels": "refused: label"}
    for i, (kind, said) in enumerate(words.items()):
        x = left + i * 146
        parts.append(group([element("rect", x=x, y=6, width=10, height=10)], class_=f"stack {kind}"))
        parts.append(label(x + 15, 15, said))
    accepted = sum(b.accepted for b in batches)
    spoken = (
        f"{numbers.count(accepted)} accepted of {numbers.count(sum(b.examined for b in batches))} in {len(batches)} batches"
    )
    return canvas(480, bottom + 40, spoken, parts, "plot wide")


def training_curve(facts: CurveFacts, numbers: Numbers) -> Markup:
    """Both figures over how often each image was seen, each with its band and the line of nothing memorised."""
    left, right, top, high, apart = 44.0, 470.0, 30.0, 96.0, 40.0
    points = facts.points
    across = Axis(0, max(point.seen for point in points) or 1, left, right)
    bottom = top + 2 * high + apart
    parts = [_grid(across(t), top, bottom) for t in ticks(0, across.high, 6)]
    parts += [label(across(t), bottom + 16, f"{t:g}", "middle") for t in ticks(0, across.high, 6)]
    parts.append(label(right, bottom + 34, "times each private image was seen", "end", "t axis"))
    gaps = [(p.seen, p.gap, p.gap_interval) for p in points]
    nearer = [(p.seen, p.nearer, p.nearer_interval) for p in points]
    if facts.begins is not None:
        x = across(facts.begins[1])
        side = "end" if x > (left + right) / 2 else "start"
        words = f"memorisation begins, {facts.begins[1]:.3g}×"
        parts.append(element("line", x1=x, x2=x, y1=top - 16, y2=bottom, class_="threshold"))
        parts.append(label(x + (-4 if side == "end" else 4), top - 18, words, side, "t strong halo"))
    panels = (
        ("Loss gap: private below unseen images", gaps, 0.0, (-1.0, 1.0)),
        ("Generated images nearer to private ones", nearer, 0.5, (0.0, 1.0)),
    )
    for number, (words, rows, null, limits) in enumerate(panels):
        base = top + high + number * (high + apart)
        parts += _curve_panel(words, rows, null, limits, across, (base, base - high), numbers)
    spoken = f"{len(points)} checkpoints; " + (
        f"memorisation begins when each image was seen {facts.begins[1]:.3g} times"
        if facts.begins
        else "no memorisation was seen"
    )
    return canvas(480, bottom + 40, f"Memorisation during training. {spoken}", parts, "plot wide")


def _curve_panel(
    words: str,
    rows: Sequence[tuple[float, float, Pair]],
    null: float,
    limits: Pair,
    across: Axis,
    ends: Pair,
    numbers: Numbers,
) -> list[Markup]:
    """One figure: rows of place, value and interval, on a scale that holds the null and all intervals within limits."""
    low = max(limits[0], min(null - 0.1, *(span[0] for _, _, span in rows)))
    high = min(limits[1], max(null + 0.1, *(span[1] for _, _, span in rows)))
    up = Axis(low, high, *ends)
    drawn = []
    if len(rows) > 1:
        there = [(across(x), up(span[1])) for x, _, span in rows]
        back = [(across(x), up(span[0])) for x, _, span in reversed(rows)]
        drawn += [path(there + back, "band", closed=True), path([(across(x), up(y)) for x, y, _ in rows], "outline")]
    drawn += [
        element("line", x1=across(x), x2=across(x), y1=up(span[0]), y2=up(span[1]), class_="whisker") for x, _, span in rows
    ]
    drawn += [element("circle", cx=across(x), cy=up(y), r=2.4, class_="point") for x, y, _ in rows]
    marks = [t for t in ticks(low, high, 4) if low <= t <= high]
    return [
        *(_level(up(t), across.start, across.end) for t in marks),
        *(label(across.start - 5, up(t) + 3, numbers.share(t), "end") for t in marks),
        element("line", x1=across.start, x2=across.end, y1=up(null), y2=up(null), class_="threshold"),
        group(drawn, class_="series private"),
        label(across.start + 2, ends[1] - 4, words, "start", "t halo"),
    ]


def _filled(series: Series) -> tuple[float, float]:
    used = [i for i, count in enumerate(series.counts) if count]
    return (series.edges[used[0]], series.edges[used[-1] + 1]) if used else (series.edges[0], series.edges[-1])


def _grid(x: float, top: float, bottom: float) -> Markup:
    return element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid")


def _level(y: float, left: float, right: float) -> Markup:
    return element("line", x1=left, x2=right, y1=y, y2=y, class_="grid")
