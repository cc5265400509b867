"""What each membership probe sees in models that remember more and less, trained on the same patients.

    python benchmarks/membership.py [--arms overfit,generalised,dp,untrained] [--size 32] [--members 400] [--json FILE]

Needs HAM10000 (--data, else SYNGUARD_TEST_DATA, else ../shared/data beside the checkout). Lesions are drawn at random into
members and holdout, so that nothing but the training tells them apart, and one set of members trains every arm: `overfit`
sees each image hundreds of times, `generalised` a few times and mirrored, `dp` with differential privacy at epsilon 8,
`untrained` not at all.

First table: AUC with its 95 % interval by patient for every probe and arm, the worse of the averaged and the raw weights, as
the gate takes it; passes through the denoiser an image, and seconds for all images of three roles. Second table: the single
published probes, as published, against the ensemble, all at twelve passes an image and on the released weights. Levels,
weights and parameters are fixed here, and none is chosen for what it reached.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audits import membership
from audits.membership.choose import Reference, choose, turns_of
from audits.membership.deep import Reconstruction
from audits.membership.ensemble import Table, ensemble
from audits.membership.losses import ConditionGap, MultiStepLoss
from audits.membership.probe import Arm, Scores
from audits.membership.queries import Pia, SecMi, SimA
from audits.membership.statistics import Measured, Statistic, measure
from audits.membership.target import Block, Shown, Target, common_noise
from audits.membership.verdict import Outcome, compare
from audits.membership.white_box import Calibrated, probe
from generation.folder import digest_of
from generation.latent import LatentDiffusion
from generation.train import train
from synguard.config import AttributeConfig, GeneratorConfig, MembershipConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.data.splits import HoldoutRoles, split_holdout
from synguard.protocols import Denoiser

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ConditionSchema(
    (AttributeConfig(name="dx", kind="categorical", levels=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")),)
)
PROBES = ("loss", "condition-gap", "sima", "pia", "pian", "secmi", "gradients", "autoencoder")
BUDGET = 12
EPSILON = 8.0
ARMS: dict[str, dict[str, Any]] = {
    "overfit": {"passes": 150},
    "generalised": {"passes": 20, "augment": "mirror"},
    "dp": {"passes": 20, "private": {"epsilon": EPSILON, "multiplicity": 4}},
    "untrained": {"passes": 0},
}
"""How often each arm sees an image, and what else is special in its training."""


@dataclass(frozen=True)
class Material:
    """Members and holdout of one random split."""

    private: ImageSet
    roles: HoldoutRoles


def main() -> None:
    """Train the arms, print the tables."""
    args = _arguments()
    material = read(args.data, args.size, args.members, args.holdout, args.seed)
    config = MembershipConfig(probes=PROBES, draws=args.draws, resamples=args.resamples, permutations=199)
    split = membership.validity(material.private, material.roles, conditions=SCHEMA, config=config, seed=args.seed)
    print(
        f"{args.size} px, seed {args.seed}: {split.n_members} members, {split.n_nonmembers} in the holdout; {split.reason}\n"
    )
    reference = None
    if not args.no_reference:
        folder = trained("generalised", replace(material, private=material.roles.reference), args)
        reference = Reference(LatentDiffusion.load(folder, device=args.device), "trained on the reference role")
    found: dict[str, tuple[list[Outcome], list[Outcome]]] = {}
    for name in args.arms:
        model = LatentDiffusion.load(trained(name, material, args), device=args.device)
        found[name] = (audited(model, material, config, reference, args.seed), at_equal_cost(model, material, args))
    print(table("Every probe, worse of all weights", {name: rows for name, (rows, _) in found.items()}))
    print(table(f"Published probes and the ensemble, {BUDGET} passes", {name: rows for name, (_, rows) in found.items()}))
    if args.json:
        args.json.write_text(
            json.dumps({n: [[_row(o) for o in rows] for rows in both] for n, both in found.items()}, indent=1)
        )


def read(data: Path, size: int, members: int, holdout: int, seed: int) -> Material:
    """Lesions drawn at random into members and holdout, twins kept together."""
    spec = importlib.util.spec_from_file_location("prepare", ROOT / "examples" / "ham10000" / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    images = example.read_images(data, size)
    parts = example.split(example.read_index(data), members, holdout, seed)

    def made(name: str) -> ImageSet:
        rows = parts[name]
        return ImageSet(
            name=name,
            files=tuple(row["image_id"] for row in rows),
            sha256=tuple(row["sha256"] for row in rows),
            pixels=np.stack([np.asarray(images[row["image_id"]]) for row in rows]),
            patients=np.array([row["group"] for row in rows]),
            metadata=pd.DataFrame({"dx": [row["dx"] for row in rows]}),
            has_patient_ids=True,
        )

    return Material(made("private"), split_holdout(made("holdout"), seed))


def trained(arm: str, material: Material, args: argparse.Namespace) -> Path:
    """The pipeline folder of an arm, trained once."""
    settings = ARMS[arm]
    special = {key: settings[key] for key in ("private",) if key in settings}
    passes = settings["passes"] if args.passes is None else settings["passes"] * args.passes / 100
    steps = max(1, round(passes * len(material.private) / args.batch_size))
    still = {"steps": 1, "learning_rate": 1e-9} if settings["passes"] == 0 else {}
    config = GeneratorConfig.model_validate(
        {
            "autoencoder": {"widths": args.autoencoder, "steps": args.autoencoder_steps, "crop": None, **still},
            "denoiser": {
                "widths": args.widths,
                "steps": steps,
                "batch_size": args.batch_size,
                "augment": settings.get("augment", "none"),
                **still,
            },
            **special,
        }
    )
    digest = digest_of({"config": config.model_dump(mode="json"), "images": material.private.digest, "seed": args.seed})
    folder = args.cache / f"{arm}-{digest[:12]}"
    begun = time.perf_counter()
    train(material.private, SCHEMA, config, seed=args.seed, folder=folder, device=args.device)
    print(f"{arm}: {steps} steps, {time.perf_counter() - begun:.0f} s", flush=True)
    return folder


def roles_of(material: Material) -> tuple[Arm, Arm, Arm]:
    """Calibration, members, non-members."""
    images = (material.roles.calibration, material.private, material.roles.evaluation)
    calibration, members, nonmembers = (Arm.of(one, SCHEMA) for one in images)
    return calibration, members, nonmembers


def audited(
    model: Denoiser, material: Material, config: MembershipConfig, reference: Reference | None, seed: int
) -> list[Outcome]:
    """One outcome a probe: that of the weights with the larger bound."""
    calibration, members, nonmembers = roles_of(material)
    chosen = choose(model, calibration, config, reference=reference, seed=seed)
    shown = [Shown.of(arm, model, turns_of(model, config)) for arm in (calibration, members, nonmembers)]
    by_weights = [
        probe(
            chosen.statistics,
            Target(model, weights, turns_of(model, config)),
            *shown,
            resamples=config.resamples,
            seed=seed,
        )
        for weights in model.weights
    ]
    return [max(outcomes, key=lambda outcome: outcome.auc_bounds[1]) for outcomes in zip(*by_weights, strict=True)]


@dataclass(frozen=True)
class Mean:
    """The mean of one statistic's figures at several levels: how a cheap probe spends as much as a dear one."""

    name: str
    parts: Sequence[Statistic]
    method: str = ""
    columns: tuple[str, ...] = ("mean",)

    def calls(self, target: Target) -> int:
        return sum(part.calls(target) for part in self.parts)

    def measure(self, target: Target, block: Block) -> Measured:
        figures = [part.measure(target, block).figures.mean(axis=1) for part in self.parts]
        return Measured(np.mean(figures, axis=0)[:, None])


def at_equal_cost(model: Denoiser, material: Material, args: argparse.Namespace) -> list[Outcome]:
    """Published probes as published, and the ensemble of three of them, all at `BUDGET` passes an image."""
    calibration, members, nonmembers = roles_of(material)
    conditions = calibration.conditions
    assert conditions is not None
    noise = common_noise(model, BUDGET, args.seed)
    grid = np.linspace(0.05, 0.6, BUDGET).round(3).tolist()
    published: list[Statistic] = [
        Mean("loss threshold, level 0.3", [MultiStepLoss((0.3,), noise)]),
        Mean("multi-step loss, 6 levels", [MultiStepLoss(tuple(grid[::2]), noise[:2])]),
        Mean("SimA, 12 levels", [SimA(level) for level in grid]),
        Mean("PIA, 6 levels", [Pia(level) for level in grid[::2]]),
        Mean("PIAN, 6 levels", [Pia(level, normalised=True) for level in grid[::2]]),
        SecMi(0.3),
        ConditionGap.fit(conditions, levels=(0.1, 0.3, 0.6), noise=noise[:1], swaps=2, none=True, seed=args.seed),
    ]
    parts: list[Statistic] = [
        MultiStepLoss((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), noise[:1]),
        *(SimA(level, name=f"SimA {level:g}") for level in (0.1, 0.3)),
        *(Pia(level) for level in (0.1, 0.3)),
        Reconstruction(),
    ]
    # One turn, so that each costs what it says.
    target = Target(model, model.weights[0])
    shown = [Shown.of(arm, model) for arm in (calibration, members, nonmembers)]
    outcomes, tables, spent = [], [], 0.0
    for statistic in (*published, *parts):
        begun = time.perf_counter()
        unseen, inside, outside = (measure(statistic, target, arm) for arm in shown)
        seconds = time.perf_counter() - begun
        if statistic in parts:
            fitted = Calibrated.of(statistic, target, unseen)
            tables.append(Table(statistic.name, fitted.standardised(inside), fitted.standardised(outside)))
            spent += seconds
            continue
        named = {"name": statistic.name, "access": "white box", "method": "as published"}
        scores = (Scores(-found.figures.mean(axis=1)) for found in (inside, outside))
        found = compare(*scores, members, nonmembers, named, args.resamples, args.seed)
        outcomes.append(replace(found, calls=statistic.calls(target), seconds=seconds))
    calls = sum(statistic.calls(target) for statistic in parts)
    together = ensemble(
        tables, members, nonmembers, weights=target.weights, calls=calls, resamples=args.resamples, seed=args.seed
    )
    return [*outcomes, replace(together, seconds=spent)]


def table(title: str, found: dict[str, list[Outcome]]) -> str:
    """Markdown: rows the probes, columns the arms."""
    names = [outcome.name.partition(" (")[0] for outcome in next(iter(found.values()), [])]
    lines = [f"## {title}", "", f"| probe | {' | '.join(found)} | passes | seconds |", "|---" * (len(found) + 3) + "|"]
    for row, name in enumerate(names):
        outcomes = [rows[row] for rows in found.values()]
        passes = "-".join(
            str(calls) for calls in sorted({outcome.calls for outcome in outcomes if outcome.calls is not None})
        )
        seconds = np.mean([outcome.seconds for outcome in outcomes])
        lines.append(f"| {name} | {' | '.join(_cell(outcome) for outcome in outcomes)} | {passes} | {seconds:.0f} |")
    return "\n".join([*lines, ""])


def _cell(outcome: Outcome) -> str:
    if outcome.state != "measured":
        return outcome.note
    low, high = outcome.auc_interval
    return f"{outcome.auc:.3f} ({low:.3f} to {high:.3f})"


def _row(outcome: Outcome) -> dict[str, Any]:
    kept = ("name", "state", "auc", "auc_interval", "tpr", "tpr_interval", "calls", "seconds", "n_members", "n_nonmembers")
    return {key: getattr(outcome, key) for key in kept} | {"parts": dict(outcome.parts)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    named = os.environ.get("SYNGUARD_TEST_DATA")
    parser.add_argument("--data", type=Path, default=Path(named) if named else ROOT.parent / "shared" / "data")
    parser.add_argument("--arms", type=_names, default=tuple(ARMS), help=",".join(ARMS))
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--members", type=int, default=400)
    parser.add_argument("--holdout", type=int, default=1500, help="images of the three roles together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--passes", type=float, help="per cent of each arm's passes over its images")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--widths", type=_sizes, default=(32, 64), help="of the denoiser")
    parser.add_argument("--autoencoder", type=_sizes, default=(16, 32, 48), help="widths of the autoencoder")
    parser.add_argument("--autoencoder-steps", type=int, default=300)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-reference", action="store_true", help="train no reference model")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "membership", help="where models are kept")
    parser.add_argument("--json", type=Path, help="write every figure to this file as well")
    args = parser.parse_args()
    if not (args.data / "ham10000").is_dir():
        parser.error(f"--data: found no folder {args.data / 'ham10000'}, expected the real images")
    return args


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(ARMS):
        raise argparse.ArgumentTypeError(f"found {', '.join(sorted(unknown))}, expected names out of {', '.join(ARMS)}")
    return names


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
