"""Baselines that compare embeddings: a random network with whitening, and the method of Dar et al.

Both look at images at 64 px at most, which is what a few minutes of a CPU allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .pixels import fisher
from .protocol import BLOCK, Answer, Exclude, Material, Pixels, barred, in_blocks

__all__ = ["EmbeddingSearch", "contrastive_loss", "fit_dar", "fit_random", "percentile_rule"]

SIDE = 64
DAR_STEPS = 1000
DAR_PERCENTILE = 95.0

_WIDTHS = (24, 48, 96, 128)
_DIMENSION = 128
_BATCH = 64
_TEMPERATURE = 0.07
_DEGREES = 5.0
_RATES = (1e-3, 5e-5)
"""Adam's, from first to last step. The paper's falls from 1e-4, over many times as many steps."""
_SHRINKAGE = 0.1

Embed = Callable[[Pixels], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingSearch:
    """Cosine of embeddings that have unit length."""

    embed: Embed
    bank: NDArray[np.float32]
    patients: NDArray[np.str_]
    limit: float | None = None
    """Cosines above it are called copies, where the method says so."""

    def query(self, pixels: Pixels, exclude: Exclude = None) -> Answer:
        """Score: Fisher's z of the cosine."""
        return in_blocks(pixels, exclude, self._block)

    def _block(self, pixels: Pixels, exclude: Exclude) -> Answer:
        cosines = self.embed(pixels) @ self.bank.T
        bars = barred(exclude, self.patients)
        if bars is not None:
            cosines[bars] = -1.0
        nearest = cosines.argmax(1)
        best = cosines[np.arange(len(cosines)), nearest]
        return Answer(fisher(best), nearest, called=None if self.limit is None else best > self.limit)


def fit_random(material: Material) -> EmbeddingSearch:
    """A network that was never trained; its features are whitened on index and background, which is all that it learns."""
    torch.manual_seed(material.seed)
    network = _network(nn.Flatten(), width=3).eval()

    def features(pixels: Pixels) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.concatenate([network(batch).numpy() for batch in torch.split(tensors(pixels), BLOCK)])

    known = features(np.concatenate([material.index.pixels, material.background.pixels]))
    centre = known.mean(0)
    variance, axes = np.linalg.eigh(np.cov(known, rowvar=False))
    variance, axes = variance[::-1][:_DIMENSION], axes[:, ::-1][:, :_DIMENSION]
    projection = axes / np.sqrt(variance.clip(0) + _SHRINKAGE * variance.mean())

    def embed(pixels: Pixels) -> NDArray[np.float32]:
        return _unit((features(pixels) - centre) @ projection)

    return EmbeddingSearch(embed, embed(material.index.pixels), material.index.patient)


def fit_dar(material: Material, steps: int = DAR_STEPS) -> EmbeddingSearch:
    """Dar et al. 2024 (arXiv 2402.01054), from the paper's formulas; its code (GPL-3) was not used.

    A network is trained on the index alone by NT-Xent with temperature 0.07, its views mirrored with a chance of one half
    and turned by up to 5 degrees with the same; likeness is the Pearson correlation of embeddings. The paper's threshold is
    the 95th percentile of the correlations of each training image with its nearest validation image: here, calibration
    image. Smaller than the paper's are the network and the number of steps.
    """
    torch.manual_seed(material.seed)
    network = _network(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_WIDTHS[-1], _DIMENSION)))
    images = tensors(material.index.pixels)
    optimiser = torch.optim.Adam(network.parameters(), lr=_RATES[0])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1), eta_min=_RATES[1])
    network.train()
    for _ in range(steps):
        batch = images[torch.randperm(len(images))[:_BATCH]]
        loss = contrastive_loss(network(_view(batch)), network(_view(batch)), _TEMPERATURE)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        optimiser.step()
        schedule.step()
    network.eval()

    def embed(pixels: Pixels) -> NDArray[np.float32]:
        with torch.inference_mode():
            values = torch.cat([network(batch) for batch in torch.split(tensors(pixels), BLOCK)]).numpy()
        # Freed of its mean, the cosine of two embeddings is their correlation.
        return _unit(values - values.mean(1, keepdims=True))

    bank = embed(material.index.pixels)
    limit = percentile_rule(bank, embed(material.calibration.pixels), DAR_PERCENTILE)
    return EmbeddingSearch(embed, bank, material.index.patient, limit)


def percentile_rule(training: NDArray[np.float32], validation: NDArray[np.float32], percentile: float) -> float:
    """The percentile of the correlations of training embeddings with their nearest validation ones, all of unit length."""
    return float(np.percentile((training @ validation.T).max(1), percentile))


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al. 2020, arXiv 2002.05709): each row's partner against all other rows of both views."""
    n = len(first)
    rows = functional.normalize(torch.cat([first, second]), dim=1)
    likeness = rows @ rows.T / temperature
    likeness.fill_diagonal_(-math.inf)
    partner = torch.arange(2 * n, device=rows.device).roll(n)
    return functional.cross_entropy(likeness, partner)


def tensors(pixels: Pixels) -> Tensor:
    """Images as float32 (n, 3, side, side) in [-1, 1], larger ones averaged down to 64 px."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return functional.adaptive_avg_pool2d(images, SIDE) if images.shape[-1] > SIDE else images


def _view(images: Tensor) -> Tensor:
    """Each image mirrored with a chance of one half and turned by up to five degrees with the same."""
    n = len(images)
    angle = torch.empty(n).uniform_(-_DEGREES, _DEGREES) * (torch.rand(n) < 0.5) * math.pi / 180
    sign = 1 - 2 * (torch.rand(n) < 0.5).float()
    turn = torch.zeros(n, 2, 3)
    turn[:, 0, 0], turn[:, 0, 1] = angle.cos() * sign, -angle.sin()
    turn[:, 1, 0], turn[:, 1, 1] = angle.sin() * sign, angle.cos()
    grid = functional.affine_grid(turn, list(images.shape), align_corners=False)
    turned = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return turned.contiguous(memory_format=torch.channels_last)


def _network(head: nn.Module, width: int = 1) -> nn.Sequential:
    """Four convolutions that halve the side, and a head; `width` pixels a side are left where it flattens."""
    channels = (3, *_WIDTHS)
    layers: list[nn.Module] = []
    for inward, outward in pairwise(channels):
        layers += [nn.Conv2d(inward, outward, 3, 2, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU()]
    if width > 1:
        layers.append(nn.AdaptiveAvgPool2d(width))
    # Channels last is a fifth faster on a CPU.
    return nn.Sequential(*layers, head).to(memory_format=torch.channels_last)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)).astype(np.float32)
    return unit
