"""Reading `synguard.yaml`: strict YAML, every problem named with its line."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from synguard.config import AttributeConfig, RunConfig
from synguard.errors import ConfigError
from synguard.governance import strict_yaml
from synguard.governance.problems import Problems, shown, suggestion

__all__ = ["load_attributes", "load_config"]


def load_config(path: Path) -> RunConfig:
    """The configuration in `path`; ConfigError names file, line, key, what was found and what was expected."""
    document = _document(path)
    return typing.cast(RunConfig, _validated(RunConfig, document, document.value, (), path))


def load_attributes(path: Path) -> tuple[AttributeConfig, ...]:
    """The condition schema in a YAML file: a list of attributes, or a whole configuration with the key `conditions`."""
    document = _document(path)
    whole = isinstance(document.value, dict)
    if whole and "conditions" not in document.value:
        raise ConfigError.of(
            path, f"the keys {', '.join(map(str, document.value))}", "a list of attributes, or the key conditions"
        )
    value, at = (document.value["conditions"], ("conditions",)) if whole else (document.value, ())
    return typing.cast(tuple[AttributeConfig, ...], _validated(tuple[AttributeConfig, ...], document, value, at, path))


def _document(path: Path) -> strict_yaml.Document:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise ConfigError.of(path, found, "a configuration file (`synguard init` writes one to start from)")
    with path.open("rb") as stream:
        return strict_yaml.parse(stream.read(strict_yaml.MAX_BYTES + 1), str(path))


def _validated(kind: Any, document: strict_yaml.Document, value: Any, at: tuple[str, ...], path: Path) -> Any:
    problems = Problems(document, str(path))
    try:
        result = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            _add(problems, kind, at, item)
        result = None
    problems.raise_if_any()
    return result


def _add(problems: Problems, kind: Any, at: tuple[str, ...], item: Any) -> None:
    location = (*at, *item["loc"])
    if item["type"] == "extra_forbidden":
        known = _known_keys(kind, item["loc"][:-1])
        problems.add(
            location, "an unknown key", f"{suggestion(str(location[-1]), known)}one of: {', '.join(known)}", key=True
        )
    elif item["type"] == "missing":
        problems.add(location, "nothing", f"the key {location[-1]}")
    elif item["type"] == "value_error" and ": found " in item["msg"]:
        problems.say(location, item["msg"].split("Value error, ", 1)[-1])
    else:
        problems.add(location, shown(item["input"]), item["msg"][0].lower() + item["msg"][1:])


def _known_keys(kind: Any, path: tuple[str | int, ...]) -> list[str]:
    """The keys of the model at `path` inside `kind`."""
    for part in path:
        kind = typing.get_args(kind)[0] if isinstance(part, int) else _present(kind.model_fields[part].annotation)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _present(kind: Any) -> Any:
    """What an optional key holds where it is there."""
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    return options[0] if type(None) in typing.get_args(kind) and len(options) == 1 else kind
