"""Whether generated images show what was asked: the full phantom schema, asked against read, condition by condition.

    python benchmarks/asked_and_read.py [--size 32] [--patients 2000] [--images 2000] [--missing 0.5] [--folder DIR]

Draws phantom patients, trains the generator on them, and a diagnostic model that reads each condition off real photographs.
Then images are asked for as the private set is, at the default guidance, and read by that model. Per condition: its ceiling
(balanced over the levels: real photographs of unseen patients read right), the share read right on the same photographs
before and after the autoencoder, what is read right on generated images, and agreement as a share of the ceiling with its
interval. With `--missing` the generator is trained once more, on labels of which that share is removed at random, and the
loss in points stands beside it. A folder keeps both models, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from audits import diagnostic
from audits.labels import examine, measure_ceiling, summarise
from generation.pipeline import load
from generation.train import train
from synguard.config import AutoencoderConfig, DenoiserConfig, GeneratorConfig, LabelsConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.data.phantom import SCHEMA, phantom_set
from synguard.data.splits import split_holdout
from synguard.results import Metric
from synguard.runs.asked import Cell, plan_conditions

SEED = 0


def parts(size: int, patients: int) -> tuple[ImageSet, ImageSet]:
    """Private set and holdout, two photographs a patient."""
    private = phantom_set("private", patients=patients, images_per_patient=2, size=size, seed=SEED)
    holdout = phantom_set("holdout", patients=1500, images_per_patient=2, size=size, seed=SEED, first_patient=patients)
    return private, holdout


def with_missing(private: ImageSet, schema: ConditionSchema, share: float) -> ImageSet:
    """The private set with this share of its labels removed at random."""
    rng = np.random.default_rng([SEED, 5])
    metadata = private.metadata.copy()
    for name in schema.names:
        metadata.loc[rng.random(len(metadata)) < share, name] = None
    return ImageSet(
        name=private.name,
        files=private.files,
        sha256=private.sha256,
        pixels=private.pixels,
        patients=private.patients,
        metadata=metadata,
        has_patient_ids=True,
    )


def settings(asked: argparse.Namespace) -> GeneratorConfig:
    """The generator, as large as two cores train in an hour or two."""
    return GeneratorConfig(
        autoencoder=AutoencoderConfig(steps=asked.autoencoder_steps, crop=None),
        denoiser=DenoiserConfig(widths=(64, 96, 128), steps=asked.steps, batch_size=64),
    )


def shares(
    folder: Path, private: ImageSet, read: ImageSet, schema: ConditionSchema, asked: argparse.Namespace, judge: Path
) -> dict[tuple[str, str], Metric]:
    """All label metrics, by name and condition, of images from a generator trained on `private`; `read` has all labels."""
    begun = time.process_time()
    train(private, schema, settings(asked), seed=SEED, folder=folder, progress=None)
    print(f"trained in {time.process_time() - begun:.0f} CPU-s (nothing where it was there already)", flush=True)
    generator = load(folder)
    if not judge.is_dir():
        diagnostic.train(read, schema, LabelsConfig(steps=asked.judge_steps), SEED).save(judge)
    model = diagnostic.load(judge)
    holdout = parts(asked.size, asked.patients)[1]
    roles = split_holdout(holdout, SEED)
    ceiling = measure_ceiling(
        model,
        roles.calibration,
        roles.evaluation,
        schema,
        refuse_below=LabelsConfig().refuse_below,
        more=(roles.reference,),
        reconstructions=generator.reconstruct(roles.evaluation.pixels),
    )
    conditions = schema.parse(read.metadata, "private")
    wanted = plan_conditions(conditions, read.patients.tolist(), [Cell({}, asked.images)], SEED)
    pixels = generator.generate(wanted, range(asked.images))
    found = examine(model, pixels, wanted, ceiling)
    result = summarise(wanted, found.annotation, ceiling, seed=SEED)
    return {(metric.name, metric.group or "all"): metric for metric in result.metrics}


def print_table(found: Mapping[tuple[str, str], Metric], other: Mapping[tuple[str, str], Metric] | None) -> None:
    """One line a condition."""
    rows = []
    for name, group in found:
        if name != "labels.agreement_share" or "=" in group:
            continue
        share = found[name, group]
        low, high = share.bounds
        before, after = (found.get((n, group)) for n in ("labels.ceiling", "labels.ceiling_reconstructed"))
        row = {
            "condition": group,
            "ceiling": _percent(before),
            "reconstructed": _percent(after),
            "agreement": _percent(found.get(("labels.agreement", group))),
            "of the ceiling": f"{_percent(share)} ({100 * low:.1f} to {100 * high:.1f})",
            "90 %, lower bound 85 %": "yes" if (share.value or 0) >= 0.9 and low >= 0.85 else "no",
        }
        if other is not None and (lost := other.get(("labels.agreement", group))) is not None:
            kept = found["labels.agreement", group]
            row["points lost to missing labels"] = f"{100 * ((kept.value or 0) - (lost.value or 0)):.1f}"
        rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False))


def _percent(metric: Metric | None) -> str:
    return "" if metric is None or metric.value is None else f"{100 * metric.value:.1f}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    numbers = {"size": 32, "patients": 2000, "images": 2000, "steps": 12000, "autoencoder-steps": 3000, "judge-steps": 3000}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--missing", type=float, default=0.0)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    schema = ConditionSchema(tuple(SCHEMA))
    private, _ = parts(asked.size, asked.patients)
    folder = asked.folder or Path(tempfile.mkdtemp())
    found = shares(folder / "generator", private, private, schema, asked, folder / "judge")
    print_table(found, None)
    if asked.missing:
        less = with_missing(private, schema, asked.missing)
        other = shares(folder / "missing", less, private, schema, asked, folder / "judge")
        print(f"\n{asked.missing:.0%} of the labels removed")
        print_table(found, other)


if __name__ == "__main__":
    main()
