"""The section that says what the words of the report mean."""

from __future__ import annotations

from reports.blocks import Facts, Section

__all__ = ["words"]

_WORDS = (
    ("Private set", "The images of patients that the generator was trained on. Nothing of them may leave."),
    ("Holdout", "Images of other patients, from the same source, that the generator never saw: what no leak looks like."),
    ("Candidate", "A synthetic image before it was decided on."),
    ("Interval", "Where the true figure lies with 95\u00a0% probability, on both sides."),
    (
        "Bound",
        "The end of the one-sided 95\u00a0% interval, on the side of the limit, which it is held against. It lies a little "
        "inside the interval that stands beside a value.",
    ),
    (
        "Membership",
        "Whether somebody can tell, from the images or from the model, that a patient was in the private set.",
    ),
    (
        "AUC",
        "How often an attack puts a private patient before one of the holdout: 0.5 is a coin's throw, 1 is always.",
    ),
    (
        "Told apart",
        "Private set and holdout differ already without the model, for example in their cameras. Then an attack on "
        "membership would succeed without any leak, and its figures mean nothing.",
    ),
    ("Singling out", "An attack that finds a description which fits one private patient and nobody else."),
    ("Linkability", "An attack that joins two photographs of one patient through the synthetic images."),
    ("Inference", "An attack that guesses something about a patient, such as a diagnosis, from the synthetic images."),
    (
        "Fr\u00e9chet distance",
        "How far the synthetic images as a whole are from real ones; its floor is how far real ones are from each other.",
    ),
    ("Test copies", "Copies that the audit makes and hides from itself, to measure what it would have seen."),
)


def words() -> Section:
    """The same in both editions."""
    return Section("words", "Words", "What the words of this report mean.", (Facts(_WORDS),))
