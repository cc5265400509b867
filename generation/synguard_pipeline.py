"""Sampling of a synguard latent diffusion model, with nothing needed but diffusers.

This file is copied into each trained folder, so that the folder opens without synguard installed:

    from diffusers import DiffusionPipeline
    pipe = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    images = pipe([{"dr_grade": "2", "is_gc": 1}], seeds=[7]).images

synguard samples with the very functions below, so both give the same images. Attributes left out are unknown: the model
then draws them itself. Conditions are encoded as (value, known), and all zeros is "nothing known", which is also what
guidance compares with.
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from numpy.typing import NDArray
from PIL import Image

from .synguard_sampling import Term, generators, noise, sample, terms  # as it is found in a folder
from .synguard_text import TextTower

__all__ = ["SynguardPipeline", "decode", "encode", "guidance_of", "normalise", "width"]

FREQUENCIES = 4
"""Octaves of the Fourier features of a continuous attribute."""
WORDS = 64
"""Buckets of the hashed bag of words of a text attribute that no text tower reads."""
TOWER = "text"
"""Sub-folder with the text tower, where there is one."""

Attribute = Mapping[str, Any]
Tower = Callable[[str], NDArray[np.float32]]
"""From a text to its numbers (width,)."""


def width(attribute: Attribute) -> int:
    """Numbers that one attribute takes in the encoding, its known bit included."""
    kind = attribute["kind"]
    if kind == "binary":
        return 2
    if kind == "ordinal":
        return len(attribute["levels"])
    if kind == "categorical":
        return len(attribute["levels"]) + 1
    return (1 + 2 * FREQUENCIES if kind == "continuous" else attribute.get("width", WORDS)) + 1


def encode(
    attributes: Sequence[Attribute], columns: Mapping[str, Sequence[Any]], n: int, tower: Tower | None = None
) -> NDArray[np.float32]:
    """Conditions of n images as float32 (n, sum of widths); the last number of each attribute is its known bit.

    Binary: -1 or 1. Ordinal: a thermometer of K - 1 signs. Categorical: one-hot. Continuous: the value in [-1, 1] and its
    sines and cosines. Text: a signed hashed bag of words of unit length, or what the `tower` makes of it where the attribute
    has a `width`. Where the attribute carries `mean` and `std`, the
    numbers are standardised by them. None, NaN, or a column left out: all zeros.
    Raises ValueError for a value that the attribute does not allow.
    """
    parts = []
    for attribute in attributes:
        values = columns.get(attribute["name"], [None] * n)
        codes = {value: _code(attribute, value, tower) for value in set(values)}
        block = np.zeros((n, width(attribute)), dtype=np.float32)
        for row, value in enumerate(values):
            block[row] = codes[value]
        parts.append(block)
    return np.concatenate(parts, axis=1) if parts else np.zeros((n, 0), dtype=np.float32)


def _code(attribute: Attribute, value: Any, tower: Tower | None) -> NDArray[np.float32]:
    """One value of one attribute, encoded, with its known bit."""
    if value is None or value != value:  # NaN differs from itself
        return np.zeros(width(attribute), dtype=np.float32)
    kind, name = attribute["kind"], attribute["name"]
    if kind == "continuous":
        low, high = attribute["range"]
        share = (float(value) - low) / ((high - low) or 1.0)
        if not 0 <= share <= 1:
            raise ValueError(f"{name}: found {value}, expected {low} to {high}")
        angles = [math.pi * share * 2**octave for octave in range(FREQUENCIES)]
        numbers = [2 * share - 1, *map(math.sin, angles), *map(math.cos, angles)]
    elif kind == "text" and "width" in attribute:
        if tower is None:
            raise ValueError(f"{name}: found no text tower, expected the one that the model was trained with")
        numbers = tower(str(value)).tolist()
    elif kind == "text":
        numbers = _bag_of_words(str(value))
    else:
        level = _level(attribute, value)
        if kind == "binary":
            numbers = [2 * level - 1]
        elif kind == "ordinal":
            numbers = [1 if level >= step else -1 for step in range(1, len(attribute["levels"]))]
        else:
            numbers = [float(level == step) for step in range(len(attribute["levels"]))]
    mean, std = attribute.get("mean", 0.0), attribute.get("std", 1.0)
    return np.array([*(np.array(numbers) - mean) / std, 1], dtype=np.float32)


def _level(attribute: Attribute, value: Any) -> int:
    levels = attribute.get("levels") or ("0", "1")
    if attribute["kind"] == "binary" and value in (0, 1):
        return int(value)
    if str(value) not in levels:
        raise ValueError(f"{attribute['name']}: found {value!r}, expected one of {', '.join(levels)}")
    return list(levels).index(str(value))


def _bag_of_words(text: str) -> list[float]:
    counts = [0.0] * WORDS
    for word in re.findall(r"\w+", text.lower()):
        code = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
        counts[code % WORDS] += 1 if code & 2**31 else -1
    length = math.hypot(*counts) or 1.0
    return [count / length for count in counts]


def images_in(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Images uint8 (n, h, w, 3) as float32 (n, 3, h, w) in [-1, 1]; the view leaves channels last."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def normalise(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Raw latents (n, c, h, w) with mean 0 and standard deviation 1 per channel, as the denoiser knows them."""
    return (latents - _statistic(vae, "latents_mean", latents)) / _statistic(vae, "latents_std", latents)


def decode(vae: Any, latents: torch.Tensor) -> NDArray[np.uint8]:
    """Images uint8 (n, size, size, 3) of normalised latents."""
    raw = latents * _statistic(vae, "latents_std", latents) + _statistic(vae, "latents_mean", latents)
    images = vae.decode(raw.to(getattr(vae, "dtype", raw.dtype)))
    pixels = (images.sample.float().clamp(-1, 1) + 1) * 127.5
    array: NDArray[np.uint8] = pixels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def _statistic(vae: Any, name: str, like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(vae.config[name], dtype=like.dtype, device=like.device).view(1, -1, 1, 1)


def in_chunks(
    n: int, size: int, work: Callable[[NDArray[np.int64]], NDArray[Any]], progress: Callable[[int], None] | None = None
) -> NDArray[Any]:
    """`work` on row numbers, `size` at a time; the last rows are filled up with row 0, which is then cut off.

    Kernels may add in another order for another batch shape; with one shape throughout, no result depends on n.
    """
    parts = []
    for first in range(0, n, size):
        rows = np.arange(first, first + size)
        parts.append(work(np.where(rows < n, rows, 0))[: n - first])
        if progress is not None:
            progress(min(n, first + size))
    return np.concatenate(parts)


def chunk_size(device: torch.device | str) -> int:
    """Images sampled in one call: few enough for a CPU's cache, enough to keep a GPU busy."""
    return 256 if torch.device(device).type == "cuda" else 25


def guidance_of(attributes: Sequence[Attribute], settings: Mapping[str, Any]) -> tuple[Term, ...]:
    """Guidance by groups of attributes, from the `guidance`, `interval` and `groups` of sampling settings."""
    widths, members = [width(a) for a in attributes], [a.get("group") for a in attributes]
    interval, groups = settings.get("interval") or (0.0, 1.0), settings.get("groups") or {}
    return terms(widths, members, settings["guidance"], interval, groups)


class SynguardPipeline(DiffusionPipeline):  # type: ignore[misc]  # diffusers has no types
    """A conditional latent diffusion model; `attributes` is its condition schema, the rest how it samples by default.

    Its denoiser is a UNet or a transformer, whichever is there.

    `guidance` acts at times within `interval`, 1 being pure noise; `groups` of attributes may have their own of both.
    """

    model_cpu_offload_seq = "unet->transformer->vae"
    _optional_components = ["unet", "transformer"]  # noqa: RUF012  # a list in each pipeline of diffusers

    def __init__(
        self,
        vae: Any,
        scheduler: Any,
        unet: Any = None,
        transformer: Any = None,
        attributes: Sequence[Attribute] = (),
        sampler: str = "ab2",
        steps: int = 20,
        guidance: float = 2.0,
        interval: Sequence[float] = (0.0, 1.0),
        groups: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, scheduler=scheduler, unet=unet, transformer=transformer)
        self.register_to_config(
            attributes=[dict(a) for a in attributes],
            sampler=sampler,
            steps=steps,
            guidance=guidance,
            interval=list(interval),
            groups=dict(groups or {}),
        )

    @torch.inference_mode()
    def __call__(
        self,
        conditions: Sequence[Mapping[str, Any]],
        seeds: Sequence[int],
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        sampler: str | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        """One image a condition (attribute -> value) and seed. `output_type`: "pil", or "np" for uint8."""
        if len(conditions) != len(seeds):
            raise ValueError(f"seeds: found {len(seeds)}, expected {len(conditions)}, one a condition")
        names = [attribute["name"] for attribute in self.config.attributes]
        for row in conditions:
            if unknown := set(row) - set(names):
                raise ValueError(f"conditions: found {sorted(unknown)}, expected names out of {names}")
        columns = {name: [row.get(name) for row in conditions] for name in names}
        settings = dict(self.config)
        if guidance_scale is not None:
            settings |= {"guidance": guidance_scale, "groups": {}}
        images = render(
            self.vae,
            self.unet or self.transformer,
            self.scheduler,
            encode(self.config.attributes, columns, len(seeds), self._tower()),
            seeds,
            sampler=sampler or self.config.sampler,
            steps=num_inference_steps or self.config.steps,
            guidance=guidance_of(self.config.attributes, settings),
        )
        result = images if output_type == "np" else [Image.fromarray(image) for image in images]
        return ImagePipelineOutput(images=result) if return_dict else (result,)

    def _tower(self) -> TextTower | None:
        """The text tower of the folder that the pipeline was opened from, opened when it is first needed."""
        told = any("width" in attribute for attribute in self.config.attributes)
        if told and getattr(self, "_opened", None) is None:
            self._opened = TextTower(Path(self.config._name_or_path) / TOWER)
        return self._opened if told else None


def render(
    vae: Any,
    network: Any,
    scheduler: Any,
    encoded: NDArray[np.float32],
    seeds: Sequence[int],
    *,
    sampler: str,
    steps: int,
    guidance: Sequence[Term],
) -> NDArray[np.uint8]:
    """Images uint8 (n, size, size, 3), one a seed and row of encoded conditions, the same in whatever batch."""
    shape = (network.config.in_channels, network.config.sample_size, network.config.sample_size)

    def work(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        random = generators([seeds[row] for row in rows])
        start = noise(random, shape).to(network.device, memory_format=torch.channels_last)
        conditions = torch.from_numpy(encoded[rows]).to(network.device)
        asked = {"sampler": sampler, "steps": steps, "guidance": guidance, "scheduler": scheduler, "random": random}
        return decode(vae, sample(network, start, conditions, **asked))

    size = chunk_size(network.device)
    while True:
        try:
            return in_chunks(len(seeds), size, work)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            torch.cuda.empty_cache()
            warnings.warn(f"out of GPU memory: now {size} images at once", stacklevel=2)
