"""Candidates of a text-to-image model: from noise, or from private images that are redrawn in whole or in part.

Each strategy is a stock pipeline of diffusers around the same parts. What lies outside a mask is not pasted back: it is the
source as the autoencoder gives it back, without a seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline
from numpy.typing import NDArray

from generation.folder import digest_of
from generation.foreign import check_plain, files_digest, resized, through, with_sampler
from generation.latent import torch_device
from generation.synguard_pipeline import in_chunks
from generation.text_to_image.masks import ellipse
from generation.text_to_image.parts import Parts, open_parts
from generation.text_to_image.prompts import PLAIN, Prompts
from generation.text_to_image.sources import Sources
from synguard.config import GeneratorConfig, SamplingConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.errors import InputError
from synguard.protocols import Images

__all__ = ["TextToImage"]

_CHUNK = 8
_PIPELINES = {
    "text-to-image": StableDiffusionPipeline,
    "image-to-image": StableDiffusionImg2ImgPipeline,
    "inpainting": StableDiffusionInpaintPipeline,
    "in-then-outpainting": StableDiffusionInpaintPipeline,
}


@dataclass(frozen=True, slots=True, eq=False)
class TextToImage:
    """Satisfies `protocols.Generator`, `protocols.FromSources` and `protocols.Autoencoder`."""

    digest: str
    size: int
    strategy: str
    strength: float
    sampling: SamplingConfig
    schema: ConditionSchema
    prompts: Prompts
    parts: Parts
    pipeline: Any
    private: Sources | None

    @classmethod
    def load(
        cls,
        folder: Path,
        config: GeneratorConfig,
        schema: ConditionSchema,
        *,
        private: ImageSet | None = None,
        prompts: Path | None = None,
        device: str = "cpu",
        size: int | None = None,
    ) -> TextToImage:
        """Opens a folder in the layout of Stable Diffusion, tuned or not, for the strategy of the configuration.

        `private` is what candidates start from where the strategy has them start from an image: what the model was trained
        on. `prompts` is a template file whose `template` and `vary` count; without it those that the folder was tuned with,
        or plain ones. `size` is the side that images are wanted at. InputError for a folder that does not fit, a sampler
        that does not go with it, or prompts that name an attribute that there is none of.
        """
        check_plain(config.sampling)
        parts = open_parts(folder, torch_device(device))
        pipeline = parts.pipeline(_PIPELINES[config.strategy])
        with_sampler(pipeline, config.sampling.sampler)
        said = _prompts(folder, prompts, schema)
        said.of_candidate(dict.fromkeys(schema.names), 0)  # names what is missing, before any work
        needs = private is not None and config.strategy != "text-to-image"
        sources = Sources.of(private, schema) if private is not None and needs else None
        depends_on = {
            "files": files_digest(folder),
            "sampling": config.sampling.model_dump(mode="json", include={"sampler", "steps", "guidance"}),
            "size": size,
            "prompts": said.stored,
            "strategy": config.strategy,
            "strength": config.redrawn if config.strategy == "image-to-image" else None,
            "sources": None if sources is None else sources.digest,
        }
        return cls(
            digest=digest_of(depends_on),
            size=size or parts.side,
            strategy=config.strategy,
            strength=config.redrawn,
            sampling=config.sampling,
            schema=schema,
            prompts=said,
            parts=parts,
            pipeline=pipeline,
            private=sources,
        )

    def sources(self, conditions: pd.DataFrame, seeds: Sequence[int]) -> Sequence[str | None]:
        """File names (n,) of the private images that candidates start from, None from text alone."""
        if self.strategy == "text-to-image":
            return [None] * len(seeds)
        known, asked = self._sources(), self._asked(conditions, seeds)
        return [known.private.files[row] for row in known.rows(asked, seeds)]

    def generate(self, conditions: pd.DataFrame, seeds: Sequence[int]) -> Images:
        """Images uint8 (n, size, size, 3), resized where the model's own size differs."""
        asked = self._asked(conditions, seeds)
        if not len(seeds):
            return np.zeros((0, self.size, self.size, 3), dtype=np.uint8)
        numbers = [int(seed) for seed in seeds]
        records = asked.to_dict("records")
        told = [self.prompts.of_candidate(row, seed) for row, seed in zip(records, numbers, strict=True)]
        self.parts.check_prompts(told)
        starts = None if self.strategy == "text-to-image" else self._sources().rows(asked, numbers)

        def work(rows: NDArray[np.int64]) -> Images:
            places = rows.tolist()
            call = {
                "prompt": [told[row] for row in places],
                "num_inference_steps": self.sampling.steps,
                "guidance_scale": self.sampling.guidance,
                "generator": [torch.Generator("cpu").manual_seed(numbers[row]) for row in places],
                "output_type": "np",
            }
            made = self._made(call, None if starts is None else starts[rows], [numbers[row] for row in places])
            return resized(np.asarray(made), self.size)

        return in_chunks(len(seeds), _CHUNK, work)

    def reconstruct(self, images: Images) -> Images:
        """Images uint8 (n, size, size, 3) through encoder (the posterior's mode) and decoder, at the model's own size."""
        return through(self.parts.vae, images, side=self.parts.side, size=self.size)

    def _asked(self, conditions: pd.DataFrame, seeds: Sequence[int]) -> pd.DataFrame:
        if len(conditions) != len(seeds):
            raise InputError.of("seeds", len(seeds), f"{len(conditions)}, one a condition")
        return self.schema.parse(conditions, "conditions")

    def _sources(self) -> Sources:
        if self.private is None:
            raise InputError.of("generator.strategy", f"{self.strategy} without private images", "those it was tuned on")
        return self.private

    def _made(self, call: dict[str, Any], starts: NDArray[np.int64] | None, seeds: Sequence[int]) -> NDArray[np.float32]:
        """Float images (n, side, side, 3) in [0, 1], by the pipeline of the strategy."""
        if starts is None:
            return np.asarray(self.pipeline(**call).images)
        private = self._sources().private
        images = resized(private.pixels[starts].astype(np.float32) / np.float32(255), self.parts.side)
        # In [0, 1]: what has a negative number in it is taken as scaled already.
        image = torch.from_numpy(images.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2)
        if self.strategy == "image-to-image":
            return np.asarray(self.pipeline(**call, image=image, strength=self.strength).images)
        boxes = [None if private.boxes is None else private.boxes[row] for row in starts]
        masks = [ellipse(self.parts.side, seed, box) for seed, box in zip(seeds, boxes, strict=True)]
        mask = torch.from_numpy(np.stack(masks))[:, None]
        made = np.asarray(self.pipeline(**call, image=image, mask_image=mask, strength=1.0).images)
        if self.strategy == "inpainting":
            return made
        inside = torch.from_numpy(made).permute(0, 3, 1, 2)
        # The generators go on, so that the outside has noise of its own.
        return np.asarray(self.pipeline(**call, image=inside, mask_image=1 - mask, strength=1.0).images)


def _prompts(folder: Path, path: Path | None, schema: ConditionSchema) -> Prompts:
    """The prompts that a folder was tuned with, with template and words of a file where there is one."""
    stored = Prompts.of_folder(folder)
    if stored is not None and path is None:
        return stored
    given = Prompts.read(path or PLAIN, token="" if stored is None else stored.token, attributes=schema.names)
    return given if stored is None else replace(given, instance=stored.instance)
