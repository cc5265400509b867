"""Pictures for the page: decoded safely, re-encoded without metadata, embedded as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reports.blocks import Picture
from reports.runfolder import inside

__all__ = ["difference", "load", "pair_pixels", "picture"]

LARGEST_SIDE = 256
_MOST_PIXELS = 16_000_000
Pixels = NDArray[np.uint8]


def load(folder: Path, name: str) -> Pixels | None:
    """Pixels (height, width, 3) of the image `name` under `folder`; None where there is none to be decoded."""
    path = inside(folder, name)
    if path is None:
        return None
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > _MOST_PIXELS:
                return None
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def picture(pixels: Pixels, alt: str, *, small: bool = False) -> Picture:
    """An embedded picture, at most 256 pixels wide. `small` trades exact pixels for a tenth of the bytes."""
    image = Image.fromarray(pixels, mode="RGB")
    if max(image.size) > LARGEST_SIDE:
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    kind = "jpeg" if small else "png"
    image.save(stream, format=kind, **({"quality": 88} if small else {"optimize": True}))
    written = base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(uri=f"data:image/{kind};base64,{written}", alt=alt, side=max(image.size))


def difference(one: Pixels, other: Pixels) -> Pixels | None:
    """Where two images of one size differ: black where equal, brighter with the difference, three times enlarged."""
    if one.shape != other.shape:
        return None
    apart = np.abs(one.astype(np.int16) - other.astype(np.int16)).mean(axis=2)
    grey = np.minimum(apart * 3, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def pair_pixels(run: Path, pair: str) -> dict[str, Pixels]:
    """The panels of one pair: candidate, private (aligned), difference, area.

    They lie as `pairs/0001-candidate.png` and so on, or as one strip `pairs/0001.png` of square panels in that order.
    The difference is worked out where it is not given.
    """
    names = ("candidate", "private", "difference", "area")
    found = {name: load(run, f"{pair}-{name}.png") for name in names}
    panels = {name: pixels for name, pixels in found.items() if pixels is not None}
    strip = None if panels else load(run, f"{pair}.png")
    if strip is not None and strip.shape[1] % strip.shape[0] == 0:
        side = strip.shape[0]
        cuts = range(0, strip.shape[1], side)
        panels = {name: np.ascontiguousarray(strip[:, x : x + side]) for name, x in zip(names, cuts, strict=False)}
    if "difference" not in panels and {"candidate", "private"} <= set(panels):
        worked_out = difference(panels["candidate"], panels["private"])
        if worked_out is not None:
            panels["difference"] = worked_out
    return panels
