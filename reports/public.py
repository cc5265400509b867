"""The public edition, from an allow-list of its own.

`disclose` builds `Disclosed` field by field from the run folder; `build` sees nothing but a `Disclosed`. A new field of the
evidence therefore stays inside until somebody adds it here by hand. No free text passes: words come from this package's own
tables, from names that fit a narrow pattern, or are levels of the condition schema, which are released with the images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from reports import allow, evidence, facts, sections
from reports.blocks import Facts, Note, Section, Table, Tile
from reports.checks import CheckFact, MetricFact, check_facts, checks_table, metric_facts
from reports.numbers import Numbers
from reports.overview import (
    Tested,
    audits_with_evidence,
    headline,
    limits_of_claim,
    link_unverified,
    next_step,
    not_tested,
    overview,
    tested,
    tiles,
)
from reports.reasons import Reason, leading
from reports.runfolder import RunFolder, ledger_head, mapping
from reports.samples import sample_section

__all__ = ["Disclosed", "PublicView", "build", "disclose"]


@dataclass(frozen=True, slots=True)
class Disclosed:
    """All that may leave: the allow-list. Small counts among these numbers are withheld as they are written."""

    status: str  # the decision, one of five words
    exit_code: int
    audits: tuple[str, ...]  # names of the audits that ran, out of five
    checks: tuple[CheckFact, ...]  # by metric and class; figures rounded, reasons from the table above
    metrics: tuple[MetricFact, ...]  # as checks
    copies: facts.CopyFacts | None  # histograms of ten or more a bin without extremes; planted recall exactly
    membership: facts.MembershipFacts | None  # AUCs with two digits; curves at a few rates
    epsilon: facts.EpsilonFacts | None  # two digits; what is not covered by names of our own
    disclosure: facts.DisclosureFacts | None  # rates with three digits, by attack and attribute
    autoencoder: facts.AutoencoderFacts | None  # two digits; histograms of ten or more a bin
    labels: facts.LabelFacts | None  # shares with three digits; confusions as whole percents
    fidelity: tuple[facts.FidelityFact, ...]  # two digits
    batches: tuple[facts.BatchFact, ...]  # one row: the sum of all batches
    samples: Section  # accepted images that no stage pointed at, without names; none unless the release passed
    link_unverified: bool
    versions: tuple[tuple[str, str], ...]  # of named packages
    manifest: str  # sha256 of the accepted set's manifest
    ledger: str  # number and hash of the ledger's head


@dataclass(frozen=True, slots=True)
class PublicView:
    """All that the public page shows; the same layout as the internal one, less its private sections."""

    edition: str
    title: str
    status: str
    headline: str
    reasons: tuple[Reason, ...]
    next_step: str
    tiles: tuple[Tile, ...]
    tested: tuple[Tested, ...]
    not_tested: tuple[str, ...]
    limits: tuple[str, ...]
    stamp: tuple[tuple[str, str], ...]
    checks: Table
    sections: tuple[Section, ...]


def disclose(run: RunFolder) -> Disclosed:
    """What of a run may leave."""
    manifest = run.path / "manifest.json"
    released = allow.released_names(run)
    return Disclosed(
        status=run.decision.status,
        exit_code=run.decision.exit_code,
        audits=audits_with_evidence(run),
        checks=tuple(allow.check(check, released) for check in check_facts(run)),
        metrics=tuple(allow.metric(metric, released) for metric in metric_facts(run)),
        copies=allow.copies(evidence.copies(run.evidence)),
        membership=allow.membership(evidence.membership(run.evidence)),
        epsilon=allow.epsilon(evidence.epsilon(run.evidence)),
        disclosure=allow.disclosure(evidence.disclosure(run.evidence), released),
        autoencoder=allow.autoencoder(evidence.autoencoder(run.evidence)),
        labels=allow.labels(evidence.labels(run.evidence), released),
        fidelity=tuple(allow.fidelity(one) for one in evidence.fidelity(run.evidence)),
        batches=allow.batches(evidence.batches(run.evidence, run.images)),
        samples=sample_section(run, public=True, presentable=allow.presentable),
        link_unverified=link_unverified(run),
        versions=allow.versions(mapping(run.run.get("versions"))),
        ledger=ledger_head(run),
        manifest=hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else "",
    )


def build(allowed: Disclosed) -> PublicView:
    """The public edition, from what is allowed alone."""
    coarse = Numbers(coarse=True)
    view = overview(
        allowed.status,
        allowed.exit_code,
        allowed.checks,
        allowed.metrics,
        sight=sections.sight(allowed.copies),
        link_unverified=allowed.link_unverified,
    )
    return PublicView(
        edition="public",
        title="Synthetic image release",
        status=allowed.status,
        headline=headline(view, allowed.checks, coarse),
        reasons=leading(allowed.checks, lambda check: f"{check.title}."),
        next_step=next_step(view),
        tiles=tiles(allowed.metrics, view, coarse),
        tested=tested(allowed.metrics, allowed.audits, view, coarse),
        not_tested=not_tested(allowed.metrics, allowed.audits),
        limits=limits_of_claim(view, coarse),
        stamp=tuple(
            (name, value)
            for name, value in (
                ("Exit code", str(allowed.exit_code)),
                ("Manifest", allowed.manifest[:16]),
                ("Ledger", allowed.ledger),
            )
            if value
        ),
        checks=checks_table(allowed.checks, coarse),
        sections=(
            sections.copies(allowed.copies, coarse),
            sections.membership(allowed.membership, coarse, view.split_invalid),
            *sections.epsilon(allowed.epsilon, coarse),
            sections.disclosure(allowed.disclosure, coarse),
            sections.autoencoder(allowed.autoencoder, coarse),
            sections.labels(allowed.labels, coarse),
            sections.fidelity(allowed.fidelity, coarse),
            allowed.samples,
            sections.quarantine(allowed.batches, coarse),
            sections.words(),
            _reproduction(allowed),
        ),
    )


def _reproduction(allowed: Disclosed) -> Section:
    lead = "Versions and the digest that the accepted set can be verified against."
    items = ((("Manifest sha256", allowed.manifest),) if allowed.manifest else ()) + allowed.versions
    note = Note(
        "Counts are rounded to two digits, counts of one to nine and what would reveal them are withheld, "
        "and curves are coarse."
    )
    return Section("reproduction", "Reproduction", lead, (note, *((Facts(items, code=True),) if items else ())))
