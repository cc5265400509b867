"""The generator of a run: trained, opened, or checked; and the commands that only train or only generate."""

from __future__ import annotations

import json
from pathlib import Path

from generation import pipeline
from generation.train import train
from synguard.config import RunConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.readers import read_images
from synguard.errors import InputError
from synguard.protocols import Generator
from synguard.runs.configuration import load_config
from synguard.runs.engine import encode_png
from synguard.runs.folder import whole_folder
from synguard.runs.material import Material
from synguard.runs.plan import attempt_seed, plan_conditions, refuse_private_texts
from synguard.runs.progress import Progress

__all__ = ["check_generator", "device_of", "generate_only", "link_of", "open_generator", "train_generator", "train_only"]

_TOGETHER = 250
"""Images generated between two reports of progress."""


def device_of(config: RunConfig) -> str:
    """The device to work on: CUDA where it is asked for, or there and nothing was said."""
    if config.device != "auto":
        return config.device
    import torch  # here, so that reading a configuration needs no torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def check_generator(config: RunConfig, base: Path) -> str:
    """InputError for a generator that cannot be used, before anything is written: no folder, pickles, a wrong size.

    Returns its digest, "" where the run trains its own.
    """
    if config.generator.path is None:
        return ""
    return open_generator(config, base, base / config.generator.path).digest


def open_generator(config: RunConfig, base: Path, folder: Path) -> Generator:
    """The generator in a pipeline folder, ready to sample at the run's size."""
    return pipeline.load(
        folder,
        device=device_of(config),
        trust_remote_code=config.generator.trust_remote_code,
        sampling=config.generator.sampling,
        size=config.image_size,
    )


def train_generator(config: RunConfig, material: Material, folder: Path, progress: Progress) -> Path:
    """Train in `folder`, or go on with a training that was interrupted there."""
    return train(
        material.private,
        material.schema,
        config.generator,
        seed=config.seed,
        folder=folder,
        device=device_of(config),
        progress=progress,
    )


def link_of(folder: Path, material: Material) -> str:
    """What is known about the model and the private set belonging together, in words."""
    try:
        card = json.loads((folder / "model_card.json").read_text())
        digest = card["training"]["private_digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return "link unverified: the model does not say what it was trained on"
    if digest != material.private.digest:
        return "link unverified: the model card names another private set than the one given"
    return "the model card names this private set; that the model made these images was not checked"


def train_only(path: Path, out: Path, *, progress: Progress) -> Path:
    """`synguard train`: only the private set is read."""
    config = load_config(path)
    if config.generator.kind != "latent-diffusion":
        raise InputError.of(f"{path}: generator.kind", config.generator.kind, "latent-diffusion, the kind that is trained")
    private = read_images(config.private, size=config.image_size, name="private", base=path.parent)
    schema = ConditionSchema(config.conditions)
    schema.parse(private.metadata, f"private ({config.private.path})")
    return train(
        private, schema, config.generator, seed=config.seed, folder=out, device=device_of(config), progress=progress
    )


def generate_only(path: Path, out: Path, *, images: int | None, progress: Progress) -> Path:
    """`synguard generate`: candidates in the image-folder layout, with a file that says that nobody audited them."""
    config = load_config(path)
    if config.generator.path is None or config.generator.kind == "folder":
        raise InputError.of(
            f"{path}: generator.path", "nothing to generate with", "a trained pipeline folder (`synguard train`)"
        )
    if out.exists():
        raise InputError.of(out, "a folder that exists already", "a new folder for the candidates")
    private = read_images(config.private, size=config.image_size, name="private", base=path.parent)
    schema, patients = ConditionSchema(config.conditions), private.patients.tolist()
    conditions = schema.parse(private.metadata, f"private ({config.private.path})")
    generator = open_generator(config, path.parent, path.parent / config.generator.path)
    asked = plan_conditions(conditions, patients, images or config.release.images, config.seed)
    refuse_private_texts(asked, conditions, patients, schema)
    seeds = [attempt_seed(config.seed, slot, 0) for slot in range(len(asked))]
    with whole_folder(out) as scratch:
        (scratch / "images").mkdir()
        lines = []
        for start in range(0, len(asked), _TOGETHER):
            rows = range(start, min(start + _TOGETHER, len(asked)))
            pixels = generator.generate(asked.iloc[list(rows)].reset_index(drop=True), [seeds[row] for row in rows])
            for row, image in zip(rows, pixels, strict=True):
                name = f"images/{row:06d}.png"
                (scratch / name).write_bytes(encode_png(image))
                wanted = json.loads(asked.iloc[[row]].to_json(orient="records"))[0]
                lines.append(json.dumps({"file_name": name, "seed": seeds[row], **wanted}))
            progress("generate", rows[-1] + 1, len(asked))
        (scratch / "metadata.jsonl").write_text("".join(f"{line}\n" for line in lines))
        (scratch / "UNAUDITED").write_text("No audit has examined these images and no gate has decided on them.\n")
    return out
