"""Training the diagnostic model on the private set."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audits.diagnostic.augment import augmented
from audits.diagnostic.model import Head, TrainedModel, as_tensor, in_chunks
from audits.diagnostic.network import LARGEST, Layout, Network, initialised
from synguard.config import LabelsConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.errors import InputError
from synguard.metrics.agreement import balanced_share, confusions

__all__ = ["train"]

WIDTHS = (16, 32, 64)
BATCH = 32
PEAK_RATE, WEIGHT_DECAY = 3e-3, 0.03
CHOICES = 8
"""How often in the second half of training the model is tried on the patients kept aside."""
ASIDE, ASIDE_AT_MOST, ASIDE_AT_LEAST = 0.12, 600, 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Task:
    """One head in training: its columns of the output, its targets (n,) with NaN where unknown, its log prior."""

    head: Head
    columns: slice
    targets: NDArray[np.float64]
    log_prior: Tensor | None


def train(
    private: ImageSet,
    schema: ConditionSchema,
    config: LabelsConfig,
    seed: int,
    progress: Progress | None = None,
    *,
    device: str = "cpu",
    flips: bool = False,
) -> TrainedModel:
    """A diagnostic model for every attribute of `schema` that is not text, in `config.steps` steps of 32 images.

    Missing labels are left out of the loss. The loss carries the private set's level frequencies (logit adjustment, Menon et
    al. 2021), so the model itself is free of them. Some private patients are kept aside to choose among the last states
    and to set the temperatures; the holdout is never looked at. `flips` allows mirrored training images. Calls
    `progress(step, steps)`. InputError where there is nothing to learn.
    """
    side = min(private.size, LARGEST)
    tasks = _tasks(private, schema)
    generator = torch.Generator().manual_seed(int(np.random.default_rng([seed, 31]).integers(2**62)))
    network = initialised(Layout(side, WIDTHS, tasks[-1].columns.stop), generator)
    # Channels last is a fifth faster on CPUs, and no slower elsewhere.
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learn, aside = _kept_aside(private, np.random.default_rng([seed, 32]))
    order = _row_order(learn, config.steps * BATCH, np.random.default_rng([seed, 33]))
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.99))
    tries = {config.steps - round(i * config.steps / 2 / CHOICES) for i in range(CHOICES)}
    best, best_score, best_step = copy.deepcopy(network.state_dict()), -math.inf, 0

    for step in range(config.steps):
        network.train()
        for parameters in optimiser.param_groups:
            parameters["lr"] = PEAK_RATE * _rate(step, config.steps)
        rows = order[step * BATCH : (step + 1) * BATCH]
        images = augmented(as_tensor(private.pixels[rows], side).to(device), generator, flips=flips)
        images = images.contiguous(memory_format=torch.channels_last)
        loss = _loss(network(images), tasks, rows)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if step + 1 in tries:
            score = _score(network, private, aside, tasks, side) if len(aside) else float(step)
            if score >= best_score:
                best, best_score, best_step = copy.deepcopy(network.state_dict()), score, step + 1
        if progress:
            progress(step + 1, config.steps)

    network.load_state_dict(best)
    _silence_absent_levels(network, tasks)
    heads = _with_temperatures(network.eval(), private, aside, tasks, side)
    record = {
        "seed": seed,
        "steps": config.steps,
        "chosen_step": best_step,
        "private": private.digest,
        "images": len(learn),
        "images_kept_aside": len(aside),
        "score_kept_aside": round(best_score, 6) if len(aside) else None,
    }
    return TrainedModel(network, heads, record, device)


def _tasks(private: ImageSet, schema: ConditionSchema) -> list[_Task]:
    frame = schema.parse(private.metadata, private.name)
    tasks: list[_Task] = []
    start = 0
    for attribute in schema.attributes:
        if attribute.kind == "text":
            continue
        if attribute.kind == "continuous":
            targets = frame[attribute.name].to_numpy(np.float64, na_value=np.nan)
            known = targets[np.isfinite(targets)]
            spread = float(known.std()) if len(known) else 0.0
            centre = float(known.mean()) if len(known) else 0.0
            head = Head(attribute.name, attribute.kind, centre=centre, scale=spread or 1.0)
            targets, log_prior = (targets - head.centre) / head.scale, None
        else:
            head = Head(attribute.name, attribute.kind, levels=schema.levels(attribute.name))
            targets = schema.codes(frame, attribute.name)
            counts = np.bincount(targets[np.isfinite(targets)].astype(np.int64), minlength=len(head.levels))
            log_prior = torch.from_numpy(np.log((counts + 0.5) / (counts + 0.5).sum())).float()
        tasks.append(_Task(head, slice(start, start + head.outputs), targets, log_prior))
        start += head.outputs
    if not tasks or not any(np.isfinite(task.targets).any() for task in tasks):
        raise InputError.of(private.name, "no labels", "at least one attribute of the condition schema to read off images")
    return tasks


def _loss(outputs: Tensor, tasks: list[_Task], rows: NDArray[np.int64]) -> Tensor:
    """Mean over the tasks that have a label in the batch."""
    parts: list[Tensor] = []
    for task in tasks:
        targets = task.targets[rows]
        known = np.flatnonzero(np.isfinite(targets))
        if not len(known):
            continue
        raw = outputs[known, task.columns]
        if task.log_prior is None:
            wanted = torch.from_numpy(targets[known]).float().to(raw.device)
            parts.append(functional.smooth_l1_loss(raw[:, 0], wanted))
            continue
        level = torch.from_numpy(targets[known].astype(np.int64)).to(raw.device)
        logits = raw + task.log_prior.to(raw.device)
        parts.append(functional.cross_entropy(logits, level))
        if task.head.kind == "ordinal":
            # The ranked probability score makes a near miss cheaper than a far one.
            cumulative = functional.softmax(logits, 1).cumsum(1)
            steps = (torch.arange(logits.shape[1], device=raw.device)[None, :] >= level[:, None]).float()
            parts.append(((cumulative - steps) ** 2).sum(1).mean())
    return torch.stack(parts).mean() if parts else outputs.sum() * 0.0


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: up over a tenth of the steps, then down along a cosine."""
    warm = max(1, steps // 10)
    return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / max(1, steps - warm))))


def _kept_aside(private: ImageSet, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from, and rows of other patients to choose by: none where there are too few patients."""
    patients, patient = np.unique(private.patients, return_inverse=True)
    if len(patients) * ASIDE < ASIDE_AT_LEAST:
        return np.arange(len(private)), np.arange(0)
    share = min(ASIDE, ASIDE_AT_MOST / len(private))
    chosen = rng.permutation(len(patients))[: round(share * len(patients))]
    aside = np.isin(patient, chosen)
    return np.flatnonzero(~aside), np.flatnonzero(aside)


def _row_order(rows: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` rows, every row once before any comes again."""
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:count]


def _score(network: Network, private: ImageSet, rows: NDArray[np.int64], tasks: list[_Task], side: int) -> float:
    """Mean over the attributes of the balanced share read right; for continuous ones the share of variance explained."""
    device = next(network.parameters()).device
    raw = in_chunks(private.pixels[rows], side, device, network.eval())
    scores = []
    for task in tasks:
        columns, targets = raw[:, task.columns].astype(np.float64), task.targets[rows]
        if task.log_prior is None:
            known = np.isfinite(targets)
            if known.any():
                scores.append(1 - float(((columns[known, 0] - targets[known]) ** 2).mean()))
        elif np.isfinite(targets).any():
            levels = len(task.head.levels)
            scores.append(float(balanced_share(confusions(targets, columns.argmax(1).astype(np.float64), levels))))
    return float(np.mean(scores)) if scores else 0.0


def _silence_absent_levels(network: Network, tasks: list[_Task]) -> None:
    """A level without a single private image has no meaning to the network: it is never read."""
    with torch.no_grad():
        for task in tasks:
            present = set(task.targets[np.isfinite(task.targets)].tolist())
            for level in range(len(task.head.levels)):
                if present and level not in present:
                    network.head.bias[task.columns.start + level] = -1e4


def _with_temperatures(
    network: Network, private: ImageSet, aside: NDArray[np.int64], tasks: list[_Task], side: int
) -> tuple[Head, ...]:
    """The heads, each with the temperature that makes the patients kept aside most likely, levels weighing alike."""
    if not len(aside):
        return tuple(task.head for task in tasks)
    raw = in_chunks(private.pixels[aside], side, next(network.parameters()).device, network).astype(np.float64)
    heads = []
    for task in tasks:
        targets = task.targets[aside]
        known = np.isfinite(targets)
        if task.log_prior is None or not known.any():
            heads.append(task.head)
            continue
        level = targets[known].astype(np.int64)
        weight = 1.0 / np.bincount(level)[level]
        losses = {}
        for temperature in np.geomspace(0.5, 8.0, 25):
            logits = raw[known, task.columns] / temperature
            log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
            losses[float(temperature)] = float((weight * (log_sum - logits[np.arange(len(level)), level])).sum())
        heads.append(replace(task.head, temperature=min(losses, key=losses.__getitem__)))
    return tuple(heads)
