"""Croissant 1.0 metadata of a release: its two tables, told to machines (docs.mlcommons.org/croissant)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from typing import Any

from synguard.governance.content import Labels

__all__ = ["croissant"]


def croissant(
    title: str, publisher: str, licence: str, labels: Mapping[str, Labels], written: Mapping[str, bytes], day: date
) -> dict[str, Any]:
    """Croissant 1.0 metadata (mlcommons.org/croissant): the two tables and where the images lie."""
    tables = {
        "asked": {name: value for found in labels.values() for name, value in found.asked.items() if value is not None},
        "read": {name: value for found in labels.values() for name, value in found.read.items() if value is not None},
    }
    files: list[dict[str, Any]] = [_file(f"tables/{name}.csv", "text/csv", written[f"tables/{name}.csv"]) for name in tables]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "".join(c if c.isalnum() else "-" for c in title).strip("-"),
        "description": f"{title}: {len(labels)} synthetic medical images, made by a model. No real photographs.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": licence,
        "creator": {"@type": "sc:Organization", "name": publisher},
        "datePublished": day.isoformat(),
        "version": "1.0.0",
        "citeAs": f"{publisher}: {title} ({day.year})",
        "isAccessibleForFree": True,
        "distribution": files,
        "recordSet": [_records(name, values) for name, values in tables.items()],
    }


def _file(path: str, kind: str, data: bytes) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path.replace("/", "-"),
        "contentUrl": path,
        "encodingFormat": kind,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _records(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    fields = [_field(table, "image", "")] + [_field(table, name, value) for name, value in sorted(values.items())]
    return {"@type": "cr:RecordSet", "@id": table, "name": table, "field": fields}


def _field(table: str, column: str, example: Any) -> dict[str, Any]:
    kind = "sc:Text" if isinstance(example, str) else "sc:Float"
    source = {"fileObject": {"@id": f"tables/{table}.csv"}, "extract": {"column": column}}
    return {"@type": "cr:Field", "@id": f"{table}/{column}", "name": column, "dataType": kind, "source": source}


_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
