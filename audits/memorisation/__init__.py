"""Memorisation: are private images copied into the synthetic set?

`prepare` indexes the private set and calibrates; `PreparedMemorisation.examine` gives each candidate its finding;
`summarise` draws the figures. The way of an image: exact lookup, three searches of the private set, alignment with the
nearest private images, a sharp score of the detail they share, and a verdict calibrated on unseen real images.
"""

from audits.memorisation.calibration import review_list
from audits.memorisation.pairs import pair_pictures
from audits.memorisation.preparation import prepare
from audits.memorisation.score import CELLS
from audits.memorisation.stage import Examined, NearCopy, Planted, PlantedCount, PreparedMemorisation
from audits.memorisation.summary import summarise

__all__ = [
    "CELLS",
    "Examined",
    "NearCopy",
    "Planted",
    "PlantedCount",
    "PreparedMemorisation",
    "pair_pictures",
    "prepare",
    "review_list",
    "summarise",
]
