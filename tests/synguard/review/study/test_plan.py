"""The plan: balanced, seeded, fixed before anybody reads, and no cue in anything but the pixels."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synguard.data.decode import decode_image
from synguard.errors import InputError, IntegrityError
from synguard.governance.files import canonical
from synguard.governance.ledger import Ledger
from synguard.review.pictures import plain_png
from synguard.review.study.draw import Side, draw
from synguard.review.study.plan import FOLDER, KIND, PICTURES, Terms, load_picture, pixel_digest, smallest_margin
from synguard.runs.study import Study, open_study
from tests.support.studied import GRADES, RUN, SIDE, studied_run

TERMS = Terms(images=9, readers=2, margin=0.1)


def test_as_many_real_as_synthetic_of_each_level(study: Study):
    plan = study.fix(TERMS)
    counts = Counter((item.real, item.levels["grade"]) for item in plan.items)
    assert counts == {(real, grade): 3 for real in (True, False) for grade in GRADES}
    assert plan.balanced == "grade"
    assert [(c.name, c.levels) for c in plan.conditions] == [("grade", GRADES), ("drusen", ("0", "1"))]
    assert {item.levels["drusen"] for item in plan.items} <= {"0", "1"}


def test_real_images_are_of_the_holdout_one_a_patient_and_synthetic_ones_accepted(tmp_path: Path, study: Study):
    plan = study.fix(TERMS)
    real = [item.file for item in plan.items if item.real]
    assert len({file.split("-")[1] for file in real}) == 9, "one image a patient"
    for item in plan.items:
        folder = tmp_path / "world" / "holdout" if item.real else study.run / "accepted"
        data = (folder / item.file).read_bytes()
        pixels = load_picture(study.run, item)
        assert (decode_image(data, size=SIDE, where="") == pixels).all(), "as the audit reads them"
        assert pixel_digest(pixels) == item.sha256


def test_images_that_are_near_private_ones_or_in_both_sets_are_never_shown(tmp_path: Path, ledger: Ledger):
    near = tuple(f"images/MARIA-{patient:03d}-{number}.png" for patient in range(3) for number in range(2))
    both = ("images/MARIA-003-0.png", "images/MARIA-003-1.png")
    run = studied_run(tmp_path / "world", ledger, near=near, overlapping=both)
    study = open_study(run, ledger.place)
    with pytest.raises(InputError, match="8 can be matched"):
        study.fix(Terms(9, 1, 0.2))
    plan = study.fix(Terms(8, 1, 0.2))
    assert {item.file.split("-")[1] for item in plan.items if item.real} == {f"{n:03d}" for n in range(4, 12)}


def test_too_few_patients(study: Study):
    with pytest.raises(InputError, match=r"--study-images: found 13, where 12 can be matched.*expected at most 12"):
        study.fix(Terms(13, 1, 0.1))
    assert study.book.entries(KIND) == ()


def test_the_plan_is_recorded_before_anything_is_shown_and_never_changes(study: Study, ledger: Ledger):
    with pytest.raises(InputError, match="no plan of a study"):
        study.plan()
    plan = study.fix(TERMS)
    (entry,) = ledger.entries(KIND, RUN)
    assert entry.payload == {"run": RUN, "plan": plan.digest, "images": 9, "readers": 2, "margin": 0.1}
    assert study.fix(TERMS) == plan == study.plan(), "the same again"
    for other in (Terms(8, 2, 0.1), Terms(9, 1, 0.1), Terms(9, 2, 0.2)):
        with pytest.raises(IntegrityError, match=r"9 images a side, 2 readers and a margin of 0\.1, expected the same"):
            study.fix(other)
    assert len(ledger.entries(KIND, RUN)) == 1


@pytest.mark.parametrize("key", ["margin", "real", "levels"])
def test_a_plan_that_was_altered_is_refused(study: Study, key: str):
    study.fix(TERMS)
    path = study.run / FOLDER / "plan.json"
    found = json.loads(path.read_bytes())
    if key == "margin":
        found["terms"]["margin"] = 0.4
    else:
        found["items"][0][key] = not found["items"][0]["real"] if key == "real" else {}
    path.write_bytes(canonical(found))
    with pytest.raises(IntegrityError, match=r"plan\.json: found .* expected sha256"):
        study.plan()
    path.unlink()
    with pytest.raises(IntegrityError, match="no such file"):
        study.fix(TERMS)


def test_a_second_entry_moves_nothing(study: Study, ledger: Ledger):
    plan = study.fix(TERMS)
    wider = replace(plan, terms=Terms(9, 2, 0.4))
    (study.run / FOLDER / "plan.json").write_bytes(wider.to_bytes())
    ledger.append(KIND, {"run": RUN, "plan": wider.digest, "images": 9, "readers": 2, "margin": 0.4})
    with pytest.raises(IntegrityError, match="the plan fixed at"):
        study.plan()


def test_a_plan_that_was_killed_before_its_entry_is_made_anew(study: Study, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            study.fix(TERMS)
    assert (study.run / FOLDER / "plan.json").is_file()
    with pytest.raises(InputError, match="no plan of a study"):
        study.plan()
    other = study.fix(Terms(6, 1, 0.3))
    assert len(list((study.run / FOLDER / PICTURES).iterdir())) == 12
    assert study.plan() == other


def test_another_holdout_is_refused(tmp_path: Path, study: Study):
    image = tmp_path / "world" / "holdout" / "images" / "MARIA-000-0.png"
    image.write_bytes(plain_png(np.zeros((64, 64, 3), np.uint8)))
    with pytest.raises(IntegrityError, match="found other images than the run's holdout"):
        study.fix(TERMS)


def test_a_holdout_that_was_moved(tmp_path: Path, study: Study):
    moved = (tmp_path / "world" / "holdout").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="--holdout says where"):
        study.fix(TERMS)
    assert study.fix(TERMS, str(moved)).items


def test_the_run_chooses_the_images_and_nobody_else(tmp_path: Path, ledger: Ledger, study: Study):
    """Drawn again after a plan was lost before its entry, the same images come: nobody can draw until it suits."""
    first = study.fix(TERMS)
    again = open_study(studied_run(tmp_path / "again", ledger), ledger.place)
    shown = [{(item.real, item.file) for item in plan.items} for plan in (first, _redrawn(again))]
    assert shown[0] == shown[1]
    assert first.key != json.loads((again.run / FOLDER / "plan.json").read_bytes())["key"]


def _redrawn(study: Study):
    study._write(study._drawn(TERMS, None), TERMS)
    from synguard.governance.files import read_json
    from synguard.review.study.plan import _parsed

    return _parsed(read_json(study.run / FOLDER / "plan.json"), study.run)


def test_each_reader_has_all_images_in_an_own_order_under_own_names(study: Study):
    plan = study.fix(TERMS)
    ann, bob = plan.for_reader("ann"), plan.for_reader("bob")
    assert [i.id for i in ann.values()] != [i.id for i in bob.values()]
    assert {i.id for i in ann.values()} == {i.id for i in bob.values()} == {i.id for i in plan.items}
    assert not set(ann) & set(bob), "two readers could talk about a name"
    assert plan.for_reader("ann") == ann, "the same whenever they come back"
    assert list(ann) == sorted(ann), "the order of a folder is the order of the table"
    for name, item in ann.items():
        assert re.fullmatch("[0-9a-f]{24}", name)
        assert name not in (item.id, item.sha256)
        assert not item.id.startswith(name)


def test_names_depend_on_the_key_alone(study: Study):
    """The same files under another key have none of their names: nothing about a name can be worked out from a file."""
    plan = study.fix(TERMS)
    other = replace(plan, key="00" * 32)
    assert not set(plan.for_reader("ann")) & set(other.for_reader("ann"))


def test_places_in_order_say_nothing_about_the_side(study: Study):
    plan = study.fix(Terms(12, 2, 0.1))
    first = Counter(next(iter(plan.for_reader(f"reader {i}").values())).real for i in range(400))
    # Half of 400, within four standard errors of a fair coin.
    assert abs(first[True] - 200) < 40
    numbers = np.array([int(item.picture) for item in plan.items])
    assert sorted(numbers) == list(range(24))
    real = [item.real for item in sorted(plan.items, key=lambda item: item.picture)]
    assert real != sorted(real), "neither do the files in the run folder"
    assert real != sorted(real, reverse=True)


def test_pictures_differ_in_their_pixels_alone(study: Study):
    study.fix(TERMS)
    paths = sorted((study.run / FOLDER / PICTURES).iterdir())
    assert len({path.stat().st_size for path in paths}) == 1, "the length of a file is a cue"
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGB", (SIDE, SIDE), {})
            assert path.read_bytes() == plain_png(np.asarray(image))
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("terms", "named"),
    [((4, 1, 0.1), "--study-images"), ((9, 0, 0.1), "--readers"), ((9, 1, 0.0), "--margin"), ((9, 1, 0.5), "--margin")],
)
def test_terms_that_no_study_can_be_held_to(terms: tuple[int, int, float], named: str):
    with pytest.raises(InputError, match=named):
        Terms(*terms)


def test_nan_is_no_margin():
    with pytest.raises(InputError, match="--margin: found nan"):
        Terms(9, 1, float("nan"))


def test_the_smallest_margin_falls_with_the_root_of_the_images():
    assert smallest_margin(50) == pytest.approx(0.0954, abs=0.001)
    assert smallest_margin(200) == pytest.approx(smallest_margin(50) / 2, rel=0.02)


SIDES = st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abc")), min_size=1, max_size=40)


@settings(max_examples=80)
@given(SIDES, SIDES, st.integers(1, 12), st.integers(0, 2**32))
def test_any_draw_is_balanced_and_takes_no_patient_twice(real, synthetic, images, seed):
    sides = [Side(([p for p, _ in rows],), [level for _, level in rows]) for rows in (real, synthetic)]
    try:
        found = draw(*sides, images, np.random.default_rng(seed))
    except InputError:
        return
    assert found == draw(*sides, images, np.random.default_rng(seed))
    assert [len(rows) for rows in found] == [images, images]
    counts = [Counter(side.levels[row] for row in rows) for side, rows in zip(sides, found, strict=True)]
    assert counts[0] == counts[1]
    for side, rows in zip(sides, found, strict=True):
        assert len({side.keys[0][row] for row in rows}) == images


def test_levels_are_shared_out_evenly_as_far_as_they_go():
    real = Side((list(range(30)),), ["a"] * 20 + ["b"] * 8 + ["c"] * 2)
    synthetic = Side((list(range(30)),), ["a"] * 10 + ["b"] * 10 + ["c"] * 10)
    rows, _ = draw(real, synthetic, 12, np.random.default_rng(0))
    assert Counter(real.levels[row] for row in rows) == {"a": 5, "b": 5, "c": 2}
