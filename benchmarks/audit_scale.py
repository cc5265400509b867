"""What the memorisation audit takes at scale: time by phase, peak memory, growth with the number of candidates.

    python benchmarks/audit_scale.py [--private 2000] [--candidates 1000] [--size 64] [--target 100000]

Makes as many different photographs a side as are asked for out of the real ones (HAM10000; a lesion is on one side only),
indexes the private side, calibrates, examines the candidates, and says what `--target` candidates against `--target` private
images would take: the search in proportion to both numbers, everything else to one. The published figures are of 20000
twice.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from many_lesions import Pixels, photographs, read_lesions

from audits.memorisation import prepare
from synguard.config import MemorisationConfig
from synguard.data.images import ImageSet

BUILT = ("index", "save")
"""Phases of the preparation that grow with the private set."""


class PeakMemory:
    """The most anonymous memory that the process had while the block ran: what it holds, without mapped files."""

    gib = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Looks ten times a second."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.1):
                status = Path("/proc/self/status").read_text()
                held = int(status.partition("RssAnon:")[2].split()[0]) / 2**20
                self.gib = max(self.gib, held)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def image_set(pixels: Pixels, name: str) -> ImageSet:
    """Pixels as an image set."""
    files = tuple(f"{name}-{row:07d}.png" for row in range(len(pixels)))
    digests = tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels)
    metadata = pd.DataFrame(index=range(len(pixels)))
    return ImageSet(name, files, digests, pixels, np.array(files), metadata, has_patient_ids=False)


def sets(args: argparse.Namespace, folder: Path) -> tuple[ImageSet, ImageSet, ImageSet, ImageSet]:
    """Private set, calibration images, comparison images and candidates, each of photographs of its own."""
    lesions = read_lesions(args.originals)
    rng = np.random.default_rng(args.seed)
    parts = np.array_split(rng.permutation(len(lesions)), [len(lesions) // 2, len(lesions) * 3 // 4])
    made = []
    for number, (name, part, n) in enumerate(
        (
            ("private", parts[0], args.private),
            ("calibration", parts[1], args.holdout // 3),
            ("comparison", parts[1], args.holdout),
            ("candidates", parts[2], args.candidates),
        )
    ):
        made.append(image_set(photographs(lesions[part], n, args.size, args.seed + number, folder), name))
    return made[0], made[1], made[2], made[3]


def table(title: str, seconds: Mapping[str, float], n: int) -> None:
    """Phases, their seconds, and milliseconds an image."""
    total = sum(seconds.values())
    print(f"\n{title}: {total:.1f} s, {1000 * total / n:.2f} ms an image")
    for phase, spent in seconds.items():
        print(f"  {phase:24} {spent:9.1f} s {1000 * spent / n:9.2f} ms {100 * spent / total:5.1f} %")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--private", type=int, default=2000)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--holdout", type=int, default=900)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=int, default=100_000)
    parser.add_argument("--originals", type=Path, help="Tar file of photographs; by default the test data's.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        private, calibration, comparison, candidates = sets(args, Path(scratch))
        print(f"{len(candidates):,} candidates against {len(private):,} private images at {args.size} px")
        print(f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        memory = PeakMemory()
        with memory.watched():
            prepared = prepare(
                private,
                calibration,
                config=MemorisationConfig(batch_size=args.batch),
                seed=args.seed,
                folder=Path(scratch) / "index",
                comparison=comparison,
            )
            table("prepare", prepared.seconds, len(private))
            print(f"{prepared.matcher.search.describe()}; peak memory so far {memory.gib:.2f} GiB")
            phases: dict[str, float] = {}
            times, flagged = [0.0], 0
            for start in range(0, len(candidates), args.batch):
                begun = time.perf_counter()
                rows = slice(start, start + args.batch)
                found = prepared.examine(candidates.pixels[rows], candidates.sha256[rows])
                times.append(times[-1] + time.perf_counter() - begun)
                flagged += int(found.flagged.sum())
                for phase, spent in found.seconds.items():
                    phases[phase] = phases.get(phase, 0.0) + spent
        table("examine", phases, len(candidates))
        half = (len(times) - 1) // 2
        if half:
            growth = (times[-1] / times[half]) / (len(candidates) / (half * args.batch))
            print(f"\ngrowth with the number of candidates: {growth:.2f} of linear (1.00: twice as many take twice as long)")
        print(f"peak memory: {memory.gib:.2f} GiB; flagged: {flagged}")
    extrapolate(args, prepared.seconds, phases)


def extrapolate(args: argparse.Namespace, preparing: Mapping[str, float], examining: Mapping[str, float]) -> None:
    """Print the hours that the target would take."""
    more_private = args.target / args.private
    search = examining.get("search", 0.0)
    others = sum(examining.values()) - search
    # What calibrates the index examines a fixed number of images; each takes longer by what its search takes longer.
    built = sum(seconds for phase, seconds in preparing.items() if phase in BUILT) * more_private
    slower = (search * more_private + others) / (search + others)
    calibrated = sum(seconds for phase, seconds in preparing.items() if phase not in BUILT) * slower
    hours = {
        "index": built,
        "calibrate": calibrated,
        "search": search * more_private * args.target / args.candidates,
        "all else": others * args.target / args.candidates,
    }
    print(f"\n{args.target:,} candidates against {args.target:,} private images, extrapolated; less where the search turns")
    print("approximate on the way:")
    for name, seconds in (*hours.items(), ("together", sum(hours.values()))):
        print(f"  {name:24} {seconds / 3600:8.2f} h")


if __name__ == "__main__":
    main()
