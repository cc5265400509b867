"""YAML for files that decide something: every value knows its line and column, and whatever could surprise is refused.

Refused are duplicate keys, aliases and anchors (so no bombs), tags (so no Python objects), several documents, deep nesting
and large files. Plain scalars follow the core schema of YAML 1.2: `yes`, `off` and `1:30` are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from synguard.errors import ConfigError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Document", "Path", "Place", "parse"]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16

Path = tuple[str | int, ...]
"""The way to a value: keys of mappings and indices of lists."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, both from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values (mappings, lists, text, numbers, booleans, None) and where each stands.

    `keys` has the place of a mapping's key, `values` that of every value. `problems` do not hinder reading on.
    """

    value: Any
    keys: dict[Path, Place]
    values: dict[Path, Place]
    problems: tuple[tuple[Place, str], ...]

    def place(self, path: Path) -> Place:
        """Where the value at `path` stands; for what is not there, the nearest thing around it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Place(1, 1))

    def key_place(self, path: Path) -> Place:
        """Where the key at `path` stands."""
        return self.keys.get(path) or self.place(path)


def parse(data: bytes, where: str) -> Document:
    """The document in `data`. Raises ConfigError with file, line and column for what cannot be read on from."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{where}: found {len(data):,} bytes, expected at most {MAX_BYTES:,}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: found byte {error.start} that is not UTF-8, expected UTF-8 text") from None
    reader = _Reader(where)
    try:
        value = reader.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{where}{place}: {_one_line(error.problem)}, expected valid YAML") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position].split("\n")
        place = f"{len(before)}:{len(before[-1]) + 1}"
        raise ConfigError(f"{where}:{place}: found the character U+{error.character:04X}, expected printable text") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {_one_line(str(error))}, expected valid YAML") from None
    return Document(value, reader.keys, reader.values, tuple(reader.problems))


class _Reader:
    """Builds values from events, one document's worth; the depth limit bounds its recursion."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.keys: dict[Path, Place] = {}
        self.values: dict[Path, Place] = {}
        self.problems: list[tuple[Place, str]] = []

    def document(self, events: Iterator[Event]) -> Any:
        documents = 0
        value: Any = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refuse(event, "a second document", "one document a file")
                value = self._node(next(events), events, ())
            elif not isinstance(event, StreamStartEvent | StreamEndEvent | DocumentEndEvent):
                raise self._refuse(event, "something outside the document", "one document a file")
        return value

    def _node(self, event: Event, events: Iterator[Event], path: Path) -> Any:
        if isinstance(event, AliasEvent):
            raise self._refuse(event, f"the alias *{event.anchor}", "the value itself")
        if getattr(event, "anchor", None):
            raise self._refuse(event, f"the anchor &{event.anchor}", "no anchors")  # type: ignore[attr-defined] # node events have one
        if getattr(event, "tag", None):
            raise self._refuse(event, f"the tag {event.tag}", "no tags")  # type: ignore[attr-defined] # as above
        if len(path) >= MAX_DEPTH:
            raise self._refuse(event, f"more than {MAX_DEPTH} levels", "less nesting")
        self.values[path] = _place(event)
        if isinstance(event, MappingStartEvent):
            return self._mapping(events, path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(events, path)
        return _scalar(event)

    def _mapping(self, events: Iterator[Event], path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = _scalar(event) if isinstance(event, ScalarEvent) and not event.anchor and not event.tag else None
            if not isinstance(key, str):
                raise self._refuse(event, f"the key {_shown(event)}", "a name")
            here = (*path, key)
            if key in found:
                first = self.keys[here]
                text = f"{key}: found a duplicate key, first on line {first.line}, expected it once"
                self.problems.append((_place(event), f"{self.where}:{_place(event)}: {text}"))
            else:
                self.keys[here] = _place(event)
            value = self._node(next(events), events, here)
            found.setdefault(key, value)
        return found

    def _sequence(self, events: Iterator[Event], path: Path) -> list[Any]:
        found: list[Any] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            found.append(self._node(event, events, (*path, len(found))))
        return found

    def _refuse(self, event: Event, found: str, expected: str) -> ConfigError:
        return ConfigError(f"{self.where}:{_place(event)}: found {found}, expected {expected}")


def _scalar(event: Event) -> Any:
    assert isinstance(event, ScalarEvent)  # noqa: S101 # the parser yields nothing else here
    if event.style is not None:  # quoted or a block: text
        return event.value
    if event.value in _WORDS:
        return _WORDS[event.value]
    if _INTEGER.fullmatch(event.value) and len(event.value) <= 18:
        return int(event.value)
    if _FLOAT.fullmatch(event.value):
        return float(event.value.replace(".inf", "inf").replace(".nan", "nan").replace(".Inf", "inf").replace(".NaN", "nan"))
    return event.value


def _place(event: Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _shown(event: Event) -> str:
    if isinstance(event, ScalarEvent):
        return repr(event.value)
    return f"*{event.anchor}" if isinstance(event, AliasEvent) else "that is a list or a mapping"


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
