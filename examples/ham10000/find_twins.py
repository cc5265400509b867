"""Find photographs of one lesion that HAM10000 lists as several: the list in twins.csv.

    python examples/ham10000/find_twins.py --data DATA > examples/ham10000/twins.csv

Every image is searched among all others by the audit's own copy search (whole image, and crops), and pairs whose score
stands far above what unrelated images reach are printed. Looked at by eye, they show the same lesion, often in another zoom
or colour correction. A random split that puts the two on different sides is no split by lesion: real images then are copies.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

from audits.memorisation.descriptor import fit_encoder
from audits.memorisation.index import EmbeddingIndex
from audits.memorisation.matching import Matcher, working_images
from audits.memorisation.verdict import measure_scale

SIZE = 64
SCORE = 5.0
"""In spreads above the median of unrelated images; there the two kinds part."""


def prepare_module():
    """examples/ham10000/prepare.py as a module."""
    path = Path(__file__).with_name("prepare.py")
    spec = importlib.util.spec_from_file_location("ham10000_prepare", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def search(matcher, scale, pixels, rows, known):
    """Pairs (row, row) with their score that the given rows find beyond those that are known."""
    barred = np.zeros((len(rows), len(pixels)), dtype=bool)
    barred[np.arange(len(rows)), rows] = True
    place = {row: i for i, row in enumerate(rows.tolist())}
    for pair in known:
        for one, other in (pair, pair[::-1]):
            if one in place:
                barred[place[one], other] = True
    pairs: dict[tuple[int, int], float] = {}
    for matches in matcher.match(pixels[torch.from_numpy(rows)], barred):
        scores = scale.score(torch.from_numpy(matches.bands)).numpy()
        for i in np.flatnonzero((matches.image >= 0) & (scores > SCORE)):
            pair = tuple(sorted((int(rows[i]), int(matches.image[i]))))
            pairs[pair] = max(pairs.get(pair, 0.0), float(scores[i]))
    return pairs


def main() -> None:
    """Print the pairs as CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    images = prepare_module().read_images(args.data, SIZE)
    names = sorted(images)
    pixels = working_images(np.stack([np.asarray(images[name]) for name in names]))
    encoder = fit_encoder(pixels, seed=0)
    matcher = Matcher(encoder, EmbeddingIndex(encoder.bank(pixels)), pixels, 10)
    scale = measure_scale(matcher.match(pixels[:500], np.eye(len(names), dtype=bool)[:500])[0])
    pairs: dict[tuple[int, int], float] = {}
    rows = np.arange(len(names))
    while len(rows):
        # An image shows its best match alone: those that have one are searched again without it, until no more come.
        found = search(matcher, scale, pixels, rows, pairs)
        rows = np.unique([row for pair in found for row in pair]).astype(np.int64)
        pairs |= found
    writer = sys.stdout
    writer.write("first,second,score\n")
    for (first, second), score in sorted(pairs.items(), key=lambda item: -item[1]):
        writer.write(f"{names[first]},{names[second]},{score:.1f}\n")


if __name__ == "__main__":
    main()
