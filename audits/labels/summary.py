"""All candidates together: agreement per condition beside the ceiling, with intervals, as metrics and as evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits.labels.ceiling import LabelCeiling, numbers
from audits.labels.continuous import continuous_metrics
from synguard.config import AttributeConfig
from synguard.metrics.agreement import (
    as_if,
    balanced_share,
    bootstrap_weights,
    confusions,
    interval_and_bounds,
    kappa,
    recalls,
    share,
    smoothed,
)
from synguard.results import AuditResult, Metric, MetricState

__all__ = ["not_tested", "summarise"]

Floats = NDArray[np.float64]

RESAMPLES, AT_ONCE = 1000, 100
LEVEL_FROM = 100
"""A level of its own is judged from this many candidates on."""
FEWEST_REAL = 10
"""A level, or an attribute, of which the holdout has fewer labels cannot be judged."""
METHOD = "Bayesian bootstrap over candidates and holdout patients, with Jeffreys' pseudo-image a level"
CEILING = "real holdout images, levels as often as asked"


@dataclass(frozen=True, slots=True)
class _Table:
    """One attribute's confusions: candidates, ceiling, and their draws (resamples, levels, levels).

    `attainable` are draws of a generator as good as real images: the same levels asked, read as real images are.
    """

    attribute: AttributeConfig
    levels: tuple[str, ...]
    candidates: Floats
    ceiling: Floats
    candidate_draws: Floats
    ceiling_draws: Floats
    attainable_draws: Floats
    plain_ceiling_draws: Floats
    """Without pseudo-images, which would move a level of few images towards being read right."""

    @property
    def readable(self) -> bool:
        """Whether the ceiling's balanced share is better than chance, by its lower bound."""
        present = int((self.ceiling.sum(-1) > 0).sum())
        if present < 2 or self.ceiling.sum() < FEWEST_REAL:
            return False
        (_, _), (lower, _) = interval_and_bounds(balanced_share(self.plain_ceiling_draws))
        return lower > 1 / present + 1e-6

    def level_readable(self, level: int) -> bool:
        """Whether real images of the level are read as it more often than images of other levels are, by the lower bound."""
        others = np.flatnonzero((self.ceiling.sum(-1) > 0) & (np.arange(len(self.levels)) != level))
        if self.ceiling[level].sum() < FEWEST_REAL or not len(others):
            return False
        draws = self.plain_ceiling_draws
        mistaken = (draws[:, others, level] / draws[:, others].sum(-1)).mean(-1)
        (_, _), (lower, _) = interval_and_bounds(recalls(draws)[:, level] - mistaken)
        return lower > 1e-6


Figure = Callable[[_Table, Floats], Floats]
"""A figure of one attribute's confusion (..., levels, levels), shape (...)."""


def not_tested(note: str) -> AuditResult:
    """The result where nothing can be held against anything: no conditions, or no diagnostic model."""
    metrics = tuple(_absent(name, 0, None, "not_tested", note) for name, _ in (*BESIDE, *OVER))
    return AuditResult(
        name="labels", metrics=metrics, evidence={"attributes": [], "notes": [note]}, public=("attributes", "notes")
    )


def summarise(asked: pd.DataFrame, annotation: pd.DataFrame, ceiling: LabelCeiling, *, seed: int) -> AuditResult:
    """Agreement of n candidates with what was asked of them, beside what real images reach.

    `asked` and `annotation` are typed frames with a row per candidate. Figures are per attribute, and without a group
    over all attributes; `labels.agreement_share` also per level ("grade=3") with 100 candidates or more. An attribute that
    the model does not read better than chance on real images cannot be judged: insufficient.
    """
    schema = ceiling.schema
    if not schema.attributes:
        return not_tested("no conditions were asked")
    wanted = numbers(schema, asked)
    found = {name: schema.codes(annotation, name) for name in ceiling.values}
    unread = _unread(ceiling, wanted)
    tables = _tables(wanted, found, ceiling, seed)
    metrics: list[Metric] = []
    rows: list[dict[str, Any]] = []
    for table in tables:
        own = [*_metrics([table], table.attribute.name), *_ceiling_metrics(table, ceiling), *_level_metrics(table)]
        metrics += own
        rows.append(_row(table, own, ceiling.thresholds.get(table.attribute.name)))
    continuous, lines = continuous_metrics(wanted, found, ceiling, seed)
    if tables:
        overall = _metrics(tables, None)
    else:
        overall = list(not_tested("no attribute with levels was both asked and read").metrics)
    absent = [_absent("labels.agreement", 0, name, "not_tested", why) for name, why in unread.items()]
    refused = Metric(
        name="labels.holdout_refused",
        value=ceiling.refused_real,
        n=ceiling.evaluated,
        unit="share",
        method="share of real holdout images that the refusal thresholds would refuse",
    )
    model = {
        "name": ceiling.model_name,
        "digest": ceiling.model_digest,
        "holdout_images": len(ceiling.patients),
        "holdout_refused": ceiling.refused_real,
    }
    return AuditResult(
        name="labels",
        metrics=(*overall, *metrics, *continuous, *absent, refused),
        evidence={
            "attributes": rows,
            "continuous": lines,
            "notes": [f"{name}: {why}" for name, why in unread.items()],
            "model": model,
        },
        public=("attributes", "continuous", "notes", "model"),
    )


def _tables(wanted: Mapping[str, Floats], found: Mapping[str, Floats], ceiling: LabelCeiling, seed: int) -> list[_Table]:
    """The tables of all attributes that were asked. The same draws serve all of them, so that means keep correlations."""
    attributes = [a for a in ceiling.judged if np.isfinite(wanted[a.name]).any()]
    rng = np.random.default_rng([seed, 41])
    sizes = {a.name: len(ceiling.schema.levels(a.name)) for a in attributes}
    planted = {a.name: _as_good_as_real(wanted[a.name], ceiling.confusion(a.name), rng) for a in attributes}
    drawn: dict[str, list[list[Floats]]] = {a.name: [[], [], []] for a in attributes}
    candidates = len(next(iter(wanted.values()))) if wanted else 0
    for _ in range(0, RESAMPLES, AT_ONCE):
        weights = bootstrap_weights(np.arange(candidates), AT_ONCE, rng)
        holdout = bootstrap_weights(ceiling.patients, AT_ONCE, rng)
        for name, size in sizes.items():
            drawn[name][0].append(confusions(wanted[name], found[name], size, weights))
            drawn[name][1].append(confusions(ceiling.asked[name], ceiling.values[name], size, holdout))
            drawn[name][2].append(confusions(wanted[name], planted[name], size, weights))
    tables = []
    for attribute in attributes:
        name = attribute.name
        first, second, third = (smoothed(np.concatenate(parts), rng) for parts in drawn[name])
        tables.append(
            _Table(
                attribute=attribute,
                levels=ceiling.schema.levels(name),
                candidates=confusions(wanted[name], found[name], sizes[name]),
                ceiling=ceiling.confusion(name),
                candidate_draws=first,
                ceiling_draws=second,
                attainable_draws=third,
                plain_ceiling_draws=np.concatenate(drawn[name][1]),
            )
        )
    return tables


def _as_good_as_real(asked: Floats, ceiling: Floats, rng: np.random.Generator) -> Floats:
    """Readings (n,) in which each asked level is read in the proportions of real images; NaN where the holdout has none."""
    read = np.full(len(asked), np.nan)
    for level, row in enumerate(ceiling):
        images = rng.permutation(np.flatnonzero(asked == level))
        if row.sum() and len(images):
            edges = np.round(np.cumsum(row) / row.sum() * len(images)).astype(np.int64)
            read[images] = np.searchsorted(edges, np.arange(len(images)), side="right")
    return read


def _common(candidates: Floats, ceiling: Floats) -> tuple[Floats, Floats]:
    """Candidates, and the ceiling as often asked, both over the levels that the holdout has."""
    expected = as_if(ceiling, candidates)
    return np.where(expected.sum(-1, keepdims=True) > 0, candidates, 0.0), expected


def _share(_: _Table, confusion: Floats) -> Floats:
    return share(confusion)


def _balanced(_: _Table, confusion: Floats) -> Floats:
    return balanced_share(confusion)


def _kappa(table: _Table, confusion: Floats) -> Floats:
    return kappa(confusion, "quadratic" if table.attribute.kind == "ordinal" else "none")


def _skill(_: _Table, confusion: Floats) -> Floats:
    """How far the balanced share lies above chance, 1 / number of asked levels."""
    asked = (confusion.sum(-1) > 0).sum(-1)
    return np.asarray(balanced_share(confusion) - 1 / np.maximum(asked, 1), dtype=np.float64)


def _recall_of(level: int) -> Figure:
    return lambda _, confusion: np.asarray(recalls(confusion)[..., level], dtype=np.float64)


BESIDE: tuple[tuple[str, Figure], ...] = (
    ("labels.agreement", _share),
    ("labels.balanced_agreement", _balanced),
    ("labels.kappa", _kappa),
)
"""Figures of the candidates, with the same figure of the ceiling as baseline."""
OVER: tuple[tuple[str, Figure], ...] = (("labels.agreement_share", _share), ("labels.skill_share", _skill))
"""Figures of the candidates over the same figure of the ceiling."""


def _metrics(tables: Sequence[_Table], group: str | None) -> list[Metric]:
    """All figures of one attribute, or their means over all attributes, each weighing alike."""
    n = max(int(table.candidates.sum()) for table in tables)
    metrics = [_beside(name, tables, figure, group, n) for name, figure in BESIDE]
    readable = [table for table in tables if table.readable]
    for name, figure in OVER:
        if not readable:
            what = group or "any attribute"
            note = f"on real holdout images the diagnostic model does not read {what} better than chance"
            metrics.append(_absent(name, n, group, "insufficient", note))
        else:
            note = (
                ""
                if len(readable) == len(tables)
                else f"over the {len(readable)} of {len(tables)} attributes that can be read"
            )
            metrics.append(replace(_over(name, readable, figure, group, n), note=note))
    return metrics


def _level_metrics(table: _Table) -> list[Metric]:
    """Recall of each level over the ceiling's recall of it, for levels that were asked often enough."""
    metrics = []
    for level, rows in enumerate(table.candidates.sum(-1).astype(int).tolist()):
        group = f"{table.attribute.name}={table.levels[level]}"
        if rows < LEVEL_FROM:
            continue
        if table.level_readable(level):
            metrics.append(_over("labels.agreement_share", [table], _recall_of(level), group, rows))
        else:
            note = f"the diagnostic model does not tell {group} from other real holdout images"
            metrics.append(_absent("labels.agreement_share", rows, group, "insufficient", note))
    return metrics


def _ceiling_metrics(table: _Table, ceiling: LabelCeiling) -> list[Metric]:
    """The model's own agreement on real holdout images, and on the same images after the autoencoder."""
    name = table.attribute.name
    rows = table.ceiling.sum(-1)
    total = int(rows.sum())
    if not total:
        return [_absent("labels.ceiling", 0, name, "insufficient", "no holdout image has a label of this attribute")]
    interval, bounds = interval_and_bounds(share(table.ceiling_draws))
    real = Metric(
        name="labels.ceiling",
        value=float(share(table.ceiling)),
        n=total,
        unit="share",
        method=METHOD,
        group=name,
        interval=interval,
        bounds=bounds,
        baseline=float(rows.max() / total),
        baseline_name="always the commonest level",
    )
    if ceiling.reconstructed is None or name not in ceiling.reconstructed:
        return [real]
    before, after = ceiling.reconstructed[name]
    softened = Metric(
        name="labels.ceiling_reconstructed",
        value=after,
        n=ceiling.evaluated,
        unit="share",
        method="share read right of the holdout's evaluation images after the autoencoder",
        group=name,
        baseline=before,
        baseline_name="the same images before the autoencoder",
    )
    return [real, softened]


def _beside(name: str, tables: Sequence[_Table], figure: Figure, group: str | None, n: int) -> Metric:
    expected = [_common(table.candidates, table.ceiling)[1] for table in tables]
    baseline = _mean([figure(table, confusion) for table, confusion in zip(tables, expected, strict=True)])
    value = _mean([figure(table, table.candidates) for table in tables])
    draws = _mean([figure(table, table.candidate_draws) for table in tables])
    attainable = _mean([figure(table, table.attainable_draws) for table in tables])
    return _measured(name, value, draws, attainable, group, n, float(baseline))


def _over(name: str, tables: Sequence[_Table], figure: Figure, group: str | None, n: int) -> Metric:
    def ratio(pairs: Sequence[tuple[Floats, Floats]]) -> Floats:
        sides = [_common(candidates, ceiling) for candidates, ceiling in pairs]
        above = _mean([figure(table, side[0]) for table, side in zip(tables, sides, strict=True)])
        below = _mean([figure(table, side[1]) for table, side in zip(tables, sides, strict=True)])
        return np.asarray(above / np.maximum(below, 1e-9), dtype=np.float64)

    value = ratio([(table.candidates, table.ceiling) for table in tables])
    draws = ratio([(table.candidate_draws, table.ceiling_draws) for table in tables])
    attainable = ratio([(table.attainable_draws, table.ceiling_draws) for table in tables])
    return _measured(name, value, draws, attainable, group, n, 1.0)


def _mean(parts: Sequence[Floats]) -> Floats:
    """Mean over attributes (first axis), of those whose figure is defined."""
    stacked = np.stack(parts)
    known = np.isfinite(stacked)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, stacked, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def _measured(
    name: str, value: Floats, draws: Floats, attainable: Floats, group: str | None, n: int, baseline: float
) -> Metric:
    if not np.isfinite(value) or not np.isfinite(draws).any():
        return _absent(
            name, n, group, "insufficient", "only one level was asked, or the holdout has none of the asked levels"
        )
    interval, bounds = interval_and_bounds(draws)
    low, high = interval
    return Metric(
        name=name,
        value=float(value),
        n=n,
        unit=_unit(name),
        method=METHOD,
        group=group,
        # Pseudo-images can move all draws past a value near 0 or 1.
        interval=(min(low, float(value)), max(high, float(value))),
        bounds=bounds,
        attainable=interval_and_bounds(attainable)[1] if np.isfinite(attainable).any() else None,
        baseline=baseline if np.isfinite(baseline) else None,
        baseline_name=CEILING,
    )


def _absent(name: str, n: int, group: str | None, state: MetricState, note: str) -> Metric:
    return Metric(name=name, value=None, n=n, unit=_unit(name), method=METHOD, group=group, state=state, note=note)


def _unit(name: str) -> str:
    return "kappa" if name == "labels.kappa" else "share"


def _unread(ceiling: LabelCeiling, wanted: Mapping[str, Floats]) -> dict[str, str]:
    """Attributes that nothing can be said of, with the reason."""
    why: dict[str, str] = {}
    for attribute in ceiling.schema.attributes:
        if attribute.kind == "text":
            why[attribute.name] = "text is not read off images"
        elif attribute.name not in ceiling.values:
            why[attribute.name] = "the diagnostic model does not read it"
        elif not np.isfinite(wanted[attribute.name]).any():
            why[attribute.name] = "no candidate was asked for it"
    return why


def _row(table: _Table, metrics: Sequence[Metric], threshold: float | None) -> dict[str, Any]:
    """One attribute for the report. Figures that were not measured are None."""
    by_name = {metric.name: metric for metric in metrics if metric.group == table.attribute.name}
    agreement, against = by_name["labels.agreement"], by_name["labels.agreement_share"]
    return {
        "name": table.attribute.name,
        "kind": table.attribute.kind,
        "levels": list(table.levels),
        "n": agreement.n,
        "agreement": agreement.value,
        "interval": agreement.interval,
        "balanced_agreement": by_name["labels.balanced_agreement"].value,
        "kappa": by_name["labels.kappa"].value,
        "ceiling": agreement.baseline,
        "balanced_ceiling": by_name["labels.balanced_agreement"].baseline,
        "ceiling_kappa": by_name["labels.kappa"].baseline,
        "share_of_ceiling": against.value,
        "share_interval": against.interval,
        "note": against.note,
        "refused_below": threshold,
        "confusion": table.candidates.astype(int).tolist(),
        "ceiling_confusion": table.ceiling.astype(int).tolist(),
    }
