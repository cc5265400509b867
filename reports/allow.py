"""What of each fact may leave, field by field. Used by the public edition alone.

No free text passes: words come from this package's own tables, from names that fit a narrow pattern, or are levels of the
condition schema, which are released with the images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reports import facts
from reports.coarse import coarse_confusion, coarse_roc, coarse_series, rounded, rounded_pair
from reports.overview import CheckFact, MetricFact
from reports.runfolder import RunFolder, mapping, rows, text
from reports.wording import metric_title, transform_words
from synguard.metrics.catalogue import CATALOGUE

__all__ = ["batches", "check", "copies", "fidelity", "labels", "membership", "metric", "versions"]

_REASONS = {
    "pass": "Within the limit.",
    "warn": "Beyond the limit for a warning.",
    "fail": "Beyond the limit.",
    "insufficient": "The evidence is too small to decide.",
    "invalid": "The comparison is not valid, so nothing can be decided.",
    "error": "The audit did not finish.",
    "waived": "Beyond the limit, and waived under the policy.",
}
_LIMIT_WORDS = {"above", "below", "of", "the", "images", "image", "copies", "copy", "pairs", "pair", "%"}
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9a-z]{1,12}){0,4}(\+[a-z0-9.]{1,12})?")
_PROBE = re.compile(r"[a-z][a-z0-9_. -]{0,39}")
_NAME = re.compile(r"[\w .,:;()/+<>=%-]{1,60}")
_VERSIONED = ("synguard", "python", "torch", "numpy", "diffusers", "faiss", "scikit-learn")


def check(check: CheckFact) -> CheckFact:
    """By metric and class, figures with three digits, a standard reason."""
    return CheckFact(
        metric=check.metric if check.metric in CATALOGUE else "",
        group=_named(check.group),
        title=metric_title(check.metric, _named(check.group)) if check.metric else "The policy as a whole",
        status=check.status,
        value=rounded(check.value, 3),
        interval=rounded_pair(check.interval, 3),
        bound=rounded(check.bound, 3),
        limit=_limit(check.limit),
        baseline=rounded(check.baseline, 3),
        baseline_name="",
        unit=check.unit,
        n=check.n,
        reason=_REASONS[check.status],
    )


def metric(metric: MetricFact) -> MetricFact:
    """By metric and class, figures with three digits."""
    return MetricFact(
        name=metric.name if metric.name in CATALOGUE else "",
        group=_named(metric.group),
        value=rounded(metric.value, 3),
        interval=rounded_pair(metric.interval, 3),
        n=metric.n,
        unit=metric.unit,
        state=metric.state,
        baseline=rounded(metric.baseline, 3),
    )


def copies(found: facts.CopyFacts | None) -> facts.CopyFacts | None:
    """Coarse histograms. Planted copies exactly: they are the audit's own work and tell nothing about patients."""
    if found is None:
        return None
    coarse = (coarse_series(series, found.threshold) for series in found.scores)
    return facts.CopyFacts(
        threshold=rounded(found.threshold),
        scores=tuple(series for series in coarse if series),
        p_values=coarse_series(found.p_values),
        planted=tuple(
            facts.PlantedFact(
                p.transform if transform_words(p.transform) else "", p.n, p.found, p.recall, p.low, p.high, p.minimum_copies
            )
            for p in found.planted
        ),
    )


def membership(found: facts.MembershipFacts | None) -> facts.MembershipFacts | None:
    """AUCs with two digits, curves at a few rates."""
    if found is None:
        return None
    split = found.split
    return facts.MembershipFacts(
        split=None
        if split is None
        else facts.SplitFact(
            auc=rounded(split.auc),
            interval=rounded_pair(split.interval),
            p_value=rounded(split.p_value),
            placebo_auc=rounded(split.placebo_auc),
            placebo_interval=rounded_pair(split.placebo_interval),
        ),
        probes=tuple(
            facts.ProbeFact(
                name=p.name if _PROBE.fullmatch(p.name) else "attack",
                access=p.access if p.access in {"white box", "black box"} else "",
                auc=rounded(p.auc),
                interval=rounded_pair(p.interval),
                bound=rounded(p.bound),
                tpr=rounded(p.tpr, 3),
                n_members=p.n_members,
                n_nonmembers=p.n_nonmembers,
                minimum_detectable_auc=rounded(p.minimum_detectable_auc),
                roc=coarse_roc(p.roc, p.n_members, p.n_nonmembers),
            )
            for p in found.probes
        ),
    )


def labels(found: facts.LabelFacts | None, run: RunFolder) -> facts.LabelFacts | None:
    """Attributes that the configuration declares, shares with three digits, confusions as whole percents."""
    if found is None:
        return None
    declared = {text(a.get("name")) for a in rows(mapping(run.run.get("config")).get("conditions"))}
    return facts.LabelFacts(
        attributes=tuple(
            facts.AttributeFact(
                name=_named(a.name) or "condition",
                kind=a.kind if a.kind in {"binary", "ordinal", "categorical", "continuous"} else "",
                levels=tuple(_named(level) or "level" for level in a.levels),
                n=a.n,
                agreement=rounded(a.agreement, 3),
                interval=rounded_pair(a.interval, 3),
                ceiling=rounded(a.ceiling, 3),
                share=rounded(a.share, 3),
                share_interval=rounded_pair(a.share_interval, 3),
                confusion=coarse_confusion(a.confusion),
                ceiling_confusion=coarse_confusion(a.ceiling_confusion),
            )
            for a in found.attributes
            if not declared or a.name in declared
        ),
        continuous=tuple(
            facts.ContinuousFact(
                name=_named(c.name) or "condition",
                n=c.n,
                correlation=rounded(c.correlation),
                interval=rounded_pair(c.interval),
                ceiling=rounded(c.ceiling),
            )
            for c in found.continuous
            if not declared or c.name in declared
        ),
    )


def fidelity(one: facts.FidelityFact) -> facts.FidelityFact:
    """Two digits."""
    return facts.FidelityFact(
        name=one.name if f"fidelity.{one.name.removeprefix('fidelity.')}" in CATALOGUE else "",
        value=rounded(one.value),
        interval=rounded_pair(one.interval),
        floor=rounded(one.floor),
        n=one.n,
    )


def batches(found: tuple[facts.BatchFact, ...]) -> tuple[facts.BatchFact, ...]:
    """All batches as one."""
    if not found:
        return ()
    return (
        facts.BatchFact(
            batch=0,
            examined=sum(b.examined for b in found),
            accepted=sum(b.accepted for b in found),
            refused_copies=sum(b.refused_copies for b in found),
            refused_labels=sum(b.refused_labels for b in found),
        ),
    )


def versions(said: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Of the packages that are named here, where they look like versions."""
    return tuple((name, text(said[name])) for name in _VERSIONED if name in said and _VERSION.fullmatch(text(said[name])))


def _limit(words: str) -> str:
    """A limit made of numbers, signs and known words; anything else is not shown."""
    parts = re.findall(r"[^\s(),;:]+", words)
    known = all(part.lower() in _LIMIT_WORDS or re.fullmatch(r"[≤≥<>=]*[0-9]*\.?[0-9]*%?", part) for part in parts)
    return words if known else "see the policy"


def _named(name: str | None) -> str | None:
    """A level or class name without markup and control signs."""
    if name is None:
        return None
    return name if _NAME.fullmatch(name) else "other"
