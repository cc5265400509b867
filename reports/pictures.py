"""Pictures for the page: decoded safely, re-encoded without metadata, embedded as data URIs."""

from __future__ import annotations

import base64
import io
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reports.blocks import Picture
from reports.runfolder import inside

__all__ = ["FORMS", "Form", "fitting", "load", "matched", "pair_pixels", "picture"]

_MATCHED_AT = 64
_PLACE = re.compile(r"pairs/[A-Za-z0-9_-]{1,80}")
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


@dataclass(frozen=True, slots=True)
class Form:
    """How pictures are written: at most `side` pixels wide, exactly where `quality` is 0, else as WebP of that quality."""

    side: int
    quality: int


FORMS = (Form(256, 0), Form(256, 90), Form(192, 85), Form(160, 80), Form(128, 75), Form(112, 70), Form(96, 60), Form(80, 50))
"""From the best to the smallest, each of about two thirds of the bytes of the one before."""


def picture(pixels: Pixels, alt: str, form: Form = FORMS[0]) -> Picture:
    """An embedded picture in that form, without metadata."""
    image = Image.fromarray(pixels, mode="RGB")
    if max(image.size) > form.side:
        image.thumbnail((form.side, form.side), Image.Resampling.HAMMING)
    stream = io.BytesIO()
    kind = "webp" if form.quality else "png"
    image.save(stream, format=kind, **({"quality": form.quality, "method": 2} if form.quality else {"optimize": True}))
    written = base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(uri=f"data:image/{kind};base64,{written}", alt=alt, side=max(image.size))


def fitting(some: Sequence[Pixels], count: int, room: int) -> Form:
    """The best form in which `count` pictures like `some` take no more than `room` characters; the smallest if none does."""

    def fits(form: Form) -> bool:
        return sum(len(picture(one, "", form).uri) for one in some) * count <= room * len(some)

    # By halves, since exact pictures take longest to write.
    return FORMS[bisect_left(FORMS[:-1], True, key=fits)]


def matched(candidate: Pixels, private: Pixels) -> tuple[Pixels, Pixels]:
    """The private image turned and mirrored as the candidate is, and where the two differ then.

    Of the eight views of the private image the one is taken that correlates best with the candidate. Brightness and contrast
    of each colour are matched by least squares before the difference, which is black where equal and three times enlarged.
    Both images have one shape (side, side, 3).
    """
    views = [np.rot90(image, turns) for image in (private, private[:, ::-1]) for turns in range(4)]
    view = max(views, key=lambda one: _likeness(candidate, one))
    apart = np.zeros(candidate.shape[:2])
    for colour in range(3):
        x, y = view[..., colour].astype(np.float64), candidate[..., colour].astype(np.float64)
        spread = x.var()
        gain = ((x - x.mean()) * (y - y.mean())).mean() / spread if spread > 0 else 0.0
        apart += np.abs(y - y.mean() - gain * (x - x.mean())) / 3
    grey = np.minimum(apart * 3, 255).astype(np.uint8)
    return np.ascontiguousarray(view), np.repeat(grey[:, :, None], 3, axis=2)


def _likeness(one: Pixels, other: Pixels) -> float:
    # Every so many pixels are enough to tell eight views apart.
    step = max(1, len(one) // _MATCHED_AT)
    first, second = (image[::step, ::step].astype(np.float64).mean(axis=2) for image in (one, other))
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / (np.sqrt((first**2).sum() * (second**2).sum()) + 1e-9))


def pair_pixels(run: Path, pair: str) -> dict[str, Pixels]:
    """The panels of one pair: candidate, private, difference, area.

    They lie as `pairs/0001-candidate.png` and so on, or as one strip `pairs/0001.png` of square panels in that order.
    Nothing else is opened. Where no difference is given, the private image is brought into the candidate's position and the
    difference worked out.
    """
    names = ("candidate", "private", "difference", "area")
    if not _PLACE.fullmatch(pair):
        return {}
    found = {name: load(run, f"{pair}-{name}.png") for name in names}
    panels = {name: pixels for name, pixels in found.items() if pixels is not None}
    strip = None if panels else load(run, f"{pair}.png")
    if strip is not None and strip.shape[1] % strip.shape[0] == 0:
        side = strip.shape[0]
        cuts = range(0, strip.shape[1], side)
        panels = {name: np.ascontiguousarray(strip[:, x : x + side]) for name, x in zip(names, cuts, strict=False)}
    if "difference" not in panels and {"candidate", "private"} <= set(panels):
        candidate, private = panels["candidate"], panels["private"]
        if candidate.shape == private.shape and candidate.shape[0] == candidate.shape[1]:
            panels["private"], panels["difference"] = matched(candidate, private)
    return panels
