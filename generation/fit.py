"""One training loop for both models: seeded per step, so that a killed run resumes to the same weights bit for bit."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from generation.processes import Processes
from synguard.errors import IntegrityError, SynguardError

__all__ = ["Checkpoint", "autocast", "batch_rows", "clipped", "fit", "often", "step_rng", "torch_normal"]

WARM_UP, DECAY = 0.05, 0.3
"""Shares of all steps in which the learning rate rises at the start and falls to zero at the end."""
CLIP = 1.0

Progress = Callable[[str, int, int], None]
Verdict = Literal["good", "doubt", "stop"]
"""Of a checkpoint: whether it is one to go back to, and whether training ends here and goes back to the last of these."""
Judge = Callable[[int, Any], Verdict | None]
Gradients = Callable[[Any, int], None]
"""Puts the gradients of a step into the parameters of a model."""


def step_rng(seed: int, purpose: int, step: int) -> np.random.Generator:
    """The random numbers of one step, independent of what was drawn before it."""
    return np.random.default_rng([seed, purpose, step])


def torch_normal(rng: np.random.Generator, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Standard normal float32 from a numpy generator: the same numbers on each device."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(device)


def batch_rows(seed: int, purpose: int, step: int, batch: int, n: int) -> NDArray[np.int64]:
    """Rows (batch,) of one step's batch out of n: epochs in shuffled order, each row once an epoch."""
    places = np.arange(step * batch, (step + 1) * batch)
    orders = {epoch: step_rng(seed, purpose, epoch).permutation(n) for epoch in np.unique(places // n).tolist()}
    return np.array([orders[place // n][place % n] for place in places.tolist()])


def autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 on a GPU; float32 on a CPU, where few have fast bfloat16 and results should not depend on which."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def often(steps: int, every: int | None) -> int:
    """Steps between checkpoints: as asked, by default a twentieth of all, but at least 100."""
    return every or max(100, steps // 20)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a training keeps its state: one safetensors file, replaced as a whole. `identity` is the training's digest."""

    path: Path
    identity: str
    every: int

    @property
    def good(self) -> Path:
        """The last checkpoint that was called good."""
        return self.path.with_stem(f"{self.path.stem}-good")


def clipped(loss: Callable[[Any, int], Tensor], processes: Processes) -> Gradients:
    """Gradients of the mean of `loss(model, step)` over all processes, clipped to norm 1."""

    def gradients(model: Any, step: int) -> None:
        value = loss(model, step)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        processes.average(parameter.grad for parameter in model.parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP, error_if_nonfinite=True)

    return gradients


def fit(
    model: Any,
    gradients: Gradients,
    *,
    phase: str,
    steps: int,
    learning_rate: float,
    ema_decay: float | None,
    checkpoint: Checkpoint,
    processes: Processes,
    progress: Progress | None = None,
    on_checkpoint: Judge | None = None,
) -> tuple[Any, int]:
    """Trains `model` in place by `gradients(model, step)`; returns its moving average (itself without one) and its steps.

    AdamW, learning rate with linear warm-up and a linear fall to zero over the last 30 %. Goes on from the checkpoint where
    there is one; raises IntegrityError for one of another training. `on_checkpoint(step, averaged)` is called after each
    checkpoint, and again with the one that is gone on from, since a kill may have come between the two. `gradients` must
    take all its randomness from the step's number. Of several processes the first alone writes and is asked. Where it is
    answered with "stop", model and average go back to the last checkpoint that was "good"; SynguardError without any.
    """
    if not processes.main:
        progress = on_checkpoint = None
    average = deepcopy(model).requires_grad_(False) if ema_decay is not None else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    first = _restore(checkpoint.path, checkpoint.identity, model, average, optimiser)
    if first and _judged(on_checkpoint, checkpoint, first, average) == "stop":
        return _back(phase, checkpoint, model, average, optimiser)
    with _finite_only(phase):
        for step in range(first, steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * _schedule(step, steps)
            optimiser.zero_grad(set_to_none=True)
            gradients(model, step)
            optimiser.step()
            if ema_decay is not None:
                _update(average, model, min(ema_decay, 1 - (1 + step) ** -0.75))
            done = step + 1
            if progress is not None:
                progress(phase, done, steps)
            if done % checkpoint.every == 0 or done == steps:
                if processes.main:
                    _save(checkpoint, done, model, average, optimiser)
                if _judged(on_checkpoint, checkpoint, done, average) == "stop":
                    return _back(phase, checkpoint, model, average, optimiser)
                processes.wait()
    return average, steps


def _judged(judge: Judge | None, checkpoint: Checkpoint, step: int, average: Any) -> Verdict | None:
    """What is said of the checkpoint just written, which is kept aside where it is good."""
    verdict = None if judge is None else judge(step, average)
    if verdict == "good":
        partial = checkpoint.good.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        try:
            os.link(checkpoint.path, partial)  # the next checkpoint takes its name, not its place
        except OSError:
            shutil.copyfile(checkpoint.path, partial)
        partial.replace(checkpoint.good)
    return verdict


def _back(phase: str, checkpoint: Checkpoint, model: Any, average: Any, optimiser: torch.optim.Optimizer) -> tuple[Any, int]:
    """Model and average as they were at the last good checkpoint, and its step."""
    step = _restore(checkpoint.good, checkpoint.identity, model, average, optimiser)
    if not step:
        wanted = "one before that to go back to (a smaller generator.curve.every)"
        raise SynguardError(f"{phase}: found memorisation from the first checkpoint on, expected {wanted}")
    return average, step


def _schedule(step: int, steps: int) -> float:
    """Factor of the learning rate; the first step is already above zero, the last is still."""
    return min(1.0, (step + 1) / max(1.0, WARM_UP * steps), (steps - step) / max(1.0, DECAY * steps))


@torch.no_grad()
def _update(average: Any, model: Any, decay: float) -> None:
    """Moving average, with a decay that warms up so that it forgets the untrained weights (as diffusers' EMAModel)."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


@contextlib.contextmanager
def _finite_only(phase: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "non-finite" not in str(error):
            raise
        raise SynguardError(f"{phase}: found a gradient that is not finite, expected a lower learning rate") from error


def _save(checkpoint: Checkpoint, step: int, model: Any, average: Any, optimiser: torch.optim.Optimizer) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if average is not model:
        tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in state.items()}
    save_atomically(tensors, checkpoint.path, {"step": str(step), "identity": checkpoint.identity})


def save_atomically(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """A safetensors file that is there whole or not at all, whenever the process is killed."""
    partial = path.with_suffix(".partial")
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, partial, metadata)
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load_tensors(path: Path, identity: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file of this training; raises IntegrityError for one of another or a broken one."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("identity") != identity:
                found = json.dumps(metadata.get("identity", "no identity"))
                raise IntegrityError(f"{path}: found a checkpoint of training {found}, expected {identity}")
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118  # not a mapping
    except SafetensorError as error:
        raise IntegrityError(f"{path}: found {error}, expected a safetensors file") from error


def _restore(path: Path, identity: str, model: Any, average: Any, optimiser: torch.optim.Optimizer) -> int:
    """Loads the checkpoint, if any, into all three and returns the number of steps already done."""
    if not path.is_file():
        return 0
    tensors, metadata = load_tensors(path, identity)
    model.load_state_dict(_under(tensors, "model."))
    if average is not model:
        average.load_state_dict(_under(tensors, "average."))
    parameters = list(model.parameters())
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(tensors, "optimiser.").items():
        number, _, key = name.partition(".")
        # The fused optimiser walks memory, so its state must lie as its parameter does (channels last).
        like = parameters[int(number)]
        state.setdefault(int(number), {})[key] = torch.empty_like(like).copy_(value) if value.dim() else value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(metadata["step"])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
