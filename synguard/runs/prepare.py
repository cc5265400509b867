"""What must be ready before the first candidate is examined: index, planted copies, diagnostic model, ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audits import diagnostic, memorisation
from audits.embedding import make_embedder
from audits.labels import LabelCeiling, measure_ceiling
from audits.membership import Validity, validity
from audits.memorisation import NearCopy, Planted, PreparedMemorisation
from synguard.config import DataSource, RunConfig
from synguard.data.splits import HoldoutRoles, split_holdout
from synguard.errors import InputError
from synguard.protocols import Denoiser, DiagnosticModel, Embedder
from synguard.runs.folder import whole_folder
from synguard.runs.material import Material, check_different_folders, read_material, without
from synguard.runs.progress import Progress
from synguard.runs.sizes import common_size

__all__ = ["Prepared", "build_index", "prepare"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that the audits of one run share."""

    material: Material
    roles: HoldoutRoles
    near_copies: tuple[NearCopy, ...]
    memorisation: PreparedMemorisation
    planted: Planted
    validity: Validity
    embedder: Embedder
    diagnostic: DiagnosticModel | None
    ceiling: LabelCeiling | None


def prepare(
    material: Material,
    config: RunConfig,
    base: Path,
    *,
    index: Path,
    diagnostic_folder: Path,
    denoiser: Denoiser | None,
    device: str,
    progress: Progress,
) -> Prepared:
    """Build or load everything. `index` and `diagnostic_folder` are reused where they hold what this run needs."""
    roles, near, prepared, planted = _prepare_memorisation(material, config, index, progress)
    progress("check the split", 0, 1)
    valid = validity(material.private, roles, conditions=material.schema, config=config.audits.membership, seed=config.seed)
    progress("check the split", 1, 1)
    model = _diagnostic(material, config, base, diagnostic_folder, device, progress)
    ceiling = None
    if model is not None:
        progress("measure the ceiling", 0, 1)
        ceiling = measure_ceiling(
            model,
            roles.calibration,
            roles.evaluation,
            material.schema,
            refuse_below=config.audits.labels.refuse_below,
            reconstructions=None if denoiser is None else denoiser.reconstruct(roles.evaluation.pixels),
        )
        progress("measure the ceiling", 1, 1)
    embedder = make_embedder(config.audits.fidelity, base, device)
    return Prepared(material, roles, near, prepared, planted, valid, embedder, model, ceiling)


def _prepare_memorisation(
    material: Material, config: RunConfig, index: Path, progress: Progress
) -> tuple[HoldoutRoles, tuple[NearCopy, ...], PreparedMemorisation, Planted]:
    """Roles of the holdout without near copies of private images, the calibrated index, its recall on planted copies."""
    settings = config.audits.memorisation
    near = memorisation.near_copies(material.private, material.holdout, config=settings, seed=config.seed, progress=progress)
    roles = split_holdout(without(material.holdout, {copy.holdout for copy in near}), config.seed)
    prepared = memorisation.prepare(
        material.private, roles.calibration, config=settings, seed=config.seed, folder=index, progress=progress
    )
    return roles, tuple(near), prepared, prepared.planted(config.seed)


def _diagnostic(
    material: Material, config: RunConfig, base: Path, folder: Path, device: str, progress: Progress
) -> DiagnosticModel | None:
    """The model that the user brings, the one trained earlier in this run, or a new one; none without labels to read."""
    settings = config.audits.labels
    if not any(attribute.kind != "text" for attribute in material.schema.attributes):
        return None
    if settings.model is not None:
        return diagnostic.load_torchscript(base / settings.model, settings.model_sha256, material.schema, device)
    if not folder.exists():

        def report(done: int, total: int) -> None:
            progress("train the diagnostic model", done, total)

        model = diagnostic.train(material.private, material.schema, settings, config.seed, report, device=device)
        with whole_folder(folder) as scratch:
            model.save(scratch)
    # Always the saved one, so that a resumed run reads with the very same weights.
    return diagnostic.load(folder, device)


def build_index(
    *, private: str, holdout: str, patient: str | None, size: int | None, seed: int, out: Path, progress: Progress
) -> str:
    """`synguard index build`: the calibrated index in `out/index`, for `synguard audit --index out`. Returns a summary."""
    if out.exists():
        raise InputError.of(out, "a folder that exists already", "a new folder for the index")
    base = Path.cwd()
    sources = [DataSource(path=private, patient=patient), DataSource(path=holdout, patient=patient)]
    config = RunConfig(seed=seed, image_size=size or common_size(sources, base), private=sources[0], holdout=sources[1])
    check_different_folders(config, base, None)
    material = read_material(config, base, progress)
    with whole_folder(out) as scratch:
        roles, near, _, planted = _prepare_memorisation(material, config, scratch / "index", progress)
    found = f"{len(material.private)} private images at {config.image_size} px, calibrated on {len(roles.calibration)}"
    return f"index: {out} ({found}, {len(near)} near copies left out of the holdout; {planted.summary()})"
