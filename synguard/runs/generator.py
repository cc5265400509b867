"""The generator of a run: trained, opened, or checked; and the command that only trains.

The generators are imported where they are used: diffusers takes seconds, and an audit of images needs none of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from synguard.config import RunConfig
from synguard.data.canaries import Canaries
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.data.readers import read_images
from synguard.errors import EvidenceError, InputError
from synguard.protocols import Denoiser, Generator, Sampled
from synguard.runs.canaries import card_entry, draw_for, with_canaries
from synguard.runs.configuration import load_config
from synguard.runs.curve import Curve
from synguard.runs.material import Material, check_different_folders, read_material
from synguard.runs.progress import Progress

__all__ = [
    "check_generator",
    "device_of",
    "link_of",
    "open_generator",
    "provenance",
    "require_link",
    "text_encoder_of",
    "train_generator",
    "train_only",
]

UNVERIFIED = "link unverified"
_OTHER = "the model was trained on other photographs"
_PART = "the model was trained on a part of a private set, and which part is not known"


def device_of(config: RunConfig) -> str:
    """The device to work on: CUDA where it is asked for, or there and nothing was said."""
    if config.device != "auto":
        return config.device
    import torch  # here, so that reading a configuration needs no torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def check_generator(config: RunConfig, base: Path) -> Generator | None:
    """InputError for a generator that cannot be used, before anything is written: no folder, pickles, a wrong size.

    Returns it, None where the run trains its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError.of("the command", "several processes", "one; train with several first: `synguard train`")
    _check_base(config, base)
    if config.generator.path is not None:
        return open_generator(config, base, base / config.generator.path)
    if config.generator.tuning is not None:
        from generation.text_to_image.tune import check_tuning

        check_tuning(config.generator, ConditionSchema(config.conditions), **_tuned_from(config, base))
        return None
    from generation.samplers import check_sampling

    check_sampling(config.generator, ConditionSchema(config.conditions))
    return None


def open_generator(config: RunConfig, base: Path, folder: Path, private: ImageSet | None = None) -> Generator:
    """The generator in a pipeline folder, ready to sample at the run's size.

    `private` is what it was trained on, for a strategy that starts from private images.
    """
    if config.generator.kind == "text-to-image":
        from generation.text_to_image.strategies import TextToImage

        return TextToImage.load(
            folder,
            config.generator,
            ConditionSchema(config.conditions),
            private=private,
            prompts=_prompts(config, base),
            device=device_of(config),
            size=config.image_size,
        )
    from generation import pipeline

    return pipeline.load(
        folder,
        device=device_of(config),
        trust_remote_code=config.generator.trust_remote_code,
        sampling=config.generator.sampling,
        size=config.image_size,
    )


def _check_base(config: RunConfig, base: Path) -> None:
    """InputError for a public model that private training cannot start from, or a text tower that does not open."""
    if (text := text_encoder_of(config, base)) is not None:
        from generation.latent import open_tower

        open_tower(text)
    start = _public_base(config, base)
    if start is not None:
        from generation.base import open_base

        open_base(start, ConditionSchema(config.conditions), config.image_size)


def text_encoder_of(config: RunConfig, base: Path) -> Path | None:
    """The folder of the text tower that is trained with, if any."""
    return None if config.generator.text_encoder is None else base / config.generator.text_encoder


def _public_base(config: RunConfig, base: Path) -> Path | None:
    """The public model that private training starts from, if any."""
    private = config.generator.private
    return None if private is None or private.base is None else base / private.base


def _prompts(config: RunConfig, base: Path) -> Path | None:
    """The template file of a text-to-image model, if any is named."""
    return None if config.generator.prompts is None else base / config.generator.prompts


def _tuned_from(config: RunConfig, base: Path) -> dict[str, Any]:
    """What a text-to-image model is tuned from: its base, and the template file if any."""
    if config.generator.tuning is None:
        raise InputError.of("generator.tuning", "nothing", "how the model is tuned")
    return {"base": base / config.generator.tuning.base, "prompts": _prompts(config, base)}


def train_generator(
    config: RunConfig,
    material: Material,
    folder: Path,
    progress: Progress,
    *,
    base: Path = Path(),
    canaries: Canaries | None = None,
) -> Path:
    """Train in `folder`, or go on with a training that was interrupted there; audit its checkpoints where that is asked.

    `base` is the folder of the configuration; `material` is without the canaries that were left out.
    """
    if config.generator.tuning is not None:
        return _tuned(config, material.private, folder, progress, base=base, canaries=canaries)
    from generation.train import train

    curve = Curve(folder, config, material, progress) if config.generator.curve.enabled else None
    return train(
        material.private,
        material.schema,
        config.generator,
        seed=config.seed,
        folder=folder,
        device=device_of(config),
        checkpoint_every=None if curve is None else curve.every,
        progress=progress,
        on_checkpoint=curve,
        base=_public_base(config, base),
        canaries=card_entry(canaries),
        text_encoder=text_encoder_of(config, base),
    )


def _tuned(
    config: RunConfig, private: ImageSet, folder: Path, progress: Progress, *, base: Path, canaries: Canaries | None
) -> Path:
    from generation.text_to_image.tune import tune

    return tune(
        private,
        ConditionSchema(config.conditions),
        config.generator,
        seed=config.seed,
        folder=folder,
        device=device_of(config),
        progress=progress,
        canaries=card_entry(canaries),
        **_tuned_from(config, base),
    )


def provenance(generator: Generator) -> dict[str, Any]:
    """What made an image, beside its seed and conditions: digest of everything it depends on, and how it was sampled."""
    known: dict[str, Any] = {"generator.digest": generator.digest}
    if isinstance(generator, Sampled) and generator.sampling is not None:
        settings = generator.sampling
        known |= {f"generator.{name}": getattr(settings, name) for name in ("sampler", "steps", "guidance", "precision")}
    return known


def link_of(folder: Path, material: Material) -> str:
    """What is known about the model and the private set belonging together, in words."""
    try:
        card = json.loads((folder / "model_card.json").read_text())
        training = card["training"]
        digest, photographs = training["private_digest"], training.get("private_photographs")
        canaries = training.get("canaries")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{UNVERIFIED}: the model does not say what it was trained on"
    if canaries is not None and isinstance(material.drawn, str):
        return f"{_PART}: {material.drawn}"
    if photographs not in (None, material.private.photographs):
        return f"{_OTHER} than the private set that was given, as its card says"
    if photographs is None and digest != material.private.digest:
        return f"{UNVERIFIED}: the model card names another private set than the one given"
    return "the model card names this private set; that the model made these images was not checked"


def require_link(config: RunConfig, model: object, link: str) -> None:
    """EvidenceError where a model's own card says that it was trained on other photographs than the private set.

    Nobody would look for copies of those that are missing there, and white-box probes would find no member, since none ever
    was one. Likewise where it is not known whom of them its canaries left out, who would count as members too, and where a
    model that is to be released does not say what it was trained on.
    """
    if link.startswith(_PART):
        raise EvidenceError(f"{link}: expected the folder of the training, and the private set as it was then")
    if link.startswith(_OTHER):
        raise EvidenceError(f"{link}: expected the set that it was trained on, with every photograph of it")
    if "model" in config.release.covers and isinstance(model, Denoiser) and link.startswith(UNVERIFIED):
        raise EvidenceError(f"{link}: expected the model of this private set, since the model is to be released")


def train_only(path: Path, out: Path, *, canaries: int | None = None, progress: Progress) -> Path:
    """`synguard train`: only the private set is read, unless checkpoints are to be audited against the holdout.

    `canaries` is how many are drawn, by default as many as the configuration says.
    """
    config = load_config(path)
    if config.generator.kind not in ("latent-diffusion", "text-to-image"):
        wanted = "latent-diffusion or text-to-image, the kinds that are trained"
        raise InputError.of(f"{path}: generator.kind", config.generator.kind, wanted)
    if config.generator.kind == "text-to-image" and config.generator.tuning is None:
        raise InputError.of(f"{path}: generator.path", "a folder that is tuned already", "generator.tuning in its place")
    if canaries is not None:
        config = config.model_copy(update={"generator": config.generator.model_copy(update={"canaries": canaries})})
    _check_base(config, path.parent)
    from generation.processes import Processes

    processes = Processes.launched(device_of(config))
    if config.generator.curve.enabled:
        check_different_folders(config, path.parent, None)
        material = read_material(config, path.parent, progress)
        with processes.first():
            drawn = draw_for(out, material.private, config.generator.canaries, progress)
        return train_generator(config, with_canaries(material, drawn), out, progress, base=path.parent, canaries=drawn)
    private = read_images(config.private, size=config.image_size, name="private", base=path.parent)
    schema = ConditionSchema(config.conditions)
    schema.parse(private.metadata, f"private ({config.private.path})")
    with processes.first():
        drawn = draw_for(out, private, config.generator.canaries, progress)
    trained_on = private if drawn is None else drawn.trained_on(private)
    if config.generator.tuning is not None:
        return _tuned(config, trained_on, out, progress, base=path.parent, canaries=drawn)
    from generation.train import train

    return train(
        trained_on,
        schema,
        config.generator,
        seed=config.seed,
        folder=out,
        device=device_of(config),
        progress=progress,
        base=_public_base(config, path.parent),
        canaries=card_entry(drawn),
        text_encoder=text_encoder_of(config, path.parent),
    )
