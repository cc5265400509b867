"""Canaries in a run: drawn before the training, found again by the audit; and what the model card says was spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from audits.epsilon import Drawn, Spent
from generation.names import CARD, STATE
from synguard.data.canaries import Canaries, draw_canaries
from synguard.data.images import ImageSet
from synguard.data.overlap import duplicates
from synguard.errors import InputError
from synguard.runs.material import NO_CANARIES, Material
from synguard.runs.progress import Progress

__all__ = ["card_entry", "coins_of", "draw_for", "privacy_lines", "spent_by", "with_canaries"]

COINS = "canaries.json"
"""In the private state of a trained folder, readable by its owner only."""


def draw_for(folder: Path, private: ImageSet, count: int | None, progress: Progress) -> Canaries | None:
    """The canaries of the training in `folder`: drawn now, or when it began; None where none are asked for.

    InputError where the training began otherwise, IntegrityError where the coins are not those it was committed to.
    """
    if count is None:
        return None
    path = folder / STATE / COINS
    if path.is_file():
        entry = _entry(folder)
        found = Canaries.load(path, None if entry is None else str(entry.get("commitment")))
        if len(found.patients) != count or found.population != private.digest:
            raise InputError.of(
                folder, f"a training with {len(found.patients)} canaries, or of another set", "the same as when it began"
            )
        return found
    if folder.exists() and any(inside.is_file() for inside in folder.rglob("*")):
        raise InputError.of(folder, "a folder that holds something, and no canaries", "an empty folder, to draw them for")
    drawn = draw_canaries(private, count)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    drawn.save(path)
    progress(f"canaries: {count} patients; commitment {drawn.commitment}", 1, 1)
    return drawn


def card_entry(drawn: Canaries | None) -> dict[str, Any] | None:
    """What the model card says of canaries, before the training and after."""
    if drawn is None:
        return None
    return {"patients": len(drawn.patients), "population": drawn.population, "commitment": drawn.commitment}


def coins_of(folder: Path | None, private: ImageSet) -> Canaries | str:
    """The canaries of the model in a folder, as far as `private` is the set that they were drawn from; else why not."""
    entry = None if folder is None else _entry(folder)
    if folder is None or entry is None:
        return NO_CANARIES
    path = folder / STATE / COINS
    if not path.is_file():
        return "the model card names canaries, and the file with their coins is not in the model's folder"
    found = Canaries.load(path, str(entry.get("commitment")))
    if found.population != private.digest:
        return "the private set that was given is not the one that the model's canaries were drawn from"
    return found


def with_canaries(material: Material, coins: Canaries | str | None) -> Material:
    """The material as the training saw it: without the patients whose coin fell out, who are kept as canaries."""
    if not isinstance(coins, Canaries):
        return replace(material, drawn=coins or NO_CANARIES)
    full = material.private
    private = coins.trained_on(full)
    if not len(private):
        raise InputError.of("canaries", "no patient whose coin fell in", "more patients in the private set than canaries")
    return replace(
        material,
        private=private,
        wider=material.searched,
        private_conditions=material.schema.parse(private.metadata, private.name),
        duplicates=duplicates(private),
        drawn=Drawn(coins.put_in(full), coins.left_out(full), coins.commitment),
    )


def spent_by(folder: Path | None, private: ImageSet) -> Spent | str:
    """What the model card says of private training; else why there is nothing."""
    if folder is None:
        return "no model was given, so nothing is known of its training"
    said = _card(folder).get("differential_privacy")
    if said is None:
        return "the model does not say whether it was trained with differential privacy"
    if said == "none":
        return "the model was trained without differential privacy"
    try:
        return Spent(
            epsilon=float(said["epsilon_upper_bound"]),
            delta=float(said["delta"]),
            unit="patient" if said["unit"] == "patient" else "image",
            patients=len(np.unique(private.patients)),
            method=f"{said['mechanism']}, noise multiplier {said['noise_multiplier']:.3g}, sampling rate "
            f"{said['sampling_rate']:.3g}, {said['steps']} steps, accountant {said['accountant']}, as the model card has it",
            covers=str(said["covers"]),
            not_covered=tuple(map(str, said["not_covered"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError.of(
            folder / CARD, "a statement on differential privacy that cannot be read", "one of ours"
        ) from error


def privacy_lines(folder: Path) -> list[str]:
    """What a trained folder says of canaries and of private training, for a terminal; nothing without them."""
    said, entry = _card(folder).get("differential_privacy"), _entry(folder)
    lines = []
    if entry is not None:
        lines.append(f"canaries: {entry['patients']:,} patients, committed to before the training: {entry['commitment']}")
    if isinstance(said, dict):
        lines.append(
            f"differential privacy of {said['covers']}: epsilon {said['epsilon_upper_bound']:.3g} at delta "
            f"{said['delta']:.2g} for each {said['unit']}; not covered: {', '.join(said['not_covered'])}"
        )
    return lines


def _entry(folder: Path) -> Mapping[str, Any] | None:
    training = _card(folder).get("training")
    entry = training.get("canaries") if isinstance(training, dict) else None
    return entry if isinstance(entry, dict) else None


def _card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_text())
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}
