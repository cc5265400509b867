"""The section on the autoencoder: is it better at the images it has seen?"""

from __future__ import annotations

from reports.blocks import Block, Figure, Figures, Note, Section
from reports.facts import AutoencoderFacts
from reports.numbers import Numbers
from reports.plots import error_ridges
from reports.sections.shared import absent
from reports.wording import STATE_WORDS

__all__ = ["autoencoder", "in_words"]

_LEAD = (
    "A latent diffusion model draws through an autoencoder that was trained on the private images as well. If it restores "
    "them better than images of other patients, it remembers them. Private and holdout images are sent through it and "
    "their errors compared."
)


def autoencoder(facts: AutoencoderFacts | None, numbers: Numbers) -> Section:
    """Both error distributions, and what they say in a sentence."""
    blocks: tuple[Block, ...]
    if facts is None:
        blocks = absent("the autoencoder")
    elif facts.state == "not_tested":
        blocks = (Note("Not tested: no model with an autoencoder was at hand.", "absent"),)
    elif facts.auc is None:
        reason = STATE_WORDS.get(facts.state, "unfinished")
        blocks = (Note(f"No figure: {reason}, so whether the autoencoder remembers its patients is open.", "absent"),)
    else:
        tone = "invalid" if facts.state == "invalid" else "plain"
        blocks = (Note(in_words(facts, numbers), tone), *_figure(facts, numbers))
    return Section("autoencoder", "Autoencoder", _LEAD, blocks)


def in_words(facts: AutoencoderFacts, numbers: Numbers) -> str:
    """The finding in words."""
    if facts.state == "invalid":
        return (
            "Invalid: private set and holdout can be told apart without the model, so a difference in error may be one of "
            "looks. The figures are shown, but decide nothing."
        )
    low, high = facts.interval or (0.0, 1.0)
    if low > 0.5:
        verdict = "The autoencoder knows the private images: it restores them better than unseen ones of that look"
    elif high < 0.5:
        verdict = "The autoencoder restores private images worse than unseen ones of that look"
    else:
        verdict = "The autoencoder was not seen to know the private images"
    sizes = f"{numbers.count(facts.n_members)} private against {numbers.count(facts.n_nonmembers)} unseen images"
    span = f"{numbers.interval(facts.interval)}; " if facts.interval else ""
    said = f"{verdict}, AUC {numbers.plain(facts.auc)} ({span}{sizes}; chance is 0.5).{_gap(facts, numbers)}"
    if facts.minimum_detectable is None:
        return said
    return f"{said} An AUC of {numbers.plain(facts.minimum_detectable)} would have been seen."


def _gap(facts: AutoencoderFacts, numbers: Numbers) -> str:
    if facts.gap is None:
        return ""
    more = "less" if facts.gap >= 0 else "more"
    span = ""
    if facts.gap_interval:
        span = f" (95\u00a0% interval of the difference {numbers.interval(facts.gap_interval, 'share')})"
    return f" Their mean squared error is {numbers.share(abs(facts.gap))} {more} than that of unseen images{span}."


def _figure(facts: AutoencoderFacts, numbers: Numbers) -> tuple[Block, ...]:
    if len(facts.errors) < 2:
        return ()
    words = (
        "One row for each set of images; the holdout are real images of other patients. Where the upper hill lies left of "
        "the lower one, private images come back with less error. Heights are square roots of shares. The AUC holds each "
        "image against others of its look."
    )
    drawing = error_ridges(facts.errors, numbers)
    return (Figures((Figure("Error of images through the autoencoder", drawing, words),)),)
