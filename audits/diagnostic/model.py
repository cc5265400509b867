"""A trained diagnostic model: what it reads, how it is saved and loaded, and what identifies it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.nn import functional

from audits.diagnostic.network import Layout, Network
from synguard.errors import InputError, IntegrityError
from synguard.protocols import Images

__all__ = ["Head", "TrainedModel", "as_tensor", "in_chunks", "load"]

CHUNK = 64
"""Images that pass through a network at once. Fixed, and the last chunk is filled up: convolution kernels may round
differently for another batch size, and no figure may depend on how many images somebody passes at once."""
WEIGHTS, CARD = "diagnostic.safetensors", "diagnostic.json"
FORMAT = "synguard-diagnostic-1"


@dataclass(frozen=True, slots=True)
class Head:
    """One attribute that the model reads.

    Discrete: `levels`, and `temperature`, by which the logits are divided. Continuous: no levels; the output times `scale`
    plus `centre` is the value.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    centre: float = 0.0
    scale: float = 1.0
    temperature: float = 1.0

    @property
    def outputs(self) -> int:
        """Columns of the network's output that belong to this head."""
        return max(1, len(self.levels))


class TrainedModel:
    """A diagnostic model that synguard trained. Satisfies `synguard.protocols.DiagnosticModel`.

    Its probabilities are for levels that are all equally likely beforehand, so a rare level is read as willingly as a
    common one. `digest` is the sha256 of the safetensors file, which holds the weights and everything needed to use them.
    `record` says how it was trained and what it scored on private patients kept aside.
    """

    name = "diagnostic"

    def __init__(self, network: Network, heads: tuple[Head, ...], record: Mapping[str, Any], device: str = "cpu") -> None:
        self.heads = heads
        self.record = record
        self._device = torch.device(device)
        self._network = network.to(self._device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._bytes = self._serialised()
        self.digest = hashlib.sha256(self._bytes).hexdigest()

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""
        return int(self._network.features_size)

    def predict(self, images: Images) -> dict[str, NDArray[np.float64]]:
        """Probabilities (n, levels) an attribute; for a continuous one values (n,)."""
        raw = in_chunks(images, self._network.layout.side, self._device, self._network)
        read: dict[str, NDArray[np.float64]] = {}
        start = 0
        for head in self.heads:
            columns = raw[:, start : start + head.outputs].astype(np.float64)
            start += head.outputs
            if head.levels:
                columns = columns / head.temperature
                odds = np.exp(columns - columns.max(1, keepdims=True))
                read[head.name] = odds / odds.sum(1, keepdims=True)
            else:
                read[head.name] = columns[:, 0] * head.scale + head.centre
        return read

    def features(self, images: Images) -> NDArray[np.float32]:
        """Penultimate features (n, dimension)."""
        return in_chunks(images, self._network.layout.side, self._device, self._network.features)

    def save(self, folder: Path) -> None:
        """Write `diagnostic.safetensors`, which is the whole model, and `diagnostic.json`, which says what it is."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_bytes(self._bytes)
        card = {"format": FORMAT, "sha256": self.digest, "heads": [asdict(head) for head in self.heads], **self.record}
        (folder / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def _serialised(self) -> bytes:
        layout = asdict(self._network.layout)
        about = {
            "format": FORMAT,
            "layout": layout,
            "heads": [asdict(head) for head in self.heads],
            "record": dict(self.record),
        }
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self._network.state_dict().items()}
        # One metadata key only: several would be written in an order that changes from run to run.
        written: bytes = save_tensors(state, metadata={"synguard": json.dumps(about, sort_keys=True)})
        return written


def load(folder: Path, device: str = "cpu") -> TrainedModel:
    """The model that `TrainedModel.save` wrote into `folder`.

    InputError where a file is missing or not what it should be (a pickle is refused unread), IntegrityError where the
    weights are not those that the card names.
    """
    weights, card = folder / WEIGHTS, folder / CARD
    for path in (weights, card):
        if not path.is_file():
            raise InputError.of(path, "nothing", "a file of a saved diagnostic model")
    data = weights.read_bytes()
    about = _described(weights, data)
    try:
        expected = json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError.of(card, "no readable sha256", "the card of a saved diagnostic model") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise IntegrityError(f"{weights}: found sha256 {digest}, expected {expected}")
    try:
        layout = about["layout"]
        network = Network(Layout(layout["side"], tuple(layout["widths"]), layout["outputs"]))
        network.load_state_dict(load_tensors(data))
        heads = tuple(Head(**{**head, "levels": tuple(head["levels"])}) for head in about["heads"])
        return TrainedModel(network, heads, about["record"], device)
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError.of(weights, "weights that do not fit their description", "a saved diagnostic model") from error


def as_tensor(images: Images, side: int | None) -> Tensor:
    """Images (n, h, w, 3) uint8 as float32 (n, 3, side, side) in [0, 1]: averaged down, or interpolated up."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255.0
    if side is None or tensor.shape[-1] == side:
        return tensor
    if tensor.shape[-1] > side:
        return functional.interpolate(tensor, (side, side), mode="area")
    return functional.interpolate(tensor, (side, side), mode="bilinear", align_corners=False)


@torch.inference_mode()
def in_chunks(
    images: Images, side: int | None, device: torch.device, function: Callable[[Tensor], Tensor]
) -> NDArray[np.float32]:
    """`function` of the images, CHUNK at a time, the last chunk filled up with black images that are cut off again."""
    parts = []
    for start in range(0, max(1, len(images)), CHUNK):
        part = images[start : start + CHUNK]
        filled = np.zeros((CHUNK, *images.shape[1:]), np.uint8)
        filled[: len(part)] = part
        found = function(as_tensor(filled, side).to(device))
        parts.append(found[: len(part)].float().cpu().numpy())
    return np.concatenate(parts)


def _described(path: Path, data: bytes) -> dict[str, Any]:
    """The description in a safetensors header; InputError for anything else."""
    wanted = "safetensors"
    try:
        length = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["synguard"])
    except (ValueError, KeyError, TypeError) as error:
        # Asked of what is no safetensors file only: one begins with a length, which may be the same bytes.
        pickled = data[:2] == b"PK" or data[:1] == b"\x80"
        raise InputError.of(path, "a pickle/zip" if pickled else "a file that is not a diagnostic model", wanted) from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError.of(path, "another format", FORMAT)
    return about
