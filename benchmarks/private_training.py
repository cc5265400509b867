"""Private training held against canaries: is what they prove below what the accountant vouches for?

    python benchmarks/private_training.py [--epsilons 8,1] [--patients 300] [--steps 150]

Phantom patients, all of them canaries. Every arm starts from the same public model, trained on other phantom patients, so
that the accountant's bound covers all that the arm has learnt. The first arm is tuned without privacy, many passes over the
patients; the others by DP-SGD. Prints, for each, the accountant's upper bound, the lower bounds from its one run, how many
guesses were right, the attack's AUC, and seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from audits import epsilon
from audits.epsilon import Drawn
from generation.latent import LatentDiffusion
from generation.train import train
from synguard.config import (
    AutoencoderConfig,
    DataSource,
    DenoiserConfig,
    GeneratorConfig,
    MembershipConfig,
    PrivateConfig,
    SamplingConfig,
)
from synguard.data.canaries import draw_canaries
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.data.phantom import write_phantoms
from synguard.data.readers import read_images
from synguard.data.splits import split_holdout
from synguard.runs.canaries import card_entry, spent_by

SIDE, PER_PATIENT = 32, 2
MEMBERSHIP = MembershipConfig(permutations=199, resamples=200, draws=4)
SCHEMA = ConditionSchema(())


def phantoms(folder: Path, first: int, patients: int, name: str) -> ImageSet:
    write_phantoms(folder / name, patients=patients, images_per_patient=PER_PATIENT, size=SIDE, seed=11, first_patient=first)
    return read_images(DataSource(path=name, patient="patient"), size=SIDE, name=name, base=folder)


def config(steps: int, batch: int, private: PrivateConfig | None, rate: float) -> GeneratorConfig:
    return GeneratorConfig(
        autoencoder=AutoencoderConfig(widths=(16, 32), steps=300, batch_size=16, crop=None),
        denoiser=DenoiserConfig(widths=(32, 48), steps=steps, batch_size=batch, learning_rate=rate, ema_decay=0.98),
        sampling=SamplingConfig(steps=8),
        private=private,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epsilons", default="8,1", help="budgets of the private arms")
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--steps", type=int, default=150, help="of the private arms")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    print("| arm | accountant, at most | canaries, at least | Steinke | if Gaussian | guesses right | AUC | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        public = phantoms(folder, 0, given.patients, "public")
        full = phantoms(folder, given.patients, given.patients, "private")
        roles = split_holdout(phantoms(folder, 2 * given.patients, given.patients, "holdout"), 0)
        base = train(public, SCHEMA, config(600, 32, None, 1e-3), seed=1, folder=folder / "base", device=given.device)
        epsilons = [float(value) for value in given.epsilons.split(",")]
        arms = [("without privacy", None), *((f"DP-SGD, epsilon {value:g}", value) for value in epsilons)]
        for number, (name, budget) in enumerate(arms):
            begun = time.perf_counter()
            drawn = draw_canaries(full, given.patients)
            private = None if budget is None else PrivateConfig(epsilon=budget, delta=1e-4, multiplicity=4)
            settings = config(800, 32, None, 1e-3) if budget is None else config(given.steps, 48, private, 2e-3)
            model = train(
                drawn.trained_on(full),
                SCHEMA,
                settings,
                seed=2,
                folder=folder / f"arm{number}",
                device=given.device,
                base=base,
                canaries=card_entry(drawn),
            )
            trained = drawn.trained_on(full)
            found = epsilon.run(
                trained,
                roles,
                drawn=Drawn(drawn.put_in(full), drawn.left_out(full), drawn.commitment),
                spent=spent_by(model, trained),
                conditions=SCHEMA,
                denoiser=LatentDiffusion.load(model, device=given.device),
                closed="",
                config=MEMBERSHIP,
                seed=0,
            )
            bounds = {(metric.name.rpartition(".")[2], metric.group): metric for metric in found.metrics}
            upper = bounds["epsilon_upper_bound", None].value
            lower, steinke, gaussian = (
                bounds["epsilon_lower_bound", group].value for group in (None, "steinke", "gaussian")
            )
            told = found.evidence["lower"]["forms"]["f-dp"]
            cells = [
                name,
                "none" if upper is None else f"{upper:.2f}",
                f"{lower:.2f}",
                f"{steinke:.2f}",
                f"{gaussian:.2f}",
                f"{told['correct']} of {told['guesses']}",
                f"{found.evidence['lower']['auc']:.3f}",
                f"{time.perf_counter() - begun:.0f}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
