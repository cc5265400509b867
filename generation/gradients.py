"""Norms of the gradient that one image asks for, by parameter tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import functional_call

__all__ = ["WithParameters", "gradient_norms"]


@dataclass(frozen=True, slots=True, eq=False)
class WithParameters:
    """A model called with other parameters than its own."""

    model: Any
    parameters: Mapping[str, torch.Tensor]

    def __call__(self, *args: Any, **options: Any) -> Any:
        """As the model's own call."""
        return functional_call(self.model, dict(self.parameters), args, options)

    @property
    def config(self) -> Any:
        """The model's own, which says what its call takes."""
        return self.model.config


def gradient_norms(model: Any, loss: Callable[[Any, int], torch.Tensor], n: int) -> NDArray[np.float64]:
    """L2 norms (n, tensors) of the gradient of `loss(model, row)` for each row alone, by parameter tensor in model order.

    The model itself is left as it is: the gradient is taken by detached copies that share its memory. A tensor that the
    loss does not depend on has norm 0.
    """
    tensors = {name: value.detach().requires_grad_() for name, value in model.named_parameters()}
    asked = WithParameters(model, tensors)
    norms = np.empty((n, len(tensors)))
    with torch.enable_grad():
        for row in range(n):
            found = torch.autograd.grad(loss(asked, row), list(tensors.values()), allow_unused=True)
            norms[row] = [0.0 if g is None else float(g.double().norm()) for g in found]
    return norms
