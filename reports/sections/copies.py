"""The section on copies: scores, the audit's own power, p-values."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Block, Cell, Figure, Figures, Note, Section, Table
from reports.checks import MetricFact
from reports.facts import CopyFacts, PlantedFact
from reports.numbers import Numbers
from reports.plots import p_value_bars, score_ridges, strip
from reports.sections.shared import absent, scale_start
from reports.wording import transform_words

__all__ = ["copies", "sight"]

_STRATEGY = "strategy="


def _worst_first(planted: Sequence[PlantedFact]) -> tuple[PlantedFact, ...]:
    """The transforms, those the audit sees worst first."""
    return tuple(sorted(planted, key=lambda p: (p.low if p.low is not None else -1.0, p.transform)))


def sight(facts: CopyFacts | None) -> tuple[tuple[str, float | None], ...]:
    """What the audit sees: each planted transform in words with the fewest copies in sight, the plainest first."""
    planted = sorted(facts.planted if facts else (), key=lambda p: -(p.low or 0.0))
    return tuple((words, p.minimum_copies) for p in planted if (words := transform_words(p.transform)))


def copies(facts: CopyFacts | None, numbers: Numbers, metrics: Sequence[MetricFact] = ()) -> Section:
    """Scores, p-values and the audit's own power; of `metrics`, copies by the strategy that made the candidates."""
    lead = (
        "Every candidate was searched for among the private images, turned and mirrored too, and aligned with the "
        "most alike. The same search with real images of other patients shows what chance alone gives."
    )
    blocks: list[Block] = []
    if facts is None:
        blocks += absent("copies")
    else:
        if facts.scores:
            drawing = score_ridges(facts.scores, facts.threshold, numbers)
            words = (
                "Each row is one set of images; the holdout are real images of other patients. Heights are square "
                "roots of shares, so that single images stay visible. Right of the threshold lie verified copies."
            )
            blocks.append(Figures((Figure("How alike the nearest private image is", drawing, words),)))
        else:
            blocks.append(Note("Not tested: no score distribution was recorded.", "absent"))
        if facts.planted:
            blocks.append(_planted(_worst_first(facts.planted), numbers))
        else:
            blocks.append(Note("Not tested: no copies were planted, so the audit's own power is unknown.", "absent"))
        if facts.p_values and facts.p_values.total:
            drawing = p_value_bars(facts.p_values, numbers)
            words = (
                "A p-value is the share of holdout images at least as alike to the private set. Bars at the dashed "
                "line are what a clean release gives; a peak at the left is what copying gives."
            )
            blocks.append(Figures((Figure("P-values of all candidates", drawing, words),)))
    return Section("copies", "Copies", lead, (*blocks, *_by_strategy(metrics, numbers)))


def _by_strategy(metrics: Sequence[MetricFact], numbers: Numbers) -> tuple[Table, ...]:
    """Nothing where candidates were not made by strategies that have names."""
    found = {(m.name, m.group): m for m in metrics if m.group is not None and m.group.startswith(_STRATEGY)}
    body = []
    for group in dict.fromkeys(group for _, group in found):
        verified = found.get(("memorisation.verified_copies", group))
        near = found.get(("memorisation.near_copy_rate", group))
        if verified is not None and near is not None:
            words = str(group).removeprefix(_STRATEGY)
            body.append(
                (
                    Cell(words[:1].upper() + words[1:]),
                    Cell(numbers.count(verified.n)),
                    Cell(numbers.count(verified.value)),
                    Cell(numbers.share_of(near.value, near.n), under=numbers.interval(near.interval, "share")),
                )
            )
    caption = (
        "By strategy. Each candidate was aligned with the private image that it was made from, too. What is made from a "
        "private image stays near it: the less of it is redrawn, the nearer."
    )
    header = ("Strategy", "Candidates", "Verified copies", "Near copies")
    return (Table(caption=caption, header=header, rows=tuple(body), right=(1, 2, 3)),) if body else ()


def _planted(planted: Sequence[PlantedFact], numbers: Numbers) -> Table:
    exact = Numbers()  # planted copies are the audit's own work: their counts tell nothing about patients
    body = []
    start = scale_start([one.low for one in planted])
    for one in planted:
        words = transform_words(one.transform) or ("another change" if numbers.coarse else one.transform)
        span = (one.low, one.high) if one.low is not None and one.high is not None else None
        body.append(
            (
                Cell(words[:1].upper() + words[1:]),
                Cell(drawing=strip(one.recall, span, low=start, mark=0.9)),
                Cell(exact.share(one.recall), under=exact.interval(span, "share")),
                Cell(f"{exact.count(one.found)} of {exact.count(one.n)}"),
                Cell(exact.count(one.minimum_copies)),
            )
        )
    return Table(
        caption="What the audit sees: private images, changed and planted among candidates by the audit itself. "
        "The last column is the fewest copies of which at least one would have been seen with 95\u00a0%.",
        header=(
            "Planted as",
            f"From {100 * start:g} to 100\u00a0%, mark at 90\u00a0%",
            "Share found",
            "Count",
            "Fewest in sight",
        ),
        rows=tuple(body),
        right=(2, 3, 4),
    )
