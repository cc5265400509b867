"""Few-shot tuning of a text-to-image model: LoRA on the attention of its denoiser, DreamBooth prompts, prior preservation.

LoRA: arXiv:2106.09685. DreamBooth and prior preservation: arXiv:2208.12242, equation 2.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generation.fit import (
    Checkpoint,
    Progress,
    autocast,
    batch_rows,
    clipped,
    fit,
    load_tensors,
    often,
    save_atomically,
    step_rng,
    torch_normal,
)
from generation.folder import claim, digest_of
from generation.foreign import check_plain, resized, with_sampler
from generation.latent import torch_device
from generation.names import STATE
from generation.processes import Processes
from generation.schedule import Schedule
from generation.synguard_pipeline import images_in, in_chunks
from generation.text_to_image import tuned
from generation.text_to_image.parts import Parts, open_parts, parts_digest
from generation.text_to_image.prompts import PLAIN, Prompts
from synguard.config import GeneratorConfig, PriorConfig, SamplingConfig, TuningConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.errors import ConfigError, InputError

__all__ = ["check_tuning", "tune"]

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections that LoRA is added to."""
_ROWS, _PRIOR_ROWS, _STEP = 21, 22, 23
"""What the random numbers of a step are for."""
_CHUNK = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What training shows: scaled latents (n, c, h, w), and the text states (n, length, width) that go with them."""

    latents: Tensor
    states: Tensor

    def of(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(rows).to(self.latents.device)
        return self.latents[index], self.states[index]


def check_tuning(config: GeneratorConfig, schema: ConditionSchema, *, base: Path, prompts: Path | None) -> Prompts:
    """The prompts of a tuning, once its base opens; InputError for whatever would end it later, before anything is written.

    `base` is the folder of the model and `prompts` the template file, None for the plain one.
    """
    return _ready(config, schema, base, prompts, torch.device("cpu"))[0]


def _ready(
    config: GeneratorConfig, schema: ConditionSchema, base: Path, prompts: Path | None, device: torch.device
) -> tuple[Prompts, Parts]:
    if importlib.util.find_spec("peft") is None:
        raise InputError.of("generator.tuning", "no peft here", "`pip install synguard[lora]`")
    tuning = _tuning(config)
    check_plain(config.sampling)
    said = Prompts.read(prompts or PLAIN, token=tuning.token, attributes=schema.names)
    parts = open_parts(base, device)
    with_sampler(parts.pipeline(), config.sampling.sampler)
    parts.check_prompts([] if tuning.prior is None else [tuning.prior.prompt])
    return said, parts


def tune(
    private: ImageSet,
    schema: ConditionSchema,
    config: GeneratorConfig,
    *,
    seed: int,
    folder: Path,
    base: Path,
    device: str = "cpu",
    prompts: Path | None = None,
    checkpoint_every: int | None = None,
    progress: Progress | None = None,
    canaries: Mapping[str, Any] | None = None,
) -> Path:
    """Tunes the model in `base` on `private` and returns `folder`, by then a Stable Diffusion folder of its own.

    Autoencoder and text encoder stay as they are. State is kept in `folder/training` every `checkpoint_every` steps (by
    default a twentieth, but at least 100): called again after a kill, it goes on and ends with the same bytes. A finished
    folder is returned as it is. `progress(phase, done, total)` is called after each step; `canaries` as in
    `generation.train.train`. Raises InputError for a base that is no such folder, labels outside the schema, prompts that
    the text encoder reads no further than their middle, a missing extra or device, or a folder of another training.
    """
    tuning = _tuning(config)
    said, parts = _ready(config, schema, base, prompts, torch_device(device))
    if Processes.launched(device).count > 1:
        raise ConfigError.of("generator.kind", "text-to-image in several processes", "one process")
    rows = schema.parse(private.metadata, private.name).to_dict("records")
    told = [said.of_training(row) for row in rows]
    parts.check_prompts(told)
    identity = _identity(private, schema, config, seed, told, said, base=base, canaries=canaries)
    if claim(folder, identity):
        return folder
    digest, state = digest_of(identity), folder / STATE
    shown = _Shown(_latents(parts, private.pixels), _states(parts, told))
    prior = None if tuning.prior is None else _prior(parts, tuning.prior, config.sampling, seed, state, digest, progress)
    lora = _with_lora(parts.unet, tuning, seed)

    def loss(_: Any, step: int) -> Tensor:
        rng = step_rng(seed, _STEP, step)
        rows = batch_rows(seed, _ROWS, step, tuning.batch_size, len(private))
        value = _loss(parts, *shown.of(rows), rng, tuning.snr_gamma)
        if prior is None or tuning.prior is None:
            return value
        rows = batch_rows(seed, _PRIOR_ROWS, step, tuning.batch_size, tuning.prior.images)
        return value + tuning.prior.weight * _loss(parts, *prior.of(rows), rng, tuning.snr_gamma)

    fit(
        lora,
        clipped(loss, Processes()),
        phase="tuning",
        steps=tuning.steps,
        learning_rate=tuning.learning_rate,
        ema_decay=None,
        checkpoint=Checkpoint(state / "lora.safetensors", digest, often(tuning.steps, checkpoint_every)),
        processes=Processes(),
        progress=progress,
    )
    seen = tuning.steps * tuning.batch_size / len(private)
    tuned.finish(folder, parts, said, tuning, identity=identity, seen=seen)
    return folder


def _tuning(config: GeneratorConfig) -> TuningConfig:
    if config.tuning is None:
        raise ConfigError.of("generator.tuning", "nothing", "how the model is tuned")
    return config.tuning


def _identity(
    private: ImageSet,
    schema: ConditionSchema,
    config: GeneratorConfig,
    seed: int,
    told: Sequence[str],
    prompts: Prompts,
    *,
    base: Path,
    canaries: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """All that the tuned weights depend on, apart from versions and hardware."""
    tuning = _tuning(config)
    # The prompts hold the labels, which the set's own digest leaves out.
    labels = sorted(zip(private.files, told, strict=True))
    return {
        "private_digest": private.digest,
        "private_photographs": private.photographs,
        "private_images": len(private),
        "image_size": private.size,
        "attributes": [attribute.model_dump(mode="json") for attribute in schema.attributes],
        "labels_digest": hashlib.sha256(repr(labels).encode()).hexdigest(),
        "prompts": prompts.stored,
        "tuning": tuning.model_dump(mode="json", exclude={"base"}),
        # Images of the prior are sampled as candidates are.
        "sampling": None if tuning.prior is None else config.sampling.model_dump(mode="json", exclude={"batch_size"}),
        "base": parts_digest(base),
        "private": None,
        "canaries": None if canaries is None else dict(canaries),
        "seed": seed,
    }


def _latents(parts: Parts, pixels: NDArray[np.uint8]) -> Tensor:
    """Scaled latents (the posterior's mode) at the model's own size, all with one shape of batch."""

    def work(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        shown = resized(pixels[rows].astype(np.float32) / np.float32(255), parts.side)
        with torch.inference_mode():
            mode = parts.vae.encode(images_in(shown, parts.device)).latent_dist.mode()
        array: NDArray[np.float32] = (mode * parts.vae.config.scaling_factor).float().cpu().numpy()
        return array

    return torch.from_numpy(in_chunks(len(pixels), _CHUNK, work)).to(parts.device)


def _states(parts: Parts, prompts: Sequence[str]) -> Tensor:
    """What the denoiser is told of each prompt, encoded by the stock pipeline as it will be when candidates are made."""
    pipeline, known = parts.pipeline(), {}
    for prompt in dict.fromkeys(prompts):
        with torch.no_grad():
            known[prompt] = pipeline.encode_prompt(prompt, parts.device, 1, False)[0]
    return torch.cat([known[prompt] for prompt in prompts])


def _prior(
    parts: Parts,
    prior: PriorConfig,
    sampling: SamplingConfig,
    seed: int,
    state: Path,
    identity: str,
    progress: Progress | None,
) -> _Shown:
    """Images of the class as the base draws them, each from a seed of its own; drawn once, and kept until training ends."""
    states = _states(parts, [prior.prompt]).expand(prior.images, -1, -1)
    path = state / "prior.safetensors"
    if path.is_file():
        return _Shown(load_tensors(path, identity)[0]["latents"].to(parts.device), states)
    pipeline = parts.pipeline()
    with_sampler(pipeline, sampling.sampler)
    seeds = np.random.SeedSequence([seed, _PRIOR_ROWS]).generate_state(prior.images, np.uint64).tolist()

    def work(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        # A seed of torch is a signed number.
        generators = [torch.Generator("cpu").manual_seed(seeds[row] >> 1) for row in rows.tolist()]
        asked = {"num_inference_steps": sampling.steps, "guidance_scale": sampling.guidance, "generator": generators}
        with autocast(parts.device):
            made = pipeline([prior.prompt] * len(rows), **asked, output_type="latent").images
        array: NDArray[np.float32] = made.float().cpu().numpy()
        return array

    def report(done: int) -> None:
        if progress is not None:
            progress("prior", done, prior.images)

    latents = torch.from_numpy(in_chunks(prior.images, _CHUNK, work, report))
    save_atomically({"latents": latents}, path, {"identity": identity})
    return _Shown(latents.to(parts.device), states)


def _with_lora(unet: Any, tuning: TuningConfig, seed: int) -> torch.nn.ParameterDict:
    """Adds LoRA to the denoiser's attention, where it changes nothing yet; returns its parameters: all that is trained."""
    from peft import LoraConfig

    device = unet.device
    unet.to("cpu")  # so that the first weights are the same on all devices
    torch.manual_seed(seed)
    # With alpha as large as the rank the adapter counts as it stands, which files without an alpha are read as.
    unet.add_adapter(
        LoraConfig(r=tuning.rank, lora_alpha=tuning.rank, init_lora_weights="gaussian", target_modules=list(ATTENTION))
    )
    unet.to(device)
    trained = {name: parameter for name, parameter in unet.named_parameters() if parameter.requires_grad}
    return torch.nn.ParameterDict({name.replace(".", "/"): parameter for name, parameter in trained.items()})


def _loss(parts: Parts, latents: Tensor, states: Tensor, rng: np.random.Generator, gamma: float | None) -> Tensor:
    """Mean squared error of what the base's own scheduler has its denoiser predict, weighted by min-SNR where asked."""
    schedule: Schedule = parts.schedule
    noise = torch_normal(rng, tuple(latents.shape), parts.device)
    times = schedule.times(torch_normal(rng, (len(latents),), parts.device))
    noised, target = schedule.mixed(latents, noise, times)
    with autocast(parts.device):
        out = parts.unet(noised, schedule.told(times), encoder_hidden_states=states, return_dict=False)[0]
    errors = (out.float() - target).square().flatten(1).mean(1)
    weights = None if gamma is None else schedule.weights(times, gamma)
    loss: Tensor = (errors if weights is None else errors * weights).mean()
    return loss
