"""Embedders: feature vectors of images, for fidelity figures and black-box probes.

| name | needs | dimension |
|---|---|---|
| `EmbeddedFeatures` | nothing: fixed random filters and a thumbnail | 192 |
| `DiagnosticFeatures` | a trained diagnostic model | 128 |
| `InceptionFeatures` | local weights of the Inception network of Heusel et al. 2017, and torch-fidelity | 2048 |
| `ScriptedFeatures` | a TorchScript file, trusted by its sha256 | its own |

Every one embeds a fixed number of images at a time, so features do not depend on how many images are passed at once.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audits.diagnostic.brought import load_script
from audits.diagnostic.model import TrainedModel, in_chunks
from audits.weights import checked_bytes, read_tensors
from synguard.config import FidelityConfig
from synguard.errors import InputError
from synguard.protocols import Embedder, Images

__all__ = ["DiagnosticFeatures", "EmbeddedFeatures", "InceptionFeatures", "ScriptedFeatures", "make_embedder"]


class EmbeddedFeatures:
    """Features without trained weights: what fixed random filters see at three scales, and a thumbnail.

    At 64, 32 and 16 pixels, 24 random 5 x 5 colour filters without a constant part: mean size and spread of each
    response (144 numbers); and the image at 4 x 4 pixels (48). The filters come from numpy's seeded generator, so the
    features are the same on every machine up to rounding. Offsets and scales are such that each number lies near 0
    and varies by about 1 between photographs.
    """

    name = "embedded"
    dimension = 192
    # Of the definition, not of the filters, whose last bit may differ between machines. Another definition, another number.
    digest = hashlib.sha256(b"synguard embedded features 1").hexdigest()
    _SCALES, _FILTERS, _SIDE = (64, 32, 16), 24, 5

    def __init__(self, device: str = "cpu") -> None:
        self._device = torch.device(device)
        rng = np.random.default_rng(20260101)
        filters = rng.standard_normal((len(self._SCALES), self._FILTERS, 3, self._SIDE, self._SIDE))
        # Half of the filters see brightness only: random colour weights would hide that most structure is grey.
        filters[:, ::2] = filters[:, ::2].mean(2, keepdims=True)
        filters -= filters.mean((-3, -2, -1), keepdims=True)
        filters /= np.linalg.norm(filters.reshape(*filters.shape[:2], -1), axis=-1)[..., None, None, None]
        self._filters = torch.from_numpy(filters.astype(np.float32)).to(self._device)

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Features (n, 192)."""
        return in_chunks(images, None, self._device, self._features)

    def _features(self, images: Tensor) -> Tensor:
        parts = []
        for filters, scale in zip(self._filters, self._SCALES, strict=True):
            side = min(scale, images.shape[-1])
            resized = functional.interpolate(images, (side, side), mode="area") if side < images.shape[-1] else images
            response = functional.conv2d(functional.pad(resized, (2, 2, 2, 2), mode="reflect"), filters).abs_()
            mean = response.mean((2, 3))
            # As torch.std, in a tenth of its time; in place, since these are the largest arrays of all.
            spread = (response.sub_(mean[..., None, None]).square_().sum((2, 3)) / (side * side - 1)).sqrt()
            # Logarithms, since responses differ tenfold between smooth and textured images.
            parts += [torch.log(amount + 0.01) * 3 + 8 for amount in (mean, spread)]
        thumbnail = functional.interpolate(images, (4, 4), mode="area").flatten(1)
        return torch.cat((*parts, thumbnail * 5 - 2.5), 1)


class DiagnosticFeatures:
    """The penultimate features of a trained diagnostic model."""

    name = "diagnostic"

    def __init__(self, model: TrainedModel) -> None:
        self._model = model
        self.digest = model.digest
        self.dimension = model.dimension

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Features (n, dimension)."""
        return self._model.features(images)


class ScriptedFeatures:
    """A TorchScript feature extractor: float32 images (n, 3, size, size) in [0, 1] to features (n, dimension).

    The file's sha256 is checked before it is loaded. InputError or IntegrityError as `load_torchscript` has them.
    """

    def __init__(self, path: Path, sha256: str | None, device: str = "cpu") -> None:
        self._script, self.digest = load_script(path, sha256, "the digest of a TorchScript feature extractor", device)
        self._device = torch.device(device)
        self.name = path.name
        self.dimension = int(self._features(torch.zeros((1, 3, 64, 64), device=self._device)).shape[1])

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Features (n, dimension)."""
        return in_chunks(images, None, self._device, self._features)

    def _features(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            found = self._script(images)
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images) or not torch.isfinite(found).all():
            raise InputError.of(self.name, "another output", "a tensor of finite features (n, dimension)")
        return found


class InceptionFeatures:
    """Pool features of the Inception network that Frechet distances are usually quoted with, through torchmetrics.

    `weights` is a local file, `pt_inception-2015-12-05-6726825d.pth` of torch-fidelity or the same tensors as safetensors;
    nothing is downloaded, and nothing but tensors is unpickled. InputError where the file, its sha256 or the package
    torch-fidelity is missing; IntegrityError, before anything is read, where the sha256 is another one.
    """

    name = "inception"
    dimension = 2048

    def __init__(self, weights: Path | None, sha256: str | None, device: str = "cpu") -> None:
        key = "audits.fidelity.weights"
        wanted = "a local file of Inception weights (pt_inception-2015-12-05-6726825d.pth); nothing is downloaded"
        if weights is None:
            raise InputError.of(key, "nothing", wanted)
        if not weights.is_file():
            raise InputError.of(f"{key}: {weights}", "nothing", wanted)
        if not sha256:
            raise InputError.of(f"{key}_sha256", "nothing", f"the sha256 of {weights.name}")
        data, self.digest = checked_bytes(weights, sha256, wanted)
        state = read_tensors(weights, data, "Inception weights")
        try:
            from torchmetrics.image.fid import NoTrainInceptionV3

            with tempfile.TemporaryDirectory() as folder:
                # torch-fidelity unpickles whatever its file holds. It is given a file of tensors that we wrote.
                torch.save(state, Path(folder) / "weights.pth")
                network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(Path(folder) / "weights.pth"))
        except ModuleNotFoundError as error:
            raise InputError.of(
                "audits.fidelity.extractor", "no torch-fidelity", "it: pip install torch-fidelity"
            ) from error
        except RuntimeError as error:
            raise InputError.of(weights, "tensors of another network", wanted) from error
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Features (n, 2048)."""
        return in_chunks(images, None, self._device, self._features)

    def _features(self, images: Tensor) -> Tensor:
        found: Tensor = self._network((images * 255).round().to(torch.uint8))
        return found


def make_embedder(config: FidelityConfig, base: Path, device: str = "cpu") -> Embedder:
    """The embedder that the configuration names; `weights` is relative to `base`. InputError where it cannot be had."""
    if config.extractor == "inception":
        weights = (base / config.weights).resolve() if config.weights else None
        return InceptionFeatures(weights, config.weights_sha256, device)
    return EmbeddedFeatures(device)
