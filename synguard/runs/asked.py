"""What images are asked for: conditions as the private set has them, balanced, topped up, or from a table of counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synguard.config import AskedConfig, RunConfig
from synguard.data.conditions import ConditionSchema, known_values
from synguard.data.readers import read_table
from synguard.errors import ConfigError, InputError
from synguard.runs.progress import Progress, silent

__all__ = ["PER_IMAGE", "SHARED_BY", "Cell", "cells_of", "plan", "plan_conditions", "refuse_private_texts", "unsupported"]

SHARED_BY = 5
"""A combination of conditions is asked for as it stands only where at least this many private patients share it."""
PER_IMAGE = 10
"""Images asked for a private image of a class, above which the gain of more was found to be over (arXiv 2308.12453)."""


def plan(
    config: RunConfig,
    conditions: pd.DataFrame,
    patients: Sequence[str],
    schema: ConditionSchema,
    base: Path,
    *,
    images: int | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """The conditions of a release's images, or of `images` ones; warnings are said to `progress`. Errors as `cells_of`."""
    n = images or config.release.images
    cells = cells_of(config.release.asked, conditions, patients, schema, n, base)
    if (sentence := schema.sentence) is None:
        planned = plan_conditions(conditions, patients, cells, config.seed)
    else:  # Sentences follow from the labels that are drawn, unless one was asked for itself.
        labels = conditions.assign(**{sentence.name: pd.Series(pd.NA, index=conditions.index, dtype="string")})
        planned = schema.parse(plan_conditions(labels, patients, cells, config.seed), "release.asked")
    refuse_private_texts(planned, conditions, patients, schema)
    for warning in unsupported(conditions, patients, cells):
        progress(warning, 0, 0)
    return planned


@dataclass(frozen=True, slots=True)
class Cell:
    """So many images with these values, by attribute; the other attributes are drawn as private patients have them.

    Where a `sentence` is asked for, what it leaves open is left to the generator.
    """

    values: Mapping[str, Any]
    images: int
    sentence: tuple[str, str] | None = None
    """Its attribute, and its words."""

    def __str__(self) -> str:
        """Such as "dx mel, sex female"."""
        return self.sentence[1] if self.sentence else ", ".join(f"{name} {value}" for name, value in self.values.items())


def cells_of(
    asked: AskedConfig, conditions: pd.DataFrame, patients: Sequence[str], schema: ConditionSchema, n: int, base: Path
) -> tuple[Cell, ...]:
    """What `asked` makes of `n` images; one cell without values where they are asked for as the private set is.

    Levels that fewer than `SHARED_BY` private patients have are neither balanced nor topped up. Raises ConfigError for an
    attribute without levels or more images than there are, InputError for a table that does not fit.
    """
    if asked.table is not None:
        return _counted(base / asked.table, schema, n)
    name = asked.balanced or asked.rare
    if name is None:
        return (Cell({}, n),)
    key = "release.asked.balanced" if asked.balanced else "release.asked.rare"
    if name not in [attribute.name for attribute in schema.discrete]:
        names = ", ".join(attribute.name for attribute in schema.discrete) or "none here"
        raise ConfigError.of(key, repr(name), f"an attribute with levels: {names}")
    rows = conditions[name].dropna().value_counts(sort=False)
    owners = pd.Series(list(patients), index=conditions.index).groupby(conditions[name]).nunique()
    levels = [level for level in sorted(rows.index) if owners[level] >= SHARED_BY]
    if not levels:
        raise InputError.of(key, f"no level of {name} that {SHARED_BY} private patients have", "one at least")
    least = 0 if asked.balanced else asked.at_least
    if least * len(levels) > n:
        raise ConfigError.of(
            "release.asked.at_least", least, f"at most {n // len(levels)}: {len(levels)} levels, {n} images"
        )
    shares = np.ones(len(levels)) if asked.balanced else np.asarray(rows[levels], dtype=np.float64)
    return tuple(Cell({name: level}, count) for level, count in zip(levels, topped_up(shares, n, least), strict=True))


def topped_up(shares: NDArray[np.float64], n: int, least: int) -> list[int]:
    """Whole numbers that add up to n: at least `least` each, what is left in proportion to `shares` (largest remainders).

    `least` times the number of shares may not exceed n.
    """
    low = np.zeros(len(shares), dtype=bool)
    while True:
        exact = np.where(low, float(least), 0.0)
        exact[~low] = (n - least * low.sum()) * shares[~low] / max(shares[~low].sum(), 1e-300)
        # Who gets the least leaves less for the others, and one of them may now fall below it.
        if (low | (exact >= least)).all():
            break
        low |= exact < least
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return [int(count) for count in counts]


def _counted(path: Path, schema: ConditionSchema, n: int) -> tuple[Cell, ...]:
    """The cells of a table with a column an attribute and one named count."""
    table = read_table(path)
    if "count" not in table.columns:
        raise InputError.of(path, f"the columns {', '.join(map(str, table.columns[:8]))}", "a column 'count'")
    names = [str(name) for name in table.columns if name != "count"]
    if unknown := [name for name in names if name not in schema.names]:
        raise InputError.of(path, f"the column {unknown[0]!r}", f"attributes: {', '.join(schema.names) or 'none here'}")
    counts = [str(count) for count in table["count"]]
    if wrong := [count for count in counts if not (count.isascii() and count.isdecimal())]:
        raise InputError.of(path, f"the count {wrong[0]!r}", "a whole number of images")
    if sum(map(int, counts)) != n:
        raise InputError.of(path, f"{sum(map(int, counts)):,} images", f"release.images, {n:,}")
    # With all attributes, since a sentence may say any of them.
    values = known_values(schema.parse(table.reindex(columns=schema.names), str(path)))
    told = schema.sentence.name if schema.sentence else None
    given = table[told].notna() & (table[told] != "") if told in names else [False] * len(table)
    cells = []
    for row, has_sentence, count in zip(values, given, counts, strict=True):
        words = row.pop(told, None) if told else None
        cells.append(Cell(row, int(count), (told, words) if told and words and has_sentence else None))
    return tuple(cells)


def plan_conditions(conditions: pd.DataFrame, patients: Sequence[str], cells: Sequence[Cell], seed: int) -> pd.DataFrame:
    """Draw a row of conditions for each image of the cells, but no rare combination of a single patient.

    A private row with the cell's values is drawn at random; where fewer than `SHARED_BY` patients share its combination of
    values, each further attribute is drawn anew on its own from the values that at least that many patients have. Otherwise
    the table of conditions alone would single patients out, however good the images are. Columns keep their types.
    """
    rng = np.random.default_rng([seed, 101])
    n = sum(cell.images for cell in cells)
    if conditions.columns.empty:
        return pd.DataFrame(index=range(n))
    owners = pd.Series(list(patients), index=conditions.index)
    # NA is a value of its own here: "unknown" is something many patients share.
    keys = conditions.astype("string").fillna("\x00").agg("\x1f".join, axis=1)
    common = keys.map(owners.groupby(keys).nunique()).to_numpy() >= SHARED_BY
    pools = {name: _shared_rows(conditions[name], owners) for name in conditions.columns}
    parts = [_drawn(conditions, cell, np.flatnonzero(_having(conditions, cell)), common, pools, rng) for cell in cells]
    planned = pd.concat(parts, ignore_index=True)
    return planned if len(cells) == 1 else planned.iloc[rng.permutation(n)].reset_index(drop=True)


def _drawn(
    conditions: pd.DataFrame,
    cell: Cell,
    having: NDArray[np.int64],
    common: NDArray[np.bool_],
    pools: Mapping[str, NDArray[np.int64]],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One cell's rows. Where nobody has the cell's values, no row is taken as it stands."""
    rows = having[rng.integers(len(having), size=cell.images)] if len(having) else np.zeros(cell.images, dtype=np.int64)
    whole = common[rows] & bool(len(having))
    columns = {}
    for name in conditions.columns:
        column = conditions[name]
        if name in cell.values or cell.sentence:
            value = cell.sentence[1] if cell.sentence and cell.sentence[0] == name else cell.values.get(name)
            columns[name] = pd.Series([value] * cell.images, dtype=column.dtype)
            continue
        own = pools[name][rng.integers(len(pools[name]), size=cell.images)]
        columns[name] = column.iloc[np.where(whole, rows, own)].reset_index(drop=True)
    return pd.DataFrame(columns)


def _having(conditions: pd.DataFrame, cell: Cell) -> NDArray[np.bool_]:
    """Which private images (n,) have the cell's values."""
    having = np.ones(len(conditions), dtype=bool)
    for name, value in cell.values.items():
        having &= (conditions[name] == value).fillna(False).to_numpy(dtype=bool)
    return having


def _shared_rows(column: pd.Series, owners: pd.Series) -> np.ndarray:
    """Rows of `column` whose value at least `SHARED_BY` patients have; all rows where no value is shared so widely."""
    keys = column.astype("string").fillna("\x00")
    counts = keys.map(owners.groupby(keys).nunique())
    rows = np.flatnonzero(counts.to_numpy() >= SHARED_BY)
    return rows if len(rows) else np.arange(len(column))


def unsupported(conditions: pd.DataFrame, patients: Sequence[str], cells: Sequence[Cell]) -> Iterator[str]:
    """Warnings of cells that ask for more than a generator can have learned from the private set."""
    owners = np.asarray(list(patients))
    for cell in cells:
        if cell.sentence and not cell.values:
            yield f"{cell}: it says none of the labels, so that no audit reads off the images whether they show it"
            continue
        having = _having(conditions, cell)
        images, people = int(having.sum()), len(set(owners[having].tolist()))
        if people < SHARED_BY:
            had = f"but {people} private patients have it: expect copies or wrong labels"
            yield f"{cell}: asked for {cell.images:,} images, {had}"
        elif cell.images > PER_IMAGE * images:
            yield f"{cell}: asked for {cell.images:,} images, more than {PER_IMAGE} for each of its {images:,} private ones"


def refuse_private_texts(
    asked: pd.DataFrame, private: pd.DataFrame, patients: Sequence[str], schema: ConditionSchema
) -> None:
    """InputError where a text asked of the generator is one that fewer than `SHARED_BY` private patients have.

    Texts are released beside the images as they stand, and no audit reads them. Case and spacing make no other text.
    Sentences that say what the labels say, and no more, are labels.
    """
    sentence = schema.sentence
    for name in (attribute.name for attribute in schema.attributes if attribute.kind == "text"):
        texts = _plain(private[name])
        if sentence is not None and sentence.name == name:
            said = [row.get(name) == sentence.of_labels(row) for row in known_values(private)]
            texts = texts.mask(np.array(said, dtype=bool))
        owners = pd.Series(list(patients), index=private.index).groupby(texts).nunique()
        rare = owners.index[owners < SHARED_BY]
        if copied := int(_plain(asked[name]).isin(rare).sum()):
            found = f"{copied} texts that fewer than {SHARED_BY} private patients have"
            raise InputError.of(f"conditions.{name}", found, "texts that tell of nobody, since they are released")


def _plain(texts: pd.Series) -> pd.Series:
    return texts.astype("string").str.casefold().str.split().str.join(" ")
