"""What can be seen of a photograph without any model: colour, brightness, contrast, sharpness, a thumbnail.

Nothing here is learnt from who is a member, so permutation tests over the features stay exact.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synguard.protocols import Images

__all__ = ["appearance", "metadata_features", "principal_components", "shrink"]

Floats = NDArray[np.float64]
_CHUNK = 32
"""Images at once: small enough to stay in the processor's cache."""
_LUMA = (0.299, 0.587, 0.114)
_THUMBNAIL = 8
_MOST_LEVELS = 20
"""Metadata columns of text with more levels than this are names or free text, not attributes."""


def appearance(pixels: Images) -> tuple[Floats, Floats]:
    """Statistics (n, d) and colour thumbnails (n, 192) of images (n, s, s, 3), image by image."""
    parts = [_chunk(pixels[start : start + _CHUNK]) for start in range(0, len(pixels), _CHUNK)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def metadata_features(frames: list[pd.DataFrame]) -> Floats:
    """One numeric table (n, d) of frames stacked: numbers with a flag for missing ones, text levels one-hot.

    Columns that are not in every frame, and text columns with more than 20 levels, are left out.
    """
    shared = [c for c in frames[0].columns if all(c in f.columns for f in frames[1:])]
    table = pd.concat([f[shared] for f in frames], ignore_index=True)
    columns: list[Floats] = []
    for name in shared:
        column = table[name]
        missing = np.asarray(column.isna(), dtype=np.float64)
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            values = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
            centre = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
            columns.append(np.where(np.isfinite(values), values, centre))
        elif column.nunique() <= _MOST_LEVELS:
            columns.extend(
                (column == level).fillna(False).to_numpy(dtype=np.float64) for level in sorted(column.dropna().unique())
            )
        else:
            continue
        columns.append(missing)
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0))


def principal_components(values: Floats, count: int) -> Floats:
    """Scores (n, k) on the first principal components of all rows together, k = min(count, d)."""
    centred = values - values.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ vectors[:, ::-1][:, :count], dtype=np.float64)


def _chunk(pixels: Images) -> tuple[Floats, Floats]:
    n, side = len(pixels), pixels.shape[1]
    planes = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))
    red, green, blue = (plane.astype(np.float32) / 255 for plane in planes)
    luma = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    spread = np.maximum(np.maximum(planes[0], planes[1]), planes[2]) - np.minimum(
        np.minimum(planes[0], planes[1]), planes[2]
    )
    counts = [_histogram(plane) for plane in (*planes, spread, np.rint(luma * 255).astype(np.uint8))]
    warmth, tint = red - green, blue - (red + green) / 2
    extremes = np.stack([sum(c[:, end] for c in counts[:3]) for end in (0, 255)], axis=1)
    inner = slice(side // 6, side - side // 6)
    columns = [
        *(_moments(c) for c in counts),
        *(_coarse(c, 8) for c in counts[:3]),
        _coarse(counts[4], 16),
        np.sqrt(extremes),
        np.stack([warmth.std(axis=(1, 2)), tint.std(axis=(1, 2))], axis=1),
        (luma[:, inner, inner].mean(axis=(1, 2)) - luma.mean(axis=(1, 2)))[:, None],
        _sharpness(luma),
    ]
    thumbnails = np.stack([shrink(plane, _THUMBNAIL) for plane in (red, green, blue)], axis=-1)
    return np.concatenate(columns, axis=1, dtype=np.float64), thumbnails.reshape(n, -1).astype(np.float64)


def _histogram(values: NDArray[np.uint8]) -> Floats:
    """Share of each image's values (n, h, w) at each of the 256 levels."""
    n = len(values)
    codes = values.reshape(n, -1) + 256 * np.arange(n, dtype=np.int64)[:, None]
    return np.asarray(np.bincount(codes.ravel(), minlength=256 * n).reshape(n, 256) / codes.shape[1], dtype=np.float64)


def _moments(shares: Floats) -> Floats:
    """Mean, standard deviation and quantiles (5, 25, 50, 75 and 95 %) of histograms (n, 256), in units of the full range."""
    levels = np.arange(256) / 255
    mean = shares @ levels
    deviation = np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0))
    below = np.cumsum(shares, axis=1)
    quantiles = [levels[(below < q - 1e-9).sum(axis=1)] for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
    return np.stack([mean, deviation, *quantiles], axis=1)


def _coarse(shares: Floats, bins: int) -> Floats:
    """Square roots of a histogram's shares in fewer bins, which steadies their spread."""
    return np.asarray(np.sqrt(shares.reshape(len(shares), bins, -1).sum(axis=2)), dtype=np.float64)


def _sharpness(luma: NDArray[np.float32]) -> Floats:
    """Log energy of horizontal, vertical and second differences at three scales, and of the 8-pixel grid JPEG leaves."""
    columns = []
    level = luma
    for _ in range(3):
        across, down = np.diff(level, axis=2), np.diff(level, axis=1)
        laplacian = np.diff(across, axis=2)[:, 1:-1] + np.diff(down, axis=1)[:, :, 1:-1]
        columns += [np.log(np.square(d).mean(axis=(1, 2)) + 1e-6) for d in (across, down, laplacian)]
        level = shrink(level, level.shape[1] // 2)
    step = np.abs(np.diff(luma, axis=2)).mean(axis=1)
    at_grid = np.arange(step.shape[1]) % 8 == 7
    columns.append(np.log((step[:, at_grid].mean(axis=1) + 1e-3) / (step[:, ~at_grid].mean(axis=1) + 1e-3)))
    return np.stack(columns, axis=1).astype(np.float64)


def shrink(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Planes (n, s, s) in 0 to 1 averaged over areas to (n, side, side)."""
    size = plane.shape[1]
    ends, starts = np.arange(1, size + 1) * side / size, np.arange(size) * side / size
    cells = np.arange(side)[:, None]
    weights = np.maximum(np.minimum(ends, cells + 1) - np.maximum(starts, cells), 0)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.asarray(weights @ plane @ weights.T, dtype=np.float32)
