"""The section on the training: where memorisation begins."""

from __future__ import annotations

from reports.blocks import Cell, Figure, Figures, Note, Section, Table
from reports.facts import CurveFacts
from reports.numbers import Numbers
from reports.plots import training_curve

__all__ = ["onset_in_words", "training"]

_LEAD = (
    "While the generator was trained, its checkpoints were held against images of other patients that it never saw: does "
    "its loss tell its own images from theirs, and do the images that it generates lie nearer to its own?"
)
_BY = {
    "gap": "the loss on private images is lower than on unseen ones",
    "nearer": "generated images lie nearer to private ones",
}


def training(facts: CurveFacts | None, numbers: Numbers) -> tuple[Section, ...]:
    """The curve, what it says, and its figures; no section where no checkpoint was audited."""
    if facts is None:
        return ()
    rule = (
        "Bands are intervals that hold all together with 95\u00a0%, over every checkpoint that was planned "
        f"({facts.looks}) and both figures (Bonferroni), so that looking often finds nothing by chance. Memorisation "
        "begins at the first checkpoint from which on a band never again touches its dashed line. The loss is that of "
        f"{numbers.count(facts.private)} private and {numbers.count(facts.holdout)} unseen images, at the same noise and "
        f"times throughout; {numbers.count(facts.generated)} images were generated at each checkpoint, from the same seeds, "
        f"and held against {numbers.count(facts.neighbours)} images a side."
    )
    figure = Figure("Where memorisation begins", training_curve(facts, numbers), rule)
    tone = "invalid" if facts.split == "invalid" else "plain"
    blocks = (Note(onset_in_words(facts), tone), Figures((figure,)), _table(facts, numbers))
    return (Section("training", "Training", _LEAD, blocks),)


def onset_in_words(facts: CurveFacts) -> str:
    """Where memorisation begins, in a sentence."""
    last = facts.points[-1]
    if facts.split == "invalid":
        return (
            "Invalid: private set and holdout can be told apart without the model, so where memorisation begins cannot be "
            "said. The figures are shown, but decide nothing."
        )
    if facts.begins is None:
        return (
            f"No memorisation was seen: up to the last checkpoint (step {last.step:,}, each image seen {last.seen:.3g} "
            "times) neither figure stays beyond chance."
        )
    step, seen = facts.begins
    by = " and ".join(_BY[name] for name in facts.by if name in _BY) or "a figure is beyond chance"
    first = f"each image was seen {seen:.3g} times (step {step:,})"
    said = f"Memorisation begins when {first}: from there on {by}, beyond chance."
    if facts.split == "insufficient":
        said += " That the two sets differ by looks could not be ruled out, with so few images."
    return said


def _table(facts: CurveFacts, numbers: Numbers) -> Table:
    return Table(
        caption="The checkpoints. Losses are means of the flow matching loss.",
        header=("Step", "Times seen", "Loss, private", "Loss, unseen", "Gap", "Nearer to private"),
        rows=tuple(
            (
                Cell(f"{point.step:,}"),
                Cell(f"{point.seen:.3g}"),
                Cell(numbers.plain(point.private_loss)),
                Cell(numbers.plain(point.holdout_loss)),
                Cell(numbers.share(point.gap), under=numbers.interval(point.gap_interval, "share")),
                Cell(numbers.share(point.nearer), under=numbers.interval(point.nearer_interval, "share")),
            )
            for point in facts.points
        ),
        right=(1, 2, 3, 4, 5),
    )
