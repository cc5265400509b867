"""Collects every problem of a file, each with its place, and raises them together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from synguard.errors import ConfigError
from synguard.governance.strict_yaml import Document, Path, Place

__all__ = [
    "DATE_PATTERN",
    "DIGEST_PATTERN",
    "NAME_PATTERN",
    "VERSION_PATTERN",
    "Problems",
    "Shapes",
    "key_of",
    "shown",
    "suggestion",
]

Shapes = Mapping[tuple[str, ...], type[BaseModel]]
"""The model of each mapping of a file, by the keys on the way to it, without indices of lists."""


NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"
VERSION_PATTERN = r"^[0-9]+\.[0-9]+\.[0-9]+$"
DATE_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
DIGEST_PATTERN = r"^[0-9a-f]{64}$"
_PLAIN = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "string_type": "text, in quotes where it reads as a number",
    "int_type": "a whole number",
}
_FORMS = {
    NAME_PATTERN: "lower-case words joined by hyphens, such as near-copy-rate",
    VERSION_PATTERN: "three numbers, such as 1.0.0",
    DATE_PATTERN: "a day, such as 2027-06-01",
    DIGEST_PATTERN: "64 lower-case hexadecimal digits: the sha256 of the base's bytes",
}


class Problems:
    """The problems of one file, each one line: file, line, column, key, found, expected."""

    def __init__(self, document: Document, where: str) -> None:
        self.document = document
        self.where = where
        self._found: set[tuple[int, int, str]] = set()
        for place, text in document.problems:
            self._found.add((place.line, place.column, text))

    def add(self, path: Path, found: str, expected: str, *, key: bool = False) -> None:
        """A problem with the value at `path`, or with the key itself."""
        self.say(path, f"found {found}, expected {expected}", key=key)

    def say(self, path: Path, text: str, *, key: bool = False) -> None:
        """As `add`, in other words."""
        place: Place = self.document.key_place(path) if key else self.document.place(path)
        self._found.add((place.line, place.column, f"{self.where}:{place}: {key_of(path)}: {text}"))

    def add_validation(self, error: ValidationError, shapes: Shapes) -> None:
        """What pydantic found."""
        for item in error.errors(include_url=False):
            path: Path = item["loc"]
            kind, context, value = item["type"], item.get("ctx", {}), item["input"]
            if kind == "missing":
                self.add(path, "nothing", f"the key {path[-1]}", key=False)
            elif kind == "extra_forbidden":
                fields = shapes[_keys(path[:-1])].model_fields
                known = [field.alias or name for name, field in fields.items()]
                self.add(path, "an unknown key", f"{suggestion(str(path[-1]), known)}one of: {', '.join(known)}", key=True)
            elif kind == "string_too_short":
                self.add(path, shown(value), f"text of at least {context['min_length']} characters")
            elif kind == "string_too_long":
                self.add(path, f"{len(value)} characters", f"at most {context['max_length']}")
            elif kind == "string_pattern_mismatch":
                self.add(path, shown(value), _FORMS.get(context["pattern"], f"text of the form {context['pattern']}"))
            elif kind == "model_type" and _is_limit(shapes[_keys(path)]):
                self.add(path, shown(value), "a mapping such as {above: 1%}")
            elif kind == "too_short":
                self.add(path, "an empty list", "at least one entry")
            elif kind in ("literal_error", "enum"):
                self.add(path, shown(value), str(context["expected"]).replace("True", "true"))
            else:
                self.add(path, shown(value), _PLAIN.get(kind, item["msg"]))

    def add_empty(self, value: Any, shapes: Shapes, path: Path = ()) -> None:
        """Keys that may be left out, and stand there with nothing after them."""
        if isinstance(value, list):
            for i, item in enumerate(value):
                self.add_empty(item, shapes, (*path, i))
        shape = shapes.get(_keys(path)) if isinstance(value, dict) else None
        if shape is None or _is_limit(shape):  # an empty limit is told by whoever reads it
            return
        for key, field in shape.model_fields.items():
            if key in value and value[key] is None and field.default is None:
                self.add((*path, key), "nothing", "a value, or no such key", key=True)
            elif key in value:
                self.add_empty(value[key], shapes, (*path, key))

    def raise_if_any(self) -> None:
        """ConfigError with all problems in the order of the file, a line each."""
        if self._found:
            raise ConfigError("\n".join(text for _, _, text in sorted(self._found)))


def _is_limit(shape: type[BaseModel]) -> bool:
    return "above" in shape.model_fields


def _keys(path: Path) -> tuple[str, ...]:
    return tuple(part for part in path if isinstance(part, str))


def suggestion(word: str, known: Iterable[str]) -> str:
    """The nearest known word, as the beginning of what was expected; nothing where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f"{near[0]}? or " if near else ""


def key_of(path: Path) -> str:
    """A path for people: `checks[2].fail.above`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the file"


def shown(value: Any) -> str:
    """A value as the file has it, cut where it is long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, Sequence) else str(value)
