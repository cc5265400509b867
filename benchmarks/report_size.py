"""How long the report of a large run takes, what memory, how many bytes: 10,000 candidates, 1,000 of them flagged.

The run folder is drawn by code, with pictures of `--side` pixels for every flagged pair, and holds no figure that matters.
Prints one line an edition: seconds, and how many of them one core worked; peak memory of the process in MiB, that of both
editions together; bytes of the page. Ends with 1 where it takes 30 s, 1 GiB or 10 MB, or more.

    python benchmarks/report_size.py
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import reports

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.runs import GRADES, Made, fundus, make_run

SECONDS, MEMORY, BYTES = 30.0, 1024.0, 10_000_000
DRAWN = 250
"""Different drawings; the others repeat them, with noise of their own."""


def enlarged(seed: int, side: int) -> np.ndarray:
    """A drawing of that side, with the grain of a photograph."""
    drawn = Image.fromarray(fundus(seed % DRAWN, seed % 5)).resize((side, side), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(seed).normal(0, 4, (side, side, 3))
    return np.clip(np.asarray(drawn) + grain, 0, 255).astype(np.uint8)


def write_run(folder: Path, candidates: int, flagged: int, side: int) -> None:
    """A run folder with so many rows, and pictures of so many pairs."""
    made: Made = make_run("copies", accepted=1)
    first = made.evidence["memorisation"]["flagged"][0]
    names = ("unchanged", "mirrored", "turned 90 degrees", "shifted, enlarged 1.2 times")
    lanes = ("framed", "moved", "part-45")
    made.pictures.clear()
    made.evidence["memorisation"]["flagged"] = [
        {
            **first,
            "file": f"images/{i:06d}.png",
            "nearest": f"patient-{i % 300:04d}/left.png",
            "score": 1 - i / 5000,
            "lane": "verified",
            "match": lanes[i % 3],
            "transform": names[i % 4],
            "copied_area": (i * 37 % 100) / 100,
            "pair": f"pairs/{i + 1:04d}",
        }
        for i in range(flagged)
    ]
    rng = np.random.default_rng(1)
    accepted = np.arange(candidates) >= flagged
    made.images = pd.DataFrame(
        {
            "file": [f"images/{i:06d}.png" for i in range(candidates)],
            "sha256": [f"{i * 2654435761 % 2**64:064x}" for i in range(candidates)],
            "accepted": accepted,
            "reason": np.where(accepted, "", "copy"),
            "condition.grade": rng.choice(GRADES, candidates),
            "memorisation.flagged": ~accepted,
            "memorisation.score": rng.beta(6, 12, candidates),
            "memorisation.nearest": [f"patient-{i % 3000:04d}/left.png" for i in range(candidates)],
        }
    ).to_dict("records")
    made.write(folder)
    # Written as a run writes them.
    for i in range(flagged):
        candidate, private = enlarged(i, side), enlarged(i + 100_000, side)
        apart = np.abs(candidate.astype(int) - private).astype(np.uint8)
        for name, pixels in zip(
            ("candidate", "private", "difference", "area"), (candidate, private, apart, candidate // 2), strict=True
        ):
            place = folder / "pairs" / f"{i + 1:04d}-{name}.png"
            place.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(place, compress_level=6)
    for i in range(flagged, min(flagged + 400, candidates)):
        place = folder / "accepted" / "images" / f"{i:06d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(enlarged(i, side)).save(place, compress_level=6)


def render(folder: Path) -> list[dict[str, float | str]]:
    """Both editions, one after the other, in this process."""
    found: list[dict[str, float | str]] = []
    for edition in ("internal", "public"):
        start, worked = time.perf_counter(), time.process_time()
        size = reports.render(folder, edition).stat().st_size  # type: ignore[arg-type]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - worked}
        found.append({"edition": edition, **spent, "peak": peak, "bytes": size})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--flagged", type=int, default=1_000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--render", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.render:
        print(json.dumps(render(given.render)))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        write_run(folder, given.candidates, given.flagged, given.side)
        # A process of its own, so that the memory is that of the report alone.
        command = [sys.executable, __file__, "--render", str(folder)]
        rows = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        page = (folder / "report" / "internal.html").read_text()
    print(f"{given.candidates:,} candidates, {given.flagged:,} flagged, pictures of {given.side} x {given.side} pixels")
    for row in rows:
        worked = f"{row['seconds']:5.1f} s ({row['cpu']:.1f} s of a core)"
        print(f"{row['edition']:8}  {worked}  {row['peak']:6.0f} MiB  {row['bytes'] / 1e6:5.2f} MB")
    pictured = page.count("<article")
    print(f"pairs with pictures: {pictured:,} of {given.flagged:,}")
    kept = all(row["seconds"] < SECONDS and row["peak"] < MEMORY and row["bytes"] < BYTES for row in rows)
    return 0 if kept and pictured == min(given.flagged, 1000) else 1


if __name__ == "__main__":
    raise SystemExit(main())
