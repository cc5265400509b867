"""How long `synguard audit` takes, and how near the embedding search comes to a bare matrix product.

    python benchmarks/audit_speed.py [--candidates 5000] [--private 5000] [--size 64]

Draws phantom patients (no real image is needed), runs the whole command in a process of its own, and prints its wall time,
its peak memory and the time of each phase. Then it times the search alone against `queries @ bank.T` of the same size, both
in this process, and prints the ratio of their rates.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from audits.memorisation.index import EmbeddingIndex
from synguard.data.phantom import write_phantoms

HOLDOUT = 3000
BANKS = ((24, 19, 128), (24, 150, 96), (8, 1, 256))
"""Views of a candidate, windows of a private image, dimension."""
QUERIES = 200
CANDIDATES = 10
PANEL = 2**26
"""Values of the bare product that are in memory at once."""


def audit(folder: Path, candidates: int, private: int, size: int) -> None:
    """Run the command on phantoms and print what it took."""
    start = 0
    for name, images in (("private", private), ("holdout", HOLDOUT), ("synthetic", candidates)):
        write_phantoms(folder / name, patients=images // 2, images_per_patient=2, size=size, seed=0, first_patient=start)
        start += images // 2
    sets = [f"--{name}={folder / name}" for name in ("private", "holdout", "synthetic")]
    command = [sys.executable, "-m", "synguard", "audit", *sets, "--patient=patient", "--conditions=none", "--quiet"]
    begun = time.perf_counter()
    # A ledger of its own: invented patients are no attempt on anybody.
    done = subprocess.run([*command, f"--out={folder / 'run'}", f"--ledger={folder / 'ledger.sqlite'}"], check=False)
    wall = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"\n{candidates} candidates against {private} private images at {size} px, {os.cpu_count()} cores")
    print(f"whole command: {wall:.0f} s, peak memory {peak:.2f} GiB, exit {done.returncode}")
    for phase, seconds in json.loads((folder / "run" / "run.json").read_text())["timings"].items():
        print(f"  {phase:24} {seconds:8.1f} s")


def search(private: int, views: int, windows: int, dimension: int) -> tuple[float, float]:
    """Print the rates of the search and of the bare matrix product, and their ratio; returns the seconds of both."""
    rng = np.random.default_rng(0)
    bank = rng.standard_normal((private, windows, dimension), dtype=np.float32)
    queries = rng.standard_normal((QUERIES, views, dimension), dtype=np.float32)
    index = EmbeddingIndex(bank, device="cpu")
    flat, wanted = bank.reshape(-1, dimension).T, queries.reshape(-1, dimension)
    work = 2.0 * len(wanted) * flat.shape[1] * dimension
    product, found = [], []
    # In turn, so that a machine that slows down slows both.
    for _ in range(5):
        product.append(_seconds(lambda: _product(wanted, flat)))
        found.append(_seconds(lambda: index.candidates(queries, CANDIDATES)))
    seconds = float(np.median(found)), float(np.median(product))
    rates = [work / spent / 1e9 for spent in seconds]
    print(f"\n{views} views a candidate, {private:,} images x {windows} windows x {dimension}")
    print(
        f"search: {rates[0]:.1f} GFLOP/s, bare matrix product: {rates[1]:.1f}, search / product: {rates[0] / rates[1]:.2f}"
    )
    return seconds


def _product(wanted, flat) -> None:
    rows = max(1, PANEL // flat.shape[1])
    room = np.empty((rows, flat.shape[1]), np.float32)
    for start in range(0, len(wanted), rows):
        part = wanted[start : start + rows]
        np.dot(part, flat, out=room[: len(part)])


def _seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=5000)
    parser.add_argument("--private", type=int, default=5000)
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        audit(Path(folder), args.candidates, args.private, args.size)
    spent = np.sum([search(args.private, *bank) for bank in BANKS], axis=0)
    print(f"\nall three together, search / product: {spent[1] / spent[0]:.2f}")


if __name__ == "__main__":
    main()
