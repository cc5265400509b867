"""Texts as numbers by the text tower of an OpenCLIP model, with nothing needed but open_clip.

This file is copied into each trained folder whose model is told texts, with the tower beside it in `text/`.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

__all__ = ["CONFIG", "WEIGHTS", "TextTower"]

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
"""The names that open_clip gives the files of a folder of its own."""


class TextTower:
    """A frozen text tower. `width` is how many numbers a text becomes, `digest` the sha256 of configuration and weights."""

    def __init__(self, folder: Path) -> None:
        """Opens a folder with `open_clip_config.json` and `open_clip_model.safetensors`; nothing is fetched.

        ValueError says in a line what is wrong with the folder.
        """
        import open_clip  # here, so that only models with text need it

        self.folder = folder
        self.digest = _digest(folder)
        config = _config(folder)
        if wanted := [key for key in ("hf_model_name", "hf_tokenizer_name") if config["text_cfg"].get(key)]:
            raise ValueError(f"{folder / CONFIG}: found {wanted[0]}, which is fetched, expected a tower of open_clip's own")
        try:
            self._model: Any = open_clip.create_model(f"local-dir:{folder}", device="cpu").eval().requires_grad_(False)
            self._tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        # open_clip raises each of these, by what is wrong with the folder.
        except (AttributeError, KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"{folder}: found a model that does not open ({reason}), expected one of open_clip") from error
        self._known: dict[str, NDArray[np.float32]] = {}
        self.width = len(self(""))

    @torch.inference_mode()
    def __call__(self, text: str) -> NDArray[np.float32]:
        """Float32 (width,), of length sqrt(width). One text a call, so that no other can change it."""
        if text not in self._known:
            found = self._model.encode_text(self._tokenizer([text]), normalize=True)[0]
            self._known[text] = found.float().numpy() * np.float32(math.sqrt(len(found)))
        return self._known[text]


def _digest(folder: Path) -> str:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: found no {name}, expected a folder of open_clip with {CONFIG} and {WEIGHTS}")
    hashes = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (CONFIG, WEIGHTS)]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text())["model_cfg"]
        config["text_cfg"].get("width")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / CONFIG}: found no text_cfg in a model_cfg, expected those of OpenCLIP") from error
    return config
