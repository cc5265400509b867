"""The sections on audits, shared by both editions: from typed facts, which the public edition made coarse before."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Block, Cell, Figure, Figures, Matrices, Matrix, Note, Section, Table
from reports.facts import AttributeFact, BatchFact, CopyFacts, FidelityFact, LabelFacts, MembershipFacts, PlantedFact, ProbeFact
from reports.numbers import ABSENT, Numbers
from reports.plots import batch_bars, p_value_bars, roc, score_ridges, strip
from reports.wording import FIDELITY, metric_title, probe_title, transform_words

__all__ = ["absent", "copies", "fidelity", "labels", "membership", "planted_order", "quarantine"]


def absent(what: str) -> tuple[Block, ...]:
    """What a section says where the run left no evidence."""
    return (Note(f"Not tested: this run holds no evidence on {what}.", "absent"),)


def planted_order(planted: Sequence[PlantedFact]) -> tuple[PlantedFact, ...]:
    """The transforms, those the audit sees worst first."""
    return tuple(sorted(planted, key=lambda p: (p.low if p.low is not None else -1.0, p.transform)))


def copies(facts: CopyFacts | None, numbers: Numbers) -> Section:
    """Scores, p-values and the audit's own power."""
    lead = "Every candidate was held against every private image, turned, mirrored and aligned. The same search on real images of other patients shows what chance alone gives."
    blocks: list[Block] = []
    if facts is None:
        blocks += absent("copies")
    else:
        if facts.scores:
            drawing = score_ridges(facts.scores, facts.threshold, numbers)
            words = "Each row is one set of images; the holdout are real images of other patients. Heights are square roots of shares, so that single images stay visible. Right of the threshold lie verified copies."
            blocks.append(Figures((Figure("How alike the nearest private image is", drawing, words),)))
        else:
            blocks.append(Note("Not tested: no score distribution was recorded.", "absent"))
        if facts.planted:
            blocks.append(_planted(planted_order(facts.planted), numbers))
        else:
            blocks.append(Note("Not tested: no copies were planted, so the audit's own power is unknown.", "absent"))
        if facts.p_values and facts.p_values.total:
            drawing = p_value_bars(facts.p_values, numbers)
            words = "A p-value is the share of holdout images at least as alike to the private set. Bars at the dashed line are what a clean release gives; a peak at the left is what copying gives."
            blocks.append(Figures((Figure("P-values of all candidates", drawing, words),)))
    return Section("copies", "Copies", lead, tuple(blocks))


def _planted(planted: Sequence[PlantedFact], numbers: Numbers) -> Table:
    exact = Numbers()  # planted copies are the audit's own work: their counts tell nothing about patients
    body = []
    start = _start([one.low for one in planted])
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
        header=("Planted as", f"From {100 * start:g} to 100\u00a0%, mark at 90\u00a0%", "Share found", "Count", "Fewest in sight"),
        rows=tuple(body),
        right=(2, 3, 4),
    )


def membership(facts: MembershipFacts | None, numbers: Numbers, invalid: bool) -> Section:
    """Is the comparison valid, and if so, can members be told."""
    lead = "Could somebody who holds a photograph find out whether it was in the private set? First the comparison itself is tested: if members and non-members differ without any model, no attack on the model can be judged."
    if facts is None or (facts.split is None and not facts.probes):
        return Section("membership", "Membership", lead, absent("membership"))
    blocks: list[Block] = []
    if invalid:
        words = "Invalid: private set and holdout can be told apart without the model. The attacks below are shown, but decide nothing."
        blocks.append(Note(words, "invalid"))
    blocks.append(_validity(facts, numbers))
    if facts.probes:
        blocks.append(_probes(facts.probes, numbers))
        drawn = [
            Figure(
                probe_title(probe.name),
                roc(probe, numbers),
                f"{probe.access.capitalize() or 'Attack'}: AUC {numbers.plain(probe.auc)}"
                + (f" ({numbers.interval(probe.interval)})" if probe.interval else ""),
            )
            for probe in facts.probes
            if probe.roc
        ]
        if drawn:
            blocks.append(Figures(tuple(drawn)))
    else:
        blocks.append(Note("Not tested: no membership attack was run.", "absent"))
    return Section("membership", "Membership", lead, tuple(blocks))


def _validity(facts: MembershipFacts, numbers: Numbers) -> Table | Note:
    split = facts.split
    if split is None:
        return Note("Not tested: whether private set and holdout can be told apart without the model.", "absent")
    body = [_auc_row("Private set against holdout, without the model", split.auc, split.interval, numbers.p_value(split.p_value), numbers)]
    if split.placebo_auc is not None:
        words = "holdout against holdout: must be chance"
        body.append(_auc_row("Placebo", split.placebo_auc, split.placebo_interval, words, numbers))
    return Table(
        caption="Is the comparison valid? Both figures should be at chance, 0.5.",
        header=("Test", "AUC from 0.4 to 0.8, mark at chance", "AUC", "Finding"),
        rows=tuple(body),
        right=(2,),
    )


def _auc_row(title: str, auc: float | None, span: tuple[float, float] | None, words: str, numbers: Numbers) -> tuple[Cell, ...]:
    drawing = strip(auc, span, low=0.4, high=0.8, mark=0.5)
    return Cell(title), Cell(drawing=drawing), Cell(numbers.plain(auc), under=numbers.interval(span)), Cell(words)


def _probes(probes: Sequence[ProbeFact], numbers: Numbers) -> Table:
    body = []
    for probe in probes:
        members = f"{numbers.count(probe.n_members)} / {numbers.count(probe.n_nonmembers)}"
        body.append(
            (
                Cell(probe_title(probe.name), under=probe.access if probe.access != probe_title(probe.name).lower() else ""),
                Cell(drawing=strip(probe.auc, probe.interval, low=0.4, high=0.8, mark=0.5)),
                Cell(numbers.plain(probe.auc), under=numbers.interval(probe.interval)),
                Cell(numbers.share_of(probe.tpr, probe.n_members)),
                Cell(numbers.plain(probe.minimum_detectable_auc)),
                Cell(members),
            )
        )
    return Table(
        caption="Attacks. Power is the smallest AUC that these sample sizes would have told from chance.",
        header=("Attack", "AUC from 0.4 to 0.8, mark at chance", "AUC", "Found at 1\u00a0% false alarms", "Power", "Members / others"),
        rows=tuple(body),
        right=(2, 3, 4, 5),
    )


def labels(facts: LabelFacts | None, numbers: Numbers) -> Section:
    """Asked against read, beside what the diagnostic model can do at all."""
    lead = "Do the images show what their labels say? A diagnostic model reads each image; its agreement with what was asked is judged against its own agreement with the truth on real images, the ceiling."
    if facts is None:
        return Section("labels", "Labels", lead, absent("labels"))
    body = []
    start = _start([(one.share_interval or (one.share,))[0] for one in facts.attributes])
    for one in facts.attributes:
        hidden = numbers.hides(one.agreement, one.n)
        body.append(
            (
                Cell(one.name, under=one.kind),
                Cell(drawing=strip(one.share, one.share_interval, low=start, high=1.1, mark=1.0)),
                Cell(numbers.share(one.share), under=numbers.interval(one.share_interval, "share")),
                Cell(numbers.share_of(one.agreement, one.n), under="" if hidden else numbers.interval(one.interval, "share")),
                Cell(numbers.share(one.ceiling)),
                Cell(numbers.count(one.n)),
            )
        )
    table = Table(
        caption="Agreement as a share of the ceiling, for each condition.",
        header=("Condition", f"From {100 * start:g} to 110\u00a0%, mark at the ceiling", "Share of ceiling", "Agreement", "Ceiling", "n"),
        rows=tuple(body),
        right=(2, 3, 4, 5),
    )
    matrices = tuple(m for one in facts.attributes if len(one.levels) > 2 and (m := _matrices(one)))
    return Section("labels", "Labels", lead, (table, *matrices))


def _start(lows: Sequence[float | None]) -> float:
    """Where a scale of shares starts: at one half unless something lies below."""
    return 0.5 if all(low is not None and low >= 0.5 for low in lows) else 0.0


def _matrices(one: AttributeFact) -> Matrices | None:
    named = (("Candidates: asked, then read", one.confusion, "asked"), ("Real images: true, then read", one.ceiling_confusion, "true"))
    found = tuple(
        Matrix(title, one.levels, _shaded(cells), rows_are)
        for title, cells, rows_are in named
        if cells and len(cells) == len(one.levels) == len(cells[0])
    )
    return Matrices(f"{one.name}: which level was taken for which", found) if found else None


def _shaded(cells: Sequence[Sequence[float]]) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Shares of each row with a shade from 0 to 10; what is withheld is negative."""
    shown = []
    for row in cells:
        total = sum(max(cell, 0.0) for cell in row) or 1.0
        empty = all(cell < 0 for cell in row)
        shown.append(tuple(_shade(cell, cell / total, ABSENT if empty else "few") for cell in row))
    return tuple(shown)


def _shade(cell: float, share: float, withheld: str) -> tuple[str, int]:
    return (withheld, 0) if cell < 0 else (f"{100 * share:.0f}\u00a0%", round(10 * share))


def fidelity(facts: Sequence[FidelityFact], numbers: Numbers) -> Section:
    """Each figure beside what real against real gives."""
    lead = "How close are the candidates to real images as a whole? Each figure stands beside its floor: what two sets of real images of different patients give."
    if not facts:
        return Section("fidelity", "Fidelity", lead, absent("fidelity"))
    body = []
    for one in facts:
        short = one.name.removeprefix("fidelity.")
        top = max([1.0 if short in {"precision", "recall", "coverage"} else 0.0, *_ends(one)]) * 1.05 or 1.0
        body.append(
            (
                Cell(metric_title(f"fidelity.{short}"), under=FIDELITY.get(short, "")),
                Cell(drawing=strip(one.value, one.interval, low=0, high=top, mark=one.floor)),
                Cell(numbers.plain(one.value), under=numbers.interval(one.interval)),
                Cell(numbers.plain(one.floor)),
                Cell(numbers.count(one.n)),
            )
        )
    table = Table(
        caption="Fidelity. Distances are in units of the extractor; compare each with its own floor only.",
        header=("Figure", "From 0, mark at the floor", "Value", "Real against real", "n"),
        rows=tuple(body),
        right=(2, 3, 4),
    )
    return Section("fidelity", "Fidelity", lead, (table,))


def _ends(one: FidelityFact) -> list[float]:
    return [x for x in (one.value, one.floor, one.interval[1] if one.interval else None) if x is not None]


def quarantine(facts: Sequence[BatchFact], numbers: Numbers) -> Section:
    """What became of the candidates, batch by batch."""
    lead = "Candidates that a stage refused were set aside, counted and replaced; they are never released. A generator that copies now and then is not made safe by filtering, so refused copies still count."
    if not facts:
        return Section("quarantine", "Quarantine", lead, absent("quarantine"))
    examined = sum(b.examined for b in facts)
    kinds = (
        ("Accepted", sum(b.accepted for b in facts)),
        ("Refused as copies", sum(b.refused_copies for b in facts)),
        ("Refused for their labels", sum(b.refused_labels for b in facts)),
    )
    table = Table(
        caption=f"{numbers.count(examined)} candidates were examined.",
        header=("Fate", "Images", "Share"),
        rows=tuple(
            (Cell(name), Cell(numbers.count(count)), Cell(numbers.share_of(count / examined if examined else None, examined)))
            for name, count in kinds
        ),
        right=(1, 2),
    )
    if numbers.coarse or len(facts) < 2:
        return Section("quarantine", "Quarantine", lead, (table,))
    drawing = batch_bars(facts, numbers)
    figure = Figure("Batch by batch", drawing, "A rising share of refusals would mean that the generator drifts.")
    return Section("quarantine", "Quarantine", lead, (Figures((figure,)), table))
