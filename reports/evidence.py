"""Reads the evidence into typed facts, tolerant of what is missing: a curve that is not whole is no curve."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pandas as pd

from reports.facts import (
    AttackFact,
    AttributeFact,
    AutoencoderFacts,
    BatchFact,
    ContinuousFact,
    CopyFacts,
    CurveFacts,
    CurvePoint,
    DisclosureFacts,
    EpsilonFacts,
    FidelityFact,
    GuessFact,
    LabelFacts,
    LowRateFact,
    MembershipFacts,
    PlantedFact,
    ProbeFact,
    Roc,
    Series,
    SplitFact,
)
from reports.runfolder import interval, mapping, number, numbers, rows, text, whole

__all__ = ["autoencoder", "batches", "copies", "curve", "disclosure", "epsilon", "fidelity", "labels", "membership"]


def copies(evidence: Mapping[str, Any]) -> CopyFacts | None:
    """The memorisation audit's evidence; None where it left none."""
    said = mapping(evidence.get("memorisation"))
    if not said:
        return None
    scores, p_values = mapping(said.get("scores")), mapping(said.get("p_values"))
    threshold = number(said.get("threshold"))
    named = (_series(name, scores.get("edges"), scores.get(name)) for name in ("synthetic", "holdout", "planted"))
    return CopyFacts(
        threshold=threshold,
        scores=tuple(_counted(series, threshold) for series in named if series),
        p_values=_series("p_values", p_values.get("edges"), p_values.get("counts")),
        planted=tuple(
            PlantedFact(
                transform=text(row.get("transform")),
                n=whole(row.get("n")) or 0,
                found=whole(row.get("found")) or 0,
                recall=number(row.get("recall")),
                low=number(row.get("low")),
                high=number(row.get("high")),
                minimum_copies=number(row.get("minimum_copies")),
            )
            for row in rows(said.get("planted"))
        ),
    )


def membership(evidence: Mapping[str, Any]) -> MembershipFacts | None:
    """The membership audit's evidence; None where it left none."""
    said = mapping(evidence.get("membership"))
    if not said:
        return None
    split = mapping(said.get("split"))
    return MembershipFacts(
        split=_split(split) if split else None,
        probes=tuple(_probe(row) for row in rows(said.get("probes"))),
        left_out=tuple(
            (text(row.get("probe")) or text(row.get("access")), text(row.get("reason")))
            for row in rows(said.get("not_tested"))
        ),
    )


def epsilon(evidence: Mapping[str, Any]) -> EpsilonFacts | None:
    """The evidence on epsilon; None where there is none."""
    said = mapping(evidence.get("epsilon"))
    if not said:
        return None
    upper, lower = (mapping(said.get(name)) for name in ("upper", "lower"))
    equal = mapping(mapping(evidence.get("membership")).get("equivalent"))
    forms = mapping(lower.get("forms"))
    bound, least = number(upper.get("epsilon")), number(mapping(forms.get("f-dp")).get("epsilon"))
    listed = upper.get("not_covered")
    return EpsilonFacts(
        delta=number(said.get("delta")),
        upper=bound,
        unit=text(upper.get("unit")),
        not_covered=tuple(text(name) for name in listed) if isinstance(listed, list | tuple) else (),
        refuted=bound is not None and least is not None and least > bound,
        lower=least,
        gaussian=number(mapping(forms.get("gaussian")).get("epsilon")),
        lower_state=text(lower.get("state")) or "measured",
        canaries=whole(lower.get("canaries")) or 0,
        most=number(lower.get("most")),
        equivalent=number(equal.get("epsilon")),
        equivalent_state=text(equal.get("state")) or "measured",
        equivalent_patients=whole(equal.get("patients")) or 0,
    )


def disclosure(evidence: Mapping[str, Any]) -> DisclosureFacts | None:
    """The disclosure audit's evidence; None where it left none."""
    said = mapping(evidence.get("disclosure"))
    if not said:
        return None
    return DisclosureFacts(
        state=text(said.get("state")) or "valid",
        attacks=tuple(
            AttackFact(
                name=text(row.get("name")),
                attribute=text(row.get("attribute")),
                state=text(row.get("state")) or "measured",
                attacked=whole(row.get("attacked")) or 0,
                controlled=whole(row.get("controlled")) or 0,
                attack=number(row.get("attack")),
                control=number(row.get("control")),
                naive=number(row.get("naive")),
                risk=number(row.get("risk")),
                interval=interval(row.get("interval")),
                minimum_detectable=number(row.get("minimum_detectable")),
                p_holm=number(row.get("p_holm")),
            )
            for row in rows(said.get("attacks"))
        ),
    )


def autoencoder(evidence: Mapping[str, Any]) -> AutoencoderFacts | None:
    """The evidence on the autoencoder; None where it left none."""
    said = mapping(evidence.get("autoencoder"))
    if not said:
        return None
    auc, gap, errors = (mapping(said.get(name)) for name in ("auc", "gap", "errors"))
    series = (_series(name, errors.get("edges"), errors.get(name)) for name in ("private", "holdout"))
    return AutoencoderFacts(
        state=text(said.get("state")) or "measured",
        auc=number(auc.get("value")),
        interval=interval(auc.get("interval")),
        minimum_detectable=number(auc.get("minimum_detectable")),
        gap=number(gap.get("value")),
        gap_interval=interval(gap.get("interval")),
        n_members=whole(said.get("n_members")) or 0,
        n_nonmembers=whole(said.get("n_nonmembers")) or 0,
        errors=tuple(one for one in series if one and one.total),
    )


def labels(evidence: Mapping[str, Any]) -> LabelFacts | None:
    """The label audit's evidence; None where it left none."""
    said = mapping(evidence.get("labels"))
    found = LabelFacts(
        attributes=tuple(_attribute(row) for row in rows(said.get("attributes"))),
        continuous=tuple(_continuous(row) for row in rows(said.get("continuous"))),
    )
    return found if found.attributes or found.continuous else None


def fidelity(evidence: Mapping[str, Any]) -> tuple[FidelityFact, ...]:
    """The fidelity audit's figures."""
    return tuple(
        FidelityFact(
            name=text(row.get("name")),
            value=number(row.get("value")),
            interval=interval(row.get("interval")),
            floor=number(row.get("floor")),
            n=whole(row.get("n")) or 0,
        )
        for row in rows(mapping(evidence.get("fidelity")).get("metrics"))
    )


def curve(said: Mapping[str, Any]) -> CurveFacts | None:
    """The curve of a training as it was kept; None where there is none, or one without whole points."""
    points = tuple(point for row in rows(said.get("points")) if (point := _curve_point(row)))
    if not points:
        return None
    compared, first = mapping(said.get("compared")), mapping(said.get("begins"))
    step, seen = whole(first.get("step")), number(first.get("seen"))
    by = first.get("by")
    return CurveFacts(
        points=tuple(sorted(points, key=lambda point: point.step)),
        looks=whole(said.get("looks")) or len(points),
        generated=whole(said.get("generated")) or 0,
        private=whole(compared.get("private")) or 0,
        holdout=whole(compared.get("holdout")) or 0,
        neighbours=whole(compared.get("neighbours")) or 0,
        begins=None if step is None or seen is None else (step, seen),
        by=tuple(text(name) for name in by) if isinstance(by, list | tuple) else (),
        split=text(mapping(said.get("split")).get("state")),
    )


def _curve_point(row: Mapping[str, Any]) -> CurvePoint | None:
    step, seen = whole(row.get("step")), number(row.get("seen"))
    values, spans = [], []
    for name in ("gap", "nearer"):
        figure = mapping(row.get(name))
        values.append(number(figure.get("value")))
        spans.append(interval([figure.get("low"), figure.get("high")]))
    gap, nearer = values
    if step is None or seen is None or gap is None or nearer is None or spans[0] is None or spans[1] is None:
        return None
    return CurvePoint(
        step=step,
        seen=seen,
        private_loss=number(row.get("private_loss")),
        holdout_loss=number(row.get("holdout_loss")),
        gap=gap,
        gap_interval=spans[0],
        nearer=nearer,
        nearer_interval=spans[1],
    )


def batches(evidence: Mapping[str, Any], images: pd.DataFrame) -> tuple[BatchFact, ...]:
    """What became of each batch; of all images together where the evidence has no batches."""
    return _recorded(evidence) or _together(images)


def _together(images: pd.DataFrame) -> tuple[BatchFact, ...]:
    if "accepted" not in images or images.empty:
        return ()
    accepted = images["accepted"].eq(True).fillna(False)
    reason = images["reason"].fillna("").astype(str) if "reason" in images else accepted.map({True: "", False: "copy"})
    labels = ~accepted & reason.str.startswith("label")
    counts = (len(images), int(accepted.sum()), int((~accepted & ~labels).sum()), int(labels.sum()))
    return (BatchFact(0, *counts),)


def _recorded(evidence: Mapping[str, Any]) -> tuple[BatchFact, ...]:
    return tuple(
        BatchFact(
            batch=place if (batch := whole(row.get("batch"))) is None else batch,
            examined=whole(row.get("examined")) or 0,
            accepted=whole(row.get("accepted")) or 0,
            refused_copies=whole(row.get("refused_copies")) or 0,
            refused_labels=whole(row.get("refused_labels")) or 0,
        )
        for place, row in enumerate(rows(mapping(evidence.get("run")).get("batches")))
    )


def _series(name: str, edges: object, counts: object) -> Series | None:
    places, heights = numbers(edges), numbers(counts)
    ordered = all(a < b for a, b in pairwise(places))
    if not heights or len(places) != len(heights) + 1 or not ordered or min(heights) < 0:
        return None
    return Series(name=name, edges=places, counts=heights)


def _counted(series: Series, threshold: float | None) -> Series:
    """With the images beyond the threshold counted, where the bins tell: no image shares a bin with the threshold."""
    if threshold is None:
        return series
    bins = tuple(zip(series.edges, series.edges[1:], series.counts, strict=False))
    if any(low + 1e-9 < threshold < high - 1e-9 and count for low, high, count in bins):
        return series
    above = sum(count for low, _, count in bins if low >= threshold - 1e-9)
    return Series(name=series.name, edges=series.edges, counts=series.counts, above=round(above), of=round(series.total))


def _split(said: Mapping[str, Any]) -> SplitFact:
    placebo = said.get("placebo")
    inner = mapping(placebo)
    return SplitFact(
        auc=number(said.get("auc")),
        interval=interval(said.get("interval")),
        p_value=number(said.get("p_value")),
        placebo_auc=number(inner.get("auc")) if inner else number(placebo) or number(said.get("placebo_auc")),
        placebo_interval=interval(inner.get("interval")) or interval(said.get("placebo_interval")),
        each=tuple(
            GuessFact(text(row.get("name")), number(row.get("auc")), number(row.get("p_value")))
            for row in rows(said.get("each"))
        ),
    )


def _probe(row: Mapping[str, Any]) -> ProbeFact:
    curve = mapping(row.get("roc"))
    roc = Roc(*(numbers(curve.get(name)) for name in ("fpr", "tpr", "low", "high")))
    usable = len(roc.fpr) > 1 and len(roc.fpr) == len(roc.tpr)
    banded = len(roc.low) == len(roc.fpr) == len(roc.high)
    return ProbeFact(
        name=text(row.get("name")),
        access=text(row.get("access")),
        state=text(row.get("state")) or "measured",
        auc=number(row.get("auc")),
        interval=interval(row.get("interval")),
        bound=number(row.get("bound")),
        tpr=number(row.get("tpr")),
        n_members=whole(row.get("n_members")) or 0,
        n_nonmembers=whole(row.get("n_nonmembers")) or 0,
        minimum_detectable_auc=number(row.get("minimum_detectable_auc")),
        roc=(roc if banded else Roc(roc.fpr, roc.tpr, (), ())) if usable else None,
        calls=whole(row.get("calls")),
        seconds=number(row.get("seconds")),
        method=text(row.get("method")),
        verdict="metric" not in row or row["metric"] is not None,
        p_holm=number(row.get("p_holm")),
        low_rates=tuple(
            LowRateFact(rate, number(low.get("tpr")), interval(low.get("interval")), number(low.get("provable")))
            for low in rows(row.get("low_rates"))
            if (rate := number(low.get("fpr"))) is not None
        ),
    )


def _attribute(row: Mapping[str, Any]) -> AttributeFact:
    return AttributeFact(
        name=text(row.get("name")),
        kind=text(row.get("kind")),
        levels=tuple(text(level) for level in row.get("levels") or ()),
        n=whole(row.get("n")) or 0,
        agreement=number(row.get("agreement")),
        interval=interval(row.get("interval")),
        ceiling=number(row.get("ceiling")),
        share=number(row.get("share_of_ceiling")),
        share_interval=interval(row.get("share_interval")),
        confusion=_table(row.get("confusion")),
        ceiling_confusion=_table(row.get("ceiling_confusion")),
    )


def _continuous(row: Mapping[str, Any]) -> ContinuousFact:
    return ContinuousFact(
        name=text(row.get("name")),
        n=whole(row.get("n")) or 0,
        correlation=number(row.get("correlation")),
        interval=interval(row.get("interval")),
        ceiling=number(row.get("ceiling")),
    )


def _table(value: object) -> tuple[tuple[float, ...], ...]:
    found = tuple(numbers(row) for row in value) if isinstance(value, list | tuple) else ()
    return found if found and all(len(row) == len(found[0]) and row for row in found) else ()
