"""The folder that a tuning leaves behind: a plain Stable Diffusion folder with the adapter fused into its denoiser."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers

from generation.folder import card, check_commitment, drop_state, write
from generation.names import CARD, INDEX, STATE
from generation.text_to_image.parts import FROZEN, Parts
from generation.text_to_image.prompts import PROMPTS, Prompts
from synguard.config import TuningConfig

__all__ = ["KIND", "LORA", "finish"]

KIND = "synguard tuned text-to-image"
LORA = "lora"
"""Sub-folder of the adapter by itself, for the base that it was made from."""

_README = """---
library_name: diffusers
pipeline_tag: text-to-image
---

# Synthetic image generator

A Stable Diffusion model ({side} x {side} pixels), tuned by synguard with LoRA of rank {rank} on {images:,} private images
(image set `{digest}`), each seen {seen:.1f} times, and told of each by `{instance}`.
Trained without differential privacy.
What else can be said about its privacy is in the audit report of its release, not here.

```python
from diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("path/to/this/folder")
images = pipe("{instance}").images  # with {{token}} as {token}
```

The adapter is part of the weights; alone it lies in `lora/`, for `load_lora_weights` on the same base. There is no safety
checker: it would blacken images of skin. Do not pass on `training/`: it is private.
"""


def finish(
    folder: Path, parts: Parts, prompts: Prompts, tuning: TuningConfig, *, identity: Mapping[str, Any], seen: float
) -> None:
    """Writes the folder, with the adapter fused; the index comes last, so that a folder with an index is whole.

    Frozen parts are the base's own files. `seen` is how often each private image was.
    """
    from peft.utils import get_peft_model_state_dict

    check_commitment(folder, identity)
    for name in FROZEN:
        shutil.copytree(parts.folder / name, folder / name, dirs_exist_ok=True)
    unet = parts.unet.to("cpu")
    adapter = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    StableDiffusionPipeline.save_lora_weights(folder / LORA, unet_lora_layers=adapter)
    unet.fuse_lora()
    unet.unload_lora()
    unet.register_to_config(_name_or_path="")  # where the base lies is nobody's business
    unet.save_pretrained(folder / "unet")
    write(folder / PROMPTS, prompts.stored)
    write(folder / CARD, card(folder, identity, kind=KIND, steps=tuning.steps, seen=seen))
    text = _README.format(
        side=parts.side,
        rank=tuning.rank,
        images=identity["private_images"],
        digest=identity["private_digest"],
        seen=seen,
        instance=prompts.instance,
        token=prompts.token,
    )
    (folder / "README.md").write_text(text)
    write(folder / INDEX, _index(parts))
    drop_state(folder / STATE)


def _index(parts: Parts) -> dict[str, Any]:
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", type(parts.scheduler).__name__],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
