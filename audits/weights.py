"""Weights that the user brings: checked by their sha256, read as tensors and nothing else."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from synguard.errors import InputError, IntegrityError

__all__ = ["checked_bytes", "read_tensors"]


def checked_bytes(path: Path, sha256: str, wanted: str) -> tuple[bytes, str]:
    """The content of a file and its digest; IntegrityError where that is not `sha256`, InputError where there is no file."""
    if not path.is_file():
        raise InputError.of(path, "nothing", f"{wanted}; nothing is downloaded")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256.lower().removeprefix("sha256:"):
        raise IntegrityError(f"{path}: found sha256 {digest}, expected {sha256}")
    return data, digest


def read_tensors(path: Path, data: bytes, wanted: str) -> dict[str, Tensor]:
    """The tensors of a weight file, safetensors or torch's own; a pickle with anything else in it is refused."""
    try:
        if path.suffix == ".safetensors":
            return dict(load_tensors(data))
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InputError.of(path, "a file that is not a set of tensors", wanted) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError.of(path, "something else than a set of tensors", wanted)
    return dict(state)
