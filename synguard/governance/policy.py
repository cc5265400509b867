"""The release policy: a YAML file of checks, each a metric with limits, a reason and a source.

Reading a policy collects every problem and raises one ConfigError with a line for each: file, line, column, key, found,
expected. What a file may hold is `PolicyFile` (also published as a JSON Schema for editors); what the gate works with is
`Policy`, where limits are numbers with units and every check knows its line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError, WithJsonSchema

from synguard.errors import ConfigError
from synguard.governance import strict_yaml
from synguard.governance.limits import Limit, LimitError, parse_limit, parse_share
from synguard.governance.problems import NAME_PATTERN, VERSION_PATTERN, Problems, shown, suggestion
from synguard.governance.strict_yaml import Document
from synguard.governance.strict_yaml import Path as YamlPath
from synguard.metrics.catalogue import CATALOGUE

__all__ = ["BUILT_IN", "LEVELS", "Check", "Level", "Policy", "PolicyFile", "json_schema", "load_policy", "parse_policy"]

BUILT_IN = ("public-release",)
"""Policies that come with the package."""

Level = Literal["fail", "invalid", "warn"]
LEVELS: tuple[Level, ...] = ("fail", "invalid", "warn")
"""The limits that a check may have, the weightiest first."""

When = Literal["always", "model released", "model held back"]
Covered = Literal["images", "model"]
Name = Annotated[StrictStr, Field(pattern=NAME_PATTERN, max_length=80)]
Sentence = Annotated[StrictStr, Field(min_length=20, description="Why this limit, in a sentence of 20 characters or more.")]
Raw = Annotated[Any, WithJsonSchema({"type": ["string", "number"]})]
"""Read by `limits.parse_limit`, which knows the metric's unit."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitFile(_File):
    """A limit: `above` for metrics that should be low, `below` for those that should be high. On it is not yet beyond."""

    above: Raw = Field(None, examples=["1%", "0 images", 0.55])
    below: Raw = Field(None, examples=["90%"])


class CheckFile(_File):
    """One check, as written."""

    id: Name
    title: StrictStr = Field(min_length=3)
    metric: StrictStr = Field(json_schema_extra={"enum": [*sorted(CATALOGUE)]})
    group: StrictStr | None = Field(None, min_length=1, description="The one group of the metric to check.")
    groups: tuple[StrictStr, ...] | None = Field(
        None, min_length=1, description="Groups that must all be there and all pass."
    )
    each_group: StrictBool = Field(False, description="Check every group that the results have.")
    smallest_group: Raw = Field(
        None, description="With each_group: groups with fewer are named, but not judged.", examples=["100 images"]
    )
    when: When = Field("always", description="Apply only where the model is released, or only where it is held back.")
    not_tested: Literal["insufficient", "warn"] = Field(
        "insufficient",
        description="What it means where the audit says that it could not be run. A metric that is absent never passes.",
    )
    prove: Literal["compliance", "breach"] = Field(
        "compliance",
        description="compliance: the bound must show that the limit is kept. breach: fail only where the bound shows it "
        "to be broken; never for a blocker.",
    )
    warn: LimitFile | None = None
    fail: LimitFile | None = None
    invalid: LimitFile | None = Field(None, description="Beyond this the evidence itself is spoilt: neither pass nor fail.")
    blocker: StrictBool = Field(False, description="A limit that nothing may excuse.")
    reason: Sentence
    source: StrictStr = Field(min_length=3, description="Where the number comes from.")


class PolicyFile(_File):
    """A release policy, as written."""

    schema_: Literal["synguard/policy/v1"] = Field(alias="schema")
    name: Name
    version: StrictStr = Field(pattern=VERSION_PATTERN, examples=["1.0.0"])
    title: StrictStr = ""
    releases: tuple[Covered, ...] = Field(min_length=1, description="What this policy can decide on.")
    confidence: Raw = Field("95%", description="Least confidence of the one-sided bounds that limits are held against.")
    checks: tuple[CheckFile, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check that the gate can hold against metrics. `limits` has at least one level."""

    id: str
    title: str
    metric: str
    limits: Mapping[Level, Limit]
    reason: str
    source: str
    group: str | None = None
    groups: tuple[str, ...] = ()
    each_group: bool = False
    smallest_group: int = 0
    when: When = "always"
    not_tested: Literal["insufficient", "warn"] = "insufficient"
    prove: Literal["compliance", "breach"] = "compliance"
    blocker: bool = False
    line: int = 0
    column: int = 0
    lines: Mapping[str, int] | None = None
    """Line of each key that was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy without faults. `file` is its name for people, without a folder; `sha256` is of its bytes."""

    name: str
    version: str
    checks: tuple[Check, ...]
    releases: tuple[str, ...] = ("images",)
    confidence: float = 0.95
    title: str = ""
    file: str = ""
    sha256: str = ""


def load_policy(name_or_path: str | Path) -> Policy:
    """The built-in policy of that name, or the policy file at that path. Raises ConfigError with all problems."""
    if str(name_or_path) in BUILT_IN:
        file = resources.files("synguard.governance") / "policies" / f"{name_or_path}.yaml"
        return parse_policy(file.read_bytes(), f"{name_or_path}.yaml")
    path = Path(name_or_path)
    try:
        with path.open("rb") as stream:  # no more than is needed to see that it is too much
            data = stream.read(strict_yaml.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        what = "a folder" if path.is_dir() else "no file that can be read"
        raise ConfigError(f"{path}: found {what}, expected a policy file or one of: {', '.join(BUILT_IN)}") from error
    return parse_policy(data, str(path))


def parse_policy(data: bytes, where: str) -> Policy:
    """The policy in the bytes of a YAML file. Raises ConfigError with one line a problem, in the order of the file."""
    document = strict_yaml.parse(data, where)
    problems = Problems(document, where)
    raw = document.value
    if not isinstance(raw, dict):
        problems.add((), shown(raw), "a mapping with the keys of a policy")
        problems.raise_if_any()
    try:
        PolicyFile.model_validate(raw)
    except ValidationError as error:
        problems.add_validation(error, {0: PolicyFile, 2: CheckFile, 3: LimitFile})
    rows = raw.get("checks")
    rows = rows if isinstance(rows, list) else []
    limits = [_limits(row, ("checks", i), problems) if isinstance(row, dict) else {} for i, row in enumerate(rows)]
    _across(rows, limits, problems)
    confidence = _confidence(raw, problems)
    problems.raise_if_any()

    written = PolicyFile.model_validate(raw)
    return Policy(
        name=written.name,
        version=written.version,
        title=written.title,
        releases=written.releases,
        confidence=confidence,
        checks=tuple(_check(row, limits[i], document, ("checks", i)) for i, row in enumerate(written.checks)),
        file=Path(where).name,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a policy file, for editors."""
    schema = PolicyFile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:synguard:schema:policy:v1", **schema}


def _limits(row: Mapping[str, Any], path: YamlPath, problems: Problems) -> dict[Level, Limit]:
    """The limits of a check as numbers. What is not even a mapping or text has been reported by its shape already."""
    name = row.get("metric")
    if not isinstance(name, str):
        return {}
    spec = CATALOGUE.get(name)
    if spec is None:
        known = suggestion(name, CATALOGUE)
        problems.add((*path, "metric"), f'the unknown metric "{name}"', f"{known}a metric of docs/metrics.md")
        return {}
    side: Literal["above", "below"] = "above" if spec.direction == "lower" else "below"
    other = "below" if side == "above" else "above"
    found: dict[Level, Limit] = {}
    for level in LEVELS:
        raw = row.get(level)
        if not isinstance(raw, dict):
            continue
        here = (*path, level)
        if other in raw:
            problems.add((*here, other), f"{other}", f"{side}, since {spec.direction} is better for {name}", key=True)
        elif side not in raw:
            problems.add(here, "no limit", side)
        else:
            try:
                found[level] = parse_limit(side, raw[side], spec)
            except LimitError as error:
                problems.say((*here, side), str(error))
    _within(row, path, found, problems)
    return found


def _within(row: Mapping[str, Any], path: YamlPath, limits: Mapping[Level, Limit], problems: Problems) -> None:
    """What the keys of one check must be to each other."""
    for key in (*LEVELS, "group", "groups", "smallest_group"):
        if key in row and row[key] is None:
            problems.add((*path, key), "nothing", "a value, or no such key", key=True)
    if not any(level in row for level in LEVELS):
        problems.add(path, "no limit", "at least one of: fail, invalid, warn")
    warn = limits.get("warn")
    for level in ("fail", "invalid"):
        hard = limits.get(level)
        if warn and hard and warn.looser_than(hard):
            problems.add((*path, "warn"), f"{warn}", f"nothing looser than {level}, which is {hard}")
    chosen = [key for key in ("group", "groups", "each_group") if row.get(key)]
    if len(chosen) > 1:
        problems.add((*path, chosen[1]), " and ".join(chosen), "one of the three", key=True)
    groups = row.get("groups")
    if isinstance(groups, list):
        for i, group in enumerate(groups):
            if group in groups[:i]:
                problems.add((*path, "groups", i), f'"{group}" twice', "each group once")
    if "smallest_group" in row:
        if not row.get("each_group"):
            problems.add((*path, "smallest_group"), "it without each_group", "each_group: true beside it", key=True)
        try:
            _images(row["smallest_group"])
        except LimitError as error:
            problems.say((*path, "smallest_group"), str(error))
    if row.get("blocker") is True and "fail" not in row:
        problems.add((*path, "blocker"), "a blocker without a fail limit", "a fail limit", key=True)
    if row.get("blocker") is True and row.get("prove") == "breach":
        problems.add((*path, "prove"), '"breach" for a blocker', '"compliance": what blocks must be shown to be kept')


def _across(rows: list[Any], limits: list[dict[Level, Limit]], problems: Problems) -> None:
    """What the checks must be to each other."""
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        name = row.get("id") if isinstance(row, dict) else None
        if not isinstance(name, str):
            continue
        if name in first:
            place = problems.document.place(("checks", first[name], "id"))
            problems.add(("checks", i, "id"), f'"{name}", first on line {place.line}', "an id of its own")
        first.setdefault(name, i)
    if rows and not any(isinstance(row, dict) and "fail" in row for row in rows):
        problems.add(("checks",), "no fail limit in any check", "at least one, or the policy could refuse nothing")


def _confidence(raw: Mapping[str, Any], problems: Problems) -> float:
    try:
        confidence = parse_share(raw.get("confidence", "95%"), '"95%"')
    except LimitError as error:
        problems.say(("confidence",), str(error))
        return 0.95
    if not 0.5 < confidence < 1:
        problems.add(("confidence",), shown(raw["confidence"]), "more than 50% and less than 100%")
    return confidence


def _images(raw: Any) -> int:
    return int(parse_limit("above", raw, CATALOGUE["memorisation.exact_copies"]).value)


def _check(row: CheckFile, limits: Mapping[Level, Limit], document: Document, path: YamlPath) -> Check:
    place = document.place(path)
    return Check(
        id=row.id,
        title=row.title,
        metric=row.metric,
        limits=limits,
        reason=" ".join(row.reason.split()),
        source=" ".join(row.source.split()),
        group=row.group,
        groups=row.groups or (),
        each_group=row.each_group,
        smallest_group=_images(row.smallest_group) if row.smallest_group is not None else 0,
        when=row.when,
        not_tested=row.not_tested,
        prove=row.prove,
        blocker=row.blocker,
        line=place.line,
        column=place.column,
        lines={key: document.key_place((*path, key)).line for key in row.model_fields_set},
    )
