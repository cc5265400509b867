"""Both editions: verdict, form, determinism, what is missing, and hostile input."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reports
from reports import internal, public
from reports import pairs as pair_module
from reports.editions import page as write
from reports.runfolder import read_run
from synguard.errors import InputError
from tests.support.page import read
from tests.support.runs import Made, fundus, make_run, metric

RunFolder = Callable[..., Path]
SECTIONS = ("copies", "membership", "autoencoder", "labels", "fidelity", "samples", "quarantine", "reproduction")
HOSTILE = (
    '"><img src=x onerror=alert(1)>.png',
    "\u202egnp.exe\u202c.png",
    "a" * 300,
    "</style><script>alert(1)</script>",
    "{{ 7 * 7 }}",
)


@pytest.mark.parametrize("edition", ["internal", "public"])
def test_a_split_that_may_be_told_apart_is_not_called_so(run_folder: RunFolder, edition: reports.Edition) -> None:
    """The policy's limit on the bound is broken, while the audit itself found nothing that tells the two apart."""

    def doubtful(made: Made) -> None:
        for row in made.results["metrics"]:
            if row["name"].startswith("membership."):
                row.update(state="measured", value=0.531, interval=[0.47, 0.578])
        for check in made.results["checks"]:
            if check["metric"].startswith("membership."):
                check["status"] = "insufficient" if check["metric"] == "membership.split.auc" else "pass"

    verdict = read(reports.render(run_folder("invalid", doubtful), edition).read_text()).text("verdict")
    assert "No decision: too few images to exclude that private set and holdout are told apart without the model." in verdict
    assert "Take more images of the same source on both sides, and audit again." in verdict
    assert "Membership inference, but the comparison may not be valid" in verdict
    assert "Membership is not judged: private set and holdout may be told apart without the model." in verdict


@pytest.mark.parametrize(
    ("kind", "word", "sentence"),
    [
        (
            "clean",
            "Passed with warnings",
            "May go to sign-off, with 1 warning to read: no copy of a private image was found.",
        ),
        ("copies", "Not for release", "Do not release: 15 of 1,000 candidates are copies of private images."),
        (
            "invalid",
            "No decision",
            "No decision: private set and holdout can be told apart without the model, so membership cannot be judged.",
        ),
    ],
)
@pytest.mark.parametrize("edition", ["internal", "public"])
def test_the_first_screen_says_the_verdict_in_a_sentence(
    run_folder: RunFolder, kind: str, word: str, sentence: str, edition: reports.Edition
) -> None:
    page = read(reports.render(run_folder(kind), edition).read_text())
    verdict = page.text("verdict")
    assert verdict.startswith(f"{word} {sentence}")
    for heading in ("What was tested", "What was not tested", "Limits of the claim"):
        assert heading in verdict
    assert "Burned-in text" in verdict
    assert (
        "audit would have seen at least one of 2 copies with 95 % probability, if they are "
        "unchanged, JPEG-compressed at quality 40, reduced to 75 % inside margins, brightened ×1.3, mirrored, "
        "as a negative, blurred, turned, cropped to 50 % of each side or blended at 50 % with another image. "
        "Other changes it sees less well: a part of 50 % pasted into another image (one of 3), turned by 10° (one of 5), "
        "cropped to 80 % of each side (one of 839)."
    ) in verdict
    assert page.all("h1") == [{}]
    assert not re.search(r"\banonym|GDPR", page.text(), re.IGNORECASE)


def test_a_pass_is_never_said_of_a_verdict_that_is_not_understood(run_folder: RunFolder) -> None:
    run = run_folder("clean", lambda made: made.results["decision"].update(status="splendid"))
    assert read(reports.render(run, "internal").read_text()).text("verdict").startswith("No decision")


@pytest.mark.parametrize("edition", ["internal", "public"])
@pytest.mark.parametrize("kind", ["clean", "copies", "invalid"])
def test_form(run_folder: RunFolder, kind: str, edition: reports.Edition) -> None:
    path = reports.render(run_folder(kind), edition)
    html = path.read_text()
    page = read(html)
    assert html.startswith("<!doctype html>")
    assert page.faults == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name], "half-written files are left"

    tags = {name for name, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for name, attributes in page.tags:
        assert "style" not in attributes, f"<{name}> is styled inline, which the policy forbids"
        assert not any(key.startswith("on") for key in attributes)
        for key in ("href", "src"):
            assert (attributes.get(key) or "#").startswith(("#", "data:image/")), attributes
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {href[1:] for a in page.all("a") if (href := a["href"])} <= set(ids)
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(attributes.get("scope") in {"col", "row"} for attributes in page.all("th"))
    assert all(attributes.get("aria-label") or attributes.get("aria-hidden") for attributes in page.all("svg"))

    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'")
    assert "url(" not in style[0]
    assert "@import" not in style[0]


@pytest.mark.parametrize("edition", ["internal", "public"])
def test_the_same_folder_gives_the_same_bytes_wherever_it_lies(
    run_folder: RunFolder, tmp_path: Path, edition: reports.Edition
) -> None:
    run = run_folder("copies")
    first = reports.render(run, edition).read_bytes()
    assert reports.render(run, edition).read_bytes() == first
    moved = tmp_path / "elsewhere"
    shutil.copytree(run, moved)
    assert reports.render(moved, edition).read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_checks_show_everything_that_was_held_against_what(run_folder: RunFolder) -> None:
    page = read(reports.render(run_folder("copies"), "internal").read_text())
    checks = page.text("checks")
    assert checks.index("Fail") < checks.index("Warning") < checks.index("Pass")
    row = checks[checks.index("Near copies") :]
    assert row.startswith(
        "Near copies The upper bound of 2.6 % is above the limit of 1 %. "
        "Fail 1.5 % 0.9 % to 2.6 % 2.5 % above 1 % 0 % holdout 1,000"
    )


def test_pairs_are_shown_side_by_side_inside_only(run_folder: RunFolder) -> None:
    run = run_folder("copies")
    inside = read(reports.render(run, "internal").read_text())
    pairs = inside.text("pairs")
    assert "patient-4000/left.png" in pairs
    assert "Mirrored, turned 90 degrees" in pairs
    assert "in quarantine" in pairs
    alts = [str(attributes["alt"]) for attributes in inside.all("img")]
    for panel in ("Candidate", "Private image", "Difference"):
        assert sum(alt.startswith(f"{panel} of pair") for alt in alts) == 15
    outside = read(reports.render(run, "public").read_text())
    assert "pairs" not in {attributes.get("id") for _, attributes in outside.tags}
    assert outside.all("img") == []


def test_pairs_say_how_they_matched_and_what_was_copied(run_folder: RunFolder) -> None:
    secret = fundus(77)

    def change(made: Made) -> None:
        first, second, third, fourth, *_ = made.evidence["memorisation"]["flagged"]
        words = "mirrored, turned 12 degrees, enlarged 1.25 times, shifted, as a negative"
        second |= {"match": "moved", "transform": words, "copied_area": 0.31}
        third |= {"match": "part-45", "copied_area": 0.08}
        fourth |= {"match": "framed", "pair": ""}
        first |= {"match": "part-70"}
        made.pictures["pairs/0001-area.png"] = secret

    run = run_folder("copies", change)
    page = read(reports.render(run, "internal").read_text())
    pairs = page.text("pairs").replace("\u00a0", " ")
    whole = "mirrored, turned 12 degrees, enlarged 1.25 times, shifted, as a negative; copied: 31 % of the area."
    assert f"Moved: {whole}" in pairs
    assert "A part of it: turned 90 degrees; copied: 8 % of the area." in pairs
    assert "In the same frame: unchanged; copied: 97 % of the area." in pairs  # an exact copy, wherever the search led
    assert "Copied area: 31 % of the area" in pairs
    assert "In the same frame Mirrored, turned 90 degrees 97 %" in pairs  # of the table without pictures
    assert pairs.count("A part of it") == 3, "caption, fact, and what pairs can be filtered by"
    areas = [image for image in page.all("img") if str(image["alt"]).startswith("Copied area of pair")]
    assert [str(image["alt"]).replace("\u00a0", " ") for image in areas] == [
        "Copied area of pair 2: outlined in the candidate, 31 % of the area; the rest is dimmed"
    ]
    outside = reports.render(run, "public").read_text()
    assert str(areas[0]["src"]) not in outside
    assert "Copied area" not in outside
    assert "in the same frame" not in outside.lower()


def test_the_class_of_p_values_is_said_inside_only(run_folder: RunFolder) -> None:
    def change(made: Made) -> None:
        made.evidence["memorisation"]["calibration"] = {
            "images": 700,
            "classes": [
                {"class": "grade=none", "images": 412, "own_p_values": True},
                {"class": "grade=severe", "images": 88, "own_p_values": False},
                {"class": "", "images": 200, "own_p_values": False},
            ],
        }

    run = run_folder("clean", change)
    data = read(reports.render(run, "internal").read_text()).text("data")
    assert "grade=none 412 those of the class" in data
    assert "grade=severe 88 all 700 calibration images, since the class has too few" in data
    assert "none or missing 200 all 700 calibration images" in data
    assert "those of the class" not in reports.render(run, "public").read_text()


def test_a_missing_pair_says_so(run_folder: RunFolder) -> None:
    run = run_folder("copies")
    shutil.rmtree(run / "pairs")
    page = read(reports.render(run, "internal").read_text())
    assert page.text("pairs").count("not stored") == 45


@pytest.mark.parametrize("place", ["../outside", "/etc", "pairs/../../outside", "pairs/0001/../../../outside"])
def test_pictures_from_outside_the_run_are_not_opened(run_folder: RunFolder, tmp_path: Path, place: str) -> None:
    secret = make_run("copies", accepted=1).pictures["pairs/0003-private.png"]

    def change(made: Made) -> None:
        made.evidence["memorisation"]["flagged"] = [{**made.evidence["memorisation"]["flagged"][0], "pair": place}]
        made.pictures["../outside-private.png"] = secret

    page = read(reports.render(run_folder("copies", change), "internal").read_text())
    assert page.text("pairs").count("not stored") == 3


def test_links_are_not_followed(run_folder: RunFolder, tmp_path: Path) -> None:
    run = run_folder("copies")
    outside = tmp_path / "outside.png"
    shutil.move(run / "pairs/0000-private.png", outside)
    (run / "pairs/0000-private.png").symlink_to(outside)
    page = read(reports.render(run, "internal").read_text())
    assert page.text("pairs").count("not stored") == 2  # the private image, and no difference without it


@pytest.mark.parametrize("edition", ["internal", "public"])
@pytest.mark.parametrize("missing", ["memorisation", "membership", "labels", "fidelity", "run"])
def test_a_section_without_evidence_says_not_tested(run_folder: RunFolder, missing: str, edition: reports.Edition) -> None:
    def change(made: Made) -> None:
        del made.evidence[missing]
        made.results["metrics"] = [m for m in made.results["metrics"] if not m["name"].startswith(missing)]
        made.images = [] if missing == "run" else made.images

    page = read(reports.render(run_folder("clean", change), edition).read_text())
    section = {"memorisation": "copies", "run": "quarantine"}.get(missing, missing)
    assert "Not tested: this run holds no evidence on" in page.text(section)
    if missing != "run":
        words = {
            "memorisation": "Copies of",
            "membership": "Membership inf",
            "labels": "Labels:",
            "fidelity": "Fidelity against",
        }
        verdict = page.text("verdict")
        assert verdict.index("What was not tested") < verdict.index(words[missing])


@pytest.mark.parametrize("edition", ["internal", "public"])
def test_the_autoencoder_in_words(run_folder: RunFolder, edition: reports.Edition) -> None:
    """What the errors say in a sentence, for a clean one, one that knows its patients, and where nothing can be said."""

    def said(**update: object) -> str:
        def change(made: Made) -> None:
            made.evidence["autoencoder"].update(update)

        page = read(reports.render(run_folder("clean", change), edition).read_text())
        return page.text("autoencoder").replace("\u00a0", " ")

    sizes = "1,000 private against 1,000 unseen images; chance is 0.5"
    exact = edition == "internal"
    clean = said()
    span = "AUC 0.524 (0.499 to 0.549" if exact else "AUC 0.52 (0.50 to 0.55"
    assert f"The autoencoder was not seen to know the private images, {span}; {sizes})." in clean
    assert f"Their mean squared error is {'2.1' if exact else '2'} % less than that of unseen images" in clean
    assert "An AUC of 0.53" in clean
    assert "Private images" in clean
    assert "error in grey levels of 255" in clean
    knows = said(auc={"value": 0.84, "interval": [0.79, 0.88]}, gap={"value": 0.49, "interval": [0.4, 0.6]})
    assert "The autoencoder knows the private images: it restores them better" in knows
    assert "49 % less than that of unseen images (95 % interval of the difference 40 % to 60 %)" in knows
    assert said(state="not_tested", auc=None).endswith("Not tested: no model with an autoencoder was at hand.")
    assert "Invalid: private set and holdout can be told apart" in said(state="invalid")
    assert "No figure: too few" in said(state="insufficient", auc=None)


def _curve(begins: dict[str, object] | None, state: str = "valid") -> dict[str, object]:
    points = [
        {
            "step": 100 * (i + 1),
            "seen": 10.0 * (i + 1),
            "private_loss": 0.5 - 0.05 * i,
            "holdout_loss": 0.5,
            "gap": {"value": 0.1 * i, "low": 0.1 * i - 0.05, "high": 0.1 * i + 0.05},
            "nearer": {"value": 0.5, "low": 0.4, "high": 0.6},
        }
        for i in range(4)
    ]
    return {
        "schema_version": 1,
        "looks": 4,
        "generated": 200,
        "compared": {"private": 500, "holdout": 400, "neighbours": 300},
        "split": {"state": state, "reason": ""},
        "points": points,
        "begins": begins,
    }


@pytest.mark.parametrize(
    ("curve", "sentence"),
    [
        (
            _curve({"step": 200, "seen": 20.0, "by": ["gap"]}),
            "Memorisation begins when each image was seen 20 times (step 200): from there on the loss on private images is "
            "lower than on unseen ones, beyond chance.",
        ),
        (
            _curve(None),
            "No memorisation was seen: up to the last checkpoint (step 400, each image seen 40 times) neither figure stays "
            "beyond chance.",
        ),
        (
            _curve({"step": 300, "seen": 30.0, "by": ["gap", "nearer"]}, "insufficient"),
            "Memorisation begins when each image was seen 30 times (step 300): from there on the loss on private images is "
            "lower than on unseen ones and generated images lie nearer to private ones, beyond chance. That the two sets "
            "differ by looks could not be ruled out, with so few images.",
        ),
        (_curve(None, "invalid"), "Invalid: private set and holdout can be told apart without the model"),
    ],
)
def test_where_memorisation_begins_is_told_inside(
    run_folder: RunFolder, tmp_path: Path, curve: dict[str, object], sentence: str
) -> None:
    """In the internal report, and on the page of its own beside the training; never in the public report."""
    run = run_folder("clean", lambda made: made.evidence.update(training={"curve": curve}))
    inside = read(reports.render(run, "internal").read_text())
    (tmp_path / "curve.json").write_text(json.dumps(curve))
    target = reports.render_curve(tmp_path / "curve.json")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    alone = read(target.read_text())
    assert reports.curve_summary(tmp_path / "curve.json").startswith(sentence)
    for page in (inside, alone):
        words = page.text("training").replace("\u00a0", " ")
        assert sentence in words
        assert "planned (4) and both figures" in words
        assert "500 private and 400 unseen images" in words
        assert ("memorisation begins, " in words) == ("begins when" in sentence)
        assert page.faults == []
    policy = next(m["content"] for m in alone.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert not {name for name, _ in alone.tags} & {"script", "link", "iframe", "img"}
    outside = read(reports.render(run, "public").read_text())
    assert "training" not in {attributes.get("id") for _, attributes in outside.tags}


def test_a_curve_without_a_point_is_no_curve(run_folder: RunFolder, tmp_path: Path) -> None:
    broken = {"points": [{"step": 100, "seen": 1.0, "gap": {"value": 0.1}}]}
    run = run_folder("clean", lambda made: made.evidence.update(training={"curve": broken}))
    page = read(reports.render(run, "internal").read_text())
    assert "training" not in {attributes.get("id") for _, attributes in page.tags}
    (tmp_path / "curve.json").write_text(json.dumps(broken))
    with pytest.raises(InputError, match=r"curve\.json: found no point of a curve"):
        reports.render_curve(tmp_path / "curve.json")


def test_without_batches_the_images_tell_what_became_of_them(run_folder: RunFolder) -> None:
    run = run_folder("copies", lambda made: made.evidence["run"].clear())
    words = read(reports.render(run, "internal").read_text()).text("quarantine")
    fates = "Accepted 20 57.1 % Refused as copies or sheets 15 42.9 % Refused for their labels 0 0 %"
    assert fates in words.replace("\u00a0", " ")


def test_a_spoilt_holdout_and_an_unverified_link_are_on_the_first_screen(run_folder: RunFolder) -> None:
    def change(made: Made) -> None:
        row = {**made.results["checks"][0], "metric": "data.overlap_pairs", "status": "invalid", "group": None}
        made.results["checks"].append(row)
        made.evidence["data"] = {"link": "link unverified: no card", "private_images": 4000, "overlap": {"same_bytes": []}}

    run = run_folder("invalid", change)
    for edition in ("internal", "public"):
        verdict = read(reports.render(run, edition).read_text()).text("verdict")
        assert verdict.startswith("No decision No decision: private images are in the holdout too")
        assert "It was not verified that the model, the private set and these images belong together." in verdict
    assert "private images 4000" in read((run / "report/internal.html").read_text()).text("data")


@pytest.mark.parametrize("edition", ["internal", "public"])
def test_results_alone_are_enough(run_folder: RunFolder, edition: reports.Edition) -> None:
    run = run_folder("clean")
    for path in run.rglob("*"):
        if path.is_file() and path.name != "results.json":
            path.unlink()
    page = read(reports.render(run, edition).read_text())
    assert page.faults == []
    for section in SECTIONS[:5]:
        assert "Not tested" in page.text(section)


@pytest.mark.parametrize("wrong", [None, "text", -1])
def test_evidence_of_the_wrong_shape_breaks_nothing(tmp_path: Path, wrong: object) -> None:
    """Every part of the evidence in turn becomes something else."""
    made = make_run("copies", accepted=1)
    made.pictures.clear()
    made.evidence["training"] = {"curve": _curve({"step": 200, "seen": 20.0, "by": ["gap"]})}
    run = read_run(made.write(tmp_path))
    for key in made.evidence["training"]["curve"]:
        curve = {**made.evidence["training"]["curve"], key: wrong}
        assert write(internal.build(replace(run, evidence={**made.evidence, "training": {"curve": curve}})))
    for audit, said in made.evidence.items():
        for key in said:
            changed = replace(run, evidence={**made.evidence, audit: {**said, key: wrong}})
            assert write(internal.build(changed))
            assert write(public.build(public.disclose(changed)))


def test_no_results_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"results.json: found no results"):
        reports.render(tmp_path, "internal")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(InputError, match="no readable JSON"):
        reports.render(tmp_path, "public")
    with pytest.raises(ValueError, match="edition"):
        reports.render(tmp_path, "secret")  # type: ignore[arg-type]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("edition", ["internal", "public"])
def test_hostile_names_and_labels_stay_text(run_folder: RunFolder, hostile: str, edition: reports.Edition) -> None:
    plain = read(reports.render(run_folder("copies"), edition).read_text())

    def change(made: Made) -> None:
        _everywhere(made, hostile)

    html = reports.render(run_folder("copies", change), edition).read_text()
    page = read(html)
    assert page.faults == []
    assert {name for name, _ in page.tags} <= {name for name, _ in plain.tags}
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert "49" not in page.text("labels") if "7 * 7" in hostile else True
    if edition == "internal":
        assert " ".join(hostile.split()) in page.text("pairs")
    else:
        assert hostile not in html


def _everywhere(made: Made, hostile: str) -> None:
    for row in made.evidence["memorisation"]["flagged"]:
        row.update(file=hostile, nearest=hostile, transform=hostile, lane=hostile)
    for row in made.evidence["memorisation"]["planted"]:
        row["transform"] = hostile
    for row in made.evidence["membership"]["probes"]:
        row.update(name=hostile, access=hostile)
    made.evidence["autoencoder"].update(state=hostile, note=hostile)
    for row in made.evidence["labels"]["attributes"]:
        row.update(kind=hostile, levels=[hostile] * len(row["levels"]))
    for row in made.evidence["fidelity"]["metrics"]:
        row["name"] = hostile
    for row in made.images:
        row["condition.grade"] = hostile + str(row["condition.drusen"])
    for row in (*made.results["checks"], *made.results["metrics"]):
        row["group"] = hostile
    for row in made.results["checks"]:
        row.update(reason=hostile, limit=hostile, title=hostile, unit=hostile)
    made.results["decision"]["reasons"] = [hostile]
    made.results["policy"] = {hostile: hostile}
    made.run.update(id=hostile, command=[hostile], versions={hostile: hostile, "torch": hostile}, finished=hostile)
    made.run["config"]["name"] = hostile


@pytest.mark.parametrize("detailed", [pytest.param(False, marks=pytest.mark.system), True])
def test_a_thousand_flagged_pairs_have_pictures_on_a_page_of_less_than_10_mb(run_folder: RunFolder, detailed: bool) -> None:
    """Those that compress badly are smaller, and still all there."""
    noise = np.random.default_rng(3).integers(0, 256, (64, 256, 256, 3), dtype=np.uint8)

    def change(made: Made) -> None:
        rows = made.evidence["memorisation"]["flagged"]
        made.evidence["memorisation"]["flagged"] = [
            {**rows[i % 15], "file": f"many-{i:04d}.png", "score": 1 - i / 2000} for i in range(1000)
        ]
        for name, pixels, shift in zip(list(made.pictures), itertools.cycle(noise), itertools.count()):
            if detailed and name.startswith("pairs/"):
                made.pictures[name] = pixels // 4 + np.kron(fundus(shift), np.ones((4, 4, 1), np.uint8)) // 2

    path = reports.render(run_folder("copies", change), "internal")
    assert path.stat().st_size < 10_000_000
    page = read(path.read_text())
    words = page.text("pairs")
    assert all(f"many-{i:04d}.png" in words for i in range(1000))
    assert "without pictures" not in words
    shown = {
        str(image["src"]): image
        for image in page.all("img")
        if str(image["alt"]).partition(" of pair")[0] == "Private image"
    }
    assert len(shown) == 15
    sides = set()
    for uri, image in shown.items():
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as written:
            sides.add(written.width)
            assert str(written.width) == image["width"]
    assert len(sides) == 1
    assert max(sides) in range(80, 160) if detailed else sides == {64}


def test_what_the_budget_does_not_hold_is_listed(run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_module, "ROOM", 8_000)
    page = read(reports.render(run_folder("copies"), "internal").read_text())
    shown = [name for name, attributes in page.tags if name == "article"]
    assert 0 < len(shown) < 15
    assert f"{15 - len(shown)} more, without pictures" in page.text("pairs")
    assert all(f"q{i:05d}.png" in page.text("pairs") for i in range(15))


def test_pairs_can_be_chosen_and_put_in_order_without_a_script(run_folder: RunFolder) -> None:
    """Each card has its place in each order, in rules of the one style sheet, and the words that filters go by."""

    def change(made: Made) -> None:
        for i, row in enumerate(made.evidence["memorisation"]["flagged"]):
            row |= {"copied_area": (7 * i % 15) / 15, "match": "moved" if i % 3 else "part-45", "accepted": i == 4}

    html = reports.render(run_folder("copies", change), "internal").read_text()
    page = read(html)
    cards = [attributes for name, attributes in page.tags if name == "article"]
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)[0]
    assert cards[0]["class"] == "pair let-through verified moved"
    places = [
        [int(place) for place in re.findall(rf"#{card['id']}{{--area:(\d+);--source:(\d+);--file:(\d+)}}", style)[0]]
        for card in cards
    ]
    areas = [
        float(share) for share in re.findall(r"Copied area ([\d.]+) % Score", page.text("pairs").replace("\u00a0", " "))
    ]
    ordered = [area for _, area in sorted(zip((area for area, _, _ in places), areas, strict=True))]
    assert ordered == sorted(areas, reverse=True)
    assert sorted(file for _, _, file in places) == list(range(15))
    radios = [(box["name"], box["value"], "checked" in box) for box in page.all("input")]
    assert radios[:3] == [
        ("flagged-fate", "all", True),
        ("flagged-fate", "let-through", False),
        ("flagged-fate", "held-back", False),
    ]
    for value in {value for _, value, first in radios if not first}:
        assert f'[value="{value}"]:checked' in style, "an option that changes nothing"


def test_a_strip_of_panels_and_given_differences_are_taken(run_folder: RunFolder) -> None:
    def change(made: Made) -> None:
        panels = [made.pictures.pop(f"pairs/0000-{name}.png") for name in ("candidate", "private")]
        made.pictures["pairs/0000.png"] = np.concatenate([*panels, panels[0] // 2], axis=1)

    page = read(reports.render(run_folder("copies", change), "internal").read_text())
    assert "not stored" not in page.text("pairs")


def test_samples_come_a_row_a_class_in_the_order_of_the_levels(run_folder: RunFolder) -> None:
    page = read(reports.render(run_folder("clean"), "internal").read_text())
    words = page.text("samples")
    places = [words.index(level) for level in ("none", "mild", "moderate", "severe", "proliferative")]
    assert places == sorted(places)
    assert sum("Synthetic image" in str(attributes["alt"]) for attributes in page.all("img")) == 20


def test_copies_of_a_run_without_a_decision_are_not_called_good(run_folder: RunFolder) -> None:
    """Nothing was found there, and nothing was shown."""
    good = '<dd class="value pass">0</dd>'
    assert good in reports.render(run_folder("clean"), "internal").read_text()
    assert good not in reports.render(run_folder("invalid"), "internal").read_text()


def test_the_page_inside_says_of_how_many_private_images_the_copies_are(run_folder: RunFolder) -> None:
    words = read(reports.render(run_folder("copies"), "internal").read_text()).text("verdict")
    assert "of 15 private images" in words
    words = read(reports.render(run_folder("copies"), "public").read_text()).text("verdict")
    assert "private images" not in words.split("What was tested")[0].partition("candidates are copies of private images")[2]


def test_the_summary_is_plain_text_with_the_reasons(run_folder: RunFolder) -> None:
    words = reports.summary(run_folder("copies"))
    assert words.startswith("✕ NOT FOR RELEASE (exit code 20)\nDo not release: 15 of 1,000 candidates")
    assert "✕ Verified copies: 15 verified copies among 1,000 candidates" in words
    assert "Not tested\n" in words
    hostile = run_folder("copies", lambda made: made.results["checks"][1].update(reason="\x1b[2J\u202eowned"))
    assert "[2Jowned" in reports.summary(hostile)
    assert not set("\x1b\u202e") & set(reports.summary(hostile))


def test_strategies_have_a_table_of_their_own_inside_and_none_outside(run_folder: RunFolder) -> None:
    def redrawn(made: Made) -> None:
        for name, value, unit in (("verified_copies", 3.0, "images"), ("near_copy_rate", 0.03, "share")):
            row = metric(f"memorisation.{name}", value, unit, 100, group="strategy=inpainting", interval=(0.01, 0.09))
            made.results["metrics"].append(row)

    folder = run_folder("clean", redrawn)
    inside = read(reports.render(folder, "internal").read_text())
    assert "Inpainting 100 3 3 % 1 % to 9 %" in inside.text("copies")
    assert "npainting" not in reports.render(folder, "public").read_text()
