"""`audit` and `generate-and-audit`: read and check everything, then prepare, examine, conclude."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audits.memorisation.folder import is_index
from synguard.config import (
    AttributeConfig,
    AuditConfig,
    DataSource,
    GeneratorConfig,
    ReleaseConfig,
    RunConfig,
)
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.data.readers import read_images
from synguard.errors import EvidenceError, InputError, IntegrityError
from synguard.governance.ledger.place import Where
from synguard.governance.manifest import Manifest
from synguard.governance.policy import BUILT_IN, Policy, load_policy
from synguard.protocols import Denoiser, Generator
from synguard.results import Metric
from synguard.runs.asked import plan, refuse_private_texts
from synguard.runs.assemble import accept_given, lay_out_batches
from synguard.runs.by_hand import reasons_by_hand
from synguard.runs.canaries import coins_of, draw_for, spent_by, with_canaries
from synguard.runs.conclude import audit_results, conclude, write_reports
from synguard.runs.configuration import load_attributes, load_config
from synguard.runs.curve import curve_of
from synguard.runs.engine import Batch, origins_told, run_batches
from synguard.runs.examine import examine_batch
from synguard.runs.generator import (
    check_generator,
    device_of,
    link_of,
    open_generator,
    provenance,
    require_link,
    train_generator,
)
from synguard.runs.index import check_key_file
from synguard.runs.inside import NO_MODEL, Inside, check_reference, find_reference, look_inside
from synguard.runs.material import Material, check_different_folders, labels_digest, read_material, read_synthetic
from synguard.runs.open_run import OpenRun
from synguard.runs.plan import Attempt, Queue
from synguard.runs.prepare import Prepared, prepare
from synguard.runs.progress import Progress, silent
from synguard.runs.result import RunResult, load_result
from synguard.runs.sizes import common_size

__all__ = ["audit", "generate_and_audit"]


def generate_and_audit(
    config: Path | str,
    out: Path | str,
    *,
    ledger: Where = None,
    resume: bool = False,
    progress: Progress = silent,
) -> RunResult:
    """Train or load the generator, generate and audit until the asked number is accepted, decide, and write the report.

    With `resume` a run that was interrupted goes on, to the same images, table and results. Everything is read and checked
    before the run folder is made. `ledger` is the file or URL of the ledger, by default that of `ledger.place`.
    """
    path = Path(config)
    settings, base, target = load_config(path), path.resolve().parent, Path(out)
    if target.exists() and not resume:
        raise InputError.of(out, "a folder that exists already", "a new folder for the run (or --resume)")
    policy = _policy(settings, base)
    if settings.generator.kind == "folder":
        return _audit(_Given(settings, base, policy), target, ledger=ledger, resume=resume, progress=progress)
    check_different_folders(settings, base, None)
    check_key_file(settings, base, target)
    given = check_generator(settings, base)
    material = read_material(settings, base, progress)
    check_reference(settings, base)
    seen = material
    if settings.generator.path is not None:
        model = base / settings.generator.path
        seen = with_canaries(material, coins_of(model, material.private))
        inside = look_inside(settings, model)
        require_link(settings, inside.denoiser, link_of(model, seen))
        inside.check(seen)
    conditions = _planned(settings, seen, base, progress)
    digest = f"{'' if given is None else given.digest} {labels_digest(conditions)}"
    run = OpenRun.open(
        target, settings, base, material, policy, candidates=digest, ledger=ledger, resume=resume, progress=progress
    )
    if run.ended:
        return _ended(run)
    with run.recorded():
        return _generate(run, material, seen, conditions)


def audit(
    *,
    private: Path | str,
    holdout: Path | str,
    synthetic: Path | str,
    out: Path | str,
    patient: str | None = None,
    box: str | None = None,
    policy: str = "public-release",
    conditions: str | Sequence[AttributeConfig] | None = None,
    audits: AuditConfig | None = None,
    model: Path | None = None,
    releases_model: bool = False,
    index: Path | None = None,
    key_file: Path | None = None,
    size: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    skip_unreadable: bool = False,
    taken_out: Path | str | None = None,
    ledger: Where = None,
    progress: Progress = silent,
) -> RunResult:
    """Audit images that exist already, decide by the policy, and write the report.

    `box` is a column of the private metadata with a box around what is marked in an image: see `DataSource.box`.
    `conditions` is a YAML file, attributes, "none" for an unlabelled release, or None for the columns that the private
    and the synthetic metadata share. `audits` are the settings of that name of a configuration file; `key_file` and
    `batch_size` count before theirs. `index` is a folder of `synguard index build`, `key_file` the key that it is
    encrypted under (without `index`, the run's own index will be), `model` the pipeline folder that made the images,
    `taken_out` a table of images that people took out (`file_name`, `reason`, `by`), which are examined and not released,
    `ledger` the file or URL of the ledger, by default that of `ledger.place`.
    """
    if Path(out).exists():
        raise InputError.of(out, "a folder that exists already", "a new folder for the run")
    if index is not None and not is_index(index / "index"):
        raise InputError.of(index, "no index", "a folder that `synguard index build` made")
    base = Path.cwd()
    asked = {"index_key": key_file and str(key_file), "batch_size": batch_size}
    audits = audits or AuditConfig()
    looks = audits.memorisation.model_copy(update={key: value for key, value in asked.items() if value is not None})
    sources = [DataSource(path=str(private), patient=patient, box=box), DataSource(path=str(holdout), patient=patient)]
    settings = RunConfig(
        name=Path(out).name,
        seed=seed,
        image_size=size or common_size([*sources, DataSource(path=str(synthetic))], base),
        private=sources[0],
        holdout=sources[1],
        conditions=_attributes(conditions),
        generator=GeneratorConfig(kind="folder", path=str(synthetic)),
        release=ReleaseConfig(
            images=1,
            covers=("images", "model") if releases_model else ("images",),
            taken_out=None if taken_out is None else str(taken_out),
        ),
        policy=policy,
        audits=audits.model_copy(update={"memorisation": looks}),
        skip_unreadable=skip_unreadable,
    )
    given = _Given(settings, base, _policy(settings, base), model=model, index=index, share_conditions=conditions is None)
    return _audit(given, Path(out), ledger=ledger, resume=False, progress=progress)


@dataclass(frozen=True, slots=True)
class _Given:
    """Images that exist already, with what is known about them."""

    config: RunConfig
    base: Path
    policy: Policy
    model: Path | None = None
    index: Path | None = None
    share_conditions: bool = False

    @property
    def source(self) -> str:
        return str(self.config.generator.path)


def _planned(config: RunConfig, material: Material, base: Path, progress: Progress) -> pd.DataFrame:
    """The conditions of all slots."""
    patients = material.private.patients.tolist()
    return plan(config, material.private_conditions, patients, material.schema, base, progress=progress)


def _generate(run: OpenRun, whole: Material, material: Material, conditions: pd.DataFrame) -> RunResult:
    config, folder = run.config, run.folder
    with run.timings.phase("train"):
        trained = run.base / config.generator.path if config.generator.path else folder.generator
        if config.generator.path is None:
            drawn = draw_for(trained, material.private, config.generator.canaries, run.progress)
            if drawn is not None:
                material = with_canaries(material, drawn)
                conditions = _planned(config, material, run.base, silent)
            train_generator(config, material, trained, run.progress, base=run.base, canaries=drawn)
        generator = open_generator(config, run.base, trained, material.private)
    inside = Inside(generator, generator) if isinstance(generator, Denoiser) else look_inside(config, trained)
    with run.timings.phase("prepare"):
        prepared = prepare(
            material,
            config,
            run.base,
            index=folder.index,
            diagnostic_folder=folder.diagnostic,
            denoiser=inside.denoiser,
            device=device_of(config),
            progress=run.progress,
        )
    attempts = run.ledger.attempt(whole)
    rows, tripped = _batches(run, generator, prepared, conditions)
    with run.timings.phase("lay out"):
        accepted_files = lay_out_batches(folder, rows, provenance(generator))
    if not rows["accepted"].any():
        reasons = "; ".join(rows["reason"].value_counts().index[:2])
        raise EvidenceError(f"{folder.path}: found no candidate to accept among {len(rows)} ({reasons}), expected some")
    accepted = _accepted_images(folder.accepted, config)
    link = "generated in this run by the model that was audited" if not config.generator.path else link_of(trained, material)
    candidates = _with_quarantine(accepted, folder.quarantine, config)
    return _conclude(
        run,
        rows,
        accepted,
        prepared,
        inside,
        candidates=candidates,
        files=accepted_files,
        tripped=tripped,
        link=link,
        trained=trained,
        attempts=attempts,
        curve=curve_of(trained, material),
    )


def _batches(run: OpenRun, generator: Generator, prepared: Prepared, conditions: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    config = run.config
    limit = int(config.release.images * config.release.max_attempts)
    queue = Queue(config.release.images, config.generator.sampling.batch_size, limit)
    with run.timings.phase("generate and examine"):
        rows = run_batches(
            run.folder,
            generator,
            conditions,
            lambda batch: examine_batch(batch, prepared, quarantine=True),
            queue=queue,
            seed=config.seed,
            progress=run.progress,
            recorded=run.ledger.batches(),
            committed=run.ledger.batch,
        )
    return rows, queue.exhausted


def _audit(given: _Given, target: Path, *, ledger: Where, resume: bool, progress: Progress) -> RunResult:
    config, base = given.config, given.base
    check_different_folders(config, base, given.source)
    check_key_file(config, base, target)
    inside = NO_MODEL if given.model is None else look_inside(config, base / given.model)
    check_reference(config, base)
    synthetic = read_synthetic(config, given.source, base, progress)
    config = _with_shared_conditions(config, base, synthetic, progress) if given.share_conditions else config
    whole = read_material(config, base, progress)
    folder = None if given.model is None else base / given.model
    material = with_canaries(whole, coins_of(folder, whole.private))
    asked = material.schema.parse(synthetic.metadata, f"synthetic ({given.source})")
    refuse_private_texts(asked, whole.private_conditions, whole.private.patients.tolist(), whole.schema)
    link = "no model was given" if folder is None else link_of(folder, material)
    require_link(config, inside.denoiser, link)
    inside.check(material)
    by_hand = reasons_by_hand(config, base, synthetic)
    digest = f"{synthetic.digest} {labels_digest(asked)}"
    if any(by_hand):
        digest = f"{digest} {hashlib.sha256(repr(by_hand).encode()).hexdigest()}"
    run = OpenRun.open(
        target, config, base, whole, given.policy, candidates=digest, ledger=ledger, resume=resume, progress=progress
    )
    if run.ended:
        return _ended(run)
    with run.recorded():
        with run.timings.phase("prepare"):
            prepared = prepare(
                material,
                config,
                base,
                index=run.folder.index if given.index is None else given.index / "index",
                diagnostic_folder=_diagnostic_folder(run, given.index),
                denoiser=inside.denoiser,
                device=device_of(config),
                progress=progress,
            )
        attempts = run.ledger.attempt(whole)
        with run.timings.phase("examine"):
            rows = _examine_given(run, synthetic, asked, prepared, by_hand)
        with run.timings.phase("lay out"):
            files = accept_given(run.folder, synthetic, DataSource(path=given.source), base, rows)
        return _conclude(
            run,
            rows,
            synthetic if rows["accepted"].all() else synthetic.take(np.flatnonzero(rows["accepted"])),
            prepared,
            inside,
            candidates=synthetic,
            files=files,
            tripped=False,
            link=link,
            trained=folder,
            attempts=attempts,
        )


def _examine_given(
    run: OpenRun, synthetic: ImageSet, asked: pd.DataFrame, prepared: Prepared, by_hand: Sequence[str]
) -> pd.DataFrame:
    size = run.config.audits.memorisation.batch_size
    frames = []
    for start in range(0, len(synthetic), size):
        chosen = slice(start, min(start + size, len(synthetic)))
        count = chosen.stop - chosen.start
        batch = Batch(
            files=synthetic.files[chosen],
            sha256=synthetic.sha256[chosen],
            pixels=synthetic.pixels[chosen],
            asked=asked.iloc[chosen].reset_index(drop=True),
            seeds=(None,) * count,
            attempts=tuple(Attempt(row, 0) for row in range(chosen.start, chosen.stop)),
            origins=origins_told(synthetic.metadata.iloc[chosen]),
        )
        frames.append(examine_batch(batch, prepared, quarantine=False, by_hand=by_hand[chosen]))
        run.ledger.batch(len(frames) - 1, frames[-1])
        run.progress("examine", chosen.stop, len(synthetic))
    return pd.concat(frames, ignore_index=True)


def _conclude(
    run: OpenRun,
    rows: pd.DataFrame,
    released: ImageSet,
    prepared: Prepared,
    inside: Inside,
    *,
    candidates: ImageSet,
    files: Manifest,
    tripped: bool,
    link: str,
    trained: Path | None,
    attempts: Metric,
    curve: Mapping[str, Any] | None = None,
) -> RunResult:
    with run.timings.phase("find the reference model"):
        reference = find_reference(
            run.config, run.base, prepared.material, prepared.roles, run.folder.reference, run.progress
        )
    results = audit_results(
        run.folder,
        rows,
        released,
        prepared,
        run.config,
        inside,
        reference=reference,
        spent=spent_by(trained, prepared.material.private),
        timings=run.timings,
        progress=run.progress,
        ledger=run.ledger,
    )
    with run.timings.phase("conclude"):
        key = conclude(
            run.folder,
            rows,
            results,
            prepared,
            run.config,
            run.policy,
            candidates=candidates,
            accepted=files,
            tripped=tripped,
            link=link,
            attempts=attempts,
            ledger=run.ledger,
            curve=curve,
        )
    run.end("stopped" if tripped else "complete", key=key, data={"accepted_images": int(rows["accepted"].sum())})
    run.progress("write the reports", 0, 1)
    write_reports(run.folder)
    run.progress("write the reports", 1, 1)
    # Read back from the signed record, so that what is returned is what was written.
    return load_result(run.folder.path)


def _ended(run: OpenRun) -> RunResult:
    """The result of a run that ended before. IntegrityError where it is not what the ledger's last decision is on."""
    folder = run.folder.path
    result = load_result(folder)
    if not run.ledger.knows_decision(run.folder):
        expected = "its last one (`synguard gate` completes one that was interrupted)"
        raise IntegrityError(
            f"{folder}: found a decision that {run.ledger.ledger.place} does not end with, expected {expected}"
        )
    return result


def _policy(config: RunConfig, base: Path) -> Policy:
    return load_policy(config.policy if config.policy in BUILT_IN else base / config.policy)


def _attributes(conditions: str | Sequence[AttributeConfig] | None) -> tuple[AttributeConfig, ...]:
    if conditions is None or conditions == "none":
        return ()
    return load_attributes(Path(conditions)) if isinstance(conditions, str) else tuple(conditions)


def _with_shared_conditions(config: RunConfig, base: Path, synthetic: ImageSet, progress: Progress) -> RunConfig:
    """The columns that the private and the synthetic metadata share, as conditions; said aloud."""
    private = read_images(config.private, size=config.image_size, name="private", base=base, skip_unreadable=True)
    holdout = read_images(config.holdout, size=config.image_size, name="holdout", base=base, skip_unreadable=True)
    exclude = tuple(name for name in (config.private.patient, config.private.box) if name is not None)
    schema = ConditionSchema.from_shared(private.metadata, synthetic.metadata, holdout=holdout.metadata, exclude=exclude)
    names = ", ".join(f"{a.name} ({a.kind})" for a in schema.attributes) or "none (an unlabelled release)"
    progress(f"conditions taken from the metadata: {names}", 1, 1)
    return config.model_copy(update={"conditions": schema.attributes})


def _diagnostic_folder(run: OpenRun, index: Path | None) -> Path:
    shared = None if index is None else index / "diagnostic"
    return shared if shared is not None and shared.is_dir() else run.folder.diagnostic


def _accepted_images(folder: Path, config: RunConfig) -> ImageSet:
    return read_images(DataSource(path=str(folder)), size=config.image_size, name="accepted", base=Path())


def _with_quarantine(accepted: ImageSet, quarantine: Path, config: RunConfig) -> ImageSet:
    """All candidates, for the pictures of flagged pairs."""
    if not any((quarantine / "images").iterdir()):
        return accepted
    refused = read_images(DataSource(path=str(quarantine)), size=config.image_size, name="quarantine", base=Path())
    return accepted.joined(refused, "candidates")
