"""How a denoiser made elsewhere is told the conditions of an image: by a prompt, by a class number, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from generation.foreign import prompt_of
from generation.text_to_image.prompts import Prompts
from synguard.errors import InputError

__all__ = ["Told", "told_by"]

Arguments = Callable[[NDArray[np.int64]], dict[str, Any]]
"""From row numbers to what the denoiser's call takes beside latents and timestep."""


class Told(Protocol):
    """A way of telling conditions."""

    @property
    def unconditional(self) -> bool:
        """Whether there is a way to tell it nothing."""
        ...

    def of(self, conditions: pd.DataFrame | None, n: int) -> Arguments:
        """For n images; InputError for conditions that it cannot be told."""
        ...


def told_by(folder: Path, network: Any, classes: Mapping[str, int], device: torch.device) -> Told:
    """The way for the denoiser of a folder, by its configuration and what lies beside it."""
    config = network.config
    if (count := config.get("num_embeds_ada_norm")) is not None:
        return _ByClass(dict(classes), int(count), int(count), {}, device)
    if (count := config.get("num_class_embeds")) is not None:
        # One embedding more than there are names is "no class", as guidance needs it.
        empty = int(count) - 1 if classes and len(set(classes.values())) == int(count) - 1 else None
        return _ByClass(dict(classes), int(count), empty, {"encoder_hidden_states": None}, device)
    if (folder / "text_encoder" / "config.json").is_file():
        return _ByText.load(folder, device)
    return _Nothing({} if "Transformer" in type(network).__name__ else {"encoder_hidden_states": None})


@dataclass(frozen=True, slots=True)
class _Nothing:
    fixed: dict[str, Any]

    @property
    def unconditional(self) -> bool:
        return True

    def of(self, conditions: pd.DataFrame | None, n: int) -> Arguments:
        if conditions is not None and len(conditions.columns):
            raise InputError.of("conditions", ", ".join(conditions.columns), "none, since the model takes none")
        return lambda rows: self.fixed


@dataclass(frozen=True, slots=True)
class _ByClass:
    """One attribute, by the names that the folder gives its classes, or by number."""

    classes: dict[str, int]
    count: int
    empty: int | None
    fixed: dict[str, Any]
    device: torch.device

    @property
    def unconditional(self) -> bool:
        return self.empty is not None

    def of(self, conditions: pd.DataFrame | None, n: int) -> Arguments:
        numbers = torch.from_numpy(self._numbers(conditions, n)).to(self.device)
        return lambda rows: {"class_labels": numbers[torch.from_numpy(rows).to(self.device)], **self.fixed}

    def _numbers(self, conditions: pd.DataFrame | None, n: int) -> NDArray[np.int64]:
        if conditions is None or not len(conditions.columns):
            if self.empty is None:
                raise InputError.of("conditions", "none", "a class an image, since the model has no class for none")
            return np.full(n, self.empty, dtype=np.int64)
        if len(conditions.columns) != 1 or conditions.isna().any(axis=None):
            found = f"{', '.join(conditions.columns)}, {int(conditions.isna().sum().sum())} values missing"
            raise InputError.of("conditions", found, "one attribute without gaps, since the model takes one class an image")
        values = [str(value) for value in conditions.iloc[:, 0]]
        numbers = [self.classes[v] if v in self.classes else int(v) if v.isdecimal() else -1 for v in values]
        for value, number in zip(values, numbers, strict=True):
            if not 0 <= number < self.count:
                raise InputError.of(
                    f"conditions.{conditions.columns[0]}",
                    repr(value),
                    f"a class of the model or its number below {self.count}",
                )
        return np.array(numbers, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _ByText:
    """A prompt made of the attributes, as the generator makes it; nothing is the empty prompt.

    A folder that synguard tuned is told what it was told of private images in training.
    """

    tokenizer: Any
    encoder: Any
    device: torch.device
    prompts: Prompts | None
    known: dict[str, torch.Tensor]
    """Prompts encoded so far: probes ask about the same images many times."""

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> _ByText:
        try:
            import transformers  # here, so that only models with text need it
        except ImportError as error:
            raise InputError.of(folder / "text_encoder", "no transformers here", "`pip install synguard[text]`") from error
        path = folder / "text_encoder"
        try:
            name = json.loads((path / "config.json").read_text())["architectures"][0]
            encoder = getattr(transformers, name).from_pretrained(path, local_files_only=True, use_safetensors=True)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        except (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError.of(path, f"a text encoder that does not open ({reason})", "one with its tokenizer") from error
        return cls(tokenizer, encoder.to(device).float().eval().requires_grad_(False), device, Prompts.of_folder(folder), {})

    @property
    def unconditional(self) -> bool:
        return True

    def of(self, conditions: pd.DataFrame | None, n: int) -> Arguments:
        said = prompt_of if self.prompts is None else self.prompts.of_training
        prompts = [""] * n if conditions is None else [said(row) for row in conditions.to_dict("records")]
        distinct, places = np.unique(np.array(prompts, dtype=np.str_), return_inverse=True)
        states = torch.cat([self._encoded(prompt) for prompt in distinct.tolist()])
        return lambda rows: {"encoder_hidden_states": states[torch.from_numpy(places[rows]).to(self.device)]}

    def _encoded(self, prompt: str) -> torch.Tensor:
        """(1, length, width), one prompt a call, so that no other prompt can change it."""
        if prompt in self.known:
            return self.known[prompt]
        tokens = self.tokenizer(
            prompt, padding="max_length", max_length=self.tokenizer.model_max_length, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            states: torch.Tensor = self.encoder(tokens.input_ids.to(self.device))[0]
        # A copy outside inference mode, which gradients can pass through.
        self.known[prompt] = states.clone()
        return self.known[prompt]
