"""Fingerprints of decoded pixels that stay the same when a picture is saved again: what tells that two sets share images.

Eighteen low frequencies of the brightness (cosine transform, without the mean), rounded down to whole grey levels. Saving as
JPEG, or reducing to another size, moves them by some hundredths of a level, other pictures lie several levels away. So that
a value near the edge of a step does not lose the picture, there are four codes, each with its steps shifted by a quarter.
Figures, and what such a code cannot see: docs/decisions/0020-a-ledger-that-counts-attempts.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synguard.protocols import Images

__all__ = ["CODES", "pixel_codes"]

CODES = 4
"""Codes of one picture. Two pictures are taken for the same one where any code is equal."""

_FREQUENCIES = tuple((u, v) for u in range(5) for v in range(5) if 0 < u + v <= 5)
_STEP = 1.0
"""Width of a step in grey levels."""
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_CHUNK = 512


def pixel_codes(pixels: Images) -> NDArray[np.int16]:
    """Codes (n, CODES, 18) of pictures (n, size, size, 3); nearly independent of the size they were decoded at."""
    waves = _waves(pixels.shape[1])
    found = np.empty((len(pixels), CODES, len(_FREQUENCIES)), dtype=np.int16)
    shifts = np.arange(CODES, dtype=np.float32)[None, :, None] / CODES
    rows, columns = np.array(_FREQUENCIES).T
    for start in range(0, len(pixels), _CHUNK):
        brightness = pixels[start : start + _CHUNK].astype(np.float32) @ _BRIGHTNESS
        spectrum = waves @ brightness @ waves.T
        found[start : start + _CHUNK] = np.floor(spectrum[:, None, rows, columns] / _STEP + shifts)
    return found


def _waves(size: int) -> NDArray[np.float32]:
    """The cosines (5, size) of an orthonormal transform (DCT-II), scaled so that coefficients do not grow with the size."""
    order = np.arange(5)[:, None]
    waves = np.cos(np.pi * order * (np.arange(size) + 0.5) / size) * np.where(order == 0, 1, np.sqrt(2)) / size
    return waves.astype(np.float32)
