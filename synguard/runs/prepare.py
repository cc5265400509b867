"""What must be ready before the first candidate is examined: index, planted copies, diagnostic model, ceiling."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from audits import diagnostic, memorisation
from audits.diagnostic import TrainedModel
from audits.embedding import EmbeddedFeatures, make_embedder
from audits.labels import LabelCeiling, measure_ceiling
from audits.membership import Validity, validity
from audits.memorisation import NearCopy, PreparedMemorisation
from audits.memorisation.exact import ExactLookup
from audits.memorisation.experts import Expert, load_experts
from audits.memorisation.folder import HOLDOUT_NOTE, read_note, write_note
from audits.memorisation.sealing import Key
from audits.spaces import Remembered
from synguard.config import RunConfig
from synguard.data.splits import ROLES, HoldoutRoles, split_holdout
from synguard.errors import IntegrityError
from synguard.protocols import Denoiser, DiagnosticModel, Embedder
from synguard.runs.folder import whole_folder
from synguard.runs.material import Material, without
from synguard.runs.progress import Progress

__all__ = ["Prepared", "index_key", "prepare", "prepare_memorisation"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that the audits of one run share."""

    material: Material
    roles: HoldoutRoles
    near_copies: tuple[NearCopy, ...]
    memorisation: PreparedMemorisation
    unseen: ExactLookup
    """The holdout as it was given."""
    validity: Validity
    embedder: Embedder
    embedded: Embedder
    """Synguard's own features; the embedder where no other was asked for."""
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
    key = index_key(config, base)
    experts = load_experts(config.audits.memorisation.experts, base, device)
    roles, near, prepared = prepare_memorisation(material, config, index, key, progress, experts)
    progress("check the split", 0, 1)
    # Split, membership, disclosure and fidelity look at the same sets.
    embedder = Remembered.of(make_embedder(config.audits.fidelity, base, device))
    own = embedder.digest == EmbeddedFeatures.digest
    embedded = embedder if own else Remembered.of(EmbeddedFeatures(device))
    valid = validity(
        material.private,
        roles,
        conditions=material.schema,
        embedder=embedder,
        config=config.audits.membership,
        seed=config.seed,
    )
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
            more=(roles.reference,),
            reconstructions=None if denoiser is None else denoiser.reconstruct(roles.evaluation.pixels),
        )
        progress("measure the ceiling", 1, 1)
    unseen = ExactLookup(material.unseen.sha256, material.unseen.pixels)
    return Prepared(material, roles, near, prepared, unseen, valid, embedder, embedded, model, ceiling)


def index_key(config: RunConfig, base: Path) -> Key | None:
    """The key that the index is encrypted under, from its file."""
    path = config.audits.memorisation.index_key
    return None if path is None else Key.read(base / path)


def prepare_memorisation(
    material: Material,
    config: RunConfig,
    index: Path,
    key: Key | None,
    progress: Progress,
    experts: tuple[Expert, ...] = (),
) -> tuple[HoldoutRoles, tuple[NearCopy, ...], PreparedMemorisation]:
    """The calibrated index, and the holdout's roles without their near copies of private images.

    The calibration leaves its own near copies out by itself; those of the other roles are looked for once, and kept beside
    the index, whose identity covers the whole holdout.
    """
    roles = split_holdout(material.holdout, config.seed)
    prepared = memorisation.prepare(
        material.searched,
        roles.calibration,
        config=config.audits.memorisation,
        seed=config.seed,
        folder=index,
        key=key,
        comparison=material.holdout,
        classes=material.searched_classes,
        progress=progress,
        experts=experts,
        members=material.members,
    )
    recorded = read_note(index, HOLDOUT_NOTE, key)
    if recorded is not None:
        others = [NearCopy(**row) for row in recorded]
    else:
        progress("look for near copies in the holdout", 0, 1)
        others = [copy for role in (roles.evaluation, roles.reference) for copy in prepared.near_copies(role)]
        write_note(index, HOLDOUT_NOTE, [asdict(copy) for copy in others], key)
        progress("look for near copies in the holdout", 1, 1)
    near = (*prepared.calibration_copies, *others)
    drop = {copy.file for copy in near}
    calibration, evaluation, reference = (without(getattr(roles, name), drop) for name in ROLES)
    left = replace(roles, calibration=calibration, evaluation=evaluation, reference=reference)
    return left, near, prepared


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
    model = diagnostic.load(folder, device)
    _check_diagnostic(model, material, folder)
    return model


def _check_diagnostic(model: TrainedModel, material: Material, folder: Path) -> None:
    """IntegrityError where a saved model is of other images, or leaves out an attribute, which nobody would judge then."""
    if model.record.get("private") != material.private.digest:
        raise IntegrityError(f"{folder}: found a diagnostic model of other images, expected one trained on this private set")
    known = {(head.name, head.kind, head.levels) for head in model.heads}
    for attribute in material.schema.attributes:
        wanted = (attribute.name, attribute.kind, material.schema.levels(attribute.name))
        if attribute.kind != "text" and wanted not in known:
            raise IntegrityError(
                f"{folder}: found a diagnostic model that does not read {attribute.name} as the conditions have it, "
                f"expected one trained for these conditions"
            )
