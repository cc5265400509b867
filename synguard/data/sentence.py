"""Conditions in words: the canonical sentence of an image's labels, and the labels that a sentence says.

"fundus photograph, dr grade 2, no gc, eye side left": opening words, then a phrase for each known attribute. Who asks for
images by such a sentence asks for the labels that it says; other words reach the generator, and nobody checks them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synguard.config import AttributeConfig
from synguard.errors import ConfigError

__all__ = ["Sentence"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """How the attributes of a schema are said: `name` is the text attribute that holds it, `opening` its first words."""

    name: str
    opening: str
    attributes: tuple[AttributeConfig, ...]
    phrases: Mapping[str, tuple[str, Any]]
    """Attribute and value of each phrase, in the plain form that is compared."""

    @classmethod
    def of(cls, attributes: Sequence[AttributeConfig]) -> Sentence | None:
        """That of a schema; None where no attribute is one.

        Raises ConfigError for two of them, an attribute that is no text, or labels that could not be read off a sentence:
        two that are said in the same words or with a comma in them, or one that the opening words say.
        """
        told = [attribute for attribute in attributes if attribute.sentence is not None]
        if not told:
            return None
        where = f"conditions.{told[-1].name}.sentence"
        if len(told) > 1:
            raise ConfigError.of(where, f"a second sentence beside {told[0].name}", "one at most")
        if told[0].kind != "text":
            raise ConfigError.of(where, f"a {told[0].kind} attribute", "a text attribute")
        spoken = tuple(attribute for attribute in attributes if attribute.kind != "text")
        phrases: dict[str, tuple[str, Any]] = {}
        for attribute in spoken:
            for value, phrase in _phrases(attribute):
                if "," in phrase or phrase in phrases:
                    found = f"{phrase!r}, which is {'two labels' if phrase in phrases else 'two phrases'}"
                    raise ConfigError.of(f"conditions.{attribute.name}", found, "labels that a sentence can tell apart")
                phrases[phrase] = attribute.name, value
        if said := [part for part in str(told[0].sentence).split(",") if _plain(part) in phrases]:
            raise ConfigError.of(where, f"{said[0]!r}, which says a label", "words that say none")
        return cls(told[0].name, str(told[0].sentence), spoken, phrases)

    def of_labels(self, labels: Mapping[str, Any]) -> str:
        """The sentence of typed values by attribute; what is missing (None) is not spoken of."""
        parts = [self.opening]
        for attribute in self.attributes:
            value = labels.get(attribute.name)
            if value is not None:
                parts.append(_phrase(attribute, value))
        return ", ".join(parts)

    def labels(self, text: str) -> dict[str, Any]:
        """Typed values by attribute, as far as phrases of `text` say them. ValueError where it says two of one attribute."""
        found: dict[str, Any] = {}
        for part in text.split(","):
            said = self.phrases.get(_plain(part)) or self._number(_plain(part))
            if said is None:
                continue
            name, value = said
            if found.setdefault(name, value) != value:
                raise ValueError(f"a sentence that says one {_words(name)}, not two")
        return found

    def _number(self, phrase: str) -> tuple[str, Any] | None:
        """A continuous attribute and its value: "age 54"."""
        words, _, last = phrase.rpartition(" ")
        for attribute in self.attributes:
            if attribute.kind == "continuous" and _words(attribute.name) == words:
                low, high = attribute.range or (-math.inf, math.inf)
                try:
                    value = float(last)
                except ValueError:
                    return None
                if not low <= value <= high:
                    raise ValueError(f"{words} from {low:g} to {high:g}")
                return attribute.name, value
        return None


def _phrases(attribute: AttributeConfig) -> list[tuple[Any, str]]:
    """Each typed value of an attribute with levels, and how it is said."""
    if attribute.kind == "binary":
        return [(value, _phrase(attribute, value)) for value in (0, 1)]
    return [(level, _phrase(attribute, level)) for level in attribute.levels or ()]


def _phrase(attribute: AttributeConfig, value: Any) -> str:
    words = _words(attribute.name)
    if attribute.kind == "binary" and attribute.levels is None:
        return words if value else f"no {words}"
    if attribute.kind == "binary":
        return _plain(f"{words} {(attribute.levels or ())[int(value)]}")
    return _plain(f"{words} {value:.6g}" if attribute.kind == "continuous" else f"{words} {value}")


def _words(name: str) -> str:
    return _plain(name.removeprefix("is_").replace("_", " "))


def _plain(phrase: str) -> str:
    return " ".join(phrase.casefold().split())
