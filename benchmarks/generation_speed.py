"""How fast images are generated, against plain diffusers pipelines with the same weights.

    python benchmarks/generation_speed.py [--size 64] [--images 200] [--steps 20] [--repeats 5]

One untrained model (speed does not depend on what was learned) that predicts noise, without conditions, so that the stock
`StableDiffusionPipeline` can run it: the same weights, autoencoder, Euler steps and evaluations of the denoiser an image on
both sides, and uint8 arrays on the host at the end. The pipeline is run

* as it comes: one image a call, float32, its progress bar, PIL images;
* at its best: many images a call, bfloat16, no progress bar, arrays.

Sides take turns, after a warm-up that is not counted. Printed are the medians with the range over the repeats, the ratios,
and how far the images of both sides are apart in float32.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from diffusers.utils import logging

from generation import autoencoder, denoiser
from generation.conditions import ConditionEncoder
from generation.latent import LatentDiffusion
from generation.samplers import fitted
from generation.schedule import Schedule, scheduler_for
from generation.synguard_pipeline import guidance_of
from synguard.config import AutoencoderConfig, DenoiserConfig, SamplingConfig
from synguard.data.conditions import ConditionSchema
from synguard.protocols import Images

WIDTHS = (64, 96, 128)
BATCHES = (25, 100)
"""How many images the pipeline at its best is asked for at once: the faster of them counts."""


def ours(size: int, steps: int, device: str) -> LatentDiffusion:
    """A model as `synguard train` makes it, with weights that nobody trained."""
    torch.manual_seed(0)
    target = torch.device(device)
    vae = autoencoder.build(AutoencoderConfig(), size)
    vae.register_to_config(scaling_factor=1.0, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    side = size // autoencoder.factor(AutoencoderConfig())
    unet = denoiser.build(DenoiserConfig(widths=WIDTHS), latent_channels=4, latent_size=side, dimension=0)
    vae, unet = (m.to(target, memory_format=torch.channels_last).eval().requires_grad_(False) for m in (vae, unet))
    scheduler = scheduler_for("epsilon")
    schedule = Schedule.of(scheduler, "here")
    sampling = fitted(SamplingConfig(sampler="euler", steps=steps, guidance=1.0), schedule.prediction)
    return LatentDiffusion(
        digest="",
        size=size,
        latent_shape=(4, side, side),
        weights=("ema",),
        turns=(0,),
        sampling=sampling,
        device=target,
        encoder=ConditionEncoder(ConditionSchema(), ()),
        scheduler=scheduler,
        schedule=schedule,
        guidance=guidance_of((), sampling.model_dump()),
        vae=vae,
        unets={"ema": unet},
    )


def plain(model: LatentDiffusion, dtype: torch.dtype) -> Any:
    """The stock pipeline with the same weights. Its prompt is a vector that the denoiser does not look at."""
    scheduler = EulerDiscreteScheduler.from_config(model.scheduler.config, timestep_spacing="trailing")
    parts = {"vae": model.vae, "unet": model.unets["ema"]}
    copies = {name: type(part).from_config(part.config) for name, part in parts.items()}
    for name, part in parts.items():
        copies[name].load_state_dict(part.state_dict())
        copies[name].to(model.device, dtype).eval().requires_grad_(False)
    return StableDiffusionPipeline(
        **copies,
        text_encoder=None,
        tokenizer=None,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def called(pipeline: Any, model: LatentDiffusion, seeds: list[int], output: str) -> Images:
    """Images uint8 of one call."""
    prompt = torch.zeros(len(seeds), 1, 8, device=model.device, dtype=pipeline.unet.dtype)
    images = pipeline(
        prompt_embeds=prompt,
        height=model.size,
        width=model.size,
        num_inference_steps=model.sampling.steps,
        guidance_scale=1.0,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type=output,
    ).images
    if output == "pil":
        return np.stack([np.asarray(image) for image in images])
    found: Images = (np.asarray(images, dtype=np.float32) * 255).round().astype(np.uint8)
    return found


def in_calls(pipeline: Any, model: LatentDiffusion, n: int, batch: int, output: str) -> Images:
    """n images, `batch` a call."""
    parts = [list(range(first, min(first + batch, n))) for first in range(0, n, batch)]
    return np.concatenate([called(pipeline, model, seeds, output) for seeds in parts])


def rates(work: dict[str, tuple[int, Callable[[int], Images]]], repeats: int) -> dict[str, list[float]]:
    """Images a second of each, the sides taking turns."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for repeat in range(repeats + 1):
        for name, (n, made) in work.items():
            begun = time.perf_counter()
            made(n)
            if repeat:
                found[name].append(n / (time.perf_counter() - begun))
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("size", 64), ("images", 200), ("steps", 20), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    logging.set_verbosity_error()
    model = ours(asked.size, asked.steps, device)
    as_it_comes, exact, best = (plain(model, dtype) for dtype in (torch.float32, torch.float32, torch.bfloat16))
    for pipeline in (exact, best):
        pipeline.set_progress_bar_config(disable=True)

    def generate(n: int) -> Images:
        return model.generate(pd.DataFrame(index=range(n)), range(n))

    difference = np.abs(generate(25).astype(int) - in_calls(exact, model, 25, 25, "np").astype(int))
    few = max(5, asked.images // 10)
    work: dict[str, tuple[int, Callable[[int], Images]]] = {
        "synguard": (asked.images, generate),
        "as it comes": (few, lambda n: in_calls(as_it_comes, model, n, 1, "pil")),
    }
    for batch in BATCHES:
        work[f"at its best, {batch} a call"] = (asked.images, lambda n, b=batch: in_calls(best, model, n, b, "np"))
    found = rates(work, asked.repeats)
    own = median(found["synguard"])
    print(f"{asked.size} px, {asked.steps} Euler steps, {device}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    print(f"images differ by at most {difference.max()} of 255 levels, {difference.mean():.4f} on average\n")
    print(f"{'':28}{'images a second':>18}{'range':>18}{'ratio':>8}")
    for name, values in found.items():
        print(f"{name:28}{median(values):18.1f}{f'{min(values):.1f}-{max(values):.1f}':>18}{own / median(values):8.2f}")


if __name__ == "__main__":
    main()
