"""Tiny models in the layouts that others publish, with random weights, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)

SCHEDULERS = {
    "epsilon": lambda: DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    "v_prediction": lambda: DDIMScheduler(prediction_type="v_prediction", beta_schedule="scaled_linear"),
    "sample": lambda: DDIMScheduler(prediction_type="sample"),
    "flow": FlowMatchEulerDiscreteScheduler,
}


def vae(channels: int = 4) -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        sample_size=16,
        latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        scaling_factor=0.18215,
    )


def unet(seed: int = 2, **options) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    options = {
        "in_channels": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16,
    } | options
    return UNet2DConditionModel(
        sample_size=8,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        **options,
    )


def transformer(classes: int = 10) -> DiTTransformer2DModel:
    torch.manual_seed(0)
    made = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        norm_num_groups=4,
        sample_size=8,
        patch_size=4,
        num_embeds_ada_norm=classes,
    )
    # The output layer starts at zero; with it, no class would matter.
    torch.nn.init.normal_(made.proj_out_2.weight, std=0.5)
    torch.nn.init.normal_(made.proj_out_1.weight, std=0.5)
    for block in made.transformer_blocks:
        torch.nn.init.normal_(block.norm1.linear.weight, std=0.5)
    return made


def ddpm(folder: Path) -> Path:
    """An unconditional pipeline on pixels."""
    torch.manual_seed(0)
    made = UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        add_attention=False,
    )
    DDPMPipeline(made, DDPMScheduler()).save_pretrained(folder)
    return folder


def save(folder: Path, scheduler: str = "epsilon", *, classes: dict | None = None, **parts) -> Path:
    """Sub-folders of the parts, with the autoencoder and the scheduler."""
    for name, part in {"vae": vae(), **parts}.items():
        part.save_pretrained(folder / name)
    SCHEDULERS[scheduler]().save_pretrained(folder / "scheduler")
    if classes is not None:
        (folder / "model_index.json").write_text(json.dumps({"_class_name": "Elsewhere", "id2label": classes}))
    return folder


def stable_diffusion(folder: Path, scheduler: str = "epsilon", *, length: int = 12, **parts) -> Path:
    """With a text encoder and a tokenizer of a few letters, which reads `length` of them."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(3)
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789,"]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    source = folder / "words"
    source.mkdir(parents=True)
    (source / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (source / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(source / "vocab.json"), str(source / "merges.txt"), model_max_length=length)
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=length,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    return save(folder, scheduler, **({"unet": unet()} | parts))
