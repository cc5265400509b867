"""The drawings of the internal report as matplotlib figures, from the same facts as the page: for notebooks and papers.

Each takes the folder of a run and returns a figure that shows itself in Jupyter. None of them touches pyplot's state. They
show what the internal edition shows, so they are private data. InputError where the run holds no such evidence.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import evidence
from reports.facts import CopyFacts, ProbeFact, Roc, Series
from reports.plots import SERIES
from reports.runfolder import RunFolder, read_run
from reports.wording import probe_title, transform_words
from synguard.errors import InputError

__all__ = ["confusion", "distances", "p_values", "power", "quarantine", "roc"]

_COLOURS = {"synthetic": "#1d5c87", "holdout": "#6a7079", "planted": "#a84d08"}
_STACKS = (
    ("accepted", "accepted", "#1d5c87"),
    ("refused_copies", "refused: copy or sheet", "#a3201b"),
    ("refused_labels", "refused: label", "#a84d08"),
)
_LONGEST = 48


class _Drawn(Figure):
    """A figure that shows itself in a notebook, whether or not pyplot was imported there."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()


def distances(run: Path | str) -> Figure:
    """Score histograms of candidates, holdout and planted copies, one above the other, with the threshold.

    Heights are square roots of densities relative to the fullest bin, so that single images stay visible.
    """
    facts = _copies(read_run(Path(run)))
    if not facts.scores:
        raise _none(run, "score distribution")
    figure = _Drawn(figsize=(8, 1.6 * len(facts.scores) + 0.8), layout="constrained")
    rows = figure.subplots(len(facts.scores), 1, sharex=True, squeeze=False)[:, 0]
    for axes, series in zip(rows, facts.scores, strict=True):
        height = np.array(series.counts) / np.diff(series.edges)
        colour = _COLOURS.get(series.name, "#1d5c87")
        axes.stairs(np.sqrt(height / (height.max() or 1.0)), series.edges, fill=True, alpha=0.25, color=colour)
        axes.stairs(np.sqrt(height / (height.max() or 1.0)), series.edges, color=colour, linewidth=1.5)
        axes.set_title(f"{SERIES.get(series.name, series.name)}: {_beyond(series)}", loc="left", fontsize=10)
        axes.set_yticks([])
        if facts.threshold is not None:
            axes.axvline(facts.threshold, color="#1a1d21", linestyle="--", linewidth=1)
    rows[-1].set_xlabel("likeness score: further right is more alike")
    return figure


def p_values(run: Path | str) -> Figure:
    """P-values of all candidates, in multiples of what each bin of a clean release would hold."""
    series = _copies(read_run(Path(run))).p_values
    if series is None or not series.total:
        raise _none(run, "p-values")
    widths, span = np.diff(series.edges), series.edges[-1] - series.edges[0]
    figure, axes = _one()
    axes.stairs(np.array(series.counts) / series.total / (widths / span), series.edges, fill=True, color="#1d5c87")
    axes.axhline(1, color="#1a1d21", linestyle="--", linewidth=1)
    axes.set(xlabel="p-value", ylabel="times its expected share", xlim=(series.edges[0], series.edges[-1]))
    return figure


def roc(run: Path | str) -> Figure:
    """One curve a membership attack, with its band, on logarithmic axes from 0.1 %; the dotted line is chance."""
    found = evidence.membership(read_run(Path(run)).evidence)
    probes = [(probe, probe.roc) for probe in (found.probes if found else ()) if probe.roc is not None]
    if not probes:
        raise _none(run, "ROC curve")
    columns = min(3, len(probes))
    rows = -(-len(probes) // columns)
    figure = _Drawn(figsize=(4 * columns, 4 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (probe, curve) in zip(places, probes, strict=False):
        _curve(axes, probe, curve)
    for axes in places[len(probes) :]:
        axes.remove()
    return figure


def power(run: Path | str) -> Figure:
    """Planted copies found, by transform, with intervals: the audit's own sight. The mark is at 90 %."""
    planted = [(one, one.recall) for one in _copies(read_run(Path(run))).planted if one.recall is not None]
    if not planted:
        raise _none(run, "planted copies")
    figure, axes = _one(height=0.32 * len(planted) + 1)
    for place, (one, recall) in enumerate(reversed(planted)):
        low, high = (recall if end is None else end for end in (one.low, one.high))
        axes.plot([low, high], [place, place], color="#1d5c87", linewidth=3, alpha=0.5)
        axes.plot([recall], [place], marker="o", color="#1d5c87")
    axes.axvline(0.9, color="#868c94", linestyle="--", linewidth=1)
    _named(axes.yaxis, [transform_words(one.transform) or one.transform for one, _ in reversed(planted)])
    axes.set(xlabel="share of planted copies found", xlim=(0, 1.02))
    return figure


def quarantine(run: Path | str) -> Figure:
    """Candidates of each batch: accepted, refused as copies, refused for their labels."""
    folder = read_run(Path(run))
    batches = evidence.batches(folder.evidence, folder.images)
    if not batches:
        raise _none(run, "batch")
    figure, axes = _one()
    base = np.zeros(len(batches))
    for name, words, colour in _STACKS:
        heights = np.array([getattr(batch, name) for batch in batches], dtype=float)
        axes.bar([batch.batch for batch in batches], heights, bottom=base, width=0.8, label=words, color=colour)
        base += heights
    axes.set(xlabel="batch", ylabel="candidates")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def confusion(run: Path | str, attribute: str) -> Figure:
    """Which level was taken for which: rows asked, columns read, as shares of each row; on real images beside it."""
    found = evidence.labels(read_run(Path(run)).evidence)
    named = {one.name: one for one in (found.attributes if found else ())}
    if attribute not in named:
        raise InputError.of(run, f"no attribute {attribute!r}", f"one of: {', '.join(named) or 'none, no labels were read'}")
    one = named[attribute]
    tables = [("Candidates: asked, then read", one.confusion), ("Real images: true, then read", one.ceiling_confusion)]
    shown = [(title, np.array(cells)) for title, cells in tables if cells and len(cells) == len(one.levels)]
    if not shown:
        raise _none(run, f"confusion of {attribute}")
    figure = _Drawn(figsize=(1.4 * len(one.levels) * len(shown) + 2, 1.0 * len(one.levels) + 2), layout="constrained")
    for axes, (title, cells) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        totals = cells.sum(axis=1, keepdims=True)
        shares = np.divide(cells, totals, out=np.zeros_like(cells, dtype=float), where=totals > 0)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.6)  # the darkest shade still carries dark figures
        for (row, column), share in np.ndenumerate(shares):
            axes.text(column, row, f"{100 * share:.0f} %", ha="center", va="center")
        _named(axes.xaxis, one.levels)
        _named(axes.yaxis, one.levels)
        axes.tick_params(axis="x", rotation=30)
        axes.set_title(title, loc="left", fontsize=10)
    return figure


def _copies(run: RunFolder) -> CopyFacts:
    facts = evidence.copies(run.evidence)
    if facts is None:
        raise _none(run.path, "evidence on copies")
    return facts


def _curve(axes: Axes, probe: ProbeFact, curve: Roc) -> None:
    axes.plot([1e-3, 1], [1e-3, 1], color="#868c94", linestyle=":")
    if curve.low:
        axes.fill_between(curve.fpr, curve.low, curve.high, color="#1d5c87", alpha=0.2, linewidth=0)
    axes.plot(curve.fpr, curve.tpr, color="#1d5c87")
    axes.set(xscale="log", yscale="log", xlim=(1e-3, 1), ylim=(1e-3, 1))
    axes.set(xlabel="non-members taken for members", ylabel="members found")
    auc = "" if probe.auc is None else f", AUC {probe.auc:.3f}"
    axes.set_title(_short(probe_title(probe.name)) + auc, loc="left", fontsize=10, parse_math=False)


def _one(height: float = 3.2) -> tuple[Figure, Axes]:
    figure = _Drawn(figsize=(8, height), layout="constrained")
    return figure, figure.subplots()


def _named(axis: object, names: Sequence[str]) -> None:
    """Names at the ticks: as they are, not as mathematics."""
    labels = [_short(name) for name in names]
    axis.set_ticks(range(len(labels)), labels=labels, parse_math=False)  # type: ignore[attr-defined]  # Axis is untyped


def _short(name: str) -> str:
    """Without control and direction signs, and not longer than there is room for."""
    plain = "".join(sign for sign in name if sign.isprintable())
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def _beyond(series: Series) -> str:
    if series.above is None:
        return f"{series.total:,.0f} images"
    return f"{series.above:,} of {series.of:,} beyond the threshold"


def _none(run: object, what: str) -> InputError:
    return InputError.of(run, f"no {what}", "a run whose audit left it")
