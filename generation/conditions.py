"""Conditions as numbers: what the denoiser is told about an image, and what it is left to guess in training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from generation.synguard_pipeline import encode, width
from synguard.data.conditions import known_values
from synguard.errors import InputError

if TYPE_CHECKING:
    from generation.synguard_text import TextTower
    from synguard.config import AttributeConfig
    from synguard.data.conditions import ConditionSchema

__all__ = ["ConditionEncoder"]


_LEAST_STD = 0.2
"""So that what hardly ever varies in training is not shouted when it does."""
_SHORTER = 3
"""Shorter sentences of each training image, that leave some of its labels out."""
_SEED = 0x5E27
"""Which labels those leave out is drawn once, the same in every training."""


@dataclass(frozen=True, slots=True)
class ConditionEncoder:
    """Encodes frames of a condition schema; `attributes` is what a trained folder stores of it.

    Text is encoded by the text tower, or by a hashed bag of words, which needs no weights: two texts are then alike as far
    as they share words.
    """

    schema: ConditionSchema
    attributes: tuple[dict[str, Any], ...]
    tower: TextTower | None = None

    @classmethod
    def of(cls, schema: ConditionSchema, parsed: pd.DataFrame, tower: TextTower | None = None) -> ConditionEncoder:
        """The encoder for a schema, fitted to the parsed frame of the training images.

        Numbers are standardised: a rare disease then speaks louder than its absence, and unknown (all zeros) is the
        average. A continuous attribute without a range takes that of the frame.
        """
        return cls(schema, tuple(_attribute(a, parsed[a.name], tower) for a in schema.attributes), tower)

    @property
    def dimension(self) -> int:
        """Numbers per image."""
        return sum(width(attribute) for attribute in self.attributes)

    def encode(self, conditions: pd.DataFrame, where: str = "conditions") -> NDArray[np.float32]:
        """Float32 (n, dimension) of a frame; raises InputError for a value or a column that the schema does not allow."""
        parsed = self.schema.parse(conditions, where)
        columns = {a["name"]: _values(parsed[a["name"]]) for a in self.attributes}
        try:
            return encode(self.attributes, columns, len(parsed), self.tower)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error

    def kept(self, n: int, dropout: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """Mask (n, dimension) of ones and zeros for training, zero where an attribute is hidden.

        A share `dropout` of the images loses every attribute, so that guidance has an unconditional model; as many lose
        each attribute with a chance of their own, so that missing labels are familiar. The rest stays whole, since that is
        what sampling asks for.
        """
        shape = (n, len(self.attributes))
        fate, chance, draws = rng.random((n, 1)), rng.random((n, 1)), rng.random(shape)
        shown = np.where(fate < dropout, False, (fate >= 2 * dropout) | (draws >= chance))
        return np.repeat(shown, [width(a) for a in self.attributes], axis=1).astype(np.float32)

    def shorter(self, conditions: pd.DataFrame, where: str = "conditions") -> NDArray[np.float32] | None:
        """Sentences of n images that leave labels out, encoded, float32 (variants, n, width); None without a sentence."""
        if (sentence := self.schema.sentence) is None:
            return None
        rows = known_values(self.schema.parse(conditions, where))
        rng = np.random.default_rng(_SEED)
        told = [a for a in self.attributes if a["name"] == sentence.name]
        variants = []
        for _ in range(_SHORTER):
            said = rng.random((len(rows), len(sentence.attributes))) < rng.random((len(rows), 1))
            chosen = [{a.name for a, yes in zip(sentence.attributes, line, strict=True) if yes} for line in said]
            texts = [
                sentence.of_labels({k: v for k, v in row.items() if k in names})
                for row, names in zip(rows, chosen, strict=True)
            ]
            variants.append(encode(told, {sentence.name: texts}, len(rows), self.tower))
        return np.stack(variants)

    def told(
        self,
        encoded: NDArray[np.float32],
        shorter: NDArray[np.float32] | None,
        dropout: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """What training tells the denoiser of encoded images (n, dimension): `kept` of it.

        Where there is a sentence, `shorter` has those of the images (variants, n, width): a quarter of the images is told by
        labels alone, a quarter by a shorter sentence alone, so that either will do.
        """
        told = encoded * self.kept(len(encoded), dropout, rng)
        if shorter is None:
            return told
        before = itertools.takewhile(lambda attribute: "sentence" not in attribute, self.attributes)
        place = sum(map(width, before))
        words = slice(place, place + shorter.shape[2])
        way, variant = rng.random(len(encoded)), rng.integers(0, len(shorter), len(encoded))
        alone = way < 0.25
        hidden = ~told.any(axis=1)
        told[alone] = 0
        told[alone, words] = shorter[variant[alone], alone.nonzero()[0]]
        told[(way >= 0.25) & (way < 0.5), words] = 0
        told[hidden] = 0
        return told


def _attribute(config: AttributeConfig, column: pd.Series[Any], tower: TextTower | None) -> dict[str, Any]:
    stored: dict[str, Any] = {"name": config.name, "kind": config.kind}
    if config.sentence is not None:
        stored["sentence"] = config.sentence
    if config.kind == "text" and tower is not None:
        stored |= {"width": tower.width, "tower": tower.digest}
    if config.group is not None:
        stored["group"] = config.group
    if config.levels is not None:
        stored["levels"] = list(config.levels)
    if config.kind == "continuous":
        known = column.dropna()
        if config.range is None and known.empty:
            raise InputError(f"{config.name}: found no value and no range, expected one of the two")
        low, high = config.range or (known.min(), known.max())
        stored["range"] = [float(low), float(high)]
    encoded = encode([stored], {config.name: _values(column)}, len(column), tower)
    numbers = encoded[encoded[:, -1] == 1, :-1].astype(np.float64)
    if len(numbers):
        stored["mean"] = numbers.mean(axis=0).round(6).tolist()
        stored["std"] = np.maximum(numbers.std(axis=0), _LEAST_STD).round(6).tolist()
    return stored


def _values(column: pd.Series[Any]) -> Sequence[Any]:
    """A column as Python values, None where it is missing."""
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values
