"""Curves during training: where memorisation begins, that looking changes nothing, and that a kill changes nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from generation.train import train
from synguard.config import (
    AuditConfig,
    AutoencoderConfig,
    CurveConfig,
    DataSource,
    DenoiserConfig,
    GeneratorConfig,
    MembershipConfig,
    RunConfig,
    SamplingConfig,
)
from synguard.data.conditions import ConditionSchema
from synguard.data.overlap import find_overlap
from synguard.data.splits import split_holdout
from synguard.errors import InputError, SynguardError
from synguard.runs.curve import NULLS, Curve, begins, curve_lines, curve_of, judged
from synguard.runs.generator import train_generator
from synguard.runs.material import Material
from synguard.runs.progress import silent
from tests.support.textures import image_set, textures

SIDE = 16


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """So that trainings of this module can be held against each other bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def material(private: int, *, holdout: int = 240, seed: int = 1) -> Material:
    """Images of one source, each of a patient of its own."""
    drawn = textures(private + holdout, seed, size=SIDE)
    sets = image_set(drawn[:private], "private"), image_set(drawn[private:], "holdout")
    schema = ConditionSchema(())
    return Material(*sets, schema, schema.parse(sets[0].metadata, "private"), find_overlap(*sets), (), sets[1])


def config(steps: int, every: int, *, seed: int = 0, autoencoder: int = 40, images: int = 60, width: int = 32) -> RunConfig:
    return RunConfig(
        image_size=SIDE,
        seed=seed,
        private=DataSource(path="private"),
        holdout=DataSource(path="holdout"),
        generator=GeneratorConfig(
            autoencoder=AutoencoderConfig(widths=(8, 16), steps=autoencoder, batch_size=16, crop=None, learning_rate=4e-3),
            denoiser=DenoiserConfig(widths=(width, width + 16), steps=steps, batch_size=16, learning_rate=2e-3),
            sampling=SamplingConfig(steps=6, guidance=1.0),
            curve=CurveConfig(enabled=True, every=every, images=images, real=150),
        ),
        audits=AuditConfig(membership=MembershipConfig(permutations=199, resamples=200)),
    )


def curve(folder: Path) -> dict:
    return json.loads((folder / "training" / "curve.json").read_text())


class Killed(Exception):
    pass


@pytest.mark.system
def test_training_on_forty_images_shows_where_memorisation_begins(tmp_path):
    said = []
    folder = train_generator(
        config(240, 40), material(40), tmp_path / "model", lambda phase, done, total: total or said.append(phase)
    )
    found = curve(folder)
    gaps = [point["gap"]["value"] for point in found["points"]]
    print([(point["seen"], point["gap"], point["nearer"]) for point in found["points"]], found["begins"])
    assert [point["step"] for point in found["points"]] == [40, 80, 120, 160, 200, 240]
    assert [point["seen"] for point in found["points"]] == [16, 32, 48, 64, 80, 96]
    assert gaps == sorted(gaps)
    assert found["points"][-1]["gap"]["low"] > 0.1
    assert "gap" in found["begins"]["by"]
    assert 16 < found["begins"]["seen"] < 96
    assert all(point["gap"]["low"] > 0 for point in found["points"] if point["seen"] >= found["begins"]["seen"])
    assert len(said) == 6
    assert said[0].startswith("checkpoint 40: each image seen 16 times; loss gap ")
    assert "beyond chance" in said[-1]
    assert f"begins when each image was seen {found['begins']['seen']:.3g} times" in curve_lines(folder)[0]
    page = (folder / "training" / "curve.html").read_text()
    assert "times each private image was seen" in page
    for name in ("curve.json", "curve.html"):
        assert stat.S_IMODE((folder / "training" / name).stat().st_mode) == 0o600


def stopping(steps: int, every: int) -> RunConfig:
    settings = config(steps, every)
    generator = settings.generator
    stop = generator.curve.model_copy(update={"stop": True})
    return settings.model_copy(update={"generator": generator.model_copy(update={"curve": stop})})


@pytest.mark.system
def test_it_stops_where_memorisation_begins(tmp_path):
    """The model is that of the last checkpoint before, also where the process was killed when it had just decided."""
    given, states = material(40), {}

    def watched(folder: Path, asked: RunConfig, *, killed_at: int = 0) -> Path:
        curve_of_it = Curve(folder, asked, given, silent)

        def called(step, model):
            states.setdefault(step, {k: v.clone() for k, v in model.unets["ema"].state_dict().items()})
            verdict = curve_of_it(step, model)
            if step == killed_at:
                raise Killed
            return verdict

        return train(
            given.private, given.schema, asked.generator, seed=0, folder=folder, checkpoint_every=40, on_checkpoint=called
        )

    whole = curve(watched(tmp_path / "whole", config(240, 40)))
    begins = whole["begins"]["step"]
    with pytest.raises(Killed):
        watched(tmp_path / "model", stopping(240, 40), killed_at=begins + 40)
    folder = watched(tmp_path / "model", stopping(240, 40))
    card = json.loads((folder / "model_card.json").read_text())
    assert card["steps"] == begins - 40
    assert card["images_seen_per_image"] == whole["points"][begins // 40 - 2]["seen"]
    assert curve(folder)["points"] == whole["points"][: begins // 40 + 1]
    kept = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in states[begins - 40].items())
    assert not list((folder / "training").glob("*.safetensors"))


@pytest.mark.system
def test_without_a_checkpoint_before_there_is_none_to_go_back_to(tmp_path):
    with pytest.raises(SynguardError, match=r"found memorisation from the first checkpoint on, expected one before that"):
        train_generator(stopping(240, 120), material(40), tmp_path / "model", silent)


@pytest.mark.parametrize(
    ("lows", "verdict"),
    [
        ([(-0.1, 0.4)], "good"),
        ([(0.1, 0.4)], "doubt"),
        ([(0.1, 0.4), (-0.1, 0.4)], "good"),
        ([(-0.1, 0.4), (0.1, 0.4)], "doubt"),
        ([(0.1, 0.4), (-0.1, 0.6)], "doubt"),  # another figure each time
        ([(0.1, 0.4), (0.1, 0.4)], "stop"),
        ([(0.1, 0.4), (-0.1, 0.6), (0.1, 0.7)], "stop"),
    ],
)
def test_two_in_a_row_end_a_training(lows, verdict):
    assert judged([{"gap": {"low": gap}, "nearer": {"low": nearer}} for gap, nearer in lows]) == verdict


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ({"curve": {"stop": True}}, "curve.stop: found it without enabled"),
        ({"curve": {"enabled": True, "stop": True}, "private": {"noise": 1.0}}, "curve.stop: found private training"),
    ],
)
def test_stops_that_cannot_be(generator, message):
    with pytest.raises(ValidationError, match=message):
        GeneratorConfig(**generator)


@pytest.mark.system
def test_trained_to_the_end_they_are_drawn_again(tmp_path):
    """The loss tells first; long after, what is generated are the private images themselves."""
    folder = train_generator(config(600, 150, autoencoder=250, width=48), material(40), tmp_path / "model", silent)
    points = curve(folder)["points"]
    print([(point["seen"], point["gap"], point["nearer"]) for point in points], curve(folder)["begins"])
    assert points[-1]["nearer"]["low"] > 0.8
    assert points[-1]["gap"]["low"] > 0.5
    first = {name: next(p["seen"] for p in points if p[name]["low"] > null) for name, null in NULLS.items()}
    assert first["gap"] < first["nearer"]
    assert curve(folder)["begins"]["seen"] == first["gap"]


def test_training_on_many_images_for_few_steps_shows_none(tmp_path):
    folder = train_generator(config(60, 20), material(800, holdout=450), tmp_path / "model", silent)
    found = curve(folder)
    print([(point["seen"], point["gap"], point["nearer"]) for point in found["points"]])
    assert [round(point["seen"], 2) for point in found["points"]] == [0.4, 0.8, 1.2]
    assert found["begins"] is None
    for point in found["points"]:
        assert point["gap"]["low"] < 0 < point["gap"]["high"]
        assert point["nearer"]["low"] < 0.5 < point["nearer"]["high"]
    assert "No memorisation was seen" in curve_lines(folder)[0]


def test_only_the_reference_role_is_looked_at(tmp_path, monkeypatch):
    """The verdicts of a later audit come from patients that no curve has seen."""
    from audits.checkpoints import Yardstick

    given = material(60)
    seen = []
    original = Yardstick.of.__func__

    def watched(cls, private, holdout, *args, **kwargs):
        seen.append((private.files, holdout.files))
        return original(cls, private, holdout, *args, **kwargs)

    monkeypatch.setattr(Yardstick, "of", classmethod(watched))
    train_generator(config(10, 10, autoencoder=4, images=20), given, tmp_path / "model", silent)
    roles = split_holdout(given.holdout, 0)
    assert seen == [(given.private.files, roles.reference.files)]


def weights(folder: Path) -> list[bytes]:
    parts = ("vae", "unet", "training/unet_raw")
    return [(folder / part / "diffusion_pytorch_model.safetensors").read_bytes() for part in parts]


SHORT = {"autoencoder": 6, "images": 20, "width": 16}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return train_generator(config(12, 4, **SHORT), material(40), tmp_path_factory.mktemp("curve") / "unbroken", silent)


def test_looking_changes_nothing(unbroken, tmp_path):
    given, settings = material(40), config(12, 4, **SHORT)
    folder = train(given.private, given.schema, settings.generator, seed=0, folder=tmp_path / "unwatched")
    assert weights(folder) == weights(unbroken)
    assert not (folder / "training" / "curve.json").exists()
    assert curve_lines(folder) == []


@pytest.mark.parametrize("point", [("autoencoder", 3), ("prepare the curve", 0), ("denoiser", 7), ("line", 2)])
def test_a_training_that_was_interrupted_ends_with_the_same_curve(unbroken, tmp_path, monkeypatch, point):
    """Also where it was interrupted after a checkpoint and before its point was kept, and no point is measured twice."""
    from audits.checkpoints import Yardstick

    lines = 0

    def interrupted(phase, done, total):
        nonlocal lines
        lines += not total
        if (phase, done) == point or (point[0] == "line" and not total and lines == point[1]):
            raise Killed

    given, settings = material(40), config(12, 4, **SHORT)
    with pytest.raises(Killed):
        train_generator(settings, given, tmp_path / "model", interrupted)
    kept = len(curve(tmp_path / "model")["points"]) if (tmp_path / "model/training/curve.json").exists() else 0
    measured = []
    measure = Yardstick.measure

    def counted(self, model, generated):
        measured.append(model.digest)
        return measure(self, model, generated)

    monkeypatch.setattr(Yardstick, "measure", counted)
    train_generator(settings, given, tmp_path / "model", silent)
    assert len(measured) == 3 - kept
    for name in ("curve.json", "curve.html"):
        assert (tmp_path / "model/training" / name).read_bytes() == (unbroken / "training" / name).read_bytes()
    assert weights(tmp_path / "model") == weights(unbroken)
    train_generator(settings, given, tmp_path / "model", silent)
    assert len(measured) == 3 - kept, "a finished training is not measured again"


@pytest.mark.parametrize("what", ["holdout", "seed", "settings"])
def test_a_curve_of_something_else_is_refused(unbroken, what):
    given, settings = material(40), config(12, 4, **SHORT)
    if what == "holdout":
        given = material(40, holdout=150)
    elif what == "seed":
        settings = settings.model_copy(update={"seed": 1})
    else:
        settings = config(12, 4, **SHORT | {"images": 21})
    with pytest.raises(InputError, match=r"curve\.json: found a curve of other images, another seed or other settings"):
        train_generator(settings, given, unbroken, silent)


def test_the_curve_goes_with_its_private_set_alone(unbroken, tmp_path):
    assert curve_of(unbroken, material(40))["points"]
    assert curve_of(unbroken, material(41)) is None
    assert curve_of(tmp_path, material(40)) is None


def point(step: int, gap: float, nearer: float) -> dict:
    spans = {"gap": {"low": gap, "high": 1.0}, "nearer": {"low": nearer, "high": 1.0}}
    return {"step": step, "seen": step / 10, **spans}


@pytest.mark.parametrize(
    ("lows", "expected"),
    [
        ([(-0.1, 0.4), (-0.1, 0.4)], None),
        ([(-0.1, 0.4), (0.1, 0.4)], (2, ["gap"])),
        ([(-0.1, 0.4), (0.1, 0.6), (0.2, 0.6)], (2, ["gap", "nearer"])),
        ([(-0.1, 0.6), (0.1, 0.6)], (1, ["nearer"])),
        ([(0.1, 0.4), (-0.1, 0.4), (0.1, 0.4)], (3, ["gap"])),
        ([(0.1, 0.4), (0.1, 0.4), (0.0, 0.5)], None),
    ],
)
def test_it_begins_where_a_figure_never_falls_back(lows, expected):
    found = begins([point(number + 1, *low) for number, low in enumerate(lows)])
    assert (found and (found["step"], found["by"])) == expected


def test_a_split_that_can_be_told_apart_has_no_onset(tmp_path):
    import numpy as np

    given = material(150)
    darker = np.clip(given.holdout.pixels.astype(int) - 40, 0, 255).astype(np.uint8)
    dark = image_set(darker, "holdout")
    apart = Material(given.private, dark, given.schema, given.private_conditions, given.overlap, (), dark)
    folder = train_generator(config(8, 8, **SHORT), apart, tmp_path / "model", silent)
    found = curve(folder)
    assert found["split"]["state"] == "invalid"
    assert found["begins"] is None
    assert curve_lines(folder)[0].startswith("Invalid: private set and holdout can be told apart")
