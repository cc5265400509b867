"""A generator trained on 60 images until it has memorised them fails; one trained on all of them clearly differs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import synguard
from synguard.runs.result import RunResult
from tests.support.lesions import Lesions, prepare_lesions

pytestmark = pytest.mark.system

SIZE = 32
FEW = 60
IMAGES = 200
COPIES = "memorisation.verified_copies"
DX = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]


def config(private: str) -> str:
    """The same generator and the same steps for both; only the private set differs."""
    value = {
        "name": private,
        "image_size": SIZE,
        "private": {"path": private, "patient": "group"},
        "holdout": {"path": "holdout", "patient": "group"},
        "conditions": [{"name": "dx", "kind": "categorical", "levels": DX}],
        "generator": {
            "autoencoder": {"steps": 400, "widths": [16, 32, 32], "latent_channels": 8, "crop": 16, "batch_size": 16},
            "denoiser": {"steps": 900, "widths": [32, 64], "batch_size": 32, "learning_rate": 2e-3},
            "sampling": {"steps": 10, "guidance": 1.0},
        },
        "release": {"images": IMAGES, "max_attempts": 1.0},
        "audits": {
            # Few planted copies, and a diagnostic model that has hardly begun: neither is what differs here.
            "memorisation": {"planted_per_transform": 5},
            "labels": {"steps": 20},
            "membership": {
                "max_members": 500,
                "noise_levels": [0.1, 0.3, 0.6],
                "draws": 1,
                "probes": ["loss", "sima"],
                "permutations": 199,
                "resamples": 200,
            },
        },
    }
    return yaml.safe_dump(value)


def few(lesions: Lesions, folder: Path) -> None:
    """Sixty private images, evenly spread over the list, as a set of their own."""
    header, *rows = (lesions.private / "metadata.csv").read_text().splitlines()
    chosen = rows[:: len(rows) // FEW][:FEW]
    (folder / "images").mkdir(parents=True)
    (folder / "metadata.csv").write_text("\n".join([header, *chosen]) + "\n")
    for row in chosen:
        name = row.split(",")[0]
        (folder / name).write_bytes((lesions.private / name).read_bytes())


@pytest.fixture(scope="session")
def runs(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """Both runs."""
    folder = tmp_path_factory.mktemp("memorising")
    lesions = prepare_lesions(test_data, folder, private=3000, holdout=384, unseen=0, size=SIZE)
    few(lesions, folder / "few")

    def made(name: str, private: str) -> RunResult:
        (folder / f"{name}.yaml").write_text(config(private))
        # A ledger of its own: neither run is an attempt on the images of the other.
        return synguard.generate_and_audit(folder / f"{name}.yaml", folder / name, ledger=folder / f"{name}.sqlite")

    return {"memorised": made("memorised", "few"), "normal": made("normal", "private")}


def test_a_generator_that_memorised_fails(runs: dict[str, RunResult]):
    decision = runs["memorised"].decision
    assert decision.exit_code == 20
    assert [check for check in decision.checks if check.metric == COPIES and check.status == "fail"]


@pytest.mark.parametrize("name", [COPIES, "memorisation.train_holdout_share", "membership.white_box.auc"])
def test_memorised_and_normal_differ_by_disjoint_intervals(runs: dict[str, RunResult], name: str):
    memorised, normal = (runs[key].metric(name) for key in ("memorised", "normal"))
    print(name, memorised.value, memorised.interval, normal.value, normal.interval)
    assert memorised.interval is not None
    assert normal.interval is not None
    assert normal.interval[1] < memorised.interval[0]
