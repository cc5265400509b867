"""How many planted copies each method finds, all at the same rate of false alarms, and at the threshold it is shipped with.

    python benchmarks/planted_copies.py [--sets ham10000,fundus600] [--size 64] [--seeds 3] [--json FILE]

Needs real images (--data, else SYNGUARD_TEST_DATA, else ../shared/data beside the checkout) and the libraries of the extra
`bench`. Splits by patient or lesion into index (the private set), background, calibration and test. Plants private images
under eighteen transforms and, for the first seed, redone by a model of our own that was trained on them. A copy is found
where its score is above the threshold and its source is named. The thresholds for 1 % and 0.1 % are set on the calibration
images of each method (conformal; "extrapolated" where these are too few; fundus600's are joined by private images, each
without its own patient, for methods that learn nothing from these), and the realised rates are those of test photographs
of other patients. Intervals are exact 95 % ones (Clopper and Pearson) on the counts of all seeds. They leave out the luck
of the calibration, which the range that realised rates are held against does not: in bold are those outside it (where
thresholds are extrapolated, those whose interval does not hold the nominal rate). "-" where a method ships no threshold.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from copies.data import PARTS
from copies.embeddings import DAR_STEPS
from copies.methods import methods
from copies.suite import COPIES, Settings, run
from copies.tables import report

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run it, print the tables."""
    args = _arguments()
    available = methods(args.dar_steps)
    chosen = {name: available[name] for name in args.methods.split(",")}
    settings = Settings(args.data, args.size, args.seeds, args.copies, None if args.no_generated else args.cache)
    record = {}
    for name in args.sets.split(","):
        begun = time.perf_counter()
        outcomes = run(name, chosen, settings)
        copies = args.copies or COPIES[name]
        title = f"{name}, {args.size} px"
        note = (
            f"Seeds 0 to {args.seeds - 1}, {copies} copies a transform and seed, {os.cpu_count()} cores, "
            f"{time.perf_counter() - begun:.0f} s in all."
        )
        print(report(title, note, outcomes, chosen), flush=True)
        record[name] = [asdict(outcome) for runs in outcomes.values() for outcome in runs]
        if args.json:
            args.json.write_text(json.dumps({"size": args.size, "copies": args.copies, "outcomes": record}, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    named = os.environ.get("SYNGUARD_TEST_DATA")
    parser.add_argument("--data", type=Path, default=Path(named) if named else ROOT.parent / "shared" / "data")
    parser.add_argument("--sets", default=",".join(PARTS), help="%(default)s")
    parser.add_argument("--methods", default=",".join(methods()), help="%(default)s")
    parser.add_argument("--size", type=int, default=64, choices=(64, 128), help="pixels a side")
    parser.add_argument("--seeds", type=int, default=3, help="so many splits")
    parser.add_argument("--copies", type=int, help="copies a transform and seed (200 for ham10000, 100 for fundus600)")
    parser.add_argument("--dar-steps", type=int, default=DAR_STEPS, help="training steps of the encoder after Dar et al.")
    parser.add_argument("--no-generated", action="store_true", help="train no generator; plant the transforms only")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "planted_copies", help="where generators are kept")
    parser.add_argument("--json", type=Path, help="write every count to this file as well")
    args = parser.parse_args()
    for given, known in ((args.methods, methods()), (args.sets, PARTS)):
        if unknown := set(given.split(",")) - set(known):
            parser.error(f"found {', '.join(sorted(unknown))}, expected names out of {', '.join(known)}")
    if not args.data.is_dir():
        parser.error(f"--data: found no folder {args.data}, expected the real images")
    return args


if __name__ == "__main__":
    main()
