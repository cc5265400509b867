"""Pictures of pairs: what was flagged, and what readers are measured on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audits.memorisation import prepare, summarise
from audits.memorisation.exact import ExactLookup
from synguard.config import MemorisationConfig
from synguard.governance.files import canonical
from synguard.review.queue import load, read_pairs
from synguard.runs import pairs as pairs_module
from synguard.runs.engine import Batch
from synguard.runs.examine import examine_batch, examined_of
from synguard.runs.folder import RunFolder
from synguard.runs.pairs import picture_pairs
from synguard.runs.plan import Attempt
from tests.support.textures import digests, image_set, textures

PRIVATE = textures(80, 1)
MADE = np.concatenate([PRIVATE[:3], textures(40, 3)])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    private = image_set(PRIVATE, "private")
    memorisation = prepare(
        private,
        image_set(textures(60, 2), "calibration"),
        config=MemorisationConfig(planted_per_transform=4),
        seed=5,
        folder=tmp_path_factory.mktemp("index") / "made",
    )
    return SimpleNamespace(
        memorisation=memorisation,
        material=SimpleNamespace(searched=private),
        unseen=ExactLookup((), PRIVATE[:0]),
        diagnostic=None,
        ceiling=None,
    )


@pytest.fixture(scope="module")
def run(prepared: Any, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    written(folder, prepared)
    return folder


def written(folder: RunFolder, prepared: Any, samples: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    candidates = image_set(MADE, "made")
    batch = Batch(
        files=candidates.files,
        sha256=digests(MADE),
        pixels=MADE,
        asked=pd.DataFrame(index=range(len(MADE))),
        seeds=(None,) * len(MADE),
        attempts=tuple(Attempt(row, 0) for row in range(len(MADE))),
    )
    rows = examine_batch(batch, prepared, quarantine=True)
    memorisation = prepared.memorisation
    accepted = rows["accepted"].to_numpy(dtype=bool)
    said = summarise(examined_of(rows), accepted, memorisation.planted(), memorisation, rows["file"].tolist()).evidence
    listed = [*said["flagged"], *said["review"]]
    measures = picture_pairs(folder, rows, prepared, candidates, listed, 7, samples or [])
    evidence = {"memorisation": {name: said[name] for name in ("flagged", "review")}, "review": measures}
    (folder.path / "evidence.json").write_bytes(canonical(evidence))
    return evidence


def test_every_pair_can_be_read(run: RunFolder):
    pairs = read_pairs(run.path)
    kinds = [pair.kind for pair in pairs]
    assert kinds.count("flagged") >= 3
    assert kinds.count("known") == pairs_module.MEASURES
    assert 20 <= kinds.count("control") <= pairs_module.MEASURES
    assert sum(pair.verified for pair in pairs) >= 3
    for pair in pairs:
        candidate, private = load(run.path, pair)
        assert candidate.shape == private.shape == PRIVATE.shape[1:]


def test_known_copies_show_the_private_image_where_it_lies(run: RunFolder):
    """Aligned as flagged pairs are, by the audit itself: where both show something they agree, as controls do not."""

    def likeness(kind: str) -> float:
        found = []
        for pair in read_pairs(run.path):
            if pair.kind == kind:
                candidate, private = (image.mean(2) for image in load(run.path, pair))
                inside = private > 0
                found.append(abs(np.corrcoef(candidate[inside], private[inside])[0, 1]))
        return float(np.median(found))

    assert likeness("known") > 0.9
    assert likeness("control") < 0.7


def test_controls_are_candidates_that_nothing_was_found_about(run: RunFolder):
    pairs = read_pairs(run.path)
    flagged = {pair.file for pair in pairs if pair.kind == "flagged"}
    controls = [pair.file for pair in pairs if pair.kind == "control"]
    assert len(set(controls)) == len(controls)
    assert flagged.isdisjoint(controls)


def test_the_same_run_measures_readers_on_the_same_pairs(run: RunFolder, prepared: Any, tmp_path: Path):
    written(RunFolder(tmp_path), prepared)
    assert read_pairs(tmp_path) == read_pairs(run.path)


def test_samples_stand_beside_the_private_image_nearest_to_each(prepared: Any, tmp_path: Path):
    samples: list[dict[str, Any]] = [{"file": file} for file in image_set(MADE, "made").files[:5]]
    written(RunFolder(tmp_path), prepared, samples)
    assert [sample["nearest"] for sample in samples[:3]] == list(prepared.material.searched.files[:3])
    for sample in samples:
        panels = sorted(path.name for path in (tmp_path / "pairs").glob(f"{Path(sample['pair']).name}-*.png"))
        assert [name.partition("-")[2] for name in panels] == ["candidate.png", "private.png"]
    assert {pair.kind for pair in read_pairs(tmp_path)} == {"flagged", "known", "control"}, (
        "readers are not asked about them"
    )


def test_beyond_a_number_no_pictures_are_written(prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pairs_module, "SHOWN", 2)
    monkeypatch.setattr(pairs_module, "MEASURES", 4)
    written(RunFolder(tmp_path), prepared)
    assert len(list((tmp_path / "pairs").glob("0*-candidate.png"))) == 2
    assert len(list((tmp_path / "pairs").glob("0*-area.png"))) == 2
    pairs = read_pairs(tmp_path)
    assert [pair.kind for pair in pairs].count("known") == 4
    assert any(pair.kind == "flagged" and not pair.digest for pair in pairs), "what has no picture stays, and stays open"
