"""The public edition, from an allow-list of its own.

`disclose` builds `Disclosed` field by field from the run folder; `build` sees nothing but a `Disclosed`. A new field of the
evidence therefore stays inside until somebody adds it here by hand. No free text passes: words come from this package's own
tables, from names that fit a narrow pattern, or are levels of the condition schema, which are released with the images.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports import facts, sections
from reports.blocks import Facts, Note, Section, Table, Tile
from reports.coarse import coarse_confusion, coarse_roc, coarse_series, rounded, rounded_pair
from reports.internal import hardest
from reports.numbers import Numbers
from reports.overview import (
    CheckFact,
    MetricFact,
    audits_with_evidence,
    check_facts,
    checks_table,
    headline,
    limits_of_claim,
    metric_facts,
    not_tested,
    overview,
    tested,
    tiles,
)
from reports.runfolder import RunFolder, mapping, rows, text
from reports.samples import sample_section
from reports.wording import STATUS_WORDS, metric_title, transform_words

__all__ = ["Disclosed", "PublicView", "build", "disclose"]

_REASONS = {
    "pass": "Within the limit.",
    "warn": "Beyond the limit for a warning.",
    "fail": "Beyond the limit.",
    "insufficient": "The evidence is too small to decide.",
    "invalid": "The comparison is not valid, so nothing can be decided.",
    "error": "The audit did not finish.",
    "waived": "Beyond the limit, and waived under the policy.",
}
_LIMIT_WORDS = set(
    "above at below most least up to no more than fails warns fail warn and or from images image copies copy candidates "
    "patients pairs % count fraction share auc auc, probability".split()
)
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9a-z]{1,12}){0,4}(\+[a-z0-9.]{1,12})?")
_PROBE = re.compile(r"[a-z][a-z0-9_. -]{0,39}")
_NAME = re.compile(r"[\w .,:;()/+<>=%-]{1,60}")
_VERSIONED = ("synguard", "python", "torch", "numpy", "diffusers", "faiss", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Disclosed:
    """All that may leave: the allow-list. Small counts among these numbers are withheld as they are written."""

    status: str  # the decision, one of five words
    exit_code: int
    audits: tuple[str, ...]  # names of the audits that ran, out of four
    checks: tuple[CheckFact, ...]  # by metric and class; figures rounded, reasons from the table above
    metrics: tuple[MetricFact, ...]  # as checks
    copies: facts.CopyFacts | None  # histograms of ten or more a bin without extremes; planted recall exactly
    membership: facts.MembershipFacts | None  # AUCs with two digits; curves at a few rates
    labels: facts.LabelFacts | None  # shares with three digits; confusions as whole percents
    fidelity: tuple[facts.FidelityFact, ...]  # two digits
    batches: tuple[facts.BatchFact, ...]  # one row: the sum of all batches
    samples: Section  # accepted images that no stage pointed at, without names; none unless the release passed
    versions: tuple[tuple[str, str], ...]  # of named packages
    manifest: str  # sha256 of the accepted set's manifest


@dataclass(frozen=True, slots=True)
class PublicView:
    """All that the public page shows; the same layout as the internal one, less its private sections."""

    edition: str
    title: str
    status: str
    headline: str
    reasons: tuple[str, ...]
    tiles: tuple[Tile, ...]
    tested: tuple[str, ...]
    not_tested: tuple[str, ...]
    limits: tuple[str, ...]
    stamp: tuple[tuple[str, str], ...]
    checks: Table
    sections: tuple[Section, ...]


def disclose(run: RunFolder) -> Disclosed:
    """What of a run may leave."""
    manifest = run.path / "manifest.json"
    return Disclosed(
        status=run.decision.status,
        exit_code=run.decision.exit_code,
        audits=audits_with_evidence(run),
        checks=tuple(_check(check) for check in check_facts(run)),
        metrics=tuple(_metric(metric) for metric in metric_facts(run)),
        copies=_copies(facts.copies(run.evidence)),
        membership=_membership(facts.membership(run.evidence)),
        labels=_labels(facts.labels(run.evidence), run),
        fidelity=tuple(_fidelity(one) for one in facts.fidelity(run.evidence)),
        batches=_batches(facts.batches(run.evidence)),
        samples=sample_section(run, public=True),
        versions=_versions(mapping(run.run.get("versions"))),
        manifest=hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else "",
    )


def build(allowed: Disclosed) -> PublicView:
    """The public edition, from what is allowed alone."""
    coarse = Numbers(coarse=True)
    view = overview(allowed.status, allowed.exit_code, allowed.checks, allowed.metrics, hardest(allowed.copies))
    said = (
        f"{STATUS_WORDS[check.status]}: {metric_title(check.metric)}"
        for check in allowed.checks
        if check.status not in {"pass", "waived"}
    )
    return PublicView(
        edition="public",
        title="Synthetic image release",
        status=allowed.status,
        headline=headline(view, allowed.checks, coarse),
        reasons=tuple(dict.fromkeys(said))[:6],
        tiles=tiles(allowed.metrics, view, coarse),
        tested=tested(allowed.metrics, allowed.audits, view, coarse),
        not_tested=not_tested(allowed.metrics, allowed.audits),
        limits=limits_of_claim(view, coarse),
        stamp=(("Exit code", str(allowed.exit_code)), *((("Manifest", allowed.manifest[:16]),) if allowed.manifest else ())),
        checks=checks_table(allowed.checks, coarse),
        sections=(
            sections.copies(allowed.copies, coarse),
            sections.membership(allowed.membership, coarse, view.split_invalid),
            sections.labels(allowed.labels, coarse),
            sections.fidelity(allowed.fidelity, coarse),
            allowed.samples,
            sections.quarantine(allowed.batches, coarse),
            _reproduction(allowed),
        ),
    )


def _check(check: CheckFact) -> CheckFact:
    return CheckFact(
        metric=check.metric if metric_title(check.metric) != check.metric else "other",
        group=_named(check.group),
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


def _metric(metric: MetricFact) -> MetricFact:
    return MetricFact(
        name=metric.name if metric_title(metric.name) != metric.name else "other",
        group=_named(metric.group),
        value=rounded(metric.value, 3),
        interval=rounded_pair(metric.interval, 3),
        n=metric.n,
        unit=metric.unit,
        state=metric.state,
        baseline=rounded(metric.baseline, 3),
    )


def _copies(found: facts.CopyFacts | None) -> facts.CopyFacts | None:
    if found is None:
        return None
    coarse = (coarse_series(series, found.threshold) for series in found.scores)
    return facts.CopyFacts(
        threshold=rounded(found.threshold),
        scores=tuple(series for series in coarse if series),
        p_values=coarse_series(found.p_values),
        planted=tuple(
            facts.PlantedFact(p.transform if transform_words(p.transform) else "", p.n, p.found, p.recall, p.low, p.high, p.minimum_copies)
            for p in found.planted
        ),
    )


def _membership(found: facts.MembershipFacts | None) -> facts.MembershipFacts | None:
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


def _labels(found: facts.LabelFacts | None, run: RunFolder) -> facts.LabelFacts | None:
    if found is None:
        return None
    declared = {text(a.get("name")) for a in rows(mapping(run.run.get("config")).get("conditions"))}
    return facts.LabelFacts(
        tuple(
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
        )
    )


def _fidelity(one: facts.FidelityFact) -> facts.FidelityFact:
    return facts.FidelityFact(
        name=one.name if metric_title(f"fidelity.{one.name.removeprefix('fidelity.')}") != one.name else "other",
        value=rounded(one.value),
        interval=rounded_pair(one.interval),
        floor=rounded(one.floor),
        n=one.n,
    )


def _batches(found: tuple[facts.BatchFact, ...]) -> tuple[facts.BatchFact, ...]:
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


def _reproduction(allowed: Disclosed) -> Section:
    lead = "Versions and the digest that the accepted set can be verified against."
    items = ((("Manifest sha256", allowed.manifest),) if allowed.manifest else ()) + allowed.versions
    note = Note("Counts are rounded to two digits, counts of one to nine and what would reveal them are withheld, and curves are coarse.")
    return Section("reproduction", "Reproduction", lead, (note, *((Facts(items, code=True),) if items else ())))


def _versions(said: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
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
