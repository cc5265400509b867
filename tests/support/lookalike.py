"""A search for pictures by their looks, independent of the product's own: fine structure is compared in all eight views.

Whatever makes all photographs of a kind alike (shading, field of view, colour) is taken out by a difference of two blurs.
What is left of an image correlates with itself above 0.9 through compression, resizing and brightness, and with unrelated
drawings of the same kind below 0.65.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable

import numpy as np
from PIL import Image
from scipy import ndimage

__all__ = ["LOOKALIKE", "likeness", "pictures_in"]

LOOKALIKE = 0.77
_SIDE = 48
_AWAY = np.hypot(*np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j])
_INSIDE = _AWAY < 0.86


def pictures_in(html: str) -> list[np.ndarray]:
    """The pixels of every picture embedded in a page, however it is written."""
    found = re.findall(r"data:image/[a-z+]+;base64,([A-Za-z0-9+/=]+)", html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))).convert("RGB")) for uri in found]


def likeness(one: np.ndarray, others: Iterable[np.ndarray]) -> float:
    """The highest correlation of a picture with any of the others, in any of their eight views: 1 for itself."""
    own = _unit(_structure(one))
    views = (
        np.rot90(side, turns) for other in map(_structure, others) for side in (other, other[:, ::-1]) for turns in range(4)
    )
    return max((float(own @ _unit(view)) for view in views), default=-1.0)


def _structure(pixels: np.ndarray) -> np.ndarray:
    small = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.float64)
    return ndimage.gaussian_filter(grey, 0.7) - ndimage.gaussian_filter(grey, 3)


def _unit(structure: np.ndarray) -> np.ndarray:
    inside = structure[_INSIDE] - structure[_INSIDE].mean()
    return inside / (np.linalg.norm(inside) or 1.0)
