"""The public edition: nothing of one patient or one image gets out, whatever the run folder holds."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from PIL import Image

import reports
from reports import blocks
from reports.public import Disclosed, build, disclose
from reports.runfolder import read_run
from tests.support.lookalike import LOOKALIKE, likeness, pictures_in
from tests.support.page import read
from tests.support.runs import Made, fundus, make_run, png

RunFolder = Callable[..., Path]
CANARY = "CANARY-7f3a9c"


def _planted(value: Any, mark: str) -> Any:
    """The value with every text in it replaced by a canary."""
    if isinstance(value, dict):
        return {key: _planted(item, mark) for key, item in value.items()}
    if isinstance(value, list):
        return [_planted(item, mark) for item in value]
    return f"{mark} {value}" if isinstance(value, str) else value


def _with_canaries(made: Made) -> None:
    """A canary in every text that is not a fixed word of the format, and in new keys everywhere."""
    kept = {"name", "state", "status", "unit", "metric", "access", "kind"}
    conditions = made.run["config"]["conditions"]  # released with the images, so public
    made.run = _planted(made.run, CANARY)
    made.run["config"]["conditions"] = conditions
    made.run[CANARY] = CANARY
    for row in (*made.results["checks"], *made.results["metrics"]):
        for key, value in row.items():
            if isinstance(value, str) and key not in kept:
                row[key] = f"{CANARY} {value}"
        row[CANARY] = CANARY
    made.results["decision"]["reasons"] = [CANARY]
    made.results["policy"] = made.results["data"] = {CANARY: CANARY}
    said = made.evidence
    said["memorisation"]["flagged"] = _planted(said["memorisation"]["flagged"], CANARY)
    said["memorisation"]["review"] = _planted(said["memorisation"]["review"], CANARY)
    said["memorisation"]["overlap"] = {"same_patient": [[CANARY, CANARY]]}
    said["memorisation"]["index"] = {CANARY: CANARY}
    said["membership"]["not_tested"] = [CANARY]
    said["membership"]["split"].update(reason=CANARY, classifier=CANARY)
    said["autoencoder"].update(state=CANARY, note=CANARY, parts=[CANARY])
    said["labels"]["model"] = {"name": CANARY}
    said["labels"]["notes"] = [CANARY]
    said["labels"]["attributes"].append({**said["labels"]["attributes"][0], "name": CANARY})
    said["fidelity"]["extractor"] = CANARY
    for audit in said.values():
        audit[CANARY] = CANARY
        for rows in audit.values():
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, dict):
                    row[CANARY] = row["note"] = row["file"] = row["patient"] = CANARY
    for i, row in enumerate(made.images):
        row.update(reason=CANARY, patient=CANARY, file=f"{CANARY}-{i}.png", nearest=CANARY, seed=990_000_001 + i)
    names = [name for name in made.pictures if name.startswith("accepted")]
    for i, name in enumerate(names):
        made.pictures[f"accepted/images/{CANARY}-{i}.png"] = made.pictures.pop(name)


@pytest.mark.parametrize("kind", ["clean", "copies", "invalid"])
def test_no_canary_gets_out_in_any_spelling(run_folder: RunFolder, kind: str) -> None:
    run = run_folder(kind, _with_canaries)
    inside = reports.render(run, "internal").read_text()
    assert CANARY in inside, "the canaries are not where the report reads"
    outside = reports.render(run, "public").read_bytes()
    spellings = [CANARY.encode(), CANARY.lower().encode(), CANARY.encode().hex().encode(), CANARY.encode("utf-16-le")]
    spellings += [base64.b64encode(b"x" * shift + CANARY.encode())[4:-4] for shift in range(3)]
    for spelling in spellings:
        assert spelling not in outside
    assert b"99000000" not in outside, "a seed"
    assert b"424242" not in outside, "the seed of the run"
    assert b"/hospital" not in outside


@pytest.mark.parametrize("kind", ["clean", "copies"])
def test_no_private_or_flagged_picture_gets_out(run_folder: RunFolder, kind: str) -> None:
    secret = fundus(123456, 3)

    def change(made: Made) -> None:
        # A flagged image and one on the review list, both accepted: allowed inside, never outside.
        for i, row in enumerate(made.images[:3]):
            made.pictures[f"accepted/images/{row['file']}"] = fundus(123456 + i, 3)
        for row in made.images:
            row["memorisation.near_copy"] = False
        made.images[0]["memorisation.flagged"] = True
        made.images[1]["memorisation.near_copy"] = True
        made.evidence["memorisation"]["review"] = [{"file": made.images[2]["file"]}]
        made.pictures["pairs/0000-private.png"] = secret

    run = run_folder(kind, change)
    outside = reports.render(run, "public").read_text()
    assert base64.b64encode(png(secret)).decode() not in outside
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))
        for uri in re.findall(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", outside)
    ]
    assert len(shown) == (17 if kind == "clean" else 0)
    for i in range(3):
        hidden = fundus(123456 + i, 3).astype(int)
        assert all(np.abs(one.astype(int) - hidden).mean() > 3 for one in shown)
    inside = reports.render(run, "internal").read_text()
    assert len(re.findall("data:image/", inside)) > 17


def test_samples_need_an_examination_for_copies(run_folder: RunFolder) -> None:
    def change(made: Made) -> None:
        for row in made.images:
            del row["memorisation.flagged"]

    assert read(reports.render(run_folder("clean", change), "public").read_text()).all("img") == []


def test_metadata_of_sample_files_is_dropped(run_folder: RunFolder) -> None:
    run = run_folder("clean")
    for path in (run / "accepted/images").iterdir():
        with Image.open(path) as image:
            pixels = image.copy()
        pixels.info["comment"] = CANARY
        exif = Image.Exif()
        exif[0x010E] = CANARY
        pixels.save(path, exif=exif, pnginfo=None)
    assert CANARY.encode() in next((run / "accepted/images").iterdir()).read_bytes()
    outside = reports.render(run, "public").read_text()
    for uri in re.findall(r"base64,([A-Za-z0-9+/=]+)\"", outside):
        assert CANARY.encode() not in base64.b64decode(uri)


@pytest.mark.parametrize("small", [1, 3, 9])
def test_small_counts_are_withheld_with_all_that_reveals_them(run_folder: RunFolder, small: int) -> None:
    def change(made: Made) -> None:
        for row in (*made.results["metrics"], *made.results["checks"]):
            name = row.get("metric") or row["name"]
            if name in {"memorisation.verified_copies", "memorisation.exact_copies"} and row["group"] is None:
                row.update(value=float(small), interval=[small - 0.7317, small + 0.7317], n=1000)
            if name == "memorisation.near_copy_rate":
                row.update(value=small / 1000, interval=[0.00071, 0.01731], n=1000)
                if "bound" in row:
                    row["bound"] = 0.01653
        scores = made.evidence["memorisation"]["scores"]
        scores["synthetic"] = [0] * 10 + [1000 - small] + [0] * 37 + [small, 0]
        for i, batch in enumerate(made.evidence["run"]["batches"]):
            copied = 0 if i else small
            batch.update(examined=200, accepted=200 - copied, refused_copies=copied, refused_labels=0)

    run = run_folder("copies", change)
    page = read(reports.render(run, "public").read_text())
    assert "fewer than 10 of 1,000 candidates are copies" in page.text("verdict")
    checks = page.text("checks")
    near = checks[checks.index("Near copies") :][:90]
    assert "below 1 % withheld above 1 %" in near
    assert "fewer than 10" in page.text("quarantine")
    assert str(1000 - small) not in page.text("quarantine").replace(",", "")
    assert "fewer than 10 of 1,000 beyond the threshold" in page.text("copies")
    assert "1.7" not in near
    inside = read(reports.render(run, "internal").read_text())
    assert f"{small} of 1,000 candidates" in inside.text("verdict")


def test_the_curves_have_no_extremes(run_folder: RunFolder) -> None:
    run = run_folder("clean")
    allowed = disclose(read_run(run))
    assert allowed.copies is not None
    for series in allowed.copies.scores:
        assert all(count == 0 or count >= 10 for count in series.counts)
        assert series.total <= 1000
    assert allowed.membership is not None
    for probe in allowed.membership.probes:
        assert probe.roc is None or min(probe.roc.fpr) >= 0.01
        assert probe.auc is not None
        assert probe.auc == round(probe.auc, 2)
    assert allowed.labels is not None
    for attribute in allowed.labels.attributes:
        for row in (*attribute.confusion, *attribute.ceiling_confusion):
            assert all(cell == round(cell) for cell in row)


def test_what_is_shown_comes_from_the_allow_list_alone(run_folder: RunFolder) -> None:
    """A field is added by hand or not at all: this list changes only together with the documentation of the fields."""
    assert [item.name for item in fields(Disclosed)] == [
        "status",
        "exit_code",
        "audits",
        "checks",
        "metrics",
        "copies",
        "membership",
        "epsilon",
        "disclosure",
        "autoencoder",
        "labels",
        "fidelity",
        "batches",
        "samples",
        "link_unverified",
        "versions",
        "manifest",
        "ledger",
    ]
    run = run_folder("clean")
    allowed = disclose(read_run(run))
    for path in run.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    assert build(allowed).edition == "public"


def test_both_editions_have_the_same_layout(run_folder: RunFolder) -> None:
    run = run_folder("clean")
    ids = {}
    for edition in ("internal", "public"):
        page = read(reports.render(run, edition).read_text())
        ids[edition] = [attributes["id"] for name, attributes in page.tags if name == "section" and "id" in attributes]
    assert [name for name in ids["internal"] if name in ids["public"]] == ids["public"]
    assert set(ids["internal"]) - set(ids["public"]) == {"pairs", "review", "data", "policy", "approvals", "classes"}


def test_unknown_metrics_and_limits_are_not_named(run_folder: RunFolder) -> None:
    def change(made: Made) -> None:
        made.results["checks"][0].update(metric="patient.john_smith", limit="above Smith 1")

    html = reports.render(run_folder("clean", change), "public").read_text()
    assert "smith" not in html.lower()
    assert "see the policy" in html


def _turned_and_compressed(pixels: np.ndarray) -> np.ndarray:
    """As somebody would publish a copy: mirrored, turned, smaller, brighter, compressed hard."""
    image = Image.fromarray(np.rot90(pixels[:, ::-1], 1)).resize((48, 48), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.point(lambda level: min(255, round(level * 1.15 + 6))).save(stream, "jpeg", quality=45)
    return np.asarray(Image.open(stream).convert("RGB"))


def _many_private(made: Made) -> None:
    """Every private and flagged image there can be: pairs, nearest to samples, quarantine, accepted but pointed at."""
    copies = make_run("copies", accepted=1)
    made.pictures |= {name: pixels for name, pixels in copies.pictures.items() if name.startswith("pairs/")}
    made.evidence["memorisation"]["review"] = copies.evidence["memorisation"]["flagged"]
    nearest = []
    for i, row in enumerate(made.images):
        name = f"pairs/s{i:04d}"
        made.pictures |= {f"{name}-candidate.png": fundus(i, i % 5), f"{name}-private.png": fundus(70_000 + i, i % 5)}
        nearest.append({"file": row["file"], "nearest": f"patient-{i}.png", "pair": name})
        row["memorisation.near_copy"] = False
    made.evidence["samples"] = {"nearest": nearest}
    made.pictures |= {f"quarantine/{i:03d}.png": fundus(80_000 + i, i % 5) for i in range(10)}
    made.images[2]["memorisation.flagged"] = made.images[3]["memorisation.near_copy"] = True


def _hidden(made: Made) -> list[np.ndarray]:
    names = [name for name in made.pictures if name.endswith("-private.png") or name.startswith("quarantine")]
    names += [name for name in made.pictures if re.fullmatch(r"pairs/\d+-candidate.png", name)]
    names += [f"accepted/images/{made.images[i]['file']}" for i in (2, 3)]
    return [made.pictures[name] for name in names]


def test_no_picture_outside_looks_like_a_private_or_refused_one(run_folder: RunFolder) -> None:
    """By their looks, not their bytes: what was resized, turned or compressed anew would be found."""
    seen: list[Made] = []
    run = run_folder("clean", lambda made: (_many_private(made), seen.append(made))[0])
    hidden = _hidden(seen[0])
    assert len(hidden) == 15 + 20 + 10 + 15 + 2
    shown = pictures_in(reports.render(run, "public").read_text())
    assert len(shown) == 18, "all accepted images that nothing points at"
    assert max(likeness(one, hidden) for one in shown) < LOOKALIKE
    inside = pictures_in(reports.render(run, "internal").read_text())
    assert sum(likeness(one, hidden) > LOOKALIKE for one in inside) > 40, "the search finds what is there"


def test_a_private_picture_among_the_samples_would_be_found(run_folder: RunFolder) -> None:
    """The same search when the audit was blind: a changed private image was accepted and nothing pointed at it."""
    seen: list[Made] = []

    def change(made: Made) -> None:
        _many_private(made)
        leaked = _turned_and_compressed(made.pictures["pairs/0004-private.png"])
        made.pictures[f"accepted/images/{made.images[7]['file']}"] = leaked
        seen.append(made)

    shown = pictures_in(reports.render(run_folder("clean", change), "public").read_text())
    assert sum(likeness(one, _hidden(seen[0])) > LOOKALIKE for one in shown) == 1


def _reachable(kind: Any, found: dict[str, type]) -> None:
    """Every dataclass that a type can hold, by name. The samples' section holds notes and sheets alone."""
    for inner in get_args(kind):
        _reachable(inner, found)
    if is_dataclass(kind) and isinstance(kind, type) and kind.__name__ not in found:
        found[kind.__name__] = kind
        for item in get_type_hints(kind).values():
            if kind is blocks.Section and get_origin(item) is tuple:
                item = blocks.Note | blocks.Samples
            _reachable(item, found)


def test_every_field_that_may_leave_is_documented() -> None:
    found: dict[str, type] = {}
    _reachable(Disclosed, found)
    there = {f"{name}.{item.name}" for name, kind in found.items() for item in fields(kind)}
    text = (Path(__file__).parents[2] / "docs" / "public-edition.md").read_text()
    rows = re.findall(r"^\| `([A-Za-z]+\.[a-z_]+)` \| (\S.*) \| (\S.*) \|$", text, re.MULTILINE)
    documented = [name for name, _, _ in rows]
    assert len(documented) == len(set(documented))
    assert set(documented) == there


def test_the_samples_section_outside_holds_notes_and_sheets_alone(run_folder: RunFolder) -> None:
    for kind in ("clean", "copies"):
        samples = disclose(read_run(run_folder(kind, _many_private))).samples
        assert {type(block) for block in samples.blocks} <= {blocks.Note, blocks.Samples}
        for block in samples.blocks:
            if isinstance(block, blocks.Samples):
                assert all(one.nearest is None and one.name == "" for row in block.rows for one in row.samples)
