"""The network of the diagnostic model: a small residual trunk, and one linear layer for the outputs of all heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Layout", "Network", "initialised"]

GRID = 32
"""Side of the first feature map. Larger images are strided down to it, so the cost hardly depends on the image size."""
LARGEST = 128
"""Images with a longer side are averaged down to this before the first layer."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What fixes the network's shape: side of its input in pixels, channel widths, number of outputs."""

    side: int
    widths: tuple[int, int, int]
    outputs: int


class _Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut, the first one strided."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 or inputs != outputs else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, outputs, side / stride, side / stride)."""
        hidden = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class Network(nn.Module):
    """Images (n, 3, side, side), float in [0, 1], to raw outputs (n, outputs)."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        first, second, third = layout.widths
        stride = max(1, -(-layout.side // GRID))
        self.stem = nn.Conv2d(3, first, stride + 2, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.blocks = nn.Sequential(_Block(first, second, 2), _Block(second, third, 2), _Block(third, third, 1))
        self.features_size: int = 2 * third
        self.head = nn.Linear(self.features_size, layout.outputs)

    def features(self, x: Tensor) -> Tensor:
        """Penultimate features (n, features_size): mean and maximum over the last map."""
        hidden = self.blocks(functional.relu(self.norm(self.stem((x - 0.5) * 4.0))))
        return torch.cat((hidden.mean((2, 3)), hidden.amax((2, 3))), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Raw outputs (n, outputs)."""
        outputs: Tensor = self.head(self.features(x))
        return outputs


def initialised(layout: Layout, generator: torch.Generator) -> Network:
    """A network whose weights are drawn from `generator` alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        network = Network(layout)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01, generator=generator)
            nn.init.zeros_(module.bias)
    for block in network.blocks:
        # Each block starts as its shortcut, which lets a short training use a high learning rate.
        nn.init.zeros_(block.norm2.weight)  # type: ignore[union-attr, arg-type]
    return network
