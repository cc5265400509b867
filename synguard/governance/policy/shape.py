"""What a policy file may hold, key by key; published as a JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, WithJsonSchema

from synguard.governance.policy.model import NotTested, Prove, When
from synguard.governance.problems import DATE_PATTERN, DIGEST_PATTERN, NAME_PATTERN, VERSION_PATTERN
from synguard.metrics.catalogue import CATALOGUE

__all__ = ["SHAPES", "CheckFile", "PolicyFile", "TightenFile", "WaiverFile", "json_schema"]

Covered = Literal["images", "model"]
Name = Annotated[StrictStr, Field(pattern=NAME_PATTERN, max_length=80)]
Day = Annotated[StrictStr, Field(pattern=DATE_PATTERN, examples=["2027-06-01"])]
Sentence = Annotated[StrictStr, Field(min_length=20, description="Why, in a sentence of 20 characters or more.")]
Person = Annotated[StrictStr, Field(min_length=3, max_length=80)]
Source = Annotated[StrictStr, Field(min_length=3, description="Where the number comes from.")]
Groups = Annotated[tuple[Annotated[StrictStr, Field(min_length=1)], ...], Field(min_length=1)]
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
    not_tested: NotTested = Field(
        "insufficient",
        description="What it means where the audit says that it could not be run. A metric that is absent never passes.",
    )
    prove: Prove = Field(
        "compliance",
        description="compliance: the bound must show that the limit is kept. breach: fail only where the bound shows it "
        "to be broken; never for a blocker.",
    )
    warn: LimitFile | None = None
    fail: LimitFile | None = None
    invalid: LimitFile | None = Field(None, description="Beyond this the evidence itself is spoilt: neither pass nor fail.")
    blocker: StrictBool = Field(False, description="A limit that nothing may excuse.")
    reason: Sentence
    source: Source


class TightenFile(_File):
    """More that is asked of a check, the file's own or an inherited one, as written."""

    check: Name
    groups: Groups | None = Field(
        None, description="Only these groups; a * at the end stands for any ending.", examples=[["dx=melanoma", "dx=*"]]
    )
    warn: LimitFile | None = None
    fail: LimitFile | None = None
    invalid: LimitFile | None = None
    blocker: Literal[True] | None = Field(None, description="For the whole check, so never together with groups.")
    not_tested: Literal["insufficient"] | None = None
    prove: Literal["compliance"] | None = None
    reason: Sentence
    source: Source


class ApprovalFile(_File):
    """How many people must sign in a role, as written."""

    role: Name
    count: Raw = Field(examples=["1 person", "2 people"])


class WaiverFile(_File):
    """An exception, as written: a ceiling, never "off"."""

    id: Name
    check: Name
    group: StrictStr | None = Field(None, min_length=1, description="The one group, where the check has groups.")
    ceiling: LimitFile
    reason: Sentence
    owner: Person = Field(description="Who asks for it and answers for it.")
    approver: Person = Field(description="Who grants it: somebody else.")
    issued: Day
    expires: Day


class ExtendsFile(_File):
    """The policy that this one tightens, as written."""

    policy: StrictStr = Field(min_length=1, description="A built-in policy, or a file beside this one.")
    sha256: StrictStr = Field(pattern=DIGEST_PATTERN, description="Of the base's bytes; another base is refused.")


class PolicyFile(_File):
    """A release policy, as written."""

    schema_: Literal["synguard/policy/v1"] = Field(alias="schema")
    name: Name
    version: StrictStr = Field(pattern=VERSION_PATTERN, examples=["1.0.0"])
    title: StrictStr = ""
    extends: ExtendsFile | None = None
    releases: tuple[Covered, ...] | None = Field(None, min_length=1, description="What this policy can decide on.")
    confidence: Raw = Field("95%", description="Least confidence of the one-sided bounds that limits are held against.")
    review_by: Day | None = Field(None, description="The last day on which the policy decides; then somebody looks at it.")
    approvals: tuple[ApprovalFile, ...] = ()
    checks: tuple[CheckFile, ...] = Field((), min_length=1)
    tighten: tuple[TightenFile, ...] = ()
    waivers: tuple[WaiverFile, ...] = ()


SHAPES: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): PolicyFile,
    ("extends",): ExtendsFile,
    ("approvals",): ApprovalFile,
    ("checks",): CheckFile,
    ("tighten",): TightenFile,
    ("waivers",): WaiverFile,
    **{(rows, level): LimitFile for rows in ("checks", "tighten") for level in ("fail", "invalid", "warn")},
    ("waivers", "ceiling"): LimitFile,
}
"""The shape of each mapping of a file, by the keys on the way to it."""


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a policy file, for editors."""
    schema = PolicyFile.model_json_schema(by_alias=True)
    # A policy that extends none has to have these itself.
    alone = {"if": {"not": {"required": ["extends"]}}, "then": {"required": ["checks", "releases"]}}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:synguard:schema:policy:v1"}
    return {**head, **schema, **alone}
