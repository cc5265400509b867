"""Encoders that the user brings, as further eyes of the search: SSCD, networks of timm (DINOv2), image towers of OpenCLIP.

Nothing is downloaded, and no file is opened whose sha256 is not the one in the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from audits.diagnostic.brought import load_script
from audits.memorisation.geometry import dihedral_views
from audits.weights import checked_bytes, read_tensors
from synguard.config import ExpertConfig
from synguard.errors import InputError

__all__ = ["Expert", "load_experts"]

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_SSCD_SIDE = 288
"""At which Pizzi et al. 2022 (arXiv:2202.10261) trained and measured their descriptors."""
_LARGEST = 224
"""Vision transformers that take any size get at most this: private images are small, and DINOv2's own 518 is slow."""

_CHUNK = 32
"""Images that pass through a network at once. Fixed, and the last chunk is filled up: no result depends on how many come."""
_VIEWED = 64
"""Images whose eight views are in memory at once."""

_PREPROCESSING = 1
"""Another preparation of the images, another number."""


@dataclass(frozen=True, slots=True, eq=False)
class Expert:
    """A network that embeds images. Satisfies `synguard.protocols.Embedder`.

    `name` is that of its lane (`expert-sscd`), `digest` the sha256 of its file. Images are resized to `side` (bicubic, with
    antialiasing) and standardised by `mean` and `std`.
    """

    name: str
    kind: str
    model: str | None
    digest: str
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    network: Callable[[Tensor], Any]
    device: torch.device

    @property
    def identity(self) -> dict[str, Any]:
        """All that its embeddings depend on: an index made with another one is refused."""
        numbers = {"side": self.side, "mean": list(self.mean), "std": list(self.std), "preprocessing": _PREPROCESSING}
        return {"name": self.name, "kind": self.kind, "model": self.model, "sha256": self.digest, **numbers}

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return int(self.embed(np.zeros((0, 8, 8, 3), np.uint8)).shape[1])

    def describe(self) -> str:
        """For the report."""
        return f"{self.name}{'' if self.model is None else f' {self.model}'} (sha256 {self.digest[:12]})"

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (n, dimension) of images (n, s, s, 3), of unit length."""
        parts = []
        for start in range(0, max(1, len(images)), _CHUNK):
            part = images[start : start + _CHUNK]
            filled = np.zeros((_CHUNK, *images.shape[1:]), np.uint8)
            filled[: len(part)] = part
            parts.append(self._embedded(torch.from_numpy(filled).to(self.device))[: len(part)].cpu().numpy())
        return np.concatenate(parts)

    def embed_views(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (n, 8, dimension) of the dihedral views of images (n, s, s, 3)."""
        parts = []
        for start in range(0, max(1, len(images)), _VIEWED):
            planes = torch.from_numpy(images[start : start + _VIEWED]).permute(0, 3, 1, 2)
            views = dihedral_views(planes).permute(1, 0, 3, 4, 2).contiguous().numpy()
            embedded = self.embed(views.reshape(-1, *images.shape[1:]))
            parts.append(embedded.reshape(len(views), 8, embedded.shape[1]))
        return np.concatenate(parts)

    @torch.inference_mode()
    def _embedded(self, images: Tensor) -> Tensor:
        planes = images.permute(0, 3, 1, 2).float() / 255
        resized = functional.interpolate(planes, (self.side, self.side), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(values, device=self.device)[:, None, None] for values in (self.mean, self.std))
        found = self.network((resized - mean) / std)
        if isinstance(found, tuple):  # CoCa's image tower: pooled, then tokens
            found = found[0]
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images) or not torch.isfinite(found).all():
            raise InputError.of(self.name, "another output", "a tensor of finite features (n, dimension)")
        return functional.normalize(found.float(), dim=1)


def load_experts(configs: Sequence[ExpertConfig], base: Path, device: str = "cpu") -> tuple[Expert, ...]:
    """The experts that the configuration names, in its order; paths are relative to `base`.

    InputError where a file or package is missing or a file holds no such network, IntegrityError where a sha256 is another.
    """
    experts: list[Expert] = []
    for number, config in enumerate(configs):
        earlier = sum(other.kind == config.kind for other in configs[:number])
        name = f"expert-{config.kind}" + (f"-{earlier + 1}" if earlier else "")
        experts.append(_LOADERS[config.kind](config, name, base / config.path, torch.device(device)))
    return tuple(experts)


def _sscd(config: ExpertConfig, name: str, path: Path, device: torch.device) -> Expert:
    script, digest = load_script(path, config.sha256, "audits.memorisation.experts", str(device))
    return Expert(name, config.kind, None, digest, _SSCD_SIDE, *_IMAGENET, script, device)


def _timm(config: ExpertConfig, name: str, path: Path, device: torch.device) -> Expert:
    wanted = f"weights of the timm model {config.model}"
    data, digest = checked_bytes(path, config.sha256, wanted)
    try:
        import timm
    except ModuleNotFoundError as error:
        raise InputError.of("audits.memorisation.experts", "no timm", "it: pip install 'synguard[experts]'") from error
    model = str(config.model)
    try:
        try:
            # Then a network that was trained on large images takes small ones, its positions interpolated.
            network: Any = timm.create_model(model, pretrained=False, num_classes=0, dynamic_img_size=True)
            dynamic = True
        except TypeError:
            network, dynamic = timm.create_model(model, pretrained=False, num_classes=0), False
    except RuntimeError as error:
        raise InputError.of("audits.memorisation.experts", f"the timm model {model!r}", "one that timm has") from error
    about = timm.data.resolve_model_data_config(network)
    side = int(about["input_size"][-1])
    if dynamic and side > _LARGEST:
        patch = int(np.max(network.patch_embed.patch_size))
        side = max(_LARGEST // patch, 1) * patch
    heads = network.pretrained_cfg.get("classifier") or ()
    unused = ("mask_token", *((heads,) if isinstance(heads, str) else heads))
    _fill(network, _plain(read_tensors(path, data, wanted)), path, wanted, unused)
    mean, std = tuple(map(float, about["mean"])), tuple(map(float, about["std"]))
    return Expert(name, config.kind, model, digest, side, mean, std, network.to(device).eval(), device)


def _open_clip(config: ExpertConfig, name: str, path: Path, device: torch.device) -> Expert:
    import open_clip

    model = str(config.model)
    wanted = f"weights of the OpenCLIP model {model}, not as TorchScript"
    data, digest = checked_bytes(path, config.sha256, wanted)
    shape = open_clip.get_model_config(model)
    if shape is None:
        raise InputError.of("audits.memorisation.experts", f"the OpenCLIP model {model!r}", "one that open_clip has")
    tags = open_clip.list_pretrained_tags_by_model(model)
    about: Mapping[str, Any] = open_clip.get_pretrained_cfg(model, tags[0]) if tags else {}
    # Only the image tower is wanted. A text tower of the smallest size stands beside it: real ones are large, and some
    # fetch their configuration from a hub.
    words = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
    vision = {**shape["vision_cfg"], "timm_model_pretrained": False}
    network = open_clip.CLIP(shape["embed_dim"], vision, words, quick_gelu=bool(shape.get("quick_gelu"))).visual
    state = _plain(read_tensors(path, data, wanted))
    tower = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")} or state
    _fill(network, tower, path, wanted, ())
    side = int(np.max(network.image_size))
    mean, std = (tuple(map(float, about.get(key) or values)) for key, values in zip(("mean", "std"), _CLIP, strict=True))
    return Expert(name, config.kind, model, digest, side, mean, std, network.to(device).eval(), device)


_LOADERS: Mapping[str, Callable[[ExpertConfig, str, Path, torch.device], Expert]] = {
    "sscd": _sscd,
    "timm": _timm,
    "open-clip": _open_clip,
}


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what data parallel training puts before each name."""
    return {re.sub(r"^module\.", "", key): value for key, value in state.items()}


def _fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, wanted: str, unused: Sequence[str]) -> None:
    """InputError unless the tensors are all of the network's; those that begin with one of `unused` may be left over."""
    expected = network.state_dict()
    left = [key for key in state if key not in expected and key.split(".")[0] not in unused]
    missing = [key for key in expected if key not in state]
    bent = [key for key, value in state.items() if key in expected and value.shape != expected[key].shape]
    if left or missing or bent:
        found = f"{len(missing)} tensors missing, {len(bent)} of another shape, {len(left)} unknown"
        raise InputError.of(path, found, wanted)
    network.load_state_dict({key: value for key, value in state.items() if key in expected})
