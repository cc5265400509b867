"""A look inside models made elsewhere: any local folder with a U-Net or DiT denoiser, an AutoencoderKL and a scheduler.

Stable Diffusion's layout (`unet/`, `vae/`, `scheduler/`, `text_encoder/` with `tokenizer/`), the same with class labels in
place of text, and DiT's (`transformer/`). Parts are opened by sub-folder, so that no code of the folder runs. Of a denoiser
that keeps several sets of weights (`unet_ema/`, or a `non_ema` variant in its folder) all are opened.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor

from generation.folder import refuse_pickles
from generation.foreign import files_digest, resized
from generation.gradients import gradient_norms
from generation.latent import torch_device
from generation.names import INDEX
from generation.schedule import Schedule, check_level
from generation.synguard_pipeline import images_in, in_chunks
from generation.told import Told, told_by
from synguard.errors import InputError
from synguard.protocols import Images

__all__ = ["FolderDenoiser", "closed", "config_in", "opened", "scheduler_in"]

_NETWORKS = {"unet": UNet2DConditionModel, "transformer": DiTTransformer2DModel}
_NAMES = {"unet": ("UNet2DConditionModel",), "transformer": ("DiTTransformer2DModel", "Transformer2DModel")}
_FURTHER = ("ema", "raw", "non_ema")
"""Other weights of a denoiser: a folder such as `unet_ema`, or files of that variant beside the released ones."""
_CHUNK = 8


def closed(folder: Path) -> str:
    """Why there is no way in for the probes, as a reason; empty where there is one."""
    part = _part(folder)
    if part is None:
        return "it has no denoiser in a sub-folder unet or transformer"
    config = config_in(folder / part)
    name = str(config.get("_class_name"))
    if name not in _NAMES[part]:
        return f"its denoiser is a {name}, and the probes know {', '.join(n for names in _NAMES.values() for n in names)}"
    if config.get("addition_embed_type"):
        return f"its denoiser takes {config['addition_embed_type']} beside its conditions, which the probes do not supply"
    if config_in(folder / "vae").get("_class_name") != "AutoencoderKL":
        return "it has no AutoencoderKL in a sub-folder vae"
    return ""


@dataclass(frozen=True, slots=True, eq=False)
class FolderDenoiser:
    """Satisfies `protocols.OpenDenoiser`. Images of `size` are brought to the model's own size first.

    How training turned images is not known here; `audits.membership.turns` can say it.
    """

    digest: str
    size: int
    side: int
    latent_shape: tuple[int, int, int]
    weights: tuple[str, ...]
    turns: tuple[int, ...]
    schedule: Schedule
    told: Told
    device: torch.device
    vae: Any
    networks: dict[str, Any]

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", size: int | None = None) -> FolderDenoiser:
        """Opens a local folder; nothing is fetched.

        InputError for pickled weights, parts of another kind, or a denoiser that does not take the autoencoder's latents.
        """
        refuse_pickles(folder)
        if reason := closed(folder):
            raise InputError.of(folder, f"a model that cannot be probed ({reason})", "unet or transformer, vae, scheduler")
        part, target = str(_part(folder)), torch_device(device)
        networks = _networks(folder, part, target)
        vae = opened(AutoencoderKL, folder / "vae", target)
        config = networks["released"].config
        if config.in_channels != vae.config.latent_channels:
            found = f"a denoiser for latents of {config.in_channels} channels"
            raise InputError.of(folder / part, found, f"{vae.config.latent_channels}, as its autoencoder makes them")
        if not isinstance(config.sample_size, int):
            raise InputError.of(folder / part, f"sample_size {config.sample_size}", "the side of its latents as one number")
        side = config.sample_size * 2 ** (len(vae.config.block_out_channels) - 1)
        return cls(
            digest=files_digest(folder),
            size=size or side,
            side=side,
            latent_shape=(config.in_channels, config.sample_size, config.sample_size),
            weights=tuple(networks),
            turns=(0,),
            schedule=scheduler_in(folder)[1],
            told=told_by(folder, networks["released"], _classes(folder), target),
            device=target,
            vae=vae,
            networks=networks,
        )

    @property
    def unconditional(self) -> bool:
        """Whether "no conditions" is something that it was trained on."""
        return self.told.unconditional

    def encode(self, images: Images) -> NDArray[np.float32]:
        """Latents float32 (n, c, h, w): the posterior's mode, shifted and scaled as the denoiser was trained with."""

        def work(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            with torch.inference_mode():
                array: NDArray[np.float32] = self._scaled(self._mode(images[rows])).cpu().numpy()
            return array

        return in_chunks(len(images), _CHUNK, work)

    def reconstruct(self, images: Images) -> Images:
        """Images uint8 (n, size, size, 3) through encoder (the posterior's mode) and decoder."""

        def work(rows: NDArray[np.int64]) -> Images:
            with torch.inference_mode():
                made = self.vae.decode(self._mode(images[rows])).sample
            return resized((made.permute(0, 2, 3, 1).cpu().numpy() + 1) / 2, self.size)

        return in_chunks(len(images), _CHUNK, work)

    def coefficients(self, level: float) -> tuple[float, float]:
        """Shares of latent and noise at the step of the model's own schedule that is nearest to the level."""
        return self.schedule.coefficients(level)

    def errors(
        self,
        latents: NDArray[np.float32],
        conditions: pd.DataFrame | None,
        *,
        level: float,
        noise: NDArray[np.float32],
        weights: str,
    ) -> NDArray[np.float64]:
        """Mean squared error (n,) of what the model predicts, guidance 1; noise is (c, h, w) or (n, c, h, w)."""
        drawn = np.broadcast_to(noise, latents.shape)
        network, told = self._network(weights), self.told.of(conditions, len(latents))

        def work(rows: NDArray[np.int64]) -> NDArray[np.float64]:
            z, e = (torch.from_numpy(array[rows]).to(self.device) for array in (latents, drawn))
            with torch.inference_mode():
                error = self._squared(network, z, e, [level] * len(rows), told(rows))
            array: NDArray[np.float64] = error.double().cpu().numpy()
            return array

        return in_chunks(len(latents), _CHUNK, work)

    def predict(
        self, noised: NDArray[np.float32], conditions: pd.DataFrame | None, *, level: float, weights: str
    ) -> NDArray[np.float32]:
        """The noise float32 (n, c, h, w) that follows from what the model predicts."""
        network, told = self._network(weights), self.told.of(conditions, len(noised))

        def work(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            z = torch.from_numpy(noised[rows]).to(self.device)
            with torch.inference_mode():
                out = self._out(network, z, [level] * len(rows), told(rows))
                array: NDArray[np.float32] = self.schedule.noise(out, z, level).cpu().numpy()
            return array

        return in_chunks(len(noised), _CHUNK, work)

    def gradient_norms(
        self,
        latents: NDArray[np.float32],
        conditions: pd.DataFrame | None,
        *,
        levels: Sequence[float],
        noise: NDArray[np.float32],
        weights: str,
    ) -> NDArray[np.float64]:
        """Norms (n, tensors) of the gradient of the mean error over the levels, each with its noise (levels, c, h, w)."""
        told = self.told.of(conditions, len(latents))
        e = torch.from_numpy(np.ascontiguousarray(noise)).to(self.device)

        def loss(model: Any, row: int) -> Tensor:
            rows = np.full(len(levels), row)
            z = torch.from_numpy(latents[rows]).to(self.device)
            return self._squared(model, z, e, list(levels), told(rows)).mean()

        return gradient_norms(self._network(weights), loss, len(latents))

    def _network(self, weights: str) -> Any:
        if weights not in self.networks:
            raise InputError.of("weights", weights, f"one of {', '.join(self.weights)}")
        return self.networks[weights]

    def _squared(self, network: Any, z: Tensor, e: Tensor, levels: Sequence[float], told: dict[str, Any]) -> Tensor:
        noised, target = torch.empty_like(z), torch.empty_like(z)
        for row, level in enumerate(levels):
            signal, share = self.coefficients(level)
            noised[row] = signal * z[row] + share * e[row]
            target[row] = self.schedule.target(z[row], e[row], level)
        return (self._out(network, noised, levels, told) - target).square().flatten(1).mean(1)

    def _out(self, network: Any, z: Tensor, levels: Sequence[float], told: dict[str, Any]) -> Tensor:
        for level in levels:
            check_level(level)
        steps = torch.tensor([self.schedule.timestep(level) for level in levels], device=self.device)
        out: Tensor = network(z, timestep=steps, **told, return_dict=False)[0]
        # The second half of the channels, where there is one, is the variance.
        return out[:, : z.shape[1]].float()

    def _mode(self, images: Images) -> Tensor:
        given = images if images.shape[1] == self.side else resized(images.astype(np.float32) / np.float32(255), self.side)
        mode: Tensor = self.vae.encode(images_in(given, self.device)).latent_dist.mode()
        return mode.float()

    def _scaled(self, latents: Tensor) -> Tensor:
        config = self.vae.config
        mean, std = (config.get(name) for name in ("latents_mean", "latents_std"))
        if mean is not None and std is not None:
            centre, spread = (torch.tensor(v, device=self.device).view(1, -1, 1, 1) for v in (mean, std))
            return (latents - centre) / spread * float(config.scaling_factor)
        return (latents - float(config.get("shift_factor") or 0.0)) * float(config.scaling_factor)


def _part(folder: Path) -> str | None:
    return next((part for part in _NETWORKS if (folder / part / "config.json").is_file()), None)


def config_in(folder: Path) -> dict[str, Any]:
    """The configuration of a part, empty where there is none."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise InputError.of(path, "no JSON", "the configuration of a diffusers model") from error
    return found if isinstance(found, dict) else {}


def _networks(folder: Path, part: str, device: torch.device) -> dict[str, Any]:
    """The released denoiser first, then whatever else of it is there."""
    kind = _NETWORKS[part]
    found = {"released": opened(kind, folder / part, device)}
    for name in _FURTHER:
        if (folder / f"{part}_{name}" / "config.json").is_file():
            found[name] = opened(kind, folder / f"{part}_{name}", device)
        elif any((folder / part).glob(f"*.{name}.safetensors")):
            found[name] = opened(kind, folder / part, device, variant=name)
    return found


def opened(kind: Any, folder: Path, device: torch.device, **options: Any) -> Any:
    """A frozen model of a diffusers class in float32; InputError where it does not open. Nothing is fetched."""
    try:
        model = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, torch_dtype=torch.float32, **options
        )
    # diffusers raises each of these, by what is wrong with the folder.
    except (AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError.of(folder, f"a model that does not open ({reason})", f"a {kind.__name__} of diffusers") from error
    return model.to(device).eval().requires_grad_(False)


def scheduler_in(folder: Path) -> tuple[Any, Schedule]:
    """The scheduler of a folder with what it says about noise; InputError for none or one of another kind."""
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        name = json.loads(path.read_text())["_class_name"]
        scheduler = getattr(diffusers, name).from_pretrained(path.parent, local_files_only=True)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise InputError.of(path, "no scheduler", "the configuration of a diffusers scheduler") from error
    return scheduler, Schedule.of(scheduler, str(path))


def _classes(folder: Path) -> dict[str, int]:
    """Names of classes by number, where the index has them as published DiT folders do."""
    path = folder / INDEX
    named = json.loads(path.read_text()).get("id2label") if path.is_file() else None
    classes: dict[str, int] = {}
    for number, names in (named or {}).items():
        classes |= {name.strip(): int(number) for name in str(names).split(",")}
    return classes
