"""A trained latent diffusion model at work: it makes candidates, and lets the audits look inside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray

from generation import denoiser, synguard_pipeline
from generation.conditions import ConditionEncoder
from generation.denoiser import PARTS
from generation.folder import check_weights, digest_of, refuse_pickles
from generation.gradients import gradient_norms
from generation.names import CARD, INDEX, STATE
from generation.samplers import check_groups, fitted
from generation.schedule import Schedule, check_level
from generation.synguard_pipeline import TOWER, chunk_size, guidance_of, images_in, in_chunks, normalise
from generation.synguard_sampling import Term, predict
from generation.synguard_text import TextTower
from synguard.config import AttributeConfig, SamplingConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.turns import TURNS
from synguard.errors import InputError, IntegrityError, SynguardError
from synguard.protocols import Images

__all__ = ["LatentDiffusion", "condition_encoder", "open_tower", "torch_device"]

_OF_SCHEMA = ("name", "kind", "levels", "range", "sentence", "group")
"""What a stored attribute has of its configuration."""

_SAMPLING = ("sampler", "steps", "guidance", "interval", "groups")
"""Settings that an image depends on, as a folder's index stores them."""
_SCHEDULERS = {kind.__name__: kind for kind in (FlowMatchEulerDiscreteScheduler, DDPMScheduler)}


@dataclass(frozen=True, slots=True, eq=False)
class LatentDiffusion:
    """Satisfies `protocols.Generator` and `protocols.OpenDenoiser`.

    All work is done in chunks of one fixed size, so that no image and no error depends on what else is asked for.
    `unets` are by name of the weights: the moving average "ema" that is released, and "raw" where the training left it.
    `sampled` are autoencoder and denoiser in the precision in which images are made, where it is not that of the audits.
    """

    digest: str
    size: int
    latent_shape: tuple[int, int, int]
    weights: tuple[str, ...]
    turns: tuple[int, ...]
    sampling: SamplingConfig
    device: torch.device
    encoder: ConditionEncoder
    scheduler: Any
    schedule: Schedule
    guidance: tuple[Term, ...]
    vae: Any
    unets: dict[str, Any]
    sampled: tuple[Any, ...] = ()

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", sampling: SamplingConfig | None = None) -> LatentDiffusion:
        """Opens a folder made by `generation.train.train`; `sampling` replaces the settings stored in it.

        Raises InputError for pickled weights, an unfinished training or a missing device, IntegrityError for weights other
        than those of the model card. Nothing is fetched and no code of the folder is run.
        """
        refuse_pickles(folder)
        target = torch_device(device)
        weights_digest = check_weights(folder)
        index = json.loads((folder / INDEX).read_text())
        scheduler = open_scheduler(folder)
        schedule = Schedule.of(scheduler, str(folder / "scheduler"))
        stored = SamplingConfig(**{key: index[key] for key in _SAMPLING if key in index})
        sampling = fitted(sampling or stored, schedule.prediction)
        sampling = sampling.model_copy(update={"precision": sampling.precision or _precision(target)})
        part = next(name for name in PARTS if (folder / name).is_dir())
        places = {"ema": folder / part, "raw": folder / STATE / f"{part}_raw"}
        unets = {name: _open(PARTS[part], place, target) for name, place in places.items() if place.is_dir()}
        vae = _open(AutoencoderKL, folder / "vae", target)
        config = unets["ema"].config
        settings = sampling.model_dump(include={*_SAMPLING, "precision"})
        encoder = condition_encoder(index["attributes"], folder)
        check_groups(sampling, encoder.schema)
        return cls(
            digest=digest_of({"weights": weights_digest, "sampling": settings}),
            size=int(vae.config.sample_size),
            latent_shape=(config.in_channels, config.sample_size, config.sample_size),
            weights=tuple(unets),
            turns=_turns(folder),
            sampling=sampling,
            device=target,
            encoder=encoder,
            scheduler=scheduler,
            schedule=schedule,
            guidance=guidance_of(encoder.attributes, settings),
            vae=vae,
            unets=unets,
            sampled=tuple(_in_precision(model, sampling.precision) for model in (vae, unets["ema"])),
        )

    @property
    def unconditional(self) -> bool:
        """Training left conditions out often enough."""
        return True

    @property
    def schema(self) -> ConditionSchema:
        """The conditions it was trained with."""
        return self.encoder.schema

    def generate(self, conditions: pd.DataFrame, seeds: Sequence[int]) -> Images:
        """Images uint8 (n, size, size, 3); raises InputError for conditions outside the schema."""
        if len(conditions) != len(seeds):
            raise InputError.of("seeds", len(seeds), f"{len(conditions)}, one a condition")
        if not len(seeds):
            return np.zeros((0, self.size, self.size, 3), dtype=np.uint8)
        settings = self.sampling
        vae, unet = self.sampled or (self.vae, self.unets["ema"])
        with torch.inference_mode(), _memory_told():
            return synguard_pipeline.render(
                vae,
                unet,
                self.scheduler,
                self.encoder.encode(conditions),
                seeds,
                sampler=str(settings.sampler),
                steps=settings.steps,
                guidance=self.guidance,
            )

    def encode(self, images: Images) -> NDArray[np.float32]:
        """Latents float32 (n, c, h, w): the posterior's mode with mean 0 and standard deviation 1 per channel."""
        self._check(images)
        return in_chunks(len(images), chunk_size(self.device), lambda rows: self._encoded(images[rows]).cpu().numpy())

    def reconstruct(self, images: Images) -> Images:
        """Images uint8 (n, size, size, 3) through encoder and decoder."""
        self._check(images)

        def work(rows: NDArray[np.int64]) -> Images:
            with torch.inference_mode():
                return synguard_pipeline.decode(self.vae, self._encoded(images[rows]))

        return in_chunks(len(images), chunk_size(self.device), work)

    def errors(
        self,
        latents: NDArray[np.float32],
        conditions: pd.DataFrame | None,
        *,
        level: float,
        noise: NDArray[np.float32],
        weights: str = "ema",
    ) -> NDArray[np.float64]:
        """Mean squared error (n,) of what is predicted at a level, guidance 1; noise is (c, h, w) or (n, c, h, w).

        Without conditions, of the unconditional prediction. Raises InputError for a level outside (0, 1) or for weights
        that are not there.
        """
        unet, encoded = self._asked(level, weights, conditions, len(latents))
        drawn = np.broadcast_to(noise, latents.shape)

        def work(rows: NDArray[np.int64]) -> NDArray[np.float64]:
            z, c, e = (torch.from_numpy(array[rows]).to(self.device) for array in (latents, encoded, drawn))
            z, e = (value.contiguous(memory_format=torch.channels_last) for value in (z, e))
            with torch.inference_mode():
                times = torch.full((len(rows),), self.schedule.time(level), device=self.device)
                error = denoiser.errors(unet, z, c, e, times, self.schedule)
            array: NDArray[np.float64] = error.double().cpu().numpy()
            return array

        return in_chunks(len(latents), chunk_size(self.device), work)

    def coefficients(self, level: float) -> tuple[float, float]:
        """Shares of latent and noise at a level: of a flow's straight path, or at the nearest step of the schedule."""
        return self.schedule.coefficients(level)

    def predict(
        self, noised: NDArray[np.float32], conditions: pd.DataFrame | None, *, level: float, weights: str = "ema"
    ) -> NDArray[np.float32]:
        """The noise float32 (n, c, h, w) that follows from what is predicted at a level; errors as `errors`."""
        unet, encoded = self._asked(level, weights, conditions, len(noised))

        def work(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            z, c = (torch.from_numpy(array[rows]).to(self.device) for array in (noised, encoded))
            z = z.contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                steps = torch.full((len(rows),), self.schedule.timestep(level), device=self.device)
                array: NDArray[np.float32] = self.schedule.noise(predict(unet, z, steps, c), z, level).cpu().numpy()
            return array

        return in_chunks(len(noised), chunk_size(self.device), work)

    def gradient_norms(
        self,
        latents: NDArray[np.float32],
        conditions: pd.DataFrame | None,
        *,
        levels: Sequence[float],
        noise: NDArray[np.float32],
        weights: str = "ema",
    ) -> NDArray[np.float64]:
        """Norms (n, tensors) of the gradient of the mean error over the levels, each with its noise (levels, c, h, w)."""
        unet, encoded = self._asked(levels[0], weights, conditions, len(latents))
        moments = [self.schedule.time(level) for level in levels]
        times, e = (torch.tensor(np.asarray(array), dtype=torch.float32, device=self.device) for array in (moments, noise))

        def loss(model: Any, row: int) -> torch.Tensor:
            z, c = (torch.from_numpy(array[[row] * len(levels)]).to(self.device) for array in (latents, encoded))
            return denoiser.errors(model, z, c, e, times, self.schedule).mean()

        return gradient_norms(unet, loss, len(latents))

    def _asked(self, level: float, weights: str, conditions: pd.DataFrame | None, n: int) -> tuple[Any, NDArray[np.float32]]:
        """The network of that name and the encoded conditions of n images; InputError for what is not there."""
        check_level(level)
        if weights not in self.unets:
            raise InputError.of("weights", weights, f"one of {', '.join(self.weights)}")
        if conditions is None:
            return self.unets[weights], np.zeros((n, self.encoder.dimension), np.float32)
        if len(conditions) != n:
            raise InputError.of("conditions", f"{len(conditions)} rows", f"{n}, one a latent")
        return self.unets[weights], self.encoder.encode(conditions)

    def expect_size(self, size: int | None) -> None:
        """Raises InputError where images of another size are wanted."""
        if size not in (None, self.size):
            raise InputError.of("image_size", size, f"{self.size}, which the generator was trained for")

    def _check(self, images: Images) -> None:
        if images.shape[1:] != (self.size, self.size, 3):
            raise InputError.of("images", f"shape {images.shape[1:]}", f"{(self.size, self.size, 3)}, as in training")

    def _encoded(self, images: Images) -> torch.Tensor:
        with torch.inference_mode():
            mode = self.vae.encode(images_in(images, self.device)).latent_dist.mode()
            return normalise(self.vae, mode.float())


def open_scheduler(folder: Path) -> Any:
    """The scheduler beside a trained model, which says what it predicts. InputError where it is none that we write."""
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        name = json.loads(path.read_text())["_class_name"]
        return _SCHEDULERS[name].from_pretrained(path.parent, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError.of(path, "no scheduler of a model that synguard trained", " or ".join(_SCHEDULERS)) from error


def torch_device(name: str) -> torch.device:
    """The device of that name; raises InputError where it is missing."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError.of("device", f"{name}, and no CUDA device here", "cpu, or a machine with a CUDA device")
    return torch.device(name)


def _open(kind: Any, folder: Path, device: torch.device) -> Any:
    model = kind.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    return model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


@contextmanager
def _memory_told() -> Iterator[None]:
    """One line where not even a single image fits."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise SynguardError("generator: found too little GPU memory for one image at once, expected device: cpu") from error


def _precision(device: torch.device) -> str:
    return "bfloat16" if device.type == "cuda" else "float32"


def _in_precision(model: Any, precision: str | None) -> Any:
    """The model itself, or a copy that computes in bfloat16."""
    return model if precision != "bfloat16" else deepcopy(model).to(torch.bfloat16)


def _turns(folder: Path) -> tuple[int, ...]:
    """The turns that training showed each image in, from the model card; (0,) where the card is silent."""
    training = json.loads((folder / CARD).read_text()).get("training", {})
    return TURNS.get(training.get("denoiser", {}).get("augment", "none"), (0,))


def condition_encoder(attributes: Sequence[dict[str, Any]], folder: Path) -> ConditionEncoder:
    """The encoder that a trained folder stores as its attributes, with its text tower.

    InputError where the tower does not open, IntegrityError where it is not the one of the training.
    """
    configs = [{key: a[key] for key in _OF_SCHEMA if key in a} for a in attributes]
    schema = ConditionSchema(tuple(AttributeConfig(**config) for config in configs))
    expected = {a["tower"] for a in attributes if "tower" in a}
    tower = open_tower(folder / TOWER) if expected else None
    if tower is not None and {tower.digest} != expected:
        raise IntegrityError(f"{tower.folder}: found {tower.digest}, expected {', '.join(expected)} as in {INDEX}")
    return ConditionEncoder(schema, tuple(attributes), tower)


def open_tower(folder: Path) -> TextTower:
    """The text tower of an OpenCLIP folder. InputError where it does not open."""
    refuse_pickles(folder)
    try:
        return TextTower(folder)
    except ValueError as error:
        raise InputError(str(error)) from error
