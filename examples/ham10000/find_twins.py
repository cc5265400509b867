"""Find photographs of one lesion that HAM10000 lists as several: the list in twins.csv.

    python examples/ham10000/find_twins.py --data DATA --keep examples/ham10000/twins.csv > found.csv

Every image is searched among all others by the audit's own copy search, and pairs whose score stands far above what
unrelated images reach are printed. Looked at by eye, they show the same lesion, often in another zoom, turn or colour
correction. A random split that puts the two on different sides is no split by lesion: real images then are copies.
Pairs of `--keep` that the search does not find (found by an earlier one, or by eye) are printed last, without a score.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from audits.memorisation.matching import Matcher
from audits.memorisation.preparation import measure_nulls
from audits.memorisation.search import Search
from audits.memorisation.store import Joined, PictureStore
from audits.memorisation.verdict import strongest

SIZE = 64
SCORE = 4.6
"""Of one unrelated image in 400,000, by the model of the tail; looked at by eye, the pairs above show one lesion."""


def prepare_module():
    """examples/ham10000/prepare.py as a module."""
    path = Path(__file__).with_name("prepare.py")
    spec = importlib.util.spec_from_file_location("ham10000_prepare", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def search(matcher, pixels, rows, known):
    """Pairs (row, row) with their score that the given rows find beyond those that are known."""
    barred = np.zeros((len(rows), len(pixels)), dtype=bool)
    barred[np.arange(len(rows)), rows] = True
    place = {row: i for i, row in enumerate(rows.tolist())}
    for pair in known:
        for one, other in (pair, pair[::-1]):
            if one in place:
                barred[place[one], other] = True
    pairs: dict[tuple[int, int], float] = {}
    matches, _ = strongest(matcher.match(pixels.take(torch.from_numpy(rows)), barred))
    for i in np.flatnonzero((matches.image >= 0) & (matches.score > SCORE)):
        pair = tuple(sorted((int(rows[i]), int(matches.image[i]))))
        pairs[pair] = max(pairs.get(pair, 0.0), float(matches.score[i]))
    return pairs


def main() -> None:
    """Print the pairs as CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="a list of pairs that were confirmed by eye")
    args = parser.parse_args()
    images = prepare_module().read_images(args.data, SIZE)
    names = sorted(images)
    pixels = PictureStore(np.stack([np.asarray(images[name]) for name in names]))
    matcher = Matcher(Search.build(pixels, Joined([pixels]), seed=0), pixels, 10)
    kept = [line.split(",")[:2] for line in args.keep.read_text().splitlines()[1:]] if args.keep else []
    # What unrelated images show is measured on images that are not known to have a twin.
    lone = np.array([row for row, name in enumerate(names) if name not in {name for pair in kept for name in pair}])
    own = np.zeros((len(lone), len(names)), dtype=bool)
    own[np.arange(len(lone)), lone] = True
    matcher = replace(matcher, nulls=measure_nulls(matcher, pixels.take(torch.from_numpy(lone)), own, 0))
    pairs: dict[tuple[int, int], float] = {}
    rows = np.arange(len(names))
    while len(rows):
        # An image shows its best match alone: those that have one are searched again without it, until no more come.
        found = search(matcher, pixels, rows, pairs)
        rows = np.unique([row for pair in found for row in pair]).astype(np.int64)
        pairs |= found
    writer = sys.stdout
    writer.write("first,second,score\n")
    for (first, second), score in sorted(pairs.items(), key=lambda item: -item[1]):
        writer.write(f"{names[first]},{names[second]},{score:.1f}\n")
    found = {(names[first], names[second]) for first, second in pairs}
    for first, second in kept:
        if tuple(sorted((first, second))) not in found:
            writer.write(f"{first},{second},\n")


if __name__ == "__main__":
    main()
