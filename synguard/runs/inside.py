"""The way into a model for the audits: its denoiser and autoencoder, or why not; and a reference model to compare with.

The generators are imported where they are used: diffusers takes seconds, and an audit of images needs none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audits.membership import Reference
from audits.membership.target import encoded
from synguard.config import RunConfig
from synguard.data.splits import HoldoutRoles
from synguard.errors import InputError
from synguard.protocols import Autoencoder, Denoiser
from synguard.runs.generator import device_of, text_encoder_of
from synguard.runs.material import Material
from synguard.runs.progress import Progress

__all__ = ["NO_MODEL", "Inside", "check_reference", "find_reference", "look_inside"]

_KEY = "audits.membership.reference"
TRAIN = "train"


@dataclass(frozen=True, slots=True)
class Inside:
    """What the audits can look into. `why_not` says why there is no denoiser, empty where there is one."""

    autoencoder: Autoencoder | None
    denoiser: Denoiser | None
    why_not: str = ""

    def check(self, material: Material) -> None:
        """InputError, before any work, where a private image cannot be probed: latents or conditions do not fit."""
        if self.denoiser is None:
            return
        latents = encoded(self.denoiser, material.private.pixels[:1])[0]
        conditions = material.private_conditions.iloc[:1].reset_index(drop=True)
        self.denoiser.errors(latents, conditions, level=0.5, noise=0 * latents[0], weights=self.denoiser.weights[0])


NO_MODEL = Inside(None, None, "no model was given, so the white-box probes could not run")


def look_inside(config: RunConfig, folder: Path) -> Inside:
    """Into the model of a pipeline folder: one of ours, one whose parts are known, or one whose autoencoder alone is.

    InputError for a folder that is neither, for pickled weights, or for parts that do not fit each other.
    """
    from generation import pipeline
    from generation.folder import is_synguard
    from generation.folder_denoiser import FolderDenoiser, closed
    from generation.latent import LatentDiffusion
    from generation.names import INDEX

    if (folder / INDEX).is_file() and is_synguard(folder):
        model = LatentDiffusion.load(folder, device=device_of(config), sampling=config.generator.sampling)
        model.expect_size(config.image_size)
        return Inside(model, model)
    reason = closed(folder)
    if not reason:
        denoiser = FolderDenoiser.load(folder, device=device_of(config), size=config.image_size)
        return Inside(denoiser, denoiser)
    generator = pipeline.load(
        folder,
        device=device_of(config),
        trust_remote_code=config.generator.trust_remote_code,
        sampling=config.generator.sampling,
        size=config.image_size,
    )
    found = generator if isinstance(generator, Autoencoder) else None
    return Inside(found, None, f"the white-box probes found no way into the model: {reason}")


def check_reference(config: RunConfig, base: Path) -> None:
    """InputError for a reference model that cannot be used, before anything is written."""
    named = config.audits.membership.reference
    if named == TRAIN and config.generator.kind != "latent-diffusion":
        found = f"{TRAIN}, with generator.kind {config.generator.kind}"
        raise InputError.of(_KEY, found, "the folder of a reference model: none of this kind is trained from scratch")
    if named is not None and named != TRAIN:
        _opened(config, base / named)


def find_reference(
    config: RunConfig, base: Path, material: Material, roles: HoldoutRoles, folder: Path, progress: Progress
) -> Reference | None:
    """The reference model that the configuration names, or one trained in `folder` on the reference role alone."""
    named = config.audits.membership.reference
    if named is None:
        return None
    if named != TRAIN:
        return Reference(_opened(config, base / named), "given by its folder")

    def report(phase: str, done: int, total: int) -> None:
        progress(f"reference model: {phase}", done, total)

    from generation.train import train

    train(
        roles.reference,
        material.schema,
        # What it is compared with may be private and have canaries; the reference needs neither.
        config.generator.model_copy(update={"private": None, "canaries": None}),
        seed=config.seed,
        folder=folder,
        device=device_of(config),
        progress=report,
        text_encoder=text_encoder_of(config, base),
    )
    what = f"trained like the generator on {len(roles.reference)} images of the reference role"
    return Reference(_opened(config, folder), what)


def _opened(config: RunConfig, folder: Path) -> Denoiser:
    inside = look_inside(config, folder)
    if inside.denoiser is None:
        raise InputError.of(f"{_KEY}: {folder}", inside.why_not, "a model whose denoiser can be probed")
    return inside.denoiser
