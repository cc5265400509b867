"""A generator trained on 60 images until it has memorised them fails; one trained on all of them clearly differs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.support.cli import Recorded, results, side_by_side, synguard
from tests.support.lesions import Lesions, prepare_lesions

pytestmark = pytest.mark.system

SIZE = 32
FEW = 60
IMAGES = 300
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
            "autoencoder": {"steps": 400, "widths": [16, 32], "batch_size": 16},
            "denoiser": {"steps": 900, "widths": [24, 48, 96], "batch_size": 32, "learning_rate": 1e-3},
            "sampling": {"steps": 12, "guidance": 1.0},
        },
        "release": {"images": IMAGES, "max_attempts": 1.0},
        "audits": {
            # Few planted copies: that the audit sees copies is not what differs here.
            "memorisation": {"planted_per_transform": 20},
            "labels": {"steps": 200},
            "membership": {"max_members": 1000, "draws": 1, "probes": ["loss", "sima"]},
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
def runs(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, Recorded]]:
    """Exit code and record of both runs, which are made side by side."""
    folder = tmp_path_factory.mktemp("memorising")
    lesions = prepare_lesions(test_data, folder, private=3000, holdout=2000, size=SIZE)
    few(lesions, folder / "few")

    def made(name: str, private: str) -> tuple[int, Recorded]:
        (folder / f"{name}.yaml").write_text(config(private))
        out = folder / f"run-{name}"
        outcome = synguard("generate-and-audit", folder / f"{name}.yaml", "--out", out, "--quiet", threads=1)
        assert (out / "results.json").exists(), str(outcome)
        return outcome.code, results(out)

    pairs = {"memorised": "few", "normal": "private"}
    return dict(zip(pairs, side_by_side(partial(made, *pair) for pair in pairs.items()), strict=True))


def test_a_generator_that_memorised_fails(runs: dict[str, tuple[int, Recorded]]):
    code, recorded = runs["memorised"]
    assert code == 20
    assert recorded.failing("memorisation.verified_copies")


@pytest.mark.parametrize(
    "name", ["memorisation.verified_copies", "memorisation.train_holdout_share", "membership.white_box.auc"]
)
def test_memorised_and_normal_differ_by_disjoint_intervals(runs: dict[str, tuple[int, Recorded]], name: str):
    memorised, normal = (runs[key][1].metric(name) for key in ("memorised", "normal"))
    print(name, memorised["value"], memorised["interval"], normal["value"], normal["interval"])
    assert normal["interval"][1] < memorised["interval"][0]
