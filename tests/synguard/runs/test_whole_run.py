"""The whole run in small: phantoms, a short training, audits, gate, record, reports, and the commands around it."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
from PIL import Image

import synguard
from synguard.commands.main import main
from synguard.data.phantom import write_phantoms
from synguard.errors import EvidenceError, InputError, IntegrityError
from synguard.governance import manifest
from synguard.governance.record import verify_results
from synguard.review.study.plan import Terms
from synguard.runs.result import RunResult, load_result
from synguard.runs.study import open_study

CONFIG = """\
name: small
image_size: 32
private: {path: private, patient: patient}
holdout: {path: holdout, patient: patient}
conditions:
  - {name: eye_side, kind: categorical, levels: [left, right]}
generator:
  autoencoder: {steps: 20, widths: [8, 16]}
  denoiser: {steps: 20, widths: [32, 48], batch_size: 16}
  sampling: {steps: 2, batch_size: 20}
  curve: {enabled: true, real: 20, images: 20}
release: {images: 30, max_attempts: 1.5}
audits:
  membership: {permutations: 199, resamples: 200, draws: 1}
  labels: {steps: 60}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_phantoms(folder / "private", patients=30, images_per_patient=2, size=32, seed=5)
    write_phantoms(folder / "holdout", patients=60, images_per_patient=2, size=32, seed=5, first_patient=60)
    (folder / "synguard.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def result(world: Path) -> RunResult:
    return synguard.generate_and_audit(world / "synguard.yaml", world / "run")


@pytest.fixture(scope="module")
def leaky(world: Path, result: RunResult) -> RunResult:
    """The accepted images with three private ones slipped in, audited with the model and the index of the run."""
    made = world / "leaky"
    shutil.copytree(result.folder / "accepted", made)
    names = sorted((made / "images").glob("*.png"))
    for name, source in zip(names, sorted((world / "private" / "images").glob("*.png"))[:3], strict=False):
        shutil.copyfile(source, name)
    return synguard.audit(
        private=world / "private",
        holdout=world / "holdout",
        synthetic=made,
        patient="patient",
        conditions=str(world / "synguard.yaml"),
        model=result.folder / "generator",
        index=result.folder,
        size=32,
        out=world / "audit",
    )


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["synguard", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_record_is_whole_and_signed(result: RunResult):
    folder = result.folder
    schemas = Path(synguard.__file__).parent / "governance" / "schemas"
    for name in ("results", "run"):
        schema = json.loads((schemas / f"{name}.schema.json").read_text())
        jsonschema.validate(json.loads((folder / f"{name}.json").read_text()), schema)
    assert verify_results(folder)["decision"]["exit_code"] == result.decision.exit_code
    manifest.verify(folder / "accepted", manifest.read(folder / "manifest.json"))
    assert load_result(folder).decision == result.decision


def test_too_few_images_never_pass(result: RunResult):
    assert not result.passed
    assert result.decision.exit_code in (20, 22)
    assert result.metric("accepted.images").value == (result.folder / "accepted/metadata.jsonl").read_text().count("\n")


def test_every_candidate_has_a_row_and_every_image_its_place(result: RunResult):
    rows = result.images
    assert set(rows.columns) >= {
        "file",
        "sha256",
        "seed",
        "attempt",
        "accepted",
        "reason",
        "condition.eye_side",
        "annotation.eye_side",
        "memorisation.flagged",
        "memorisation.lane",
        "memorisation.score",
        "memorisation.p_value",
        "memorisation.nearest",
        "memorisation.transform",
        "memorisation.copied_area",
    }
    assert not [name for name in rows.columns if name.startswith("_")]
    for place, chosen in (("accepted", rows["accepted"]), ("quarantine", ~rows["accepted"])):
        found = {p.relative_to(result.folder / place).as_posix() for p in (result.folder / place).rglob("*.png")}
        assert found == set(rows.loc[chosen, "file"])
    assert (rows.loc[~rows["accepted"], "reason"] != "").all()
    assert len(rows) <= 45


def test_the_run_folder_is_for_its_owner_alone(result: RunResult):
    assert result.folder.stat().st_mode & 0o077 == 0
    for name in ("results.json", "images.parquet", "evidence.json", "report/internal.html", "index/meta.json"):
        assert (result.folder / name).stat().st_mode & 0o077 == 0, name


def test_the_public_report_names_nobody(result: RunResult, leaky: RunResult, world: Path):
    for run in (result, leaky):
        text = run.public_report.read_text()
        patients = pd.read_csv(world / "private" / "metadata.csv", dtype=str)["patient"]
        assert not [patient for patient in patients if patient in text]
        assert str(world) not in text
        assert "images/" not in text


def test_private_images_slipped_in_are_refused_and_shown(leaky: RunResult):
    assert leaky.decision.exit_code == 20
    flagged = leaky.images[leaky.images["memorisation.flagged"]]
    assert len(flagged) >= 3
    assert leaky.metric("memorisation.exact_copies", "accepted").value == 3
    assert leaky.metric("membership.white_box.auc").value is not None
    said = json.loads((leaky.folder / "evidence.json").read_text())["memorisation"]
    pairs = [*said["flagged"], *said["review"]]
    assert [row["pair"] for row in pairs] == [f"pairs/{number:04d}" for number in range(1, len(pairs) + 1)]
    for name in ("candidate", "private", "difference", "area"):
        assert len(list((leaky.folder / "pairs").glob(f"0*-{name}.png"))) == len(pairs) >= len(flagged)
    assert flagged["file"].iloc[0] in leaky.internal_report.read_text()
    assert "Copied area: 100\u00a0% of the area" in leaky.internal_report.read_text()


def test_the_record_says_which_classes_have_p_values_of_their_own(result: RunResult):
    said = json.loads((result.folder / "evidence.json").read_text())["memorisation"]["calibration"]
    assert {row["class"] for row in said["classes"]} >= {"eye_side=left", "eye_side=right"}
    assert sum(row["images"] for row in said["classes"]) == said["images"]
    assert not any(row["own_p_values"] for row in said["classes"])
    assert "P-values by class" in result.internal_report.read_text()
    assert "eye_side=left" not in result.public_report.read_text()


def test_the_autoencoder_was_audited(result: RunResult, leaky: RunResult):
    for run in (result, leaky):
        assert run.metric("memorisation.autoencoder.auc").value is not None
        assert run.metric("memorisation.autoencoder.gap").n == run.metric("memorisation.autoencoder.auc").n
        assert "autoencoder-auc-model-held-back" in {check.id for check in run.decision.checks}
        for report in (run.internal_report, run.public_report):
            assert "error in grey levels of 255" in report.read_text()
            assert "What the model&#39;s autoencoder remembers" in report.read_text()


def test_the_curve_of_the_training_is_in_the_internal_report_alone(result: RunResult, leaky: RunResult):
    kept = json.loads((result.folder / "generator" / "training" / "curve.json").read_text())
    assert [point["step"] for point in kept["points"]] == [20]
    assert json.loads((result.folder / "evidence.json").read_text())["training"]["curve"] == kept
    assert 'id="training"' in result.internal_report.read_text()
    assert "times each private image was seen" in result.internal_report.read_text()
    assert "training" not in json.loads((leaky.folder / "evidence.json").read_text())
    for run in (result, leaky):
        assert 'id="training"' not in run.public_report.read_text()
    assert 'id="training"' not in leaky.internal_report.read_text()


def test_train_says_where_memorisation_begins(
    tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    short = CONFIG.replace("path: private", f"path: {world / 'private'}").replace(
        "path: holdout", f"path: {world / 'holdout'}"
    )
    (tmp_path / "curve.yaml").write_text(short.replace("steps: 20", "steps: 4").replace("real: 20", "every: 2, real: 20"))
    assert command(monkeypatch, "train", tmp_path / "curve.yaml", "--out", tmp_path / "generator") == 0
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("checkpoint ")]
    assert [line.split(":")[0] for line in lines] == ["checkpoint 2", "checkpoint 4"]
    assert said.out.splitlines()[0] == f"generator: {tmp_path / 'generator'}"
    assert "No memorisation was seen" in said.out
    assert (tmp_path / "generator/training/curve.html").is_file()
    (tmp_path / "plain.yaml").write_text(short.replace("steps: 20", "steps: 4").replace("enabled: true", "enabled: false"))
    assert command(monkeypatch, "train", tmp_path / "plain.yaml", "--out", tmp_path / "unwatched", "--quiet") == 0
    assert "curve" not in capsys.readouterr().out
    assert not (tmp_path / "unwatched/training/curve.json").exists()


def test_a_reader_study_can_be_made_of_it(tmp_path: Path, world: Path, result: RunResult):
    """The holdout is told by the record of the run, wherever it lies by now."""
    run = Path(shutil.copytree(result.folder, tmp_path / "run"))
    with pytest.raises(IntegrityError, match="found other images than the run's holdout"):
        open_study(run).fix(Terms(6, 2, 0.2), str(world / "private"))
    plan = open_study(run).fix(Terms(6, 2, 0.2), str(world / "holdout"))
    counts = Counter((item.real, item.levels["eye_side"]) for item in plan.items)
    assert counts == {(real, side): 3 for real in (True, False) for side in ("left", "right")}
    assert len({item.file.partition("_")[0] for item in plan.items if item.real}) == 6, "one image a patient"
    accepted = set(result.images.loc[result.images["accepted"], "file"])
    assert {item.file for item in plan.items if not item.real} <= accepted


def test_a_notebook_shows_the_result(leaky: RunResult):
    assert "memorisation" in leaky._repr_html_()


def test_a_finished_run_is_not_made_again(world: Path, result: RunResult):
    before = (result.folder / "results.json").stat().st_mtime_ns
    again = synguard.generate_and_audit(world / "synguard.yaml", result.folder, resume=True)
    assert again.decision == result.decision
    assert (result.folder / "results.json").stat().st_mtime_ns == before


def test_figures_of_the_rows_are_never_taken_from_a_file(
    tmp_path: Path, world: Path, result: RunResult, own_ledger: Path, monkeypatch: pytest.MonkeyPatch
):
    # A ledger of its own: it decides again on the run, which other tests of the module look at.
    shutil.copytree(own_ledger, tmp_path / "data" / own_ledger.name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    run = tmp_path / "run"
    shutil.copytree(result.folder, run)
    (run / "results.json").unlink()
    record = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps({**record, "state": "running"}))
    probe = run / "probes" / "memorisation.json"
    said = json.loads(probe.read_bytes())
    for metric in said["metrics"]:
        metric["value"] = 0.0
    probe.write_text(json.dumps(said))
    again = synguard.generate_and_audit(world / "synguard.yaml", run, resume=True)
    assert [m for m in again.metrics if m.name.startswith("memorisation")] == [
        m for m in result.metrics if m.name.startswith("memorisation")
    ]
    assert again.decision == result.decision


def test_a_run_of_another_configuration_is_not_resumed(world: Path, result: RunResult):
    (world / "other.yaml").write_text(CONFIG.replace("images: 30", "images: 31"))
    with pytest.raises(InputError, match="another configuration"):
        synguard.generate_and_audit(world / "other.yaml", result.folder, resume=True)


def test_an_index_of_other_images_is_refused(world: Path, result: RunResult, leaky: RunResult):
    with pytest.raises(IntegrityError, match="index"):
        synguard.audit(
            private=world / "holdout",
            holdout=world / "private",
            synthetic=world / "leaky",
            conditions="none",
            index=result.folder,
            size=32,
            out=world / "refused",
        )


def test_commands_around_a_run(
    world: Path, result: RunResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (result.folder / "report" / "public.html").unlink()
    assert command(monkeypatch, "report", result.folder, "--edition", "public") == 0
    assert result.public_report.is_file()
    capsys.readouterr()
    assert command(monkeypatch, "report", result.folder, "--compare", result.folder, "--format", "md") == 0
    assert "Both runs ended with" in capsys.readouterr().out
    assert command(monkeypatch, "report", result.folder, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["decision"]["status"] == result.decision.status
    assert command(monkeypatch, "runs", "list", world, "--json") == 0
    listed = {row["path"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed[str(result.folder)]["name"] == "small"
    assert listed[str(result.folder)]["decision"] == result.decision.status
    generator = CONFIG.replace("generator:\n", f"generator:\n  path: {result.folder / 'generator'}\n")
    (world / "trained.yaml").write_text(generator)
    assert command(monkeypatch, "generate", world / "trained.yaml", "--out", world / "candidates", "--images", 5) == 0
    assert len(list((world / "candidates" / "images").iterdir())) == 5
    assert (world / "candidates" / "UNAUDITED.txt").is_file()
    assert command(monkeypatch, "init", world / "fresh") == 0
    assert command(monkeypatch, "policy", "lint", world / "fresh" / "policy.yaml") == 0


@pytest.mark.parametrize("what", ["images", "labels"])
def test_a_run_of_given_images_is_not_resumed_with_others(
    tmp_path: Path, world: Path, result: RunResult, monkeypatch: pytest.MonkeyPatch, what: str
):
    """Probes that are kept from before say nothing about what was put into the folder since."""
    shutil.copytree(result.folder / "accepted", tmp_path / "made")
    given = CONFIG.replace("generator:\n", "generator:\n  kind: folder\n  path: made\n")
    (tmp_path / "synguard.yaml").write_text(
        given.replace("path: private", f"path: {world / 'private'}").replace("path: holdout", f"path: {world / 'holdout'}")
    )

    def interrupted(*args: object, **kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("synguard.runs.execute.prepare", interrupted)
    with pytest.raises(RuntimeError):
        synguard.generate_and_audit(tmp_path / "synguard.yaml", tmp_path / "run")
    if what == "images":
        target = next((tmp_path / "made" / "images").iterdir())
        shutil.copyfile(next((world / "private" / "images").iterdir()), target)
    else:
        table = tmp_path / "made" / "metadata.jsonl"
        table.write_text(table.read_text().replace('"eye_side": "left"', '"eye_side": "right"'))
    with pytest.raises(InputError, match="other images, labels"):
        synguard.generate_and_audit(tmp_path / "synguard.yaml", tmp_path / "run", resume=True)
    with pytest.raises(RuntimeError):
        synguard.generate_and_audit(tmp_path / "synguard.yaml", tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / "config.json", tmp_path / "run" / "config.json")
    with pytest.raises(IntegrityError, match="found a run that began as"):
        synguard.generate_and_audit(tmp_path / "synguard.yaml", tmp_path / "run", resume=True)


@pytest.mark.parametrize("name", ["results.json", "evidence.json", "images.parquet", "manifest.json", "accepted"])
def test_a_record_that_was_changed_is_not_reported(
    tmp_path: Path, result: RunResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    run = tmp_path / "run"
    shutil.copytree(result.folder, run)
    shutil.rmtree(run / "report")
    path = next((run / "accepted" / "images").iterdir()) if name == "accepted" else run / name
    path.write_bytes(path.read_bytes().replace(b'"insufficient"', b'"pass"').replace(b'"fail"', b'"pass"') + b"\n")
    for edition in ("internal", "public"):
        assert command(monkeypatch, "report", run, "--edition", edition) == 30
        assert path.name in capsys.readouterr().err
    assert not (run / "report").exists()


def test_images_of_a_model_of_another_private_set_are_not_judged(tmp_path: Path, world: Path, result: RunResult):
    """Copies of those whom it was trained on would not be looked for; and probed as members, the others look clean."""
    others = {"private": world / "holdout", "holdout": world / "private", "patient": "patient", "conditions": "none"}
    model = result.folder / "generator"
    for released in (False, True):
        with pytest.raises(EvidenceError, match="was trained on other photographs than the private set that was given"):
            synguard.audit(
                **others,
                synthetic=result.folder / "accepted",
                model=model,
                releases_model=released,
                size=32,
                out=tmp_path / "run",
            )
        assert not (tmp_path / "run").exists()


def test_a_model_that_does_not_say_its_photographs_is_not_released(tmp_path: Path, world: Path, result: RunResult):
    model, sets = tmp_path / "model", {"private": world / "private", "holdout": world / "holdout"}
    shutil.copytree(result.folder / "generator", model)
    card = json.loads((model / "model_card.json").read_text())
    del card["training"]["private_photographs"]
    (model / "model_card.json").write_text(json.dumps(card))
    made = result.folder / "accepted"
    # Without patients the digest that such a card holds is another one too.
    with pytest.raises(EvidenceError, match="names another private set"):
        synguard.audit(**sets, synthetic=made, model=model, releases_model=True, size=32, out=tmp_path / "run")


def test_an_image_of_the_holdout_is_not_released(tmp_path: Path, world: Path, result: RunResult):
    """It shows a real patient too, and every figure that compares with the holdout would call it good."""
    made = tmp_path / "made"
    shutil.copytree(result.folder / "accepted", made)
    names = sorted((made / "images").glob("*.png"))[:2]
    real = sorted((world / "holdout" / "images").glob("*.png"))[:2]
    shutil.copyfile(real[0], names[0])
    with Image.open(real[1]) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(names[1])
    sets = {"private": world / "private", "holdout": world / "holdout", "synthetic": made, "patient": "patient"}
    audited = synguard.audit(**sets, out=tmp_path / "run", index=result.folder)
    images = pd.read_parquet(tmp_path / "run" / "images.parquet").set_index("file")
    assert sorted(images.index[images["memorisation.holdout_copy"]]) == [f"images/{path.name}" for path in names]
    assert not images["memorisation.flagged"].any()
    found = {(metric.name, metric.group): metric.value for metric in audited.metrics}
    assert found["memorisation.holdout_copies", "accepted"] == 2
    assert audited.decision.exit_code == 20
    (check,) = [check for check in audited.decision.checks if check.metric == "memorisation.holdout_copies"]
    assert (check.status, check.blocker) == ("fail", True)
    assert "Images of the holdout" in audited.public_report.read_text()


def test_images_taken_out_by_hand_are_examined_counted_and_not_released(tmp_path: Path, world: Path, result: RunResult):
    """One of them is a copy: to take it out beforehand is not to have made none."""
    made = tmp_path / "made"
    shutil.copytree(result.folder / "accepted", made)
    copied = sorted((world / "private").rglob("*.png"))[0]
    rows = [json.loads(line) for line in (made / "metadata.jsonl").read_text().splitlines()]
    copy, blurred = rows[0]["file_name"], rows[1]["file_name"]
    shutil.copyfile(copied, made / copy)
    table = tmp_path / "taken_out.csv"
    table.write_text(f"file_name,reason,by\n{copy},too good,a.osei\n{blurred},blurred,a.osei\n")
    sets = {"private": world / "private", "holdout": world / "holdout", "synthetic": made, "patient": "patient"}
    without = synguard.audit(**sets, out=tmp_path / "run", taken_out=table, index=result.folder)
    images = pd.read_parquet(tmp_path / "run" / "images.parquet").set_index("file")
    assert images.loc[copy, "memorisation.flagged"]
    assert images.loc[blurred, "reason"] == "by hand: blurred (a.osei)"
    assert sorted(images.index[~images["accepted"]]) == sorted([copy, blurred])
    there = {str(path.relative_to(tmp_path / "run" / "accepted")) for path in (tmp_path / "run" / "accepted").rglob("*.png")}
    assert there == set(images.index[images["accepted"]])
    found = {(metric.name, metric.group): metric for metric in without.metrics}
    assert found["memorisation.exact_copies", None].value == 1
    assert found["memorisation.exact_copies", "accepted"].value == 0
    assert found["run.quarantine_rate", "by hand"].value == pytest.approx(1 / len(rows))
    assert found["accepted.images", None].value == len(rows) - 2
    assert without.decision.exit_code == 20

    table.write_text("file_name,reason,by\nimages/gone.png,blurred,a.osei\n")
    with pytest.raises(InputError, match="which is not there, expected an image of the set"):
        synguard.audit(**sets, out=tmp_path / "other", taken_out=table)
    assert not (tmp_path / "other").exists()
