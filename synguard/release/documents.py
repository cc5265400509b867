"""The papers of a release: dataset card, datasheet, licence, Croissant metadata. Made from what is public alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Any

import jinja2
import yaml

from synguard.errors import InputError, IntegrityError
from synguard.governance.content import Labels
from synguard.governance.files import parse_json
from synguard.release.croissant import croissant
from synguard.release.layouts import Layout
from synguard.release.marks import TOLD

__all__ = ["LICENCES", "PAPERS", "Details", "documents", "own_words"]

LICENCES = {
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "cc-by-sa-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "cc-by-nc-sa-4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
}
"""By the names that the Hugging Face hub gives them."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))
_TEXTS = ("README.md", "DATASHEET.md", "LICENCE.md")
PAPERS = (*_TEXTS, "croissant.json")
"""Every paper of a release, by its path."""
_CONTACT = re.compile(r"^Take-down: write to (.*) with the name of the image[.]$", re.MULTILINE)
_POLICY = re.compile(r"^Audited under policy `([a-z0-9-]{1,80})` ([0-9.]{5,40}), approved by ", re.MULTILINE)
"""Where the templates have what stands nowhere else; the other words of the publisher stand in the Croissant metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What the publisher says of the release. `contact` is whom to write to where an image should be taken down."""

    title: str
    publisher: str
    contact: str
    licence: str

    def check(self) -> None:
        """Raises InputError where something is missing, on several lines, or no licence that is known."""
        for name in ("title", "publisher", "contact"):
            value = getattr(self, name)
            if len(value.strip()) < 3 or not value.isprintable() or len(value) > 200 or set(value) & set("<>[]`|\\"):
                raise InputError.of(name, repr(value), "a line of plain text, without markup")
        if self.licence not in LICENCES:
            raise InputError.of("licence", repr(self.licence), f"one of: {', '.join(LICENCES)}")


def documents(
    details: Details,
    layout: Layout,
    marks: Sequence[str],
    labels: Mapping[str, Labels],
    written: Mapping[str, bytes],
    *,
    policy: Mapping[str, Any],
    roles: Mapping[str, int],
    day: date,
) -> dict[str, bytes]:
    """The papers by their path in the release. `written` are the tables that the Croissant metadata describes."""
    loader = jinja2.FunctionLoader(_template)
    # Plain text for people, not HTML; `Details.check` keeps markup out of what the publisher gave.
    environment = jinja2.Environment(loader=loader, autoescape=False, undefined=jinja2.StrictUndefined, trim_blocks=True)  # noqa: S701
    attributes = sorted({name for found in labels.values() for name in (*found.asked, *found.read)})
    shown = {
        "details": details,
        "layout": layout,
        "images": len(labels),
        "attributes": attributes,
        "licence_url": LICENCES[details.licence],
        "policy": policy,
        "roles": roles,
        "day": day.isoformat(),
        "marks": [TOLD[mark] for mark in sorted(marks, reverse=True)],
    }
    papers = {name: environment.get_template(name).render(shown) for name in _TEXTS}
    papers["README.md"] = f"---\n{_front_matter(details, layout, len(labels))}---\n\n{papers['README.md']}"
    made = {name: f"{text.rstrip()}\n".encode() for name, text in papers.items()}
    metadata = croissant(details.title, details.publisher, LICENCES[details.licence], labels, written, day)
    return made | {"croissant.json": (json.dumps(metadata, indent=1, ensure_ascii=False) + "\n").encode()}


def own_words(papers: Mapping[str, bytes], day: date) -> tuple[Details, dict[str, str]]:
    """What the publisher says in papers of a release of that day, and the policy that they name: what `documents` is given.

    Raises IntegrityError where it cannot be read off them. Whether they say more shows when they are made again.
    """
    name = "croissant.json"
    try:
        metadata = parse_json(papers[name])
        publisher = metadata["creator"]["name"]
        title = metadata["citeAs"].removeprefix(f"{publisher}: ").removesuffix(f" ({day.year})")
        licence = next(licence for licence, url in LICENCES.items() if url == metadata["license"])
        name = "DATASHEET.md"
        ((policy, version),) = _POLICY.findall(papers[name].decode())
        name = "LICENCE.md"
        (contact,) = _CONTACT.findall(papers[name].decode())
        name = "croissant.json or LICENCE.md"
        details = Details(title=title, publisher=publisher, contact=contact, licence=licence)
        details.check()
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError, InputError) as error:
        raise IntegrityError(f"{name}: found another paper than `synguard release` writes, expected that one") from error
    return details, {"name": policy, "version": version}


def _template(name: str) -> str:
    return (resources.files("synguard.release") / "templates" / f"{name}.jinja").read_text(encoding="utf-8")


def _front_matter(details: Details, layout: Layout, images: int) -> str:
    """What the hub reads of a card: huggingface.co/docs/hub/datasets-cards."""
    size = next((name for limit, name in _SIZES if images < limit), "n>10M")
    fields = {
        "pretty_name": details.title,
        "license": details.licence,
        "tags": ["synthetic", "medical", "image"],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": layout.pattern}],
    }
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
