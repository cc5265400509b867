"""`synguard demo`: the whole tool on invented patients, with a clean release that passes and a leaky one that is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from synguard.data.phantom import SCHEMA, write_phantoms
from synguard.governance.ledger.place import find_place
from synguard.runs.execute import audit, generate_and_audit
from synguard.runs.folder import RunFolder
from synguard.runs.progress import Progress
from synguard.runs.result import RunResult

__all__ = ["DemoResult", "run_demo"]

SIZE = 32
PRIVATE_PATIENTS, HOLDOUT_PATIENTS = 2000, 1500
PHOTOGRAPHS = 2
LEAKED = 15
ASKED = ("eye_side", "is_em", "is_macular_readable", "is_optic_disc_readable", "is_retinal_region_readable")
"""What the demo's generator is asked for: what one can learn in a few minutes without a GPU. The photographs carry all
seventeen attributes."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The two verdicts of the demo."""

    clean: RunResult
    leaky: RunResult
    leaked_files: tuple[str, ...]

    @property
    def found(self) -> int:
        """How many of the images slipped in were flagged."""
        images = self.leaky.images
        flagged = set(images.loc[images["memorisation.flagged"], "file"])
        return len(flagged & set(self.leaked_files))

    @property
    def right(self) -> bool:
        """Whether the clean release passed and the leaky one was refused for exactly the images slipped in."""
        return self.clean.passed and self.leaky.decision.exit_code == 20 and self.found == len(self.leaked_files)

    def lines(self) -> list[str]:
        """What the command prints."""
        lines = []
        for title, run in (("clean release", self.clean), ("leaky release", self.leaky)):
            lines.append(f"{title}: {run.decision.status.upper()} (exit {run.decision.exit_code})")
            lines += [f"  - {reason}" for reason in run.decision.reasons]
        lines.append(f"private images slipped in and found: {self.found} of {len(self.leaked_files)}")
        lines.append(f"both verdicts right: {'yes' if self.right else 'NO'}")
        for title, run in (("clean", self.clean), ("leaky", self.leaky)):
            lines += [f"{title} internal report: {run.internal_report}", f"{title} public report: {run.public_report}"]
        return lines


def run_demo(out: Path, *, seed: int, progress: Progress) -> DemoResult:
    """Draw the phantom patients, train, audit the clean release, slip private images in, audit again."""
    folder = RunFolder.create(out).path
    progress("draw phantom patients", 0, 2)
    # The holdout takes other patients of the same population, by number.
    write_phantoms(folder / "private", patients=PRIVATE_PATIENTS, images_per_patient=PHOTOGRAPHS, size=SIZE, seed=seed)
    progress("draw phantom patients", 1, 2)
    write_phantoms(
        folder / "holdout",
        patients=HOLDOUT_PATIENTS,
        images_per_patient=PHOTOGRAPHS,
        size=SIZE,
        seed=seed,
        first_patient=PRIVATE_PATIENTS,
    )
    progress("draw phantom patients", 2, 2)
    config = folder / "synguard.yaml"
    config.write_text(yaml.safe_dump(demo_config(seed), sort_keys=False))
    # A ledger of its own, which goes with the folder: invented patients are no attempt on anybody.
    ledger = find_place(folder / "ledger" / "ledger.sqlite", data=folder / "ledger")
    clean = generate_and_audit(config, folder / "clean", ledger=ledger, progress=progress)
    leaked = slip_in(clean.folder / "accepted", folder / "private", folder / "leaky-release", seed=seed)
    leaky = audit(
        private=str(folder / "private"),
        holdout=str(folder / "holdout"),
        synthetic=str(folder / "leaky-release"),
        patient="patient",
        conditions=str(config),
        index=clean.folder,
        size=SIZE,
        seed=seed,
        out=folder / "leaky",
        ledger=ledger,
        progress=progress,
    )
    return DemoResult(clean, leaky, leaked)


def demo_config(seed: int) -> dict[str, object]:
    """The demo's synguard.yaml as plain values."""
    return {
        "name": "demo",
        "seed": seed,
        "image_size": SIZE,
        "private": {"path": "private", "patient": "patient"},
        "holdout": {"path": "holdout", "patient": "patient"},
        "conditions": [a.model_dump(mode="json", exclude_none=True) for a in SCHEMA if a.name in ASKED],
        "generator": {
            "kind": "latent-diffusion",
            "autoencoder": {"widths": [16, 32], "steps": 400, "batch_size": 16, "crop": None},
            "denoiser": {"widths": [24, 48, 96], "steps": 900, "batch_size": 32, "learning_rate": 1e-3},
            "sampling": {"steps": 12, "guidance": 3.5, "batch_size": 250},
        },
        # Fewer members, levels and draws than by default: on two cores the probes would take as long as the training.
        "audits": {
            "labels": {"steps": 500},
            "membership": {"max_members": 1000, "noise_levels": [0.1, 0.3, 0.6], "draws": 1},
        },
        "release": {"images": 1000, "covers": ["images"]},
        "policy": "public-release",
    }


def slip_in(accepted: Path, private: Path, out: Path, *, seed: int) -> tuple[str, ...]:
    """Copy a release, with `LEAKED` of its images replaced by private ones under the old names; return those names."""
    shutil.copytree(accepted, out)
    rng = np.random.default_rng([seed, 15])
    names = sorted(path.relative_to(out).as_posix() for path in (out / "images").glob("*.png"))
    sources = sorted((private / "images").glob("*.png"))
    chosen = sorted(rng.choice(names, LEAKED, replace=False).tolist())
    for name, source in zip(chosen, rng.choice(len(sources), LEAKED, replace=False), strict=True):
        shutil.copyfile(sources[int(source)], out / name)
    (out.parent / "leaked.json").write_text(json.dumps(chosen, indent=1))
    return tuple(chosen)
