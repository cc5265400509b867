"""The sections on audits, shared by both editions: from typed facts, which the public edition made coarse before."""

from reports.sections.autoencoder import autoencoder
from reports.sections.copies import copies, sight
from reports.sections.disclosure import disclosure
from reports.sections.epsilon import epsilon
from reports.sections.fidelity import fidelity
from reports.sections.labels import labels
from reports.sections.membership import membership
from reports.sections.quarantine import quarantine
from reports.sections.training import onset_in_words, training
from reports.sections.words import words

__all__ = [
    "autoencoder",
    "copies",
    "disclosure",
    "epsilon",
    "fidelity",
    "labels",
    "membership",
    "onset_in_words",
    "quarantine",
    "sight",
    "training",
    "words",
]
