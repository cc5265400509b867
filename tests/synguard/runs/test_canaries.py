"""Canaries and private training through the commands: committed to, found again by the audit, and refused when changed."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from pathlib import Path

import pandas as pd
import pytest

import synguard
from audits.epsilon import Spent
from synguard.commands.main import main
from synguard.data.canaries import Canaries
from synguard.data.phantom import write_phantoms
from synguard.errors import EvidenceError, InputError, IntegrityError
from synguard.runs.canaries import coins_of, draw_for, spent_by, with_canaries
from synguard.runs.configuration import load_config
from synguard.runs.generator import link_of, require_link, train_only
from synguard.runs.material import NO_CANARIES, read_material
from synguard.runs.progress import silent

CONFIG = """\
name: small
image_size: 16
private: {path: private, patient: patient}
holdout: {path: holdout, patient: patient}
conditions:
  - {name: eye_side, kind: categorical, levels: [left, right]}
generator:
  autoencoder: {steps: 2, widths: [8, 16], crop: 16, batch_size: 8}
  denoiser: {steps: 4, widths: [16, 16], batch_size: 8}
  sampling: {steps: 2, batch_size: 20}
  private: {noise: 1.0, multiplicity: 2}
audits:
  membership: {permutations: 199, resamples: 200, draws: 1}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("canaries")
    write_phantoms(folder / "private", patients=40, images_per_patient=2, size=16, seed=5)
    write_phantoms(folder / "holdout", patients=30, images_per_patient=2, size=16, seed=5, first_patient=40)
    (folder / "synguard.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def trained(world: Path) -> Path:
    return train_only(world / "synguard.yaml", world / "model", canaries=20, progress=silent)


@pytest.fixture(scope="module")
def material(world: Path):
    return read_material(load_config(world / "synguard.yaml"), world, silent)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["synguard", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_card_is_committed_to_coins_that_only_the_owner_has(trained, material):
    card = json.loads((trained / "model_card.json").read_text())
    path = trained / "training" / "canaries.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    coins = Canaries.load(path, card["training"]["canaries"]["commitment"])
    assert coins.population == material.private.digest == card["training"]["canaries"]["population"]
    assert len(coins.patients) == 20
    assert card["training"]["private_digest"] == coins.trained_on(material.private).digest
    told = (trained / "model_card.json").read_text() + (trained / "README.md").read_text()
    assert coins.salt not in told


def test_the_audit_sees_the_private_set_as_the_training_saw_it(trained, material):
    seen = with_canaries(material, coins_of(trained, material.private))
    coins = seen.drawn
    assert len(seen.private) == len(material.private) - len(coins.left_out)
    assert len(seen.private_conditions) == len(seen.private)
    assert set(coins.put_in.patients) <= set(seen.private.patients)
    assert not set(coins.left_out.patients) & set(seen.private.patients)
    assert "names this private set" in link_of(trained, seen)
    # Whoever of the patients was left out is no member, and must not be released either.
    assert seen.searched is material.private
    assert seen.searched.take(seen.members).files == seen.private.files
    assert material.members.tolist() == list(range(len(material.private)))


def test_a_model_whose_coins_are_missing_is_not_audited(world, trained, material, tmp_path):
    """Those whom they left out would count as members, and make the model look as if it had learned nothing."""
    assert link_of(trained, material).startswith("the model was trained on a part of a private set")
    shutil.copytree(trained, tmp_path / "model", ignore=shutil.ignore_patterns("canaries.json"))
    config = load_config(world / "synguard.yaml")
    link = link_of(tmp_path / "model", with_canaries(material, coins_of(tmp_path / "model", material.private)))
    with pytest.raises(EvidenceError, match="their coins is not in the model's folder: expected the folder of the training"):
        require_link(config, None, link)


def test_without_coins_it_says_why(trained, material, tmp_path):
    assert with_canaries(material, coins_of(None, material.private)).drawn == NO_CANARIES
    other = material.private.take(range(10))
    assert "not the one that the model's canaries were drawn from" in str(coins_of(trained, other))
    (tmp_path / "model_card.json").write_bytes((trained / "model_card.json").read_bytes())
    assert "not in the model's folder" in str(coins_of(tmp_path, material.private))
    (tmp_path / "model_card.json").write_text("{}")
    assert coins_of(tmp_path, material.private) == NO_CANARIES


def test_coins_changed_after_the_training_are_refused(trained, material, tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "model_card.json").write_bytes((trained / "model_card.json").read_bytes())
    value = json.loads((trained / "training" / "canaries.json").read_text())
    value["included"][3] = not value["included"][3]
    (tmp_path / "training" / "canaries.json").write_text(json.dumps(value))
    with pytest.raises(IntegrityError, match="found other coins"):
        coins_of(tmp_path, material.private)


def test_a_training_that_is_gone_on_with_keeps_its_coins(world, trained, material):
    before = (trained / "training" / "canaries.json").read_bytes()
    assert train_only(world / "synguard.yaml", trained, canaries=20, progress=silent) == trained
    assert (trained / "training" / "canaries.json").read_bytes() == before
    with pytest.raises(InputError, match="found a training with 20 canaries"):
        draw_for(trained, material.private, 21, silent)
    with pytest.raises(InputError, match="found a training with another"):
        train_only(world / "synguard.yaml", trained, progress=silent)


def test_canaries_are_not_drawn_for_a_training_that_began_without(world, material, tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "identity.json").write_text("{}")
    with pytest.raises(InputError, match="and no canaries, expected an empty folder"):
        draw_for(tmp_path, material.private, 20, silent)
    assert draw_for(tmp_path, material.private, None, silent) is None


def test_what_the_card_says_was_spent(trained, material, tmp_path):
    found = spent_by(trained, material.private)
    assert isinstance(found, Spent)
    card = json.loads((trained / "model_card.json").read_text())
    assert (found.epsilon, found.unit, found.patients) == (card["epsilon"], "patient", 40)
    assert "autoencoder" in found.not_covered
    assert "noise multiplier 1" in found.method
    assert "no model was given" in str(spent_by(None, material.private))
    for said, words in ((None, "does not say"), ('"none"', "without differential privacy")):
        (tmp_path / "model_card.json").write_text("{}" if said is None else f'{{"differential_privacy": {said}}}')
        assert words in str(spent_by(tmp_path, material.private))
    (tmp_path / "model_card.json").write_text('{"differential_privacy": {"epsilon_upper_bound": "little"}}')
    with pytest.raises(InputError, match="cannot be read"):
        spent_by(tmp_path, material.private)


def test_the_command_says_what_was_committed_to_and_spent(world, trained, monkeypatch, capsys):
    assert command(monkeypatch, "train", world / "synguard.yaml", "--out", trained, "--canaries", 20, "--quiet") == 0
    said = capsys.readouterr().out
    card = json.loads((trained / "model_card.json").read_text())
    assert f"canaries: 20 patients, committed to before the training: {card['training']['canaries']['commitment']}" in said
    assert f"differential privacy of the denoiser: epsilon {card['epsilon']:.3g} at delta" in said
    assert "not covered: autoencoder, labels" in said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("noise: 1.0", "noise: 1.0, epsilon: 2", r"generator\.private: found epsilon and noise, expected one of the two"),
        ("noise: 1.0", "noize: 1.0", r"generator\.private\.noize: found an unknown key, expected noise\?"),
        ("noise: 1.0", "noise: 1.0, layers: attention", r"generator\.private\.base: found nothing"),
        ("noise: 1.0", "noise: 1.0, base: nowhere", "nowhere: found no model_index.json"),
        (
            "  sampling",
            "  kind: pipeline\n  path: x\n  sampling",
            r"generator\.private: found it beside a generator that is not",
        ),
        ("  sampling", "  canaries: 41\n  sampling", "canaries: found 41, expected 2 to 40"),
        ("audits:", "release: {taken_out: t.csv}\naudits:", r"release\.taken_out: found it for generator\.kind"),
    ],
)
def test_configurations_that_cannot_be(world, tmp_path, old, new, message):
    bad = world / "bad.yaml"
    bad.write_text(CONFIG.replace(old, new))
    with pytest.raises(InputError, match=message):
        train_only(bad, tmp_path / "model", progress=silent)
    assert not (tmp_path / "model").exists()


@pytest.mark.system
def test_copies_of_patients_whom_the_coins_left_out_are_found(world, trained, material, tmp_path):
    """They are no members of this model, and patients all the same: another model may have learned them."""
    left = coins_of(trained, material.private).left_out(material.private)
    made = tmp_path / "made"
    made.mkdir()
    for number, file in enumerate(left.files[:3]):
        (made / f"{number}.png").write_bytes((world / "private" / file).read_bytes())
    (made / "metadata.csv").write_text("file_name,eye_side\n" + "".join(f"{number}.png,left\n" for number in range(3)))
    sets = {"private": world / "private", "holdout": world / "holdout", "patient": "patient"}
    audited = synguard.audit(
        **sets,
        synthetic=made,
        conditions=str(world / "synguard.yaml"),
        model=trained,
        size=material.private.size,
        out=tmp_path / "run",
    )
    found = pd.read_parquet(tmp_path / "run" / "images.parquet")
    assert found["memorisation.lane"].tolist() == ["exact"] * 3
    assert found["memorisation.nearest"].tolist() == list(left.files[:3])
    assert audited.decision.exit_code == 20


@pytest.mark.system
def test_a_whole_run_with_canaries_and_private_training(world):
    """Both figures come out of a run and its report, and a resumed audit of the model gives the same."""
    (world / "whole.yaml").write_text(
        CONFIG.replace("image_size: 16", "image_size: 32")
        .replace("  sampling", "  canaries: 30\n  sampling")
        .replace("audits:\n", "release: {images: 30, max_attempts: 1.5}\naudits:\n  labels: {steps: 20}\n")
        .replace("audits:\n", "audits:\n  memorisation: {planted_per_transform: 2}\n")
    )
    result = synguard.generate_and_audit(world / "whole.yaml", world / "run")
    upper, lower = result.metric("training.epsilon_upper_bound"), result.metric("membership.epsilon_lower_bound")
    assert upper.state == "measured"
    assert 0 <= lower.value <= upper.value
    assert (lower.n, lower.state) == (30, "insufficient")
    for page in (result.internal_report, result.public_report):
        text = page.read_text()
        assert "Privacy loss" in text
        assert "does not cover: the autoencoder" in text
    again = synguard.audit(
        private=world / "private",
        holdout=world / "holdout",
        synthetic=result.folder / "accepted",
        patient="patient",
        conditions=str(world / "whole.yaml"),
        audits=load_config(world / "whole.yaml").audits,
        model=result.folder / "generator",
        size=32,
        out=world / "again",
    )
    assert again.metric("training.epsilon_upper_bound").value == upper.value
    assert again.metric("membership.epsilon_lower_bound").n == 30
