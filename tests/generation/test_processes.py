"""Training by several processes: what one would have made, through the command line as torchrun launches it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from generation.pipeline import load
from generation.processes import Processes
from synguard.data.phantom import write_phantoms
from synguard.errors import ConfigError
from tests.support.cli import environment

CONFIG = """\
name: shared
image_size: 16
private: {path: private, patient: patient}
holdout: {path: holdout, patient: patient}
conditions:
  - {name: eye_side, kind: categorical, levels: [left, right]}
generator:
  autoencoder: {widths: [8, 8, 8], steps: 10, batch_size: 8, crop: 16}
  denoiser: {widths: [16, 16], steps: 10, batch_size: 8, augment: mirror}
  canaries: 6
device: cpu
"""


def test_one_process_does_nothing_of_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = Processes.launched("cpu")
    assert alone == Processes()
    assert alone.main
    gradient = torch.ones(3)
    alone.average([gradient, None])
    assert torch.equal(gradient, torch.ones(3))
    with alone.first():
        assert np.array_equal(alone.own(np.arange(5)), np.arange(5))


def test_shares_make_up_the_batch():
    batch = np.arange(12)
    shares = [Processes(3, index).own(batch) for index in range(3)]
    assert sorted(np.concatenate(shares).tolist()) == batch.tolist()
    assert {len(share) for share in shares} == {4}
    Processes(3).check(denoiser=12)
    with pytest.raises(
        ConfigError, match=r"denoiser\.batch_size: found 64, expected a multiple of 3, the number of processes"
    ):
        Processes(3).check(autoencoder=12, denoiser=64)


def launched(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A synguard command as two processes on this machine's CPU, by the launcher that accelerate uses for GPUs."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "synguard"]
    return subprocess.run(
        [sys.executable, *launch, *map(str, arguments)],
        cwd=folder,
        env=environment(1),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.system
def test_two_processes_train_what_one_does(tmp_path: Path):
    """The same coins of the canaries, once they are drawn; the same weights up to rounding."""
    for number, name in enumerate(("private", "holdout")):
        write_phantoms(tmp_path / name, patients=24, images_per_patient=1, size=16, seed=5, first_patient=100 * number)
    (tmp_path / "synguard.yaml").write_text(CONFIG)
    done = launched(tmp_path, "train", "synguard.yaml", "--out", "two", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("generator: two") == 1
    coins = tmp_path / "one" / "training" / "canaries.json"
    coins.parent.mkdir(parents=True)
    coins.write_bytes((tmp_path / "two" / "training" / "canaries.json").read_bytes())
    alone = [sys.executable, "-m", "synguard", "train", "synguard.yaml", "--out", "one", "--quiet"]
    subprocess.run(alone, cwd=tmp_path, env=environment(1), check=True, timeout=600)
    cards = [json.loads((tmp_path / name / "model_card.json").read_text()) for name in ("one", "two")]
    assert [card["processes"] for card in cards] == [1, 2]
    assert cards[0]["training"] == cards[1]["training"]
    for part in ("vae", "unet", "training/unet_raw"):
        one, two = (load_file(tmp_path / name / part / "diffusion_pytorch_model.safetensors") for name in ("one", "two"))
        apart = sum(float((one[name] - two[name]).square().sum()) for name in one)
        # What hardly matters moves by the optimiser's steps of one size, and by rounding into either direction.
        assert apart < 1e-6 * sum(float(weights.square().sum()) for weights in one.values()), part
    asked = pd.DataFrame({"eye_side": ["left", "right"] * 10})
    images = [load(tmp_path / name).generate(asked, range(20)).astype(int) for name in ("one", "two")]
    assert np.abs(images[0] - images[1]).max() <= 1
    refused = launched(tmp_path, "generate-and-audit", "synguard.yaml", "--out", "run", "--quiet")
    assert refused.returncode != 0
    assert "found several processes, expected one" in refused.stderr
    assert not (tmp_path / "run").exists()
