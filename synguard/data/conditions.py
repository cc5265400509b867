"""The condition schema: which attributes images are made for and judged by, and what their values may be."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synguard.config import AttributeConfig
from synguard.data.sentence import Sentence
from synguard.errors import ConfigError, InputError

__all__ = ["ConditionSchema", "known_values"]

_NOT_CONDITIONS = frozenset({"file_name", "path", "patient", "patient_id", "id", "idx", "sha256", "seed"})
_MOST_TEXT_LEVELS = 50
_MOST_ORDINAL_LEVELS = 20
_TRUTH = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "False": 0, "True": 1}


@dataclass(frozen=True, slots=True)
class ConditionSchema:
    """An ordered set of attributes; none at all for an unlabelled release.

    Typed frames, as `parse` gives them, have index 0 to n - 1 and per attribute the dtype `Int8` (binary: 0, 1), `string`
    (ordinal and categorical: the level; text) or `Float64` (continuous). NA is missing.
    """

    attributes: tuple[AttributeConfig, ...] = ()

    def __post_init__(self) -> None:
        names = [attribute.name for attribute in self.attributes]
        for attribute in self.attributes:
            where = f"conditions.{attribute.name}"
            levels = attribute.levels
            if names.count(attribute.name) > 1:
                raise ConfigError.of(where, "the name twice", "attributes with different names")
            if attribute.kind in ("ordinal", "categorical") and len(levels or ()) < 2:
                raise ConfigError.of(f"{where}.levels", "fewer than two", f"the levels of {attribute.kind} {attribute.name}")
            if attribute.kind == "binary" and levels is not None and len(levels) != 2:
                raise ConfigError.of(f"{where}.levels", len(levels), "two: negative, positive")
            if levels and len(set(levels)) != len(levels):
                raise ConfigError.of(f"{where}.levels", "a level twice", "different levels")
            if attribute.kind in ("continuous", "text") and levels is not None:
                raise ConfigError.of(f"{where}.levels", "levels", f"none, since the kind is {attribute.kind}")
            if attribute.range is not None and not attribute.range[0] < attribute.range[1]:
                raise ConfigError.of(f"{where}.range", list(attribute.range), "smallest, largest")
        _ = self.sentence

    @property
    def sentence(self) -> Sentence | None:
        """How the labels are said in words; None where no attribute is a sentence."""
        return Sentence.of(self.attributes)

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes' names, in order."""
        return tuple(attribute.name for attribute in self.attributes)

    @property
    def discrete(self) -> tuple[AttributeConfig, ...]:
        """The binary, ordinal and categorical attributes: those with levels."""
        return tuple(a for a in self.attributes if a.kind in ("binary", "ordinal", "categorical"))

    @property
    def digest(self) -> str:
        """sha256 of the attributes in order, with kinds, levels, ranges and groups."""
        rows = [attribute.model_dump(mode="json") for attribute in self.attributes]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()

    def attribute(self, name: str) -> AttributeConfig:
        """The attribute of that name. Raises KeyError."""
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        raise KeyError(name)

    def levels(self, name: str) -> tuple[str, ...]:
        """The levels of an attribute in order: binary (negative, positive), "0" and "1" unless named; () without levels."""
        attribute = self.attribute(name)
        return attribute.levels or (("0", "1") if attribute.kind == "binary" else ())

    def codes(self, frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
        """A typed column as numbers (n,): index of the level, or the value of a continuous attribute; NaN where missing."""
        kind = self.attribute(name).kind
        if kind == "text":
            raise ValueError(f"{name}: found a text attribute, expected one with levels or numbers")
        column = frame[name]
        if kind in ("ordinal", "categorical"):
            column = column.map({level: float(i) for i, level in enumerate(self.levels(name))})
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)

    def parse(self, metadata: pd.DataFrame, where: str) -> pd.DataFrame:
        """The typed frame of these attributes from the columns of the same names, text or already typed.

        Numbers may be written differently ("2.0" is the level "2"); binary takes 0 and 1, true and false, and its own
        levels. A sentence that is missing is made of the labels, and labels that are missing are read off a sentence.
        Raises InputError, naming file, row and column, for a missing column, an unknown level, a text that is no number, a
        value outside the range, or a sentence that says something else than the labels. `where` names the set in errors.
        """
        sentence = self.sentence
        if sentence is not None and sentence.name not in metadata.columns:
            metadata = metadata.assign(**{sentence.name: None})
        if missing := [name for name in self.names if name not in metadata.columns]:
            found = ", ".join(str(name) for name in metadata.columns[:8]) or "none"
            raise InputError.of(where, f"the columns {found}", f"a column {missing[0]!r}")
        files = metadata["file_name"].tolist() if "file_name" in metadata.columns else None
        frame = pd.DataFrame(index=range(len(metadata)))
        for attribute in self.attributes:
            values: list[object] = []
            known: dict[str, object] = {}
            for row, value in enumerate(metadata[attribute.name].tolist()):
                text = _text(value)
                if text is not None and text not in known:
                    try:
                        known[text] = _value(attribute, text)
                    except ValueError as error:
                        image = f" ({files[row]})" if files else ""
                        place = f"{where} row {row + 1}{image}, column {attribute.name}"
                        raise InputError.of(place, repr(text), str(error)) from None
                values.append(None if text is None else known[text])
            dtype = {"binary": "Int8", "continuous": "Float64"}.get(attribute.kind, "string")
            frame[attribute.name] = pd.Series(values, dtype=dtype)
        return frame if sentence is None else _completed(frame, sentence, where)

    @classmethod
    def from_shared(
        cls,
        private: pd.DataFrame,
        synthetic: pd.DataFrame,
        *,
        holdout: pd.DataFrame | None = None,
        exclude: Collection[str] = (),
    ) -> ConditionSchema:
        """The schema that the columns suggest which the private and the synthetic metadata both have, in the private order.

        What a column is, is read off the real images (private, and holdout if given), so that a synthetic value that no
        real image has is an error of `parse` and not a new level:

        * 0 and 1, or true and false: binary; integers of at most 20 values: ordinal, in order; other numbers: continuous;
        * text of at most 50 values, some of them repeated: categorical, levels sorted.

        Left out are file names, ids (`file_name, path, patient, patient_id, id, idx, sha256, seed`, columns of `exclude`
        such as the patient column, and columns of integers or text that never repeat), text of more values, columns with one
        value only, and columns that are empty on either side.
        """
        attributes = []
        for name in private.columns:
            if name in _NOT_CONDITIONS or name in exclude or name not in synthetic.columns or not _texts([synthetic], name):
                continue
            real = [private] if holdout is None else [private, holdout]
            if (attribute := _infer(str(name), _texts(real, name))) is not None:
                attributes.append(attribute)
        return cls(tuple(attributes))


def known_values(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each row of a typed frame the values by attribute, without what is missing."""
    return [{str(name): value for name, value in row.items() if not pd.isna(value)} for row in frame.to_dict("records")]


def _completed(frame: pd.DataFrame, sentence: Sentence, where: str) -> pd.DataFrame:
    """A typed frame with the sentences that its labels make, and the labels that its sentences say."""
    types = frame.dtypes
    names = [attribute.name for attribute in sentence.attributes]
    rows = known_values(frame)
    for number, row in enumerate(rows):
        labels = {name: row[name] for name in names if name in row}
        if sentence.name not in row:
            if labels:
                row[sentence.name] = sentence.of_labels(labels)
            continue
        place = f"{where} row {number + 1}, column {sentence.name}"
        try:
            said = sentence.labels(row[sentence.name])
        except ValueError as error:
            raise InputError.of(place, repr(row[sentence.name]), str(error)) from None
        for name, value in said.items():
            if labels.get(name, value) != value:
                raise InputError.of(place, repr(row[sentence.name]), f"the {name} of its row, {labels[name]!r}")
        row |= said
    columns = {name: pd.Series([row.get(name) for row in rows], dtype=types[name]) for name in frame.columns}
    return pd.DataFrame(columns, index=frame.index)


def _texts(frames: Sequence[pd.DataFrame], name: str) -> list[str]:
    values = [value for frame in frames if name in frame.columns for value in frame[name].tolist()]
    return [text for value in values if (text := _text(value)) is not None]


def _infer(name: str, texts: Sequence[str]) -> AttributeConfig | None:
    different = set(texts)
    if len(different) < 2:
        return None
    if different <= set(_TRUTH) and len({_TRUTH[text] for text in different}) == 2:
        return AttributeConfig(name=name, kind="binary")
    numbers = [_number(text) for text in different]
    if any(number is None for number in numbers):
        if len(different) > _MOST_TEXT_LEVELS or len(different) == len(texts):
            return None
        return AttributeConfig(name=name, kind="categorical", levels=tuple(sorted(different)))
    values = sorted({number for number in numbers if number is not None})
    if not all(value.is_integer() for value in values):
        return AttributeConfig(name=name, kind="continuous")
    if len(values) == len(texts):
        return None
    if len(values) > _MOST_ORDINAL_LEVELS:
        return AttributeConfig(name=name, kind="continuous")
    return AttributeConfig(name=name, kind="ordinal", levels=tuple(str(int(value)) for value in values))


def _text(value: object) -> str | None:
    """A cell as text, None where it is missing."""
    if value is None or value is pd.NA or value == "" or value != value:
        return None
    if isinstance(value, (bool, np.bool_)):
        return "1" if value else "0"
    return str(value)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _value(attribute: AttributeConfig, text: str) -> object:
    """The typed value of a cell; ValueError says what was expected."""
    if attribute.kind == "text":
        return text
    if attribute.kind == "continuous":
        number = _number(text)
        low, high = attribute.range or (-math.inf, math.inf)
        if number is None or not low <= number <= high:
            raise ValueError("a number" if attribute.range is None else f"a number from {low:g} to {high:g}")
        return number
    levels = attribute.levels or ("0", "1")
    number = _number(text)
    short = str(int(number)) if number is not None and number.is_integer() else text
    for level in (text, short):
        if level in levels:
            return levels.index(level) if attribute.kind == "binary" else level
    if attribute.kind == "binary" and text in _TRUTH:
        return _TRUTH[text]
    raise ValueError(f"one of {', '.join(levels)}")
