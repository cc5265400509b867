"""Training: autoencoder, cached latents, denoiser, and the pipeline folder they end in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generation import autoencoder, denoiser
from generation import folder as pipeline_folder
from generation.conditions import ConditionEncoder
from generation.fit import Checkpoint, Progress, fit, load_tensors, save_atomically, step_rng, torch_normal
from generation.latent import LatentDiffusion, torch_device
from generation.synguard_pipeline import chunk_size, images_in, in_chunks, normalise
from synguard.config import GeneratorConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.data.turns import TURNS, turned

__all__ = ["checkpoints", "train"]

_AUTOENCODER, _DENOISER, _ORDER = 1, 2, 3
"""What the random numbers of a step are for."""


Checkpointed = Callable[[int, LatentDiffusion], None]
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

    def checkpoint(self, phase: str, steps: int, every: int | None) -> Checkpoint:
        return Checkpoint(self.state / f"{phase}.safetensors", self.identity, _every(steps, every))

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 on a GPU; float32 on a CPU, where few have fast bfloat16 and results should not depend on which."""
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else contextlib.nullcontext()

    def rows(self, step: int, batch: int) -> NDArray[np.int64]:
        """Rows of one step's batch: epochs in shuffled order, each image once an epoch."""
        n = len(self.private)
        places = np.arange(step * batch, (step + 1) * batch)
        orders = {epoch: step_rng(self.seed, _ORDER, epoch).permutation(n) for epoch in np.unique(places // n).tolist()}
        return np.array([orders[place // n][place % n] for place in places.tolist()])


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
) -> Path:
    """Trains a conditional latent diffusion model on `private` and returns `folder`, by then a diffusers pipeline folder.

    State is kept in `folder/training` (owner-only) every `checkpoint_every` steps (by default a twentieth of each phase, but
    at least 100); called again after a kill, it goes on and ends with the same weights. A finished folder is returned as it
    is. `progress(phase, done, total)` is called after each step. `on_checkpoint(step, model)` is called at each of the
    denoiser's checkpoints with the model as it is by then, and once more with the checkpoint that an interrupted training
    goes on from; whatever it computes with the model, the training stays the same. Raises InputError for sizes that do not
    fit, labels outside the schema, a missing device, or a folder of another training.
    """
    # For the initial weights only; every other random number comes from its step's own generator.
    torch.manual_seed(seed)
    vae = autoencoder.build(config.autoencoder, private.size)
    encoder = ConditionEncoder.of(schema, schema.parse(private.metadata, private.name))
    encoded = encoder.encode(private.metadata, private.name)
    target = torch_device(device)
    unet = denoiser.build(
        config.denoiser,
        latent_channels=config.autoencoder.latent_channels,
        latent_size=private.size // autoencoder.factor(config.autoencoder),
        dimension=encoder.dimension,
    )
    identity = pipeline_folder.identity(private, encoder, config, seed)
    if pipeline_folder.claim(folder, identity):
        return folder
    training = _Training(private, config, seed, target, folder / "training", pipeline_folder.digest_of(identity), progress)
    vae = vae.to(target, memory_format=torch.channels_last)
    unet = unet.to(target, memory_format=torch.channels_last)
    _fit_autoencoder(training, vae, checkpoint_every)
    latents = _latents(training, vae)
    autoencoder.with_statistics(vae, latents[0])
    normal = normalise(vae, latents.flatten(0, 1)).view_as(latents)

    def checkpointed(step: int, average: Any) -> None:
        if on_checkpoint is not None:
            on_checkpoint(step, _model(training, vae, average, encoder, step))

    average = _fit_denoiser(training, unet, normal, encoder, encoded, checkpoint_every, checkpointed)
    pipeline_folder.finish(folder, vae=vae, unet=average, raw_unet=unet, encoder=encoder, config=config, identity=identity)
    return folder


def checkpoints(config: GeneratorConfig, every: int | None) -> int:
    """At how many checkpoints of the denoiser `on_checkpoint` is called in a whole training."""
    steps = config.denoiser.steps
    return -(-steps // _every(steps, every))


def _every(steps: int, every: int | None) -> int:
    return every or max(100, steps // 20)


def _model(training: _Training, vae: Any, unet: Any, encoder: ConditionEncoder, step: int) -> LatentDiffusion:
    """The model in memory, as `LatentDiffusion.load` would open it."""
    unet_config = unet.config
    return LatentDiffusion(
        digest=pipeline_folder.digest_of({"training": training.identity, "step": step}),
        size=training.private.size,
        latent_shape=(unet_config.in_channels, unet_config.sample_size, unet_config.sample_size),
        weights=("ema",),
        turns=TURNS[training.config.denoiser.augment],
        sampling=training.config.sampling,
        device=training.device,
        encoder=encoder,
        vae=vae,
        unets={"ema": unet},
    )


def _fit_autoencoder(training: _Training, vae: Any, every: int | None) -> None:
    config, private = training.config.autoencoder, training.private
    side = config.crop or private.size
    shape = (config.batch_size, config.latent_channels, *[side // autoencoder.factor(config)] * 2)

    def loss(model: Any, step: int) -> Tensor:
        rng = step_rng(training.seed, _AUTOENCODER, step)
        crops = [
            turned(private.pixels[row], variant)[top : top + side, left : left + side]
            for row, variant, (top, left) in zip(
                training.rows(step, config.batch_size),
                rng.integers(0, 8, config.batch_size),
                rng.integers(0, private.size - side + 1, (config.batch_size, 2)),
                strict=True,
            )
        ]
        images = images_in(np.stack(crops), training.device)
        noise = torch_normal(rng, shape, training.device)
        with training.autocast():
            return autoencoder.loss(model, images, noise)

    fit(
        vae,
        loss,
        phase="autoencoder",
        steps=config.steps,
        learning_rate=config.learning_rate,
        ema_decay=None,
        checkpoint=training.checkpoint("autoencoder", config.steps, every),
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
    latents: Tensor,
    encoder: ConditionEncoder,
    encoded: NDArray[np.float32],
    every: int | None,
    on_checkpoint: Callable[[int, Any], None],
) -> Any:
    config = training.config.denoiser
    shape = (config.batch_size, *latents.shape[2:])

    def loss(model: Any, step: int) -> Tensor:
        rng = step_rng(training.seed, _DENOISER, step)
        rows = training.rows(step, config.batch_size)
        variants = rng.integers(0, len(latents), config.batch_size)
        conditions = encoded[rows] * encoder.kept(config.batch_size, config.condition_dropout, rng)
        noise = torch_normal(rng, shape, training.device)
        normal = torch_normal(rng, (config.batch_size,), training.device)
        batch = latents[torch.from_numpy(variants), torch.from_numpy(rows)].contiguous(memory_format=torch.channels_last)
        with training.autocast():
            return denoiser.loss(model, batch, torch.from_numpy(conditions).to(training.device), noise, normal)

    average = fit(
        unet,
        loss,
        phase="denoiser",
        steps=config.steps,
        learning_rate=config.learning_rate,
        ema_decay=config.ema_decay,
        checkpoint=training.checkpoint("denoiser", config.steps, every),
        progress=training.progress,
        on_checkpoint=on_checkpoint,
    )
    return average.eval()
