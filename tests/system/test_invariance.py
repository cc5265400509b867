"""Another audit batch size changes no verdict and no figure beyond 1e-4. Real images."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

import synguard
from tests.support.cli import results
from tests.support.lesions import mixture, prepare_lesions

pytestmark = pytest.mark.system

CONFIG = """\
name: given
image_size: 64
private: {{path: {private}, patient: group}}
holdout: {{path: {holdout}, patient: group}}
generator: {{kind: folder, path: {release}}}
release: {{images: 79}}
audits:
  memorisation: {{planted_per_transform: 4, batch_size: {batch_size}}}
  membership: {{permutations: 199, resamples: 200}}
"""


def test_the_audit_batch_size_changes_nothing(test_data: Path, tmp_path: Path):
    lesions = prepare_lesions(test_data, tmp_path / "data", private=300, holdout=192, unseen=70)
    copies = {"verbatim": 3, "mirrored": 3, "jpeg40": 3}
    release, _ = mixture(lesions, tmp_path / "made", unseen=70, copies=copies, seed=7)
    recorded = []
    for size in (500, 27):
        out, config = tmp_path / f"run-{size}", tmp_path / f"{size}.yaml"
        config.write_text(CONFIG.format(private=lesions.private, holdout=lesions.holdout, release=release, batch_size=size))
        synguard.generate_and_audit(config, out, ledger=tmp_path / f"{size}.sqlite")
        recorded.append(results(out))
    first, second = recorded
    assert first.decision["exit_code"] == second.decision["exit_code"]
    assert [(c["id"], c["group"], c["status"]) for c in first.checks] == [
        (c["id"], c["group"], c["status"]) for c in second.checks
    ]
    for one, other in zip(first.metrics, second.metrics, strict=True):
        assert (one["name"], one["group"], one["n"]) == (other["name"], other["group"], other["n"])
        if isinstance(one["value"], float):
            assert math.isclose(one["value"], other["value"], abs_tol=1e-4), one["name"]
    pd.testing.assert_frame_equal(first.images, second.images, atol=1e-4)
