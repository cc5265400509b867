"""What a run keeps out of its release, and what `synguard audit` counts as meant to be released."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audits.memorisation import prepare
from audits.memorisation.exact import ExactLookup
from synguard.config import MemorisationConfig
from synguard.runs.conclude import _run_metrics
from synguard.runs.engine import Batch
from synguard.runs.examine import examine_batch
from synguard.runs.plan import Attempt
from tests.support.textures import digests, image_set, textures

SIDE = 64
PRIVATE, HOLDOUT = textures(60, 1, SIDE), textures(60, 2, SIDE)
CLEAN = textures(6, 3, SIDE)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    private = image_set(PRIVATE, "private")
    memorisation = prepare(
        private,
        image_set(HOLDOUT, "holdout"),
        config=MemorisationConfig(planted_per_transform=2),
        seed=5,
        folder=tmp_path_factory.mktemp("index") / "made",
    )
    return SimpleNamespace(
        memorisation=memorisation,
        material=SimpleNamespace(searched=private),
        unseen=ExactLookup(digests(HOLDOUT), HOLDOUT),
        diagnostic=None,
        ceiling=None,
    )


def examined(prepared: Any, pixels: np.ndarray, *, quarantine: bool, **options: Any) -> pd.DataFrame:
    batch = Batch(
        files=tuple(f"{row}.png" for row in range(len(pixels))),
        sha256=digests(pixels),
        pixels=pixels,
        asked=pd.DataFrame(index=range(len(pixels))),
        seeds=(None,) * len(pixels),
        attempts=tuple(Attempt(row, 0) for row in range(len(pixels))),
    )
    return examine_batch(batch, prepared, quarantine=quarantine, **options)


def contact_sheet(pictures: np.ndarray) -> np.ndarray:
    """Four pictures (4, side, side, 3) in half the side, two by two."""
    small = pictures[:, ::2, ::2]
    return np.concatenate([np.concatenate(row, axis=1) for row in (small[:2], small[2:])])


BAD = np.stack([PRIVATE[7], PRIVATE[8, :, ::-1], np.rot90(HOLDOUT[9]), contact_sheet(textures(4, 4, SIDE))])
REASONS = ["copy of a private image"] * 2 + ["copy of an image of the holdout", "a sheet of several pictures"]


def test_real_photographs_and_sheets_go_into_quarantine(prepared: Any):
    rows = examined(prepared, np.concatenate([CLEAN, BAD]), quarantine=True)
    assert rows["accepted"].tolist() == [True] * len(CLEAN) + [False] * len(BAD)
    assert rows["reason"].tolist() == [""] * len(CLEAN) + REASONS
    assert rows["memorisation.holdout_copy"].tolist() == [False] * (len(CLEAN) + 2) + [True, False]


def test_what_was_refused_is_counted_by_its_reason(prepared: Any):
    rows = examined(prepared, np.concatenate([CLEAN, BAD]), quarantine=True)
    metrics = _run_metrics(rows, SimpleNamespace(), tripped=False)  # type: ignore[arg-type]
    found = {metric.group: metric.value for metric in metrics if metric.name == "run.quarantine_rate"}
    assert found == {None: 0.4, "labels": 0.0, "copies": 0.3, "sheets": 0.1}


def test_given_images_count_as_released_whatever_is_found(prepared: Any):
    """Somebody means to release them: the gate fails on what is found, instead of looking away from it."""
    rows = examined(prepared, np.concatenate([CLEAN, BAD[:3]]), quarantine=False)
    assert rows["accepted"].all()
    assert rows["reason"].tolist() == [""] * len(CLEAN) + REASONS[:3]


def test_what_was_taken_out_by_hand_keeps_the_reason_of_the_audit(prepared: Any):
    by_hand = ["", "blurred", "too good"]
    rows = examined(prepared, np.stack([CLEAN[0], CLEAN[1], PRIVATE[3]]), quarantine=False, by_hand=by_hand)
    assert rows["accepted"].tolist() == [True, False, False]
    assert rows["reason"].tolist() == ["", "blurred", "copy of a private image"]
