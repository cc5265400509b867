"""Several processes that train one model, each on its share of every batch: launched by accelerate, one without it.

All hold the same weights throughout: each computes the gradient of its own images, the mean of all is what every one of them
steps by, and the first alone writes. So what comes out is what one process would have made, up to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from synguard.errors import ConfigError

__all__ = ["Processes"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Processes:
    """How many there are, and which of them this is; `state` is accelerate's, None for one process."""

    count: int = 1
    index: int = 0
    state: Any = None

    @classmethod
    def launched(cls, device: str) -> Processes:
        """Those that `accelerate launch` or torchrun started, on CPUs where `device` is one."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        from accelerate import PartialState  # takes a second, and most trainings are one process

        state = PartialState(cpu=device == "cpu")
        return cls(state.num_processes, state.process_index, state)

    @property
    def main(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.index == 0

    def device(self, asked: torch.device) -> torch.device:
        """A GPU of its own for each process."""
        return asked if self.state is None or asked.type == "cpu" else torch.device(self.state.device)

    def wait(self) -> None:
        """Until all are here."""
        if self.state is not None:
            self.state.wait_for_everyone()

    @contextmanager
    def first(self) -> Iterator[None]:
        """The block is run by the first process, and then by the others, who find what it left."""
        if not self.main:
            self.wait()
        yield
        if self.main:
            self.wait()

    def own(self, batch: T) -> T:
        """This process's share of a batch: every count-th row of a tensor or array."""
        found: T = batch[self.index :: self.count] if self.count > 1 else batch  # type: ignore[index]
        return found

    def average(self, gradients: Iterable[Tensor | None]) -> None:
        """Replaces gradients by their mean over all processes; every process gets the same."""
        if self.state is None:
            return
        from accelerate.utils import reduce

        given = [gradient for gradient in gradients if gradient is not None]
        whole = reduce(torch.cat([gradient.flatten() for gradient in given]), reduction="mean")
        for gradient, part in zip(given, whole.split([gradient.numel() for gradient in given]), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def check(self, **batches: int) -> None:
        """ConfigError for a batch, by the key of its model, that cannot be shared out evenly."""
        for model, size in batches.items():
            if size % self.count:
                key = f"generator.{model}.batch_size"
                raise ConfigError.of(key, size, f"a multiple of {self.count}, the number of processes")
