"""Names of files and folders in a pipeline folder. A module of its own: whoever only asks for them needs no torch."""

from __future__ import annotations

__all__ = ["CARD", "INDEX", "NOISE_KEY", "STATE"]

INDEX = "model_index.json"
CARD = "model_card.json"
STATE = "training"
"""Sub-folder with private state: raw weights for the membership probe. It is no part of the model and never released."""
NOISE_KEY = "noise_key.json"
"""What the noise of a private training comes from; destroyed when it ends."""
