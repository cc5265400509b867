"""Patients of a public set who are one person under two ids. Real images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.cli import synguard
from tests.support.lesions import prepare_lesions, write_images

pytestmark = pytest.mark.system


def test_two_ids_for_the_same_files_are_reported(test_data: Path, tmp_path: Path):
    archive = np.load(test_data / "fundus600" / "fundus600_128.npz")
    patients = archive["patient"].astype(int)
    for part, rows in (("private", patients > 100), ("holdout", patients <= 100)):
        (tmp_path / part / "images").mkdir(parents=True)
        lines = ["file_name,patient"]
        for row in np.flatnonzero(rows):
            name = f"images/{patients[row]:03d}-{archive['eye'][row]}.png"
            Image.fromarray(archive["images"][row]).resize((64, 64)).save(tmp_path / part / name)
            lines.append(f"{name},{patients[row]:03d}")
        (tmp_path / part / "metadata.csv").write_text("\n".join(lines) + "\n")
    lesions = prepare_lesions(test_data, tmp_path / "data", private=60, holdout=60, unseen=50)
    made = [(f"{i}.png", path, "verbatim") for i, path in enumerate(lesions.unseen)]
    write_images(tmp_path / "made", made)
    out = tmp_path / "run"
    sets = ["--private", tmp_path / "private", "--holdout", tmp_path / "holdout", "--synthetic", tmp_path / "made"]
    outcome = synguard("audit", *sets, "--patient", "patient", "--conditions", "none", "--quiet", "--out", out)
    report = (out / "report" / "internal.html").read_text()
    # Fifty images of another kind are too few to pass; what matters here is that the pair is named.
    assert outcome.code in (20, 22), str(outcome)
    assert "299-L" in report
    assert "300-L" in report
    duplicates = json.loads((out / "evidence.json").read_text())["data"]["duplicates"]
    assert {(d["first_patient"], d["second_patient"]) for d in duplicates} == {("299", "300")}
