"""What of each fact may leave, field by field. Used by the public edition alone.

No free text passes: words come from this package's own tables, from names that fit a narrow pattern, or are levels of the
condition schema, which are released with the images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reports import facts
from reports.checks import CheckFact, MetricFact
from reports.coarse import coarse_confusion, coarse_roc, coarse_series, rounded, rounded_pair
from reports.runfolder import RunFolder, mapping, rows, text
from reports.wording import NOT_COVERED, STATE_WORDS, metric_title, probe_words, transform_words
from synguard.metrics.catalogue import CATALOGUE

__all__ = [
    "autoencoder",
    "batches",
    "check",
    "copies",
    "disclosure",
    "epsilon",
    "fidelity",
    "labels",
    "membership",
    "metric",
    "presentable",
    "released_names",
    "versions",
]

_REASONS = {
    "pass": "Within the limit.",
    "warn": "Beyond the limit for a warning.",
    "fail": "Beyond the limit.",
    "insufficient": "The evidence is too small to decide.",
    "invalid": "The comparison is not valid, so nothing can be decided.",
    "error": "The audit did not finish.",
    "waived": "Beyond the limit, and waived under the policy.",
}
_ATTACKS = {"singling_out", "linkability", "inference"}
_GROUPS = {"accepted", "copies", "labels"}
_LIMIT_WORDS = {
    *("above", "below", "of", "the", "%"),
    *("images", "image", "copies", "copy", "pairs", "pair", "attempts", "attempt"),
}
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9a-z]{1,12}){0,4}(\+[a-z0-9.]{1,12})?")
_PROBE = re.compile(r"[A-Za-z][A-Za-z0-9_. -]{0,39}( \([a-z0-9_., -]{1,30}\))?")
_ACCESS = {"white box", "black box"}
_NAME = re.compile(r"[\w .,:;()/+<>=%-]{1,60}")
_VERSIONED = ("synguard", "python", "torch", "numpy", "diffusers", "faiss", "scikit-learn")


def check(check: CheckFact, released: frozenset[str]) -> CheckFact:
    """By metric and class, figures with three digits, a standard reason."""
    return CheckFact(
        metric=check.metric if check.metric in CATALOGUE else "",
        group=_named(check.group, released),
        title=metric_title(check.metric, _named(check.group, released)) if check.metric else "The policy as a whole",
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


def metric(metric: MetricFact, released: frozenset[str]) -> MetricFact:
    """By metric and class, figures with three digits."""
    return MetricFact(
        name=metric.name if metric.name in CATALOGUE else "",
        group=_named(metric.group, released),
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
            each=tuple(
                facts.GuessFact(one.name if _PROBE.fullmatch(one.name) else "", rounded(one.auc), rounded(one.p_value))
                for one in split.each
            ),
        ),
        probes=tuple(
            facts.ProbeFact(
                name=p.name if _PROBE.fullmatch(p.name) else "attack",
                access=p.access if p.access in _ACCESS else "",
                state=p.state if p.state in STATE_WORDS or p.state == "measured" else "error",
                auc=rounded(p.auc),
                interval=rounded_pair(p.interval),
                bound=rounded(p.bound),
                tpr=rounded(p.tpr, 3),
                n_members=p.n_members,
                n_nonmembers=p.n_nonmembers,
                minimum_detectable_auc=rounded(p.minimum_detectable_auc),
                roc=coarse_roc(p.roc, p.n_members, p.n_nonmembers),
                calls=p.calls,
                seconds=rounded(p.seconds),
                verdict=p.verdict,
                p_holm=rounded(p.p_holm),
                low_rates=tuple(
                    facts.LowRateFact(
                        rounded(low.fpr, 3) or 0.0,
                        rounded(low.tpr, 3),
                        rounded_pair(low.interval, 3),
                        rounded(low.provable, 3),
                    )
                    for low in p.low_rates
                ),
            )
            for p in found.probes
        ),
        # Reasons are free text; that something was left out is said all the same.
        left_out=tuple((name if probe_words(name) or name in _ACCESS else "an attack", "") for name, _ in found.left_out),
    )


def epsilon(found: facts.EpsilonFacts | None) -> facts.EpsilonFacts | None:
    """Bounds with two digits; names of what is not covered out of a list of our own."""
    if found is None:
        return None
    return facts.EpsilonFacts(
        delta=None if found.delta is None else float(f"{found.delta:.1g}"),
        upper=rounded(found.upper),
        unit=found.unit if found.unit in {"patient", "image"} else "",
        not_covered=tuple(name for name in found.not_covered if name in NOT_COVERED),
        refuted=found.refuted,
        lower=rounded(found.lower),
        gaussian=rounded(found.gaussian),
        lower_state=found.lower_state if found.lower_state in STATE_WORDS or found.lower_state == "measured" else "error",
        canaries=found.canaries,
        most=rounded(found.most),
        equivalent=rounded(found.equivalent),
        equivalent_state=found.equivalent_state
        if found.equivalent_state in STATE_WORDS or found.equivalent_state == "measured"
        else "error",
        equivalent_patients=found.equivalent_patients,
    )


def disclosure(found: facts.DisclosureFacts | None, released: frozenset[str]) -> facts.DisclosureFacts | None:
    """Rates with three digits, of attributes that the configuration declares. Nobody who is exposed."""
    if found is None:
        return None
    return facts.DisclosureFacts(
        state=found.state if found.state in {"valid", "invalid", "insufficient"} else "invalid",
        attacks=tuple(
            facts.AttackFact(
                name=a.name if a.name in _ATTACKS else "",
                attribute=a.attribute,
                state=a.state if a.state in STATE_WORDS or a.state == "measured" else "error",
                attacked=a.attacked,
                controlled=a.controlled,
                attack=rounded(a.attack, 3),
                control=rounded(a.control, 3),
                naive=rounded(a.naive, 3),
                risk=rounded(a.risk, 3),
                interval=rounded_pair(a.interval, 3),
                minimum_detectable=rounded(a.minimum_detectable, 3),
                p_holm=rounded(a.p_holm),
            )
            for a in found.attacks
            if not a.attribute or a.attribute in released
        ),
    )


def autoencoder(found: facts.AutoencoderFacts | None) -> facts.AutoencoderFacts | None:
    """Figures with two digits, coarse histograms."""
    if found is None:
        return None
    return facts.AutoencoderFacts(
        state=found.state if found.state in STATE_WORDS or found.state == "measured" else "error",
        auc=rounded(found.auc),
        interval=rounded_pair(found.interval),
        minimum_detectable=rounded(found.minimum_detectable),
        gap=rounded(found.gap),
        gap_interval=rounded_pair(found.gap_interval),
        n_members=found.n_members,
        n_nonmembers=found.n_nonmembers,
        errors=tuple(series for one in found.errors if (series := coarse_series(one))),
    )


def labels(found: facts.LabelFacts | None, released: frozenset[str]) -> facts.LabelFacts | None:
    """Attributes that the configuration declares, shares with three digits, confusions as whole percents."""
    if found is None:
        return None
    return facts.LabelFacts(
        attributes=tuple(
            facts.AttributeFact(
                name=a.name,
                kind=a.kind if a.kind in {"binary", "ordinal", "categorical", "continuous"} else "",
                levels=tuple(
                    level if level in released | {"0", "1"} else f"level {i + 1}" for i, level in enumerate(a.levels)
                ),
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
            if a.name in released
        ),
        continuous=tuple(
            facts.ContinuousFact(
                name=c.name,
                n=c.n,
                correlation=rounded(c.correlation),
                interval=rounded_pair(c.interval),
                ceiling=rounded(c.ceiling),
            )
            for c in found.continuous
            if c.name in released
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


def released_names(run: RunFolder) -> frozenset[str]:
    """Attributes and levels that the release itself names: of the condition schema, and of accepted images' conditions."""
    found: set[str] = set()
    for attribute in rows(mapping(run.run.get("config")).get("conditions")):
        found |= {text(attribute.get("name")), *(text(level) for level in attribute.get("levels") or ())}
    if "accepted" in run.images:
        accepted = run.images[run.images["accepted"].eq(True).fillna(False)]
        for column in accepted.columns:
            if str(column).startswith("condition.") and accepted[column].nunique() <= 100:
                found |= {
                    str(column).removeprefix("condition."),
                    *(str(value) for value in accepted[column].dropna().unique()),
                }
    return frozenset(name for name in found if presentable(name))


def presentable(name: str) -> bool:
    """Whether a name has a length and signs that can be shown anywhere."""
    return _NAME.fullmatch(name) is not None


def _named(name: str | None, released: frozenset[str]) -> str | None:
    """A group: one of the audits' own, a transform, or attribute and level as the release names them."""
    if name is None or name in _GROUPS or transform_words(name):
        return name
    return name if all(part in released for part in name.split("=", 1)) else "other"
