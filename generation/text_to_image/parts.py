"""A local folder in the layout of Stable Diffusion, opened part by part: nothing is fetched, and no code of it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel

from generation.folder import digest_of, refuse_pickles
from generation.folder_denoiser import config_in, opened, scheduler_in
from generation.foreign import files_digest
from generation.schedule import Schedule
from synguard.errors import InputError

__all__ = ["FROZEN", "Parts", "open_parts", "parts_digest"]

FROZEN = ("vae", "text_encoder", "tokenizer", "scheduler")
"""What tuning leaves as it is; the denoiser, `unet`, is the other part."""
_KINDS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
_LAYOUT = "a folder in the layout of Stable Diffusion: unet, vae, text_encoder, tokenizer, scheduler"


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Models in float32, frozen, on one device. `side` is that of the images in pixels, `vae` scales latents by a factor."""

    folder: Path
    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    schedule: Schedule
    device: torch.device

    @property
    def side(self) -> int:
        """Side of the images that the model was made for."""
        return int(self.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def components(self) -> dict[str, Any]:
        """As the stock pipelines of Stable Diffusion take them, without the filter that blackens images of skin."""
        parts = {name: getattr(self, name) for name in ("vae", "unet", "text_encoder", "tokenizer", "scheduler")}
        return parts | {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}

    def pipeline(self, kind: Any = StableDiffusionPipeline) -> Any:
        """A stock pipeline around these parts, by default that from text alone."""
        made = kind(**self.components)
        made.set_progress_bar_config(disable=True)
        return made

    def check_prompts(self, prompts: Iterable[str]) -> None:
        """InputError for a prompt whose end the text encoder would not read."""
        most = int(self.tokenizer.model_max_length)
        for prompt in dict.fromkeys(prompts):
            if (found := len(self.tokenizer(prompt).input_ids)) > most:
                raise InputError.of(
                    f"the prompt {prompt!r}", f"{found} tokens", f"at most {most}, as its text encoder reads"
                )


def open_parts(folder: Path, device: torch.device) -> Parts:
    """The parts of a folder; one line of InputError for pickles, code, a part that is missing or of another kind."""
    refuse_pickles(folder)
    if code := sorted(path.name for path in folder.rglob("*.py")):
        raise InputError.of(folder, f"code of its own ({', '.join(code)})", "weights and settings only")
    if (folder / "text_encoder_2").is_dir():
        raise InputError.of(folder, "two text encoders, as Stable Diffusion XL has them", "one")
    for name in ("unet", *FROZEN):
        if not (folder / name).is_dir():
            raise InputError.of(folder, f"no {name}", _LAYOUT)
    for name, kind in _KINDS.items():
        if (found := config_in(folder / name).get("_class_name")) != kind:
            raise InputError.of(folder / name, found, f"a {kind}")
    unet, vae = opened(UNet2DConditionModel, folder / "unet", device), opened(AutoencoderKL, folder / "vae", device)
    scheduler, schedule = scheduler_in(folder)
    if schedule.prediction not in ("epsilon", "v_prediction"):
        raise InputError.of(folder / "scheduler", f"a model that predicts {schedule.prediction}", "epsilon or v_prediction")
    _check_latents(folder, unet.config, vae.config)
    tokenizer, encoder = _text(folder)
    if encoder.config.hidden_size != unet.config.cross_attention_dim:
        found = f"a text encoder of width {encoder.config.hidden_size}"
        raise InputError.of(folder, found, f"{unet.config.cross_attention_dim}, as its denoiser listens to")
    return Parts(folder, vae, unet, encoder.to(device), tokenizer, scheduler, schedule, device)


def parts_digest(folder: Path) -> str:
    """sha256 over the files of the five parts."""
    return digest_of({name: files_digest(folder / name) for name in ("unet", *FROZEN)})


def _check_latents(folder: Path, unet: Any, vae: Any) -> None:
    # diffusers' own inpainting pipeline asks for four channels too, or for a model that was made for masks.
    if not unet.in_channels == unet.out_channels == vae.latent_channels == 4:
        found = f"a denoiser from {unet.in_channels} to {unet.out_channels} channels of latents with {vae.latent_channels}"
        raise InputError.of(folder / "unet", found, "4 each")
    if not isinstance(unet.sample_size, int):
        raise InputError.of(folder / "unet", f"sample_size {unet.sample_size}", "the side of its latents as one number")
    for name in ("shift_factor", "latents_mean", "latents_std"):
        if vae.get(name) is not None:
            raise InputError.of(folder / "vae", name, "latents that are scaled by a factor alone, as Stable Diffusion's are")


def _text(folder: Path) -> tuple[Any, Any]:
    try:
        from transformers import CLIPTextModel, CLIPTokenizer  # here, so that only models with text need it
    except ImportError as error:
        raise InputError.of(folder / "text_encoder", "no transformers here", "`pip install synguard[text]`") from error
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        encoder: Any = CLIPTextModel.from_pretrained(folder / "text_encoder", local_files_only=True, use_safetensors=True)
    # transformers raises each of these, by what is wrong with the folder.
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError.of(folder, f"a text encoder or tokenizer that does not open ({reason})", "those of CLIP") from error
    return tokenizer, encoder.float().eval().requires_grad_(False)
