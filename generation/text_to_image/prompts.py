"""What a text-to-image model is told about an image, by a template file."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np

from generation.foreign import prompt_of
from synguard.errors import ConfigError, InputError
from synguard.governance import strict_yaml

__all__ = ["PLAIN", "PROMPTS", "Prompts"]

PLAIN = Path(__file__).parent / "templates" / "prompts.yaml"
"""The template file that is used without another."""
PROMPTS = "prompts.json"
"""Where a tuned folder says what its model was told."""

_TOKEN, _CONDITION = "token", "condition"
_KEYS = ("instance", "template", "vary")
_VARY = 31
"""What the random numbers of an image are for."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts of training and of candidates. Fields in braces: the token, the condition, attributes, words that vary."""

    instance: str
    template: str
    vary: tuple[tuple[str, tuple[str, ...]], ...]
    token: str

    @classmethod
    def read(cls, path: Path, *, token: str, attributes: Collection[str]) -> Prompts:
        """Those of a template file, for a token and the attributes that conditions have.

        ConfigError with file and line for unknown or double keys, fields that are nothing, words that no prompt uses, and a
        token that only one of both prompts has: what is learned by it could not be asked for.
        """
        try:
            with path.open("rb") as stream:
                data = stream.read(strict_yaml.MAX_BYTES + 1)
        except OSError as error:
            raise ConfigError.of(path, error.strerror or "nothing", "a prompt template file") from error
        file = _File(path, strict_yaml.parse(data, str(path)))
        file.check_keys()
        vary = file.vary()
        if taken := sorted({name for name, _ in vary} & {*attributes, _TOKEN, _CONDITION}):
            raise file.wrong(("vary", taken[0]), "the name of an attribute or of the token", "another name")
        known = {*attributes, _TOKEN, _CONDITION}
        instance, template = file.prompt("instance", known), file.prompt("template", known | {name for name, _ in vary})
        fields = _fields(template)
        if idle := [name for name, _ in vary if name not in fields]:
            raise file.wrong(("vary", idle[0]), "words that the template does not use", f"{{{idle[0]}}} in it")
        if (_TOKEN in fields) != (_TOKEN in _fields(instance)):
            raise file.wrong(("template",), "the token in one of instance and template", "it in both or in neither")
        return cls(instance, template, vary, token)

    @classmethod
    def of_folder(cls, folder: Path) -> Prompts | None:
        """Those that a tuned folder was trained with, None where it does not say; InputError where it is broken."""
        path = folder / PROMPTS
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text())
            vary = tuple((str(name), tuple(map(str, words))) for name, words in found["vary"].items())
            return cls(str(found["instance"]), str(found["template"]), vary, str(found["token"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError.of(path, "no prompts", "the file of a tuned folder") from error

    @property
    def stored(self) -> dict[str, Any]:
        """As a tuned folder keeps them."""
        vary = {name: list(words) for name, words in self.vary}
        return {"instance": self.instance, "template": self.template, "vary": vary, "token": self.token}

    def of_training(self, row: Mapping[Any, Any]) -> str:
        """The prompt of a private image with these conditions."""
        return self._filled(self.instance, row, {})

    def of_candidate(self, row: Mapping[Any, Any], seed: int) -> str:
        """The prompt of a candidate: the same for the same conditions and seed, whatever else is asked for."""
        rng = np.random.default_rng([seed, _VARY])
        return self._filled(self.template, row, {name: words[rng.integers(len(words))] for name, words in self.vary})

    def _filled(self, template: str, row: Mapping[Any, Any], words: Mapping[str, str]) -> str:
        values = {str(name): _words({name: value}) for name, value in row.items()}
        known = {**values, **words, _TOKEN: self.token, _CONDITION: _words(row)}
        missing = sorted(_fields(template) - set(known))
        if missing:
            raise InputError.of("conditions", ", ".join(values) or "none", f"the attribute {missing[0]} of the prompt")
        # What is unknown leaves a gap.
        return " ".join(template.format_map(known).split()).replace(" ,", ",")


def _words(row: Mapping[Any, Any]) -> str:
    """Conditions in words: the one place that decides how."""
    return prompt_of(dict(row))


@dataclass(frozen=True, slots=True)
class _File:
    """A template file while it is read."""

    path: Path
    document: strict_yaml.Document

    def wrong(self, key: tuple[str | int, ...], found: str, expected: str) -> ConfigError:
        name = ".".join(map(str, key)) or "the file"
        return ConfigError(f"{self.path}:{self.document.key_place(key)}: {name}: found {found}, expected {expected}")

    def check_keys(self) -> None:
        if self.document.problems:
            raise ConfigError(self.document.problems[0][1])
        if not isinstance(self.document.value, dict):
            raise self.wrong((), "no mapping", f"the keys {', '.join(_KEYS)}")
        if unknown := [key for key in self.document.value if key not in _KEYS]:
            raise self.wrong((unknown[0],), "an unknown key", f"one of {', '.join(_KEYS)}")

    def prompt(self, key: str, known: Collection[str]) -> str:
        text = self.document.value.get(key)
        if not isinstance(text, str) or not text.strip():
            raise self.wrong((key,), "no text" if key in self.document.value else "nothing", "a prompt")
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise self.wrong((key,), str(error).lower(), "fields as {name}") from error
        for _, name, form, conversion in parsed:
            if name is not None and (name not in known or form or conversion):
                expected = ", ".join(f"{{{field}}}" for field in sorted(known))
                raise self.wrong((key,), f"the field {{{name}{form and ':' + form}}}", f"one of {expected}")
        return text

    def vary(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        lists = self.document.value.get("vary", {})
        if not isinstance(lists, dict):
            raise self.wrong(("vary",), "no mapping", "lists of words by name")
        for name, words in lists.items():
            if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
                raise self.wrong(
                    ("vary", name), "no list of words", "at least one word, in quotes where it reads as a number"
                )
        return tuple((name, tuple(words)) for name, words in lists.items())


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}
