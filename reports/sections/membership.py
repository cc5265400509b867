"""The section on membership: is the comparison valid, and can members be told."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Block, Cell, Figure, Figures, Note, Section, Table
from reports.facts import MembershipFacts, ProbeFact
from reports.numbers import Numbers
from reports.plots import roc, strip
from reports.sections.shared import absent
from reports.wording import STATE_WORDS, probe_title, probe_words

__all__ = ["membership"]

_MOST_DRAWN = 4
_TOLD = 0.05
"""Corrected p-value below which an attack is said to have told members from others."""


def membership(facts: MembershipFacts | None, numbers: Numbers, invalid: bool) -> Section:
    """Is the comparison valid, and if so, can members be told."""
    lead = (
        "Could somebody who holds a photograph find out whether it was in the private set? First the comparison "
        "itself is tested: if members and non-members differ without any model, no attack on the model can be "
        "judged."
    )
    if facts is None or (facts.split is None and not facts.probes):
        return Section("membership", "Membership", lead, absent("membership"))
    blocks: list[Block] = []
    if invalid:
        words = (
            "Invalid: private set and holdout can be told apart without the model. The attacks below are shown, but"
            " decide nothing."
        )
        blocks.append(Note(words, "invalid"))
    blocks.append(_validity(facts, numbers))
    if facts.probes:
        blocks.append(_probes(facts.probes, numbers))
        blocks += _methods(facts.probes)
        drawn = [
            Figure(
                probe_title(probe.name),
                roc(probe, numbers),
                f"{probe.access.capitalize() or 'Attack'}: AUC {numbers.plain(probe.auc)}"
                + (f" ({numbers.interval(probe.interval)})" if probe.interval else ""),
            )
            for probe in _drawn(facts.probes)
        ]
        if drawn:
            blocks.append(Figures(tuple(drawn)))
        blocks += _low_rates(facts.probes, numbers)
    else:
        blocks.append(Note("Not tested: no membership attack was run.", "absent"))
    blocks += [Note(_left_out(name, reason), "absent") for name, reason in facts.left_out]
    return Section("membership", "Membership", lead, tuple(blocks))


def _left_out(name: str, reason: str) -> str:
    access = {"white box": "all attacks on the model", "black box": "all attacks on the images"}
    return f"Not tested: {access.get(name) or probe_title(name)}{f' ({reason})' if reason else ''}."


def _methods(probes: Sequence[ProbeFact]) -> list[Block]:
    """What each attack measured, in full, where that may be told."""
    told = [probe for probe in probes if probe.method]
    if not told:
        return []
    rows = tuple((Cell(probe_title(probe.name)), Cell(probe.method)) for probe in told)
    return [Table(caption="What each attack measured.", header=("Attack", "Score"), rows=rows)]


def _scale(found: Sequence[tuple[float | None, tuple[float, float] | None]]) -> tuple[float, float]:
    """The ends of the AUC scale: 0.4 to 0.8 unless something lies beyond."""
    values = [x for value, span in found for x in (value, *(span or ())) if x is not None]
    return (0.4 if min(values, default=0.5) >= 0.4 else 0.0), (0.8 if max(values, default=0.5) <= 0.8 else 1.0)


def _validity(facts: MembershipFacts, numbers: Numbers) -> Table | Note:
    split = facts.split
    if split is None:
        return Note("Not tested: whether private set and holdout can be told apart without the model.", "absent")
    ends = _scale([(split.auc, split.interval), (split.placebo_auc, split.placebo_interval)])
    found = [("Private set against holdout, without the model", split.auc, split.interval, numbers.p_value(split.p_value))]
    # Each classifier's own p-value; that of the first row allows for the best having been taken.
    found += [(_guess_title(one.name), one.auc, None, numbers.p_value(one.p_value)) for one in split.each]
    if split.placebo_auc is not None:
        found.append(("Placebo", split.placebo_auc, split.placebo_interval, "two random parts of one set"))
    return Table(
        caption="Is the comparison valid? All figures should be at chance, 0.5. The first is that of the best classifier.",
        header=("Test", _heading(ends), "AUC", "Finding"),
        rows=tuple(
            (
                Cell(title),
                Cell(drawing=strip(auc, span, low=ends[0], high=ends[1], mark=0.5)),
                Cell(numbers.plain(auc), under=numbers.interval(span)),
                Cell(words),
            )
            for title, auc, span, words in found
        ),
        right=(2,),
    )


def _drawn(probes: Sequence[ProbeFact]) -> list[ProbeFact]:
    """Of those that a limit is held against or that told members, the strongest four of each kind of access, as listed."""
    found = [probe for probe in probes if probe.roc and (probe.verdict or _told(probe))]
    kept = []
    for access in dict.fromkeys(probe.access for probe in found):
        own = sorted((p for p in found if p.access == access), key=lambda p: -(p.bound or p.auc or 0.0))
        kept += own[:_MOST_DRAWN]
    return [probe for probe in found if probe in kept]


def _guess_title(name: str) -> str:
    return f"{name[:1].upper()}{name[1:]}" if name else "Classifier"


def _told(probe: ProbeFact) -> bool:
    return probe.p_holm is not None and probe.p_holm < _TOLD


def _low_rates(probes: Sequence[ProbeFact], numbers: Numbers) -> tuple[Block, ...]:
    """Members named at small shares of false alarms, by the attacks that a limit is held against."""
    body = [
        (
            Cell(probe_title(probe.name), under=f"at {numbers.share(low.fpr)} false alarms"),
            Cell(
                "too few" if low.tpr is None else numbers.share_of(low.tpr, probe.n_members),
                under="" if numbers.hides(low.tpr, probe.n_members) else numbers.interval(low.interval, "share"),
            ),
            Cell(numbers.share(low.provable)),
        )
        for probe in probes
        if probe.verdict
        for low in probe.low_rates
    ]
    if not body:
        return ()
    caption = (
        "Members named while hardly any other is accused. The last column is the smallest share that would have been proven "
        "above chance four times in five; where others are too few to hold one false alarm, nothing can be said."
    )
    return (Table(caption, ("Attack", "Named", "Smallest share provable"), tuple(body), right=(1, 2)),)


def _heading(ends: tuple[float, float]) -> str:
    return f"AUC from {ends[0]:g} to {ends[1]:g}, mark at chance"


def _probes(probes: Sequence[ProbeFact], numbers: Numbers) -> Table:
    body = []
    ends = _scale([(probe.auc, probe.interval) for probe in probes])
    for probe in probes:
        state = "" if probe.state == "measured" else STATE_WORDS.get(probe.state, probe.state)
        shown = "" if probe.verdict else "shown beside, no limit"
        known = probe.access.lower() in probe_title(probe.name).lower()
        words = probe_words(probe.name) or ("" if known else probe.access)
        members = f"{numbers.count(probe.n_members)} / {numbers.count(probe.n_nonmembers)}"
        body.append(
            (
                Cell(
                    probe_title(probe.name),
                    under=state or shown or words,
                ),
                Cell(drawing=strip(probe.auc, probe.interval, low=ends[0], high=ends[1], mark=0.5)),
                Cell(numbers.plain(probe.auc), under=numbers.interval(probe.interval)),
                Cell(numbers.share_of(probe.tpr, probe.n_members)),
                Cell(numbers.p_value(probe.p_holm), under="members told" if _told(probe) else ""),
                Cell(numbers.plain(probe.minimum_detectable_auc)),
                Cell(members),
                Cell(numbers.count(probe.calls), under="" if probe.seconds is None else _spent(probe.seconds)),
            )
        )
    return Table(
        caption="Attacks; non-members are always the holdout's evaluation role. Chance alone is the p-value by permutation "
        "of patients, corrected for the number of attacks. Power is the smallest AUC that these sample sizes would have "
        "told from chance. Limits are held against the worst of the attacks on the model, on any of its weights.",
        header=(
            "Attack",
            _heading(ends),
            "AUC",
            "Found at 1\u00a0% false alarms",
            "Chance alone",
            "Power",
            "Members / others",
            "Passes an image",
        ),
        rows=tuple(body),
        right=(2, 3, 4, 5, 6, 7),
    )


def _spent(seconds: float) -> str:
    return f"{seconds:.0f}\u00a0s" if seconds >= 1 else "under 1\u00a0s"
