"""What the audit must say of real images whose truth is known: HAM10000 at 64 px through the command line."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.support.cli import Outcome, Recorded, results, synguard
from tests.support.lesions import Lesions, mixture, prepare_lesions, write_images

pytestmark = pytest.mark.system

DRAWS = 20


@dataclass(frozen=True)
class Bench:
    lesions: Lesions
    index: Path
    folder: Path

    def audit(self, synthetic: Path, *, holdout: Path | None = None, name: str) -> tuple[Outcome, Recorded]:
        out = self.folder / f"run-{name}"
        arguments = [
            "--private",
            self.lesions.private,
            "--holdout",
            holdout or self.lesions.holdout,
            "--synthetic",
            synthetic,
        ]
        # A spoilt holdout has a calibration of its own: the prepared index belongs to the clean one.
        prepared = [] if holdout else ["--index", self.index]
        options = ["--policy", "public-release", "--patient", "lesion_id", "--conditions", "none", "--quiet", "--out", out]
        outcome = synguard("audit", *arguments, *options, *prepared)
        assert (out / "results.json").exists(), str(outcome)
        return outcome, results(out)

    def release(
        self, name: str, *, unseen: int, copies: dict[str, int], seed: int
    ) -> tuple[Path, dict[str, tuple[str, str]]]:
        return mixture(self.lesions, self.folder / name, unseen=unseen, copies=copies, seed=seed)


@pytest.fixture(scope="session")
def bench(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("truth")
    lesions = prepare_lesions(test_data, folder / "data", private=3000, holdout=2000)
    build = ["--private", lesions.private, "--holdout", lesions.holdout, "--patient", "lesion_id", "--quiet"]
    outcome = synguard("index", "build", *build, "--out", folder / "index")
    assert outcome.code == 0, str(outcome)
    return Bench(lesions, folder / "index", folder)


@pytest.fixture(scope="session")
def spoilt_holdout(bench: Bench) -> Path:
    """The holdout with five private images in it, under the names and patients that they have in the private set."""
    target = bench.folder / "spoilt"
    shutil.copytree(bench.lesions.holdout, target)
    header, *rows = (bench.lesions.private / "metadata.csv").read_text().splitlines()
    with (target / "metadata.csv").open("a") as file:
        for row in rows[:5]:
            file.write(row + "\n")
            name = row.split(",")[0]
            shutil.copy(bench.lesions.private / name, target / name)
    assert header.startswith("file_name")
    return target


def flagged_right(recorded: Recorded, truth: dict[str, tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Per transform: copies flagged with the right nearest image, and all copies."""
    rows = recorded.images.set_index("file")
    counts: dict[str, tuple[int, int]] = {}
    for file, (source, transform) in truth.items():
        row = rows.loc[file]
        right, total = counts.get(transform, (0, 0))
        found = bool(row["memorisation.flagged"]) and row["memorisation.nearest"] == source
        counts[transform] = (right + found, total + 1)
    return counts


def test_unseen_images_are_not_called_copies(bench: Bench):
    clean = 0
    for draw in range(DRAWS):
        release, _ = bench.release(f"unseen-{draw}", unseen=1000, copies={}, seed=draw)
        outcome, recorded = bench.audit(release, name=f"unseen-{draw}")
        verified = recorded.metric("memorisation.verified_copies")["value"]
        clean += verified == 0 and not recorded.failing("memorisation.")
        # A clean release passes as a whole, too: nothing but warnings (no model was given).
        print(f"draw {draw}: exit {outcome.code}, verified {verified}, {recorded.decision['reasons'][:2]}")
    assert clean >= 19


def test_fifteen_verbatim_copies(bench: Bench):
    release, truth = bench.release("verbatim", unseen=985, copies={"verbatim": 15}, seed=100)
    outcome, recorded = bench.audit(release, name="verbatim")
    assert outcome.code == 20
    assert flagged_right(recorded, truth) == {"verbatim": (15, 15)}
    assert recorded.images["memorisation.flagged"].sum() == 15


def test_transformed_copies(bench: Bench):
    copies = dict.fromkeys(("mirrored", "turned", "jpeg40", "brightened"), 25)
    release, truth = bench.release("transformed", unseen=900, copies=copies, seed=101)
    outcome, recorded = bench.audit(release, name="transformed")
    assert outcome.code == 20
    counts = flagged_right(recorded, truth)
    print(counts)
    assert all(right >= 24 and total == 25 for right, total in counts.values()), counts


def test_a_single_copy_is_named(bench: Bench):
    release, truth = bench.release("single", unseen=999, copies={"verbatim": 1}, seed=102)
    outcome, recorded = bench.audit(release, name="single")
    ((file, (source, _)),) = truth.items()
    assert outcome.code == 20
    assert recorded.images.loc[recorded.images["memorisation.flagged"], "file"].tolist() == [file]
    assert recorded.images.set_index("file").loc[file, "memorisation.nearest"] == source
    assert file in (bench.folder / "run-single" / "report" / "internal.html").read_text()


def test_a_single_copy_counts_even_with_a_spoilt_holdout(bench: Bench, spoilt_holdout: Path):
    release, truth = bench.release("single-spoilt", unseen=999, copies={"verbatim": 1}, seed=103)
    outcome, recorded = bench.audit(release, holdout=spoilt_holdout, name="single-spoilt")
    assert outcome.code == 20
    assert recorded.images.loc[recorded.images["memorisation.flagged"], "file"].tolist() == list(truth)
    assert any("holdout" in reason and "images/" in reason for reason in recorded.decision["reasons"])


def test_a_spoilt_holdout_alone_is_missing_evidence(bench: Bench, spoilt_holdout: Path):
    release, _ = bench.release("clean-spoilt", unseen=1000, copies={}, seed=104)
    outcome, recorded = bench.audit(release, holdout=spoilt_holdout, name="clean-spoilt")
    assert outcome.code == 22, str(outcome)
    names = [row.split(",")[0] for row in (bench.lesions.private / "metadata.csv").read_text().splitlines()[1:6]]
    text = " ".join(recorded.decision["reasons"])
    assert sum(name in text for name in names) >= 3, text


def test_thirty_images_are_too_few(bench: Bench):
    release, _ = bench.release("thirty", unseen=30, copies={}, seed=105)
    outcome, recorded = bench.audit(release, name="thirty")
    assert outcome.code == 22
    small = [c for c in recorded.checks if c["status"] == "insufficient" and c["metric"] == "memorisation.near_copy_rate"]
    assert small
    assert "299" in small[0]["reason"]


def test_two_ids_for_the_same_files_are_reported(test_data: Path, bench: Bench):
    folder = bench.folder / "fundus"
    archive = np.load(test_data / "fundus600" / "fundus600_128.npz")
    from PIL import Image

    for part, rows in (
        ("private", archive["patient"].astype(int) > 100),
        ("holdout", archive["patient"].astype(int) <= 100),
    ):
        (folder / part / "images").mkdir(parents=True)
        lines = ["file_name,patient"]
        for row in np.flatnonzero(rows):
            name = f"images/{int(archive['patient'][row]):03d}-{archive['eye'][row]}.png"
            Image.fromarray(archive["images"][row]).resize((64, 64)).save(folder / part / name)
            lines.append(f"{name},{int(archive['patient'][row]):03d}")
        (folder / part / "metadata.csv").write_text("\n".join(lines) + "\n")
    made = write_images(
        folder / "made", [(f"{i}.png", path, "verbatim") for i, path in enumerate(bench.lesions.unseen[:50])]
    )
    out = bench.folder / "run-fundus"
    arguments = [
        "--private",
        folder / "private",
        "--holdout",
        folder / "holdout",
        "--synthetic",
        made,
        "--patient",
        "patient",
    ]
    outcome = synguard("audit", *arguments, "--conditions", "none", "--quiet", "--out", out)
    report = (out / "report" / "internal.html").read_text()
    assert outcome.code == 22, str(outcome)
    assert "299-L" in report
    assert "300-L" in report
    duplicates = __import__("json").loads((out / "evidence.json").read_text())["data"]["duplicates"]
    assert {(d["first_patient"], d["second_patient"]) for d in duplicates} == {("299", "300")}
