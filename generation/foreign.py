"""Generators made elsewhere: any diffusers pipeline folder, asked for one image per condition and seed."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from generation.folder import digest_of, refuse_pickles
from generation.latent import torch_device
from generation.synguard_pipeline import images_in, in_chunks
from generation.synguard_sampling import fitting, prediction_of, solver
from synguard.config import SamplingConfig
from synguard.errors import ConfigError, InputError
from synguard.protocols import Images

__all__ = [
    "ForeignGenerator",
    "ForeignLatentGenerator",
    "check_plain",
    "files_digest",
    "own_size",
    "prompt_of",
    "resized",
    "through",
    "with_sampler",
]

_CHUNK = 8


@dataclass(frozen=True, slots=True, eq=False)
class ForeignGenerator:
    """A diffusers pipeline as a `protocols.Generator`.

    Conditions reach it by what its call takes: a `prompt` (see `prompt_of`), or `class_labels` (one column, class numbers or
    names of classes that the pipeline knows); a pipeline that takes neither is unconditional and refuses conditions.
    """

    digest: str
    size: int
    pipeline: Any
    takes: frozenset[str]
    sampling: SamplingConfig | None

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "cpu",
        trust_remote_code: bool = False,
        sampling: SamplingConfig | None = None,
        size: int | None = None,
    ) -> ForeignGenerator:
        """Opens a local pipeline folder, with its own settings and at its own size unless `sampling` and `size` are given.

        Raises InputError for pickled weights, a folder that brings code without `trust_remote_code`, or one that does not
        open. Nothing is fetched.
        """
        refuse_pickles(folder)
        target = torch_device(device)
        if (code := sorted(path.name for path in folder.rglob("*.py"))) and not trust_remote_code:
            raise InputError.of(
                folder, f"code of its own ({', '.join(code)})", "generator.trust_remote_code, once you read it"
            )
        try:
            pipeline = DiffusionPipeline.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=trust_remote_code
            )
        # diffusers raises each of these, by what is wrong with the folder or missing on the machine.
        except (AttributeError, ImportError, OSError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError.of(
                folder, f"a pipeline that does not open ({reason})", "a diffusers pipeline folder"
            ) from error
        pipeline = pipeline.to(target)
        pipeline.set_progress_bar_config(disable=True)
        takes = frozenset(inspect.signature(pipeline.__call__).parameters)
        if "generator" not in takes:
            raise InputError.of(
                folder, f"{type(pipeline).__name__}, whose call takes no generator", "one that can be seeded"
            )
        if sampling is not None:
            check_plain(sampling)
            with_sampler(pipeline, sampling.sampler)
        settings = sampling.model_dump(include={"sampler", "steps", "guidance"}) if sampling else None
        vae = getattr(pipeline, "vae", None)
        in_colour = isinstance(vae, AutoencoderKL) and vae.config.in_channels == 3
        kind = ForeignLatentGenerator if in_colour else cls
        return kind(
            digest=digest_of({"files": files_digest(folder), "sampling": settings, "size": size}),
            size=size or own_size(pipeline),
            pipeline=pipeline,
            takes=takes,
            sampling=sampling,
        )

    def generate(self, conditions: pd.DataFrame, seeds: Sequence[int]) -> Images:
        """Images uint8 (n, size, size, 3), resized where the pipeline's own size differs."""
        if len(conditions) != len(seeds):
            raise InputError.of("seeds", len(seeds), f"{len(conditions)}, one a condition")
        if not len(seeds):
            return np.zeros((0, self.size, self.size, 3), dtype=np.uint8)
        asked = self._asked(conditions)

        def work(rows: NDArray[np.int64]) -> Images:
            numbers = rows.tolist()
            generators = [torch.Generator("cpu").manual_seed(int(seeds[row])) for row in numbers]
            chosen = {name: [values[row] for row in numbers] for name, values in asked.items()}
            result = self.pipeline(**chosen, **self._settings(len(numbers)), generator=generators, output_type="np")
            return resized(np.asarray(result.images), self.size)

        return in_chunks(len(seeds), _CHUNK, work)

    def _settings(self, n: int) -> dict[str, Any]:
        known: dict[str, Any] = {"batch_size": n}
        if self.sampling is not None:
            known |= {"num_inference_steps": self.sampling.steps, "guidance_scale": self.sampling.guidance}
        return {name: value for name, value in known.items() if name in self.takes}

    def _asked(self, conditions: pd.DataFrame) -> dict[str, list[Any]]:
        """The pipeline's arguments that carry the conditions, one value an image."""
        if "prompt" in self.takes:
            return {"prompt": [prompt_of(row) for row in conditions.to_dict("records")]}
        name = type(self.pipeline).__name__
        if "class_labels" not in self.takes:
            if len(conditions.columns):
                raise InputError.of("conditions", ", ".join(conditions.columns), f"none, since {name} is unconditional")
            return {}
        if len(conditions.columns) != 1 or conditions.isna().any(axis=None):
            found = ", ".join(conditions.columns) or "none"
            raise InputError.of("conditions", found, f"one attribute without gaps, since {name} takes one class an image")
        values = [str(value) for value in conditions.iloc[:, 0]]
        known = {str(key): int(value) for key, value in (getattr(self.pipeline, "labels", None) or {}).items()}
        if unknown := [value for value in values if value not in known and not value.isdecimal()]:
            raise InputError.of(
                f"conditions.{conditions.columns[0]}", repr(unknown[0]), "a class of the pipeline or its number"
            )
        return {"class_labels": [known[value] if value in known else int(value) for value in values]}


class ForeignLatentGenerator(ForeignGenerator):
    """A pipeline with a stock autoencoder, which audits can look into: a `protocols.Autoencoder` too."""

    __slots__ = ()

    def reconstruct(self, images: Images) -> Images:
        """Images uint8 (n, size, size, 3) through encoder (the posterior's mode) and decoder, at the pipeline's own size."""
        return through(self.pipeline.vae, images, side=own_size(self.pipeline), size=self.size)


def through(vae: Any, images: Images, *, side: int, size: int) -> Images:
    """Images (n, size, size, 3) through a stock autoencoder that works at `side`: the posterior's mode, decoded."""

    def work(rows: NDArray[np.int64]) -> Images:
        given = images_in(resized(images[rows].astype(np.float32) / np.float32(255), side), vae.device).to(vae.dtype)
        with torch.inference_mode():
            made = vae.decode(vae.encode(given).latent_dist.mode()).sample
        return resized((made.float().permute(0, 2, 3, 1).cpu().numpy() + 1) / 2, size)

    return in_chunks(len(images), _CHUNK, work)


def check_plain(sampling: SamplingConfig) -> None:
    """ConfigError for settings that only our own models have."""
    for key in ("interval", "groups", "precision"):
        if getattr(sampling, key) != SamplingConfig.model_fields[key].get_default(call_default_factory=True):
            raise ConfigError.of(
                f"generator.sampling.{key}", "it beside a pipeline by others", "none: its guidance is its own"
            )


def with_sampler(pipeline: Any, name: str | None) -> None:
    """Gives the pipeline another sampler, on its own schedule. ConfigError for one that it would not work with."""
    if name is None:
        return
    key, kind = "generator.sampling.sampler", type(pipeline).__name__
    declared = inspect.signature(type(pipeline).__init__).parameters["scheduler"].annotation
    if "KarrasDiffusionSchedulers" not in str(declared):
        raise ConfigError.of(key, f"{name} for a {kind}", "none: it works with its own alone")
    prediction = prediction_of(pipeline.scheduler)
    # Without prepare_latents it starts from noise of deviation 1, whatever the sampler asks for.
    fit = {n: solver(n, pipeline.scheduler, prediction) for n in fitting(prediction) if n != "ab2"}
    fit = {n: made for n, made in fit.items() if hasattr(pipeline, "prepare_latents") or float(made.init_noise_sigma) == 1}
    if name not in fit:
        raise ConfigError.of(key, name, f"one for a {kind} that predicts {prediction}: {', '.join(fit)}")
    pipeline.scheduler = fit[name]


def prompt_of(row: dict[Any, Any]) -> str:
    """A prompt for one image: text values as they stand, then "name value" of the others, joined by commas.

    Underscores are read as spaces, a missing value is left out, and a binary attribute is named only where it is present.
    """
    parts = []
    for name, value in row.items():
        if value is None or value is pd.NA or value != value or value is False or str(value) in ("0", "False"):
            continue
        word = str(name).removeprefix("is_").replace("_", " ")
        if value is True or str(value) in ("1", "True"):
            parts.append(word)
        else:
            parts.append(str(value) if name in ("text", "prompt", "caption") else f"{word} {value}")
    return ", ".join(parts)


def own_size(pipeline: Any) -> int:
    """Side of the images that a pipeline was made for; InputError where it does not say."""
    model = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    side = getattr(getattr(model, "config", None), "sample_size", None)
    if not isinstance(side, int):
        raise InputError.of(type(pipeline).__name__, "no sample_size", "image_size to be given")
    if getattr(pipeline, "vae", None) is None:
        return side
    widths = pipeline.vae.config.block_out_channels
    return int(side * 2 ** (len(widths) - 1))


def resized(images: NDArray[np.float32], size: int) -> Images:
    """Float images (n, h, w, 1 or 3) in [0, 1] as uint8 (n, size, size, 3), by Lanczos where the size differs."""
    pixels = (np.clip(images, 0, 1) * 255).round().astype(np.uint8)
    pixels = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
    if pixels.shape[1:3] == (size, size):
        return pixels
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)) for image in pixels])


def files_digest(folder: Path) -> str:
    """sha256 over the names and contents of all files in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_of({str(path.relative_to(folder)): _file_digest(path) for path in files})


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
