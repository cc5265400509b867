"""Training: autoencoder, cached latents, denoiser, and the pipeline folder they end in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generation import autoencoder, denoiser, steps
from generation import folder as pipeline_folder
from generation.accounting import Budget, budget_of
from generation.base import freeze_all_but_attention, open_base
from generation.conditions import ConditionEncoder
from generation.fit import (
    Checkpoint,
    Judge,
    Progress,
    Verdict,
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
from generation.latent import LatentDiffusion, open_tower, torch_device
from generation.names import NOISE_KEY
from generation.private import Patients, Secret
from generation.processes import Processes
from generation.samplers import check_sampling, fitted
from generation.schedule import Schedule, scheduler_for
from generation.synguard_pipeline import chunk_size, guidance_of, images_in, in_chunks, normalise
from synguard.config import GeneratorConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.data.turns import TURNS, turned
from synguard.errors import ConfigError

__all__ = ["checkpoints", "train"]

_AUTOENCODER, _DENOISER, _ORDER = 1, 2, 3
"""What the random numbers of a step are for."""


Checkpointed = Callable[[int, LatentDiffusion], Verdict | None]
"""Called with the number of steps done and the model as it is by then, the denoiser averaged."""


@dataclass(frozen=True, slots=True)
class _Training:
    """Everything both phases need."""

    private: ImageSet
    config: GeneratorConfig
    seed: int
    device: torch.device
    state: Path
    identity: str
    progress: Progress | None
    processes: Processes

    def checkpoint(self, phase: str, steps: int, every: int | None) -> Checkpoint:
        return Checkpoint(self.state / f"{phase}.safetensors", self.identity, often(steps, every))

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        return autocast(self.device)

    def rows(self, step: int, batch: int) -> NDArray[np.int64]:
        """Rows of one step's batch: epochs in shuffled order, each image once an epoch."""
        return batch_rows(self.seed, _ORDER, step, batch, len(self.private))


def train(
    private: ImageSet,
    schema: ConditionSchema,
    config: GeneratorConfig,
    *,
    seed: int,
    folder: Path,
    device: str = "cpu",
    checkpoint_every: int | None = None,
    progress: Progress | None = None,
    on_checkpoint: Checkpointed | None = None,
    base: Path | None = None,
    canaries: Mapping[str, Any] | None = None,
    text_encoder: Path | None = None,
) -> Path:
    """Trains a conditional latent diffusion model on `private` and returns `folder`, by then a diffusers pipeline folder.

    State is kept in `folder/training` (owner-only) every `checkpoint_every` steps (by default a twentieth of each phase, but
    at least 100); called again after a kill, it goes on and ends with the same weights. A finished folder is returned as it
    is. `progress(phase, done, total)` is called after each step. `on_checkpoint(step, model)` is called at each of the
    denoiser's checkpoints with the model as it is by then, and once more with the checkpoint that an interrupted training
    goes on from; whatever it computes with the model, the training stays the same.

    With `config.private` the denoiser is trained with differential privacy; `base` is then the public model that it starts
    from, if any. `text_encoder` is an OpenCLIP folder that texts are read by. `canaries` is what the model card says of them
    before the training starts, their commitment above all; `private` is then without those left out. Processes that
    accelerate launched share each batch, and return the folder once it is there. Raises InputError for sizes that do not
    fit, labels outside the schema, a missing device, a budget that no noise keeps to, or a folder of another training.
    """
    check_sampling(config, schema)
    # For the initial weights only; every other random number comes from its step's own generator.
    torch.manual_seed(seed)
    start = _start(private, schema, config, base, text_encoder)
    vae, unet, encoder = start.vae, start.unet, start.encoder
    encoded = encoder.encode(private.metadata, private.name)
    processes = Processes.launched(device)
    processes.check(autoencoder=config.autoencoder.batch_size, denoiser=config.denoiser.batch_size)
    if processes.count > 1 and config.private is not None:
        raise ConfigError.of("generator.private", f"{processes.count} processes", "one, which keeps the secret of the noise")
    if processes.count > 1 and config.curve.stop:
        raise ConfigError.of("generator.curve.stop", f"{processes.count} processes", "one, which says when")
    target = processes.device(torch_device(device))
    budget = budget_of(config, len(set(private.patients.tolist())))
    identity = pipeline_folder.identity(private, encoder, config, seed, base=start.base, canaries=canaries)
    with processes.first():
        finished = pipeline_folder.claim(folder, identity)
    if finished:
        return folder
    digest = pipeline_folder.digest_of(identity)
    training = _Training(private, config, seed, target, folder / "training", digest, progress, processes)
    vae = vae.to(target, memory_format=torch.channels_last)
    unet = unet.to(target, memory_format=torch.channels_last)
    if start.base is None:
        _fit_autoencoder(training, vae, checkpoint_every)
    with processes.first():
        latents = _latents(training, vae)
    if start.base is None:
        autoencoder.with_statistics(vae, latents[0])
    normal = normalise(vae, latents.flatten(0, 1)).view_as(latents)

    def checkpointed(step: int, average: Any) -> Verdict | None:
        return None if on_checkpoint is None else on_checkpoint(step, _model(training, vae, average, encoder, step))

    schedule = Schedule.of(scheduler_for(config.denoiser.objective), "generator.denoiser.objective")
    shorter = encoder.shorter(private.metadata, private.name)
    drawn = steps.Drawn(normal, encoded, shorter, encoder, config.denoiser.condition_dropout, schedule)
    average, done = _fit_denoiser(training, unet, drawn, budget, checkpoint_every, checkpointed)
    if not processes.main:
        processes.wait()
        return folder
    pipeline_folder.finish(
        folder,
        vae=vae,
        network=average,
        raw=unet,
        encoder=encoder,
        config=config,
        identity=identity,
        budget=budget,
        unit="patient" if private.has_patient_ids else "image",
        processes=processes.count,
        steps=done,
    )
    processes.wait()
    return folder


@dataclass(frozen=True, slots=True)
class _Start:
    """What training starts from: new models, or those of a public base, whose weights digest is then in `base`."""

    vae: Any
    unet: Any
    encoder: ConditionEncoder
    base: str | None


def _start(
    private: ImageSet, schema: ConditionSchema, config: GeneratorConfig, base: Path | None, text_encoder: Path | None
) -> _Start:
    parsed = schema.parse(private.metadata, private.name)
    if base is not None:
        vae, unet, encoder, digest = open_base(base, schema, private.size)
        if config.private is not None and config.private.layers == "attention":
            freeze_all_but_attention(unet, base)
        return _Start(vae, unet, encoder, digest)
    vae = autoencoder.build(config.autoencoder, private.size)
    encoder = ConditionEncoder.of(schema, parsed, None if text_encoder is None else open_tower(text_encoder))
    unet = denoiser.build(
        config.denoiser,
        latent_channels=config.autoencoder.latent_channels,
        latent_size=private.size // autoencoder.factor(config.autoencoder),
        dimension=encoder.dimension,
    )
    return _Start(vae, unet, encoder, None)


def checkpoints(config: GeneratorConfig, every: int | None) -> int:
    """At how many checkpoints of the denoiser `on_checkpoint` is called in a whole training."""
    steps = config.denoiser.steps
    return -(-steps // often(steps, every))


def _model(training: _Training, vae: Any, unet: Any, encoder: ConditionEncoder, step: int) -> LatentDiffusion:
    """The model in memory, as `LatentDiffusion.load` would open it."""
    unet_config, scheduler = unet.config, scheduler_for(training.config.denoiser.objective)
    schedule = Schedule.of(scheduler, "generator.denoiser.objective")
    sampling = fitted(training.config.sampling, schedule.prediction)
    return LatentDiffusion(
        digest=pipeline_folder.digest_of({"training": training.identity, "step": step}),
        size=training.private.size,
        latent_shape=(unet_config.in_channels, unet_config.sample_size, unet_config.sample_size),
        weights=("ema",),
        turns=TURNS[training.config.denoiser.augment],
        sampling=sampling,
        device=training.device,
        encoder=encoder,
        scheduler=scheduler,
        schedule=schedule,
        guidance=guidance_of(encoder.attributes, sampling.model_dump()),
        vae=vae,
        unets={"ema": unet},
    )


def _fit_autoencoder(training: _Training, vae: Any, every: int | None) -> None:
    config, private = training.config.autoencoder, training.private
    side = config.crop or private.size
    shape = (config.batch_size, config.latent_channels, *[side // autoencoder.factor(config)] * 2)

    own = training.processes.own

    def loss(model: Any, step: int) -> Tensor:
        rng = step_rng(training.seed, _AUTOENCODER, step)
        rows = training.rows(step, config.batch_size)
        variants = rng.integers(0, 8, config.batch_size)
        corners = rng.integers(0, private.size - side + 1, (config.batch_size, 2))
        crops = [
            turned(private.pixels[row], variant)[top : top + side, left : left + side]
            for row, variant, (top, left) in zip(own(rows), own(variants), own(corners), strict=True)
        ]
        images = images_in(np.stack(crops), training.device)
        noise = own(torch_normal(rng, shape, training.device))
        with training.autocast():
            return autoencoder.loss(model, images, noise)

    fit(
        vae,
        clipped(loss, training.processes),
        phase="autoencoder",
        steps=config.steps,
        learning_rate=config.learning_rate,
        ema_decay=None,
        checkpoint=training.checkpoint("autoencoder", config.steps, every),
        processes=training.processes,
        progress=training.progress,
    )
    vae.eval()


def _latents(training: _Training, vae: Any) -> Tensor:
    """Latents (variants, n, c, h, w) of all private images in all label-preserving turns, cached until training ends."""
    path = training.state / "latents.safetensors"
    if path.is_file():
        cached = load_tensors(path, training.identity)[0]["latents"]
        return cached.to(training.device)
    private = training.private
    variants = len(TURNS[training.config.denoiser.augment])

    def work(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        shown = [turned(private.pixels[row % len(private)], row // len(private)) for row in rows.tolist()]
        with torch.inference_mode():
            mode = vae.encode(images_in(np.stack(shown), training.device)).latent_dist.mode()
        array: NDArray[np.float32] = mode.float().cpu().numpy()
        return array

    def report(done: int) -> None:
        if training.progress is not None:
            training.progress("latents", done, variants * len(private))

    flat = in_chunks(variants * len(private), chunk_size(training.device), work, report)
    latents = torch.from_numpy(flat.reshape(variants, len(private), *flat.shape[1:]))
    save_atomically({"latents": latents}, path, {"identity": training.identity})
    return latents.to(training.device)


def _fit_denoiser(
    training: _Training,
    unet: Any,
    drawn: steps.Drawn,
    budget: Budget | None,
    every: int | None,
    on_checkpoint: Judge,
) -> tuple[Any, int]:
    config, private = training.config.denoiser, training.config.private
    checkpoint = training.checkpoint("denoiser", config.steps, every)
    if private is None or budget is None:
        gradients = steps.plain(
            drawn,
            lambda step: training.rows(step, config.batch_size),
            lambda step: step_rng(training.seed, _DENOISER, step),
            training.autocast,
            training.processes,
        )
    else:
        secret = Secret.kept(training.state / NOISE_KEY, fresh=not checkpoint.path.is_file())
        checkpoint = replace(checkpoint, identity=f"{training.identity} {secret.digest}")
        patients = Patients.of(training.private.patients, budget.rate)
        gradients = steps.private(drawn, patients, secret, private, budget)
    average, done = fit(
        unet,
        gradients,
        phase="denoiser",
        steps=config.steps,
        learning_rate=config.learning_rate,
        ema_decay=config.ema_decay,
        checkpoint=checkpoint,
        processes=training.processes,
        progress=training.progress,
        on_checkpoint=on_checkpoint,
    )
    return average.eval(), done
