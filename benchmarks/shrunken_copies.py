"""Private photographs shown smaller than they are, inside margins: how many the audit names, by how small they are.

    python benchmarks/shrunken_copies.py [--sets ham10000,fundus600] [--size 64] [--copies 100]

Needs real images (--data, else SYNGUARD_TEST_DATA, else ../shared/data beside the checkout). Splits by patient or lesion;
reduces private photographs to shares of their side, on black, white or their mean colour, anywhere; and puts bars above and
below others. Prints how many of them are verified copies with the right source, how many unseen photographs treated in the
same way are called copies, each with its exact 95 % interval (Clopper and Pearson), and how many images have margins of
their own. Decision 0018.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from copies.data import Photographs, load, split
from numpy.typing import NDArray
from PIL import Image

from audits.memorisation import PreparedMemorisation, prepare
from audits.memorisation.margins import without_margins
from synguard.config import MemorisationConfig
from synguard.data.images import ImageSet
from synguard.metrics.intervals import clopper_pearson

ROOT = Path(__file__).resolve().parents[1]
PARTS = {"ham10000": (1000, 100, 600), "fundus600": (150, 30, 60)}
SHARES = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
Pixels = NDArray[np.uint8]


def main() -> None:
    """Print a table for each set."""
    args = _arguments()
    for name in args.sets.split(","):
        begun = time.perf_counter()
        parts = split(load(name, args.data, args.size), PARTS[name], seed=0, hosts=100)
        private = image_set("private", parts.index)
        made = prepare(
            private, image_set("calibration", parts.calibration), config=MemorisationConfig(), seed=0, folder=None
        )
        rng = np.random.default_rng(0)
        rows = rng.permutation(len(private))[: args.copies]
        unseen = parts.negatives.pixels[: args.copies]
        own = len(without_margins(private.pixels))
        print(f"## {name}, {args.size} px\n\n{own} of {len(private)} private images have margins of their own.\n")
        print("| shown | copies named, % | unseen photographs called copies, % |\n|---|---:|---:|")
        for title, treat in treatments(rng):
            print(f"| {title} | {named(made, treat(private.pixels[rows]), rows)} | {called(made, treat(unseen))} |")
        print(f"\nn: {len(rows)} copies and {len(unseen)} unseen photographs a line; {time.perf_counter() - begun:.0f} s.\n")


def treatments(rng: np.random.Generator) -> list[tuple[str, Callable[[Pixels], Pixels]]]:
    """What is done to photographs, with a name for each."""
    shrunk = [(f"at {100 * share:g} % of the side", partial(shrink, share=share, rng=rng)) for share in SHARES]
    barred = [(f"between {word} bars", partial(bars, colour=colour)) for word, colour in (("black", 0), ("white", 255))]
    return [*shrunk, *barred]


def shrink(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Each reduced to a share of its side, anywhere on black, white or its mean colour."""
    size = pixels.shape[1]
    side = round(size * share)
    shown = []
    for image in pixels:
        ground = [np.zeros(3), np.full(3, 255.0), image.mean((0, 1))][int(rng.integers(3))]
        canvas = np.broadcast_to(np.rint(ground).astype(np.uint8), image.shape).copy()
        top, left = rng.integers(0, size - side + 1, 2).tolist()
        small = Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS)
        canvas[top : top + side, left : left + side] = np.asarray(small)
        shown.append(canvas)
    return np.stack(shown)


def bars(pixels: Pixels, colour: int) -> Pixels:
    """The middle three quarters of each, between bars above and below."""
    edge = pixels.shape[1] // 8
    shown = np.full_like(pixels, colour)
    shown[:, edge:-edge] = pixels[:, edge:-edge]
    return shown


def named(made: PreparedMemorisation, pixels: Pixels, rows: NDArray[np.int64]) -> str:
    """Share that is called a copy of the right image (or of an exact duplicate of it)."""
    found = made.examine(pixels, [""] * len(pixels))
    groups = np.array([group.hex() for group in made.exact.groups])
    return percent(int((found.flagged & (groups[found.nearest] == groups[rows])).sum()), len(rows))


def called(made: PreparedMemorisation, pixels: Pixels) -> str:
    """Share that is called a copy of anything."""
    return percent(int(made.examine(pixels, [""] * len(pixels)).flagged.sum()), len(pixels))


def percent(hits: int, n: int) -> str:
    """With its exact interval."""
    low, high = clopper_pearson(hits, n)
    return f"{100 * hits / n:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def image_set(name: str, photographs: Photographs) -> ImageSet:
    """As the audit wants them."""
    files = tuple(f"{name}-{row}" for row in range(len(photographs)))
    return ImageSet(
        name=name,
        files=files,
        sha256=files,
        pixels=photographs.pixels,
        patients=photographs.patient,
        metadata=pd.DataFrame(index=range(len(photographs))),
        has_patient_ids=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.environ.get("SYNGUARD_TEST_DATA")
    parser.add_argument("--data", type=Path, default=Path(folder) if folder else ROOT.parent / "shared" / "data")
    parser.add_argument("--sets", default=",".join(PARTS), help="%(default)s")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--copies", type=int, default=100, help="a line")
    args = parser.parse_args()
    for name in args.sets.split(","):
        if name not in PARTS:
            parser.error(f"--sets: found {name}, expected some of {', '.join(PARTS)}")
        if not (args.data / name).is_dir():
            parser.error(f"--data: found no folder {args.data / name}, expected the real images")
    return args


if __name__ == "__main__":
    main()
