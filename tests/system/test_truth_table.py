"""What the audit must say of real images whose truth is known: HAM10000 at 64 px through the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from tests.support.cli import Outcome, Recorded, results, side_by_side, synguard
from tests.support.lesions import Lesions, mixture, prepare_lesions
from tests.support.repeated import Repeated

pytestmark = pytest.mark.system

DRAWS = 20


TRANSFORMED = dict.fromkeys(("mirrored", "turned", "jpeg40", "brightened"), 25)
CASES: dict[str, tuple[int, dict[str, int], bool]] = {
    # name: unseen images, copies by transform, whether the holdout is spoilt
    **{f"unseen-{draw}": (1000, {}, False) for draw in range(DRAWS)},
    "verbatim": (985, {"verbatim": 15}, False),
    "transformed": (900, TRANSFORMED, False),
    "single": (999, {"verbatim": 1}, False),
    "single-spoilt": (999, {"verbatim": 1}, True),
    "clean-spoilt": (1000, {}, True),
    "thirty": (30, {}, False),
}


ONE_THREAD = partial(synguard, threads=1)
ALONE = ("unseen-0", "verbatim", "single-spoilt", "clean-spoilt")
"""Each by a process of its own; the others, and the first of these again, by one process."""


@dataclass(frozen=True)
class Case:
    """One audit of the table: what was handed in, and what came of it."""

    truth: dict[str, tuple[str, str]]
    outcome: Outcome
    recorded: Recorded
    run: Path


@dataclass(frozen=True)
class Bench:
    """The real images of the table, and the index that most of its audits share."""

    lesions: Lesions
    spoilt: Path
    indexes: dict[bool, Path]
    """For the clean holdout and for the spoilt one, whose calibration differs."""
    folder: Path

    def audit(self, name: str, command: Callable[..., Outcome] = ONE_THREAD, suffix: str = "") -> Case:
        unseen, copies, spoilt = CASES[name]
        release, truth = mixture(
            self.lesions, self.folder / (name + suffix), unseen=unseen, copies=copies, seed=list(CASES).index(name)
        )
        out = self.folder / f"run-{name}{suffix}"
        holdout = self.spoilt if spoilt else self.lesions.holdout
        arguments = ["--private", self.lesions.private, "--holdout", holdout, "--synthetic", release, "--patient", "group"]
        options = ["--policy", "public-release", "--conditions", "none", "--quiet", "--out", out]
        outcome = command("audit", *arguments, *options, "--index", self.indexes[spoilt])
        assert (out / "results.json").exists(), str(outcome)
        return Case(truth, outcome, results(out), out)


@pytest.fixture(scope="session")
def bench(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("truth")
    lesions = prepare_lesions(test_data, folder / "data", private=3000, holdout=2000)
    spoilt = spoil(lesions, folder / "spoilt")

    def indexed(name: str, holdout: Path) -> Path:
        build = ["--private", lesions.private, "--holdout", holdout, "--patient", "group", "--quiet"]
        outcome = synguard("index", "build", *build, "--out", folder / name, threads=1)
        assert outcome.code == 0, str(outcome)
        return folder / name

    clean, other = side_by_side([partial(indexed, "index", lesions.holdout), partial(indexed, "index-spoilt", spoilt)])
    return Bench(lesions, spoilt, {False: clean, True: other}, folder)


@pytest.fixture(scope="session")
def table(bench: Bench) -> dict[str, Case]:
    """All audits of the table. What one process does many times is what a process of its own does."""
    cases = dict(zip(ALONE, side_by_side(partial(bench.audit, name) for name in ALONE), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        repeated = Repeated(patch)
        again = bench.audit(ALONE[0], repeated, suffix="-again")
        cases |= {name: bench.audit(name, repeated) for name in CASES if name not in ALONE}
    assert again.outcome.code == cases[ALONE[0]].outcome.code
    assert again.recorded.metrics == cases[ALONE[0]].recorded.metrics
    pd.testing.assert_frame_equal(again.recorded.images, cases[ALONE[0]].recorded.images)
    return cases


def spoil(lesions: Lesions, target: Path) -> Path:
    """The holdout with five private images in it, under the names and patients that they have in the private set."""
    shutil.copytree(lesions.holdout, target)
    header, *rows = (lesions.private / "metadata.csv").read_text().splitlines()
    with (target / "metadata.csv").open("a") as file:
        for row in rows[:5]:
            file.write(row + "\n")
            name = row.split(",")[0]
            shutil.copy(lesions.private / name, target / name)
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


def test_unseen_images_are_not_called_copies(table: dict[str, Case]):
    clean = 0
    for draw in range(DRAWS):
        case = table[f"unseen-{draw}"]
        verified = case.recorded.metric("memorisation.verified_copies")["value"]
        clean += verified == 0 and not case.recorded.failing("memorisation.")
        print(f"draw {draw}: exit {case.outcome.code}, verified {verified}, {case.recorded.decision['reasons'][:2]}")
    assert clean >= 19


def test_fifteen_verbatim_copies(table: dict[str, Case]):
    case = table["verbatim"]
    assert case.outcome.code == 20
    assert flagged_right(case.recorded, case.truth) == {"verbatim": (15, 15)}
    assert case.recorded.images["memorisation.flagged"].sum() == 15


def test_transformed_copies(table: dict[str, Case]):
    case = table["transformed"]
    assert case.outcome.code == 20
    counts = flagged_right(case.recorded, case.truth)
    print(counts)
    assert all(right >= 24 and total == 25 for right, total in counts.values()), counts


def test_a_single_copy_is_named(table: dict[str, Case]):
    case = table["single"]
    ((file, (source, _)),) = case.truth.items()
    images = case.recorded.images
    assert case.outcome.code == 20
    assert images.loc[images["memorisation.flagged"], "file"].tolist() == [file]
    assert images.set_index("file").loc[file, "memorisation.nearest"] == source
    assert file in (case.run / "report" / "internal.html").read_text()


def test_a_single_copy_counts_even_with_a_spoilt_holdout(table: dict[str, Case]):
    case = table["single-spoilt"]
    assert case.outcome.code == 20
    images = case.recorded.images
    assert images.loc[images["memorisation.flagged"], "file"].tolist() == list(case.truth)
    assert any("holdout" in reason and "images/" in reason for reason in case.recorded.decision["reasons"])


def test_a_spoilt_holdout_alone_is_missing_evidence(table: dict[str, Case], bench: Bench):
    case = table["clean-spoilt"]
    assert case.outcome.code == 22, str(case.outcome)
    names = [row.split(",")[0] for row in (bench.lesions.private / "metadata.csv").read_text().splitlines()[1:6]]
    text = " ".join(case.recorded.decision["reasons"])
    assert sum(name in text for name in names) >= 3, text


def test_thirty_images_are_too_few(table: dict[str, Case]):
    case = table["thirty"]
    assert case.outcome.code == 22
    checks = case.recorded.checks
    small = [c for c in checks if c["status"] == "insufficient" and c["metric"] == "memorisation.near_copy_rate"]
    assert small
    assert "299" in small[0]["reason"]
