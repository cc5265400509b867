"""A public base: a model trained on images that need no protection, which private training starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL

from generation.denoiser import PARTS
from generation.folder import check_weights, is_synguard, refuse_pickles
from generation.latent import condition_encoder
from generation.names import INDEX
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError

__all__ = ["freeze_all_but_attention", "open_base"]


def open_base(folder: Path, schema: ConditionSchema, size: int) -> tuple[Any, Any, Any, str]:
    """Autoencoder, denoiser, condition encoder and weights digest of a folder that synguard trained.

    InputError where it is another kind of folder, or was trained at another size or with other conditions.
    """
    if not is_synguard(folder):
        raise InputError.of(folder, "a pipeline that synguard did not train", "one that it did, on public images")
    refuse_pickles(folder)
    digest = check_weights(folder)
    encoder = condition_encoder(json.loads((folder / INDEX).read_text())["attributes"], folder)
    mine, base = ([(a.name, a.kind, a.levels) for a in s.attributes] for s in (schema, encoder.schema))
    if mine != base:
        named = ", ".join(name for name, _, _ in base) or "no conditions"
        raise InputError.of(folder, f"a model of {named}", "one of the same conditions with the same levels")
    vae = _open(AutoencoderKL, folder / "vae").requires_grad_(False).eval()
    if vae.config.sample_size != size:
        raise InputError.of(folder, f"a model of {vae.config.sample_size} pixels", f"one of image_size, {size}")
    part = next(folder / name for name in PARTS if (folder / name).is_dir())
    return vae, _open(PARTS[part.name], part).train(), encoder, digest


def freeze_all_but_attention(unet: Any, folder: Path) -> None:
    """Leave gradients to attention layers alone. InputError where there are none."""
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(".attentions." in name or ".attn" in name)
    if not any(parameter.requires_grad for parameter in unet.parameters()):
        raise InputError.of(
            folder, "a denoiser without attention", "one with it (generator.denoiser.attention), or layers: all"
        )


def _open(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, use_safetensors=True, local_files_only=True)
