"""The phantom set: fundus-like photographs drawn by code, with the SynFundus schema and several photographs a patient.

Ground truth without any patient: for tests and the demo, never for a verdict that is claimed to be right on real images.
"""

from synguard.data.phantom.drawing import draw
from synguard.data.phantom.labels import SCHEMA, photograph_labels
from synguard.data.phantom.sets import phantom_set, write_phantoms

__all__ = ["SCHEMA", "draw", "phantom_set", "photograph_labels", "write_phantoms"]
