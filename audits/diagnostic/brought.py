"""A diagnostic model that the user brings as a TorchScript file."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audits.diagnostic.model import CHUNK, as_tensor
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError, IntegrityError
from synguard.protocols import Images

__all__ = ["ScriptedModel", "load_script", "load_torchscript"]


class ScriptedModel:
    """A TorchScript diagnostic model. Satisfies `synguard.protocols.DiagnosticModel`."""

    def __init__(self, script: torch.jit.ScriptModule, name: str, digest: str, schema: ConditionSchema, device: str) -> None:
        self.name = name
        self.digest = digest
        self._script = script
        self._schema = schema
        self._device = torch.device(device)

    @torch.inference_mode()
    def predict(self, images: Images) -> dict[str, NDArray[np.float64]]:
        """Probabilities (n, levels) an attribute; for a continuous one values (n,). InputError for anything else."""
        parts: dict[str, list[NDArray[np.float64]]] = {}
        for start in range(0, max(1, len(images)), CHUNK):
            part = images[start : start + CHUNK]
            filled = np.zeros((CHUNK, *images.shape[1:]), np.uint8)
            filled[: len(part)] = part
            for name, values in self._checked(self._script(as_tensor(filled, None).to(self._device))).items():
                parts.setdefault(name, []).append(values[: len(part)])
        return {name: np.concatenate(values) for name, values in parts.items()}

    def _checked(self, output: object) -> dict[str, NDArray[np.float64]]:
        readable = [attribute for attribute in self._schema.attributes if attribute.kind != "text"]
        if isinstance(output, Tensor) and len(readable) == 1:
            output = {readable[0].name: output}
        if not isinstance(output, Mapping):
            raise InputError.of(self.name, type(output).__name__, "a dictionary of attribute name to tensor")
        known = {attribute.name for attribute in readable}
        found = {name: value for name, value in output.items() if name in known}
        if not found:
            raise InputError.of(self.name, f"outputs {sorted(map(str, output))}", f"at least one of {sorted(known)}")
        return {
            attribute.name: self._values(attribute.name, attribute.kind, found[attribute.name])
            for attribute in readable
            if attribute.name in found
        }

    def _values(self, name: str, kind: str, value: object) -> NDArray[np.float64]:
        where = f"{self.name}: output {name!r}"
        if not isinstance(value, Tensor):
            raise InputError.of(where, type(value).__name__, "a tensor")
        values = value.detach().cpu().numpy().astype(np.float64)
        if kind == "continuous":
            if values.size != CHUNK or not np.isfinite(values).all():
                raise InputError.of(where, f"shape {values.shape[1:]} an image", "one finite value an image")
            return values.reshape(CHUNK)
        levels = len(self._schema.levels(name))
        if levels == 2 and values.size == CHUNK:
            values = np.stack((1 - values.reshape(CHUNK), values.reshape(CHUNK)), 1)
        if values.shape != (CHUNK, levels):
            raise InputError.of(where, f"shape {values.shape[1:]} an image", f"{levels} probabilities an image")
        if not (np.isfinite(values).all() and (values >= 0).all() and (np.abs(values.sum(1) - 1) < 1e-3).all()):
            raise InputError.of(where, "numbers that are not probabilities", "probabilities that sum to 1 (after softmax)")
        return values


def load_torchscript(path: Path, sha256: str | None, schema: ConditionSchema, device: str = "cpu") -> ScriptedModel:
    """A TorchScript diagnostic model, trusted by the sha256 of its file: TorchScript can run any code.

    It takes float32 images (n, 3, size, size) in [0, 1], at the run's image size, and returns a dictionary of attribute name
    to probabilities (n, levels) in the order of the schema's levels, or to (n,) or (n, 1): the positive level's probability
    for an attribute of two levels, the value for a continuous one. A bare tensor will do where the schema has one attribute
    that is not text. Attributes that it does not return are not judged. InputError where the digest is not given or the
    file is not TorchScript; IntegrityError, before anything is loaded, where the digest is another one.
    """
    script, digest = load_script(path, sha256, "audits.labels.model_sha256", device)
    return ScriptedModel(script, path.name, digest, schema, device)


def load_script(path: Path, sha256: str | None, key: str, device: str) -> tuple[torch.jit.ScriptModule, str]:
    """The TorchScript module of a file whose sha256 is `sha256`, and that digest; `key` is named where none is given."""
    if not path.is_file():
        raise InputError.of(path, "nothing", "a TorchScript file")
    if not sha256:
        raise InputError.of(key, "nothing", f"the sha256 of {path.name}")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256.lower().removeprefix("sha256:"):
        raise IntegrityError(f"{path}: found sha256 {digest}, expected {sha256}")
    try:
        with warnings.catch_warnings():
            # torch points to torch.export, whose files do not load across versions as TorchScript does.
            warnings.simplefilter("ignore", FutureWarning)
            # From the bytes that were checked, not from the path, which could have changed in between.
            script = torch.jit.load(io.BytesIO(data), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise InputError.of(path, "a file that torch.jit.load refuses", "TorchScript") from error
    return script.eval(), digest
